"""What would register an issuer: a command and a piece of a trust file.

Owns the two texts, which say the same. Leaves whether the issuer is worth it to `core.issuer_report`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from mintmark.core.issuer_probe import Conditions
from mintmark.core.jwks import ALGORITHMS

DEFAULT_ALGORITHMS = ("RS256",)
_REGISTRY, _PROVIDER, _PROJECTS = "REGISTRY", "PROVIDER", "PATTERN"


def trust_entry(conditions: Conditions, provider: str, algorithms: Sequence[str]) -> Mapping[str, object]:
    """The keys of the trust entry. Capital words are left for people to fill in."""
    entry: dict[str, object] = {
        "provider": provider or _PROVIDER,
        "url": conditions.url,
        "projects": [_PROJECTS],
    }
    if algorithms and tuple(algorithms) != DEFAULT_ALGORITHMS:
        entry["algorithms"] = [name for name in algorithms if name in ALGORITHMS]
    if conditions.networks:
        entry["networks"] = list(conditions.networks)
    if conditions.allow_http:
        entry["allow-http"] = True
    files = {"ca-file": conditions.ca_file, "jwks-file": conditions.jwks_file}
    return entry | {key: name for key, name in files.items() if name}


def as_command(entry: Mapping[str, object]) -> str:
    """`mintmark issuer add …`, one option a line."""
    name = _name(entry)
    lines = [f"mintmark issuer add {_REGISTRY} {name}"]
    for key, value in entry.items():
        option = {"networks": "--network", "algorithms": "--algorithm"}.get(key, f"--{key}")
        if value is True:
            lines.append(option)
        elif isinstance(value, list):
            lines += [f"{option} {shlex.quote(str(each))}" for each in value]
        else:
            lines.append(f"{option} {shlex.quote(str(value))}")
    return " \\\n    ".join(lines)


def as_toml(entry: Mapping[str, object]) -> str:
    """The table of a trust file."""
    # A JSON string, list or boolean of these values is the same in TOML.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=True)}" for key, value in entry.items()]
    return "\n".join([f"[registry.{_REGISTRY}.issuer.{_name(entry)}]", *lines])


def _name(entry: Mapping[str, object]) -> str:
    return "NAME" if entry["provider"] == _PROVIDER else str(entry["provider"])
