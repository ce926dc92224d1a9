"""A registry as a trust file writes it, and changes of single keys of it.

Owns writing a registry's settings under the keys of a trust file, and reading `KEY=VALUE` as people type it. Leaves
what a value may be to `core.trust`, by whose rules the whole registry is read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from mintmark.core.records import Registry
from mintmark.core.trust import POLICY_KEYS, Host, parse_registry
from mintmark.core.trust_keys import REGISTRY_KEYS

_NUMBER = re.compile(r"[0-9]{1,20}")
_TRUTH = {"true": True, "false": False}


def written(registry: Registry) -> dict[str, object]:
    """All settings of a registry by their keys in a trust file. None stands for what a file leaves out."""

    def value(key: str) -> object:
        found = getattr(registry.policy if key in POLICY_KEYS else registry, key.replace("-", "_"))
        return list(found) if isinstance(found, tuple) else found

    return {key: value(key) for key in REGISTRY_KEYS}


def changed(registry: Registry, given: Mapping[str, str], host: Host) -> Registry:
    """The registry with some of its keys changed; "" takes a key out, for its default. Raises `Rejected`."""
    settings = {key: value for key, value in written(registry).items() if value is not None}
    for key, text in given.items():
        if text or key not in REGISTRY_KEYS:
            settings[key] = _read(key, text)
        else:
            settings.pop(key, None)
    return replace(parse_registry(registry.slug, settings, host), id=registry.id)


def _read(key: str, text: str) -> object:
    """A value in the type of its key; as it is where it cannot be, which is then refused with an example."""
    kind = REGISTRY_KEYS[key].kind if key in REGISTRY_KEYS else str
    if kind is bool:
        return _TRUTH.get(text, text)
    if kind is int:
        return int(text) if _NUMBER.fullmatch(text) else text
    return [part.strip() for part in text.split(",")] if kind is list else text
