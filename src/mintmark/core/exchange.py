"""The messages of the token exchange (PEP 807, "Token Minting"; burn as PyPI serves it).

Owns reading a request's body. Leaves the answer's form to `web`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mintmark.core import strict_json
from mintmark.core.errors import Rejected

BODY_MAX_BYTES = 32 * 1024
MULTI_USE, SINGLE_USE = "multi-use-token", "single-use-token"
FEATURES = (MULTI_USE, SINGLE_USE)
DEFAULT_FEATURES = (MULTI_USE,)
# Invariant (PEP 807, a MUST): no upload credential lives shorter or longer than this after the request.
LIFETIME_MIN_SECONDS = 900
LIFETIME_MAX_SECONDS = 21_600


@dataclass(frozen=True, slots=True)
class MintRequest:
    """A well-formed mint request. `token` is not read yet."""

    token: str
    single_use: bool


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = strict_json.parse(body)
    except strict_json.NotStrictJson as error:
        raise Rejected("invalid-payload", f"The body is not a JSON object: {error}.") from None
    if not isinstance(value, dict):
        raise Rejected("invalid-payload", "The body is not a JSON object.", hint='Send {"token": "…"}.')
    return value


def _token(value: dict[str, Any]) -> str:
    token = value.get("token")
    if not isinstance(token, str):
        raise Rejected("invalid-payload", "The body has no string named token.", hint='Send {"token": "…"}.')
    return token


def parse_mint(body: bytes) -> MintRequest:
    """Read a mint request; unknown keys are ignored. Raises `Rejected`."""
    value = _object(body)
    token = _token(value)
    features = value.get("features", [])
    if features == []:
        return MintRequest(token, single_use=False)
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise Rejected("invalid-features", "features is not an array of strings.")
    if any(name not in FEATURES for name in features) or len(set(features)) != 1:
        raise Rejected("invalid-features", "features must name exactly one of " + " and ".join(FEATURES) + ".")
    return MintRequest(token, single_use=features[0] == SINGLE_USE)


def parse_burn(body: bytes) -> str:
    """The credential to burn, any string; raises `Rejected("invalid-payload")` when there is none."""
    return _token(_object(body))
