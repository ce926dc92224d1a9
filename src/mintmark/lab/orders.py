"""What a client of the lab's control endpoints asks for.

Owns reading an order from JSON, with a sentence for every mistake. Leaves making the token to `lab.provider_server`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mintmark.core import strict_json
from mintmark.core.names import gitlab_variable
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.lab.kinds.model import PROTECTED_REF

BODY_MAX_BYTES = 64 * 1024
AUDIENCE_MAX_CHARACTERS = 1000
REF_MAX_CHARACTERS = 1000
# Claims are written again, deeper inside a call stack than they were read.
CLAIMS_MAX_DEPTH = 32

_MEMBERS = frozenset({"issuer", "config", "claims", "audience", "ref", "old_subject"})
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*\Z")


class BadOrder(ValueError):
    """The order cannot be read. The message is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Order:
    """An identity to be made up: whose, and how it differs from an ordinary one."""

    provider: Provider
    config: Mapping[str, str]
    claims: Mapping[str, object] = field(default_factory=dict)
    audience: str | None = None
    ref: str = PROTECTED_REF
    old_subject: bool = False


def parse_order(body: bytes, issuers: Collection[str]) -> Order:
    """Read an order for one of these issuers; raises `BadOrder`."""
    try:
        value = strict_json.parse(body)
    except strict_json.NotStrictJson as error:
        raise BadOrder(f"The body is not a JSON object: {error}.") from None
    if not isinstance(value, dict):
        raise BadOrder("The body is not a JSON object.")
    unknown = sorted(value.keys() - _MEMBERS)
    if unknown:
        raise BadOrder(f"The body has an unknown member {unknown[0]!r}; there are {', '.join(sorted(_MEMBERS))}.")
    issuer = value.get("issuer")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise BadOrder(f"issuer must be one of {', '.join(sorted(issuers))}.")
    config = _object(value, "config")
    if not all(isinstance(text, str) for text in config.values()):
        raise BadOrder("config must hold strings only.")
    claims = _object(value, "claims")
    if not _is_shallow(claims):
        raise BadOrder(f"claims must not be nested deeper than {CLAIMS_MAX_DEPTH} levels.")
    old_subject = value.get("old_subject", False)
    if not isinstance(old_subject, bool):
        raise BadOrder("old_subject must be true or false.")
    audience = value.get("audience")
    return Order(
        BY_SLUG[issuer],
        config,
        claims,
        None if audience is None else parse_audience(audience),
        _ref(value.get("ref", PROTECTED_REF)),
        old_subject,
    )


def parse_audience(value: object) -> str:
    """An audience as CI systems take it: any text. An index's own are narrower (`core.names`)."""
    if not isinstance(value, str) or not 0 < len(value) <= AUDIENCE_MAX_CHARACTERS:
        raise BadOrder(f"audience must be a string of 1 to {AUDIENCE_MAX_CHARACTERS} characters.")
    return value


def audience_variable(audience: str) -> str:
    """The job variable for a GitLab token with this audience; raises `BadOrder` where no shell could set it."""
    name = gitlab_variable(audience)
    if not _VARIABLE.match(name):
        raise BadOrder(
            f"The audience {audience!r} makes no name of a variable; use letters, digits and _, a letter first."
        )
    return name


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    member = value.get(name, {})
    if not isinstance(member, dict):
        raise BadOrder(f"{name} must be an object.")
    return member


def _ref(value: object) -> str:
    if not isinstance(value, str) or len(value) > REF_MAX_CHARACTERS:
        raise BadOrder(f"ref must be a string of at most {REF_MAX_CHARACTERS} characters, such as {PROTECTED_REF}.")
    return value


def _is_shallow(claims: Mapping[str, Any]) -> bool:
    level: list[Any] = [claims]
    for _ in range(CLAIMS_MAX_DEPTH):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return True
        level = [inner for value in containers for inner in (value.values() if isinstance(value, dict) else value)]
    return not any(isinstance(value, dict | list) for value in level)
