"""What every part of a trust file has in common: keys and types are checked, and a mistake names its place.

Owns these checks, and what entries need to know about the host they are for. Leaves the keys to `core.trust_keys` and
what a value may be to `core.trust` and `core.trust_issuer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mintmark.core.errors import Rejected
from mintmark.core.trust_keys import Key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Host:
    """What entries need to know about the host they are for."""

    name: str
    """The public host name."""
    audience: str
    accept_lab: bool = False


def wrong(where: str, problem: str, cure: str) -> Rejected:
    """A mistake at a place, with its cure."""
    return Rejected("invalid-trust", f"{where} {problem}.", hint=cure)


def check_keys(where: str, settings: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    """Every key must be known, and every value of its type."""
    for name, value in settings.items():
        key = keys.get(name)
        if key is None:
            raise wrong(where, f"has an unknown key {name!r}", f"Its keys are: {', '.join(keys)}.")
        # bool is an int in Python, not in TOML.
        if not isinstance(value, key.kind) or (key.kind is int and isinstance(value, bool)):
            raise wrong(f"{where}.{name}", f"is not of the right type: {value!r}", f"Example: {name} = {key.example}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise wrong(f"{where}.{name}", "is not a list of strings", f"Example: {name} = {key.example}")


def at(where: str, parse: Callable[[str], T], text: str) -> T:
    """Read one value; what is wrong with it names the place."""
    try:
        return parse(text)
    except Rejected as error:
        raise Rejected("invalid-trust", f"{where}: {error.detail}", hint=error.hint) from None
