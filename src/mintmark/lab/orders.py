"""What a client of the lab's control endpoints asks for.

Owns reading an order from JSON, with a sentence for every mistake. Leaves making the token to `lab.provider_server`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mintmark.core import strict_json
from mintmark.lab.kinds.model import PROTECTED_REF, BadOrder
from mintmark.lab.places import Place

BODY_MAX_BYTES = 64 * 1024
AUDIENCE_MAX_CHARACTERS = 1000
AUDIENCES_MAX = 20
REF_MAX_CHARACTERS = 1000
# Claims are written again, deeper inside a call stack than they were read.
CLAIMS_MAX_DEPTH = 32

_MEMBERS = frozenset({"ci", "config", "claims", "audience", "audiences", "ref", "old_subject", "same_token"})


@dataclass(frozen=True, slots=True)
class Order:
    """An identity to be made up: whose, and how it differs from an ordinary one."""

    place: Place
    config: Mapping[str, str]
    claims: Mapping[str, object] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    """Of the tokens that the job finds. The first counts where there is one token."""
    ref: str = PROTECTED_REF
    old_subject: bool = False
    same_token: bool = False
    """The token that was made last for such an order, not a fresh one."""

    @property
    def audience(self) -> str | None:
        """The first audience."""
        return self.audiences[0] if self.audiences else None

    def wanted_audience(self) -> str:
        """The first audience; raises `BadOrder` where there is none."""
        if not self.audiences:
            raise BadOrder("The body has no audience.")
        return self.audiences[0]


def parse_order(body: bytes, places: Mapping[str, Place]) -> Order:
    """Read an order for one of these places; raises `BadOrder`."""
    value = json_object(body)
    unknown = sorted(value.keys() - _MEMBERS)
    if unknown:
        raise BadOrder(f"The body has an unknown member {unknown[0]!r}; there are {', '.join(sorted(_MEMBERS))}.")
    ci = value.get("ci")
    if not isinstance(ci, str) or ci not in places:
        raise BadOrder(f"ci must be one of {', '.join(sorted(places))}.")
    config = _object(value, "config")
    if not all(isinstance(text, str) for text in config.values()):
        raise BadOrder("config must hold strings only.")
    claims = _object(value, "claims")
    if not _is_shallow(claims):
        raise BadOrder(f"claims must not be nested deeper than {CLAIMS_MAX_DEPTH} levels.")
    return Order(
        places[ci],
        config,
        claims,
        _audiences(value),
        _ref(value.get("ref", PROTECTED_REF)),
        _flag(value, "old_subject"),
        _flag(value, "same_token"),
    )


def json_object(body: bytes) -> dict[str, Any]:
    """The object in a body; raises `BadOrder`."""
    try:
        value = strict_json.parse(body)
    except strict_json.NotStrictJson as error:
        raise BadOrder(f"The body is not a JSON object: {error}.") from None
    if not isinstance(value, dict):
        raise BadOrder("The body is not a JSON object.")
    return value


def parse_audience(value: object) -> str:
    """An audience as CI systems take it: any text. An index's own are narrower (`core.names`)."""
    if not isinstance(value, str) or not 0 < len(value) <= AUDIENCE_MAX_CHARACTERS:
        raise BadOrder(f"audience must be a string of 1 to {AUDIENCE_MAX_CHARACTERS} characters.")
    return value


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    member = value.get(name, {})
    if not isinstance(member, dict):
        raise BadOrder(f"{name} must be an object.")
    return member


def _flag(value: Mapping[str, Any], name: str) -> bool:
    flag = value.get(name, False)
    if not isinstance(flag, bool):
        raise BadOrder(f"{name} must be true or false.")
    return flag


def _audiences(value: Mapping[str, Any]) -> tuple[str, ...]:
    """One audience, or several: a job may find a token for each."""
    one, several = value.get("audience"), value.get("audiences", [])
    if not isinstance(several, list) or len(several) > AUDIENCES_MAX:
        raise BadOrder(f"audiences must be a list of at most {AUDIENCES_MAX} strings.")
    if one is not None and several:
        raise BadOrder("The body has both audience and audiences; leave one of them out.")
    found = [parse_audience(each) for each in (several if one is None else [one])]
    return tuple(dict.fromkeys(found))


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
