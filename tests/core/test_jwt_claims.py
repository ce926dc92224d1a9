"""What an identity token says: audience, dates, replay, and what is proven once it is verified."""

from __future__ import annotations

import base64
import hashlib
import json
import math

import pytest

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import KeySet
from mintmark.core.jwt import LEEWAY_SECONDS, VerifiedClaims
from mintmark.lab.signer import Signer
from support.tokens import AUDIENCE, CLAIMS, ISSUER, NOW, claims, invalid, keys_of, malformed, rules, sign_raw, verify

# -- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE]])
def test_aud_is_the_string_or_an_array_of_it(signer: Signer, keys: KeySet, audience: object) -> None:
    verify(signer.sign(claims(aud=audience)), keys)


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "other",
        AUDIENCE.upper(),
        AUDIENCE + " ",
        "",
        1,
        {},
        {AUDIENCE: 1},
        [],
        [AUDIENCE, "other"],
        [AUDIENCE, AUDIENCE],
        [[AUDIENCE]],
        ["other"],
        [1],
        [AUDIENCE.title()],
    ],
)
def test_any_other_aud_is_refused(signer: Signer, keys: KeySet, audience: object) -> None:
    """Each of several audiences could replay the token here."""
    assert "audience" in invalid(signer.sign(claims(aud=audience)), keys)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    ["1795000000", "", True, False, NOW + 0.5, 1e300, -1, -1.0, 10**15, 10**400, [], [NOW], {}, "Infinity"],
    ids=repr,
)
def test_dates_are_whole_numbers_of_seconds(signer: Signer, keys: KeySet, name: str, value: object) -> None:
    assert name in invalid(signer.sign(claims(**{name: value})), keys)


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "NaN", "Infinity"])
def test_dates_beyond_all_numbers(signer: Signer, literal: str) -> None:
    payload = json.dumps(dict(CLAIMS)).replace(f'"exp": {NOW + 300}', f'"exp": {literal}')
    assert "strict JSON" in malformed(sign_raw(signer, {"alg": "RS256"}, payload.encode()))


def test_whole_floats_are_dates(signer: Signer, keys: KeySet) -> None:
    verified = verify(signer.sign(claims(exp=NOW + 60.0, iat=float(NOW), nbf=float(NOW))), keys)
    assert verified.expires_at == NOW + 60
    assert type(verified.expires_at) is int


@pytest.mark.parametrize("name", ["exp", "iat"])
def test_exp_and_iat_are_required(signer: Signer, keys: KeySet, name: str) -> None:
    assert "missing" in invalid(signer.sign(claims(**{name: None})), keys)
    null = sign_raw(signer, {"alg": "RS256", "kid": signer.kid}, {**CLAIMS, name: None})
    assert "missing" in invalid(null, keys)


def test_nbf_is_optional(signer: Signer, keys: KeySet) -> None:
    assert "nbf" not in CLAIMS
    verify(sign_raw(signer, {"alg": "RS256", "kid": signer.kid}, {**CLAIMS, "nbf": None}), keys)


@pytest.mark.parametrize(("seconds", "accepted"), [(28, True), (30, True), (30.5, False), (31, False), (32, False)])
def test_leeway(signer: Signer, keys: KeySet, seconds: float, accepted: bool) -> None:
    """Invariant: 30 seconds, at both ends of a token's life."""
    assert LEEWAY_SECONDS == 30
    ended = signer.sign(claims(iat=NOW - 300, exp=NOW))
    soon = [signer.sign(claims(**{name: NOW, "iat": NOW, "exp": NOW + 300})) for name in ("iat", "nbf")]
    cases = [(ended, NOW + seconds), *((token, NOW - seconds) for token in soon)]
    for token, now in cases:
        if accepted:
            verify(token, keys, now=now)
        else:
            assert "expired" in (why := invalid(token, keys, now=now)) or "not valid yet" in why


def test_a_replay_record_outlives_every_moment_of_acceptance(signer: Signer, keys: KeySet) -> None:
    token = signer.sign(claims(iat=NOW - 300, exp=NOW))
    last = float(NOW + LEEWAY_SECONDS)
    assert verify(token, keys, now=last).replay_until > last
    assert invalid(token, keys, now=math.nextafter(last, math.inf))


@pytest.mark.parametrize(
    ("iat", "exp", "accepted"),
    [
        (NOW - 3500, NOW + 100, True),
        (NOW - 3500, NOW + 101, False),
        (NOW, NOW + 315_360_000, False),
        (NOW, NOW, False),
        (NOW + 10, NOW + 5, False),
        (0, NOW + 100, False),
        (NOW, 253_402_300_799, False),
    ],
)
def test_lifetime_is_limited(signer: Signer, keys: KeySet, iat: int, exp: int, accepted: bool) -> None:
    token = signer.sign(claims(iat=iat, exp=exp))
    if accepted:
        verify(token, keys)
    else:
        assert "lifetime" in invalid(token, keys)
    if exp > iat:
        verify(token, keys, rules(lifetime=exp - iat))


def test_claims_must_be_writable(signer: Signer, keys: KeySet) -> None:
    """Half a surrogate pair is JSON, and no ledger stores it: a mint must not end in an internal error."""
    token = sign_raw(signer, {"alg": "RS256", "kid": signer.kid}, {**CLAIMS, "sub": "\ud800"})
    assert jwt.read(token).claims["sub"] == "\ud800"
    assert "Unicode" in invalid(token, keys)
    whole = sign_raw(signer, {"alg": "RS256", "kid": signer.kid}, {**CLAIMS, "sub": "\U0001f512 \\ud800"})
    verify(whole, keys)


# -- replay -----------------------------------------------------------------------------------------------------------


def test_jti_is_the_replay_key(signer: Signer, keys: KeySet) -> None:
    one = verify(signer.sign(claims(jti="one", sub="a")), keys)
    assert verify(signer.sign(claims(jti="one", sub="b")), keys).replay_key == one.replay_key
    assert verify(signer.sign(claims(jti="two", sub="a")), keys).replay_key != one.replay_key


def test_a_missing_jti_is_named(signer: Signer, keys: KeySet) -> None:
    with pytest.raises(Rejected) as caught:
        verify(signer.sign(claims(jti=None)), keys)
    assert caught.value.code.name == "invalid-publisher"
    assert "Missing claim 'jti'" in caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize("jti", [1, True, "", [], {}, ["one"], "x" * 501, 1.5])
def test_jti_is_a_short_string(signer: Signer, keys: KeySet, jti: object) -> None:
    for wanted in (rules(), rules(jti=False)):
        assert "jti" in invalid(signer.sign(claims(jti=jti)), keys, wanted)
    verify(signer.sign(claims(jti="x" * 500)), keys)


def test_without_jti_the_signed_part_is_the_replay_key(signer: Signer, keys: KeySet) -> None:
    token = signer.sign(claims(jti=None))
    key = verify(token, keys, rules(jti=False)).replay_key
    assert key == "sha256:" + hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
    assert verify(signer.sign(claims(jti=None, sub="x")), keys, rules(jti=False)).replay_key != key
    # A jti that looks like a digest is no digest.
    assert verify(signer.sign(claims(jti=key)), keys, rules(jti=False)).replay_key != key


def test_another_signature_of_the_same_words_is_the_same_token() -> None:
    """ECDSA draws chance: whoever can make a signature say the same twice must not mint twice."""
    other = Signer("ES256")
    one, two = (other.sign(claims(jti=None)) for _ in range(2))
    assert one != two
    verified = [verify(token, keys_of(other), rules("ES256", jti=False)) for token in (one, two)]
    assert verified[0].replay_key == verified[1].replay_key


def test_a_second_text_of_one_signature_is_refused(signer: Signer, keys: KeySet) -> None:
    token = signer.sign(CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    decoded = [base64.urlsafe_b64decode(text.rpartition(".")[2] + "==") for text in (token, other)]
    assert decoded[0] == decoded[1]
    verify(token, keys)
    assert "only form" in malformed(other)


# -- proof ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seal", [None, object(), True, "seal"])
def test_nobody_else_makes_verified_claims(seal: object) -> None:
    with pytest.raises(TypeError, match=r"core\.jwt\.verify"):
        VerifiedClaims(seal, ISSUER, dict(CLAIMS), NOW, "jti:one")


def test_verified_claims_are_not_changed_afterwards(signer: Signer, keys: KeySet) -> None:
    verified = verify(signer.sign(CLAIMS), keys)
    for name in VerifiedClaims.__slots__:
        with pytest.raises(AttributeError):
            setattr(verified, name, "other")
    with pytest.raises(TypeError):
        verified.claims["sub"] = "other"  # type: ignore[index]


def test_refusals_hold_no_token(signer: Signer, keys: KeySet) -> None:
    token = signer.sign(claims(aud="other"))
    with pytest.raises(Rejected) as caught:
        verify(token, keys)
    for text in (caught.value.detail, caught.value.hint, caught.value.private, str(caught.value)):
        assert not any(part in text for part in token.split("."))
