"""Signers against the verifier of the core."""

from __future__ import annotations

import json

import pytest

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import ALGORITHMS, KeySet, parse_key_set
from mintmark.lab.signer import Signer

NOW = 1_795_000_000
CLAIMS = {"iss": "https://issuer.example", "aud": "mintmark", "iat": NOW, "exp": NOW + 300, "jti": "one"}


def verify(token: str, keys: KeySet) -> jwt.VerifiedClaims:
    return jwt.verify(jwt.read(token), keys, jwt.TokenRules(ALGORITHMS, 3600), "mintmark", NOW)


# joserfc warns about the name EdDSA, which RFC 9864 replaces by Ed25519; issuers still use the old one.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_verifies(algorithm: str, rsa_signer: Signer) -> None:
    signer = rsa_signer if algorithm == rsa_signer.algorithm else Signer(algorithm)
    keys = parse_key_set(signer.jwks())
    assert not keys.skipped
    assert verify(signer.sign(CLAIMS), keys).claims == CLAIMS


def test_private_members_are_never_published(rsa_signer: Signer) -> None:
    for signer in (rsa_signer, Signer("ES256"), Signer("EdDSA")):
        for key in json.loads(signer.jwks())["keys"]:
            assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", ""])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        Signer(algorithm)


def test_after_a_rotation_old_and_new_tokens_verify_with_new_keys() -> None:
    signer = Signer("ES256")
    before, old_keys = signer.sign(CLAIMS), parse_key_set(signer.jwks())
    old_kid = signer.kid
    signer.rotate()
    after, new_keys = signer.sign(CLAIMS), parse_key_set(signer.jwks())
    assert signer.kid != old_kid
    assert verify(before, new_keys).issuer == CLAIMS["iss"]
    assert verify(after, new_keys).issuer == CLAIMS["iss"]
    with pytest.raises(jwt.UnknownKey):
        verify(after, old_keys)
    signer.rotate()
    with pytest.raises(jwt.UnknownKey):
        verify(before, parse_key_set(signer.jwks()))


def test_a_rotation_under_the_same_kid_shows_as_a_bad_signature() -> None:
    signer = Signer("ES256")
    before, old_keys, kid = signer.sign(CLAIMS), parse_key_set(signer.jwks()), signer.kid
    signer.rotate(same_kid=True)
    after, new_keys = signer.sign(CLAIMS), parse_key_set(signer.jwks())
    assert signer.kid == kid
    assert verify(after, new_keys).issuer == CLAIMS["iss"]
    assert len(new_keys.keys) == 1
    with pytest.raises(jwt.BadSignature):
        verify(after, old_keys)
    with pytest.raises(jwt.BadSignature):
        verify(before, new_keys)


def test_a_given_kid_is_used() -> None:
    signer = Signer("ES256", kid="lab-key")
    assert jwt.read(signer.sign(CLAIMS)).header == {"alg": "ES256", "typ": "JWT", "kid": "lab-key"}


def test_headers_can_lie_and_are_then_refused() -> None:
    signer = Signer("ES256")
    keys = parse_key_set(signer.jwks())
    for lie in ({"alg": "none"}, {"alg": "HS256"}, {"kid": "other"}, {"typ": "at+jwt"}, {"crit": ["exp"]}, {"kid": 7}):
        with pytest.raises(Rejected):
            verify(signer.sign(CLAIMS, lie), keys)
    assert verify(signer.sign(CLAIMS, {"kid": None, "typ": None}), keys).issuer == CLAIMS["iss"]
