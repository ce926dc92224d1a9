"""Claims and their addresses.

Owns how a claim is found in a token's payload. Leaves what it must be to the provider tables and `core.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

ClaimPath = tuple[str, ...]
"""A claim's address, one key a level: claim names hold '/' and '.', so a dotted path would be ambiguous."""

Claims = Mapping[str, Any]


def claim_at(claims: Claims, path: ClaimPath) -> Any:
    """The value at a path, or None."""
    value: Any = claims.get(path[0])
    for key in path[1:]:
        # Nested objects come from JSON; asking for the abstract type would cost ten times as much.
        if not isinstance(value, dict | MappingProxyType):
            return None
        value = value.get(key)
    return value
