"""Identity tokens of any shape: signed text that no well-behaved library would write."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jws

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import KeySet, parse_key_set
from mintmark.core.jwt import TokenRules, UnverifiedToken, VerifiedClaims
from mintmark.lab.signer import Signer

NOW = 1_795_000_000
AUDIENCE = "mintmark_example"
ISSUER = "https://gitlab.example.com"
CLAIMS: Mapping[str, object] = {"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 300, "jti": "one"}


def segment(data: bytes | Mapping[str, object]) -> str:
    """base64url without padding; of JSON for a mapping."""
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def sign_raw(signer: Signer, header: bytes | Mapping[str, object], payload: bytes | Mapping[str, object]) -> str:
    """A token whose signature is right, whatever its segments say."""
    signed = f"{segment(header)}.{segment(payload)}"
    algorithm = jws.JWSRegistry.algorithms[signer.algorithm]
    return f"{signed}.{segment(algorithm.sign(signed.encode(), signer._current()))}"


def claims(**changes: object) -> dict[str, object]:
    """The usual claims; None removes one."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}


def rules(*algorithms: str, lifetime: int = 3600, jti: bool = True) -> TokenRules:
    """What a trust entry demands."""
    return TokenRules(frozenset(algorithms or ("RS256",)), lifetime, requires_jti=jti)


def keys_of(*signers: Signer) -> KeySet:
    """One key set with the keys of all of them."""
    return KeySet(tuple(key for signer in signers for key in parse_key_set(signer.jwks()).keys))


def verify(
    token: str | UnverifiedToken,
    keys: KeySet,
    wanted: TokenRules | None = None,
    audience: str = AUDIENCE,
    now: float = NOW,
) -> VerifiedClaims:
    """Read and verify."""
    unverified = jwt.read(token) if isinstance(token, str) else token
    return jwt.verify(unverified, keys, wanted or rules(), audience, now)


def malformed(text: str) -> str:
    """Why a text is no token, for the log."""
    with pytest.raises(Rejected) as caught:
        jwt.read(text)
    assert caught.value.code.name == "invalid-payload"
    assert caught.value.detail == "malformed JWT"
    return caught.value.private


def invalid(token: str, keys: KeySet, *wanted: Any, **more: Any) -> str:
    """Why a token is refused, for the log: the caller is never told."""
    with pytest.raises(Rejected) as caught:
        verify(token, keys, *wanted, **more)
    assert caught.value.code.name == "invalid-token"
    assert caught.value.sentence == "malformed or invalid token"
    return caught.value.private
