"""Identity tokens: every rule of the trusted-publishing contract, section 3, by name."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import ALGORITHMS, CURVES, KeySet, parse_key_set
from mintmark.core.jwt import TOKEN_MAX_BYTES, BadSignature, UnknownKey, VerifiedClaims
from mintmark.lab.signer import Signer
from support.refusals import refusal
from support.tokens import AUDIENCE, CLAIMS, ISSUER, NOW, invalid, keys_of, malformed, rules, segment, sign_raw, verify

SLOW_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_good_token(signer: Signer, keys: KeySet) -> None:
    verified = verify(signer.sign(CLAIMS), keys)
    assert verified.issuer == ISSUER
    assert verified.claims == CLAIMS
    assert verified.expires_at == NOW + 300


# -- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "three segments"),
        ("not-a-jwt", "three segments"),
        ("a.b", "three segments"),
        ("a.b.c.d", "three segments"),
        ("..", "three segments"),
        (f"{segment({})}..", "three segments"),
        (f"{segment({})}.{segment(b'text')}.", "not strict JSON"),
        (f"{segment(b'[]')}.{segment(CLAIMS)}.", "not a JSON object"),
        (f"{segment({})}.{segment(b'null')}.", "not a JSON object"),
        (f"{segment({})}.{segment(CLAIMS)}.ä", "not base64url"),
        (f"{segment({})}.{segment(CLAIMS)}.a", "not base64url"),
        (f"{segment({})}.{segment(CLAIMS)}.a+/a", "not base64url"),
        (f" {segment({})}.{segment(CLAIMS)}.", "not base64url"),
        (f"{segment({})}.{segment(CLAIMS)}.\n", "not base64url"),
        (f"{segment({})}.{segment(CLAIMS)}.YQ==", "not base64url"),
        (f"{segment(b'{}')}=.{segment(CLAIMS)}.", "not base64url"),
        (f"{segment({})}.{segment(CLAIMS)}.YR", "only form"),
        (f"{segment(b'{}')[:-1]}1.{segment(CLAIMS)}.", "only form"),
        ("\ud800.\ud800.", "not base64url"),
    ],
)
def test_form(text: str, reason: str) -> None:
    assert reason in malformed(text)


@pytest.mark.parametrize("name", ["header", "payload"])
def test_duplicate_keys_are_refused(signer: Signer, name: str) -> None:
    """What one parser reads as the first and another as the last is two documents."""
    twice = b'{"iss": "https://a.example", "iss": "https://b.example"}'
    token = sign_raw(signer, twice if name == "header" else {}, twice if name == "payload" else dict(CLAIMS))
    assert "twice" in malformed(token)


@pytest.mark.parametrize("issuer", [None, "", 1, True, [], ["https://a.example"], {}, "x" * 501])
def test_iss_must_be_a_short_string(issuer: object) -> None:
    assert "iss" in malformed(f"{segment({})}.{segment({'iss': issuer})}.")
    assert "iss" in malformed(f"{segment({})}.{segment({})}.")


def test_the_longest_iss_and_the_longest_token() -> None:
    assert jwt.read(f"{segment({})}.{segment({'iss': 'x' * 500})}.").issuer == "x" * 500
    stem = f"{segment({})}.{segment(CLAIMS)}."
    longest = stem + "AAAA" * ((TOKEN_MAX_BYTES - len(stem)) // 4)
    assert len(longest) > TOKEN_MAX_BYTES - 4
    jwt.read(longest)
    assert "longer than" in malformed(longest + "AAAA")


def test_reading_needs_no_signature_and_proves_nothing() -> None:
    unverified = jwt.read(f"{segment({'alg': 'none'})}.{segment(CLAIMS)}.")
    assert unverified.issuer == ISSUER
    assert not isinstance(unverified, VerifiedClaims)


# -- header -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "HS256", "RS512", "rs256", "", 1, None, [], ["RS256"], {}]
)
def test_alg_must_be_allowed(signer: Signer, keys: KeySet, algorithm: object) -> None:
    header = {"alg": algorithm, "kid": signer.kid}
    assert "algorithm" in invalid(sign_raw(signer, header, CLAIMS), keys)
    assert "algorithm" in invalid(f"{segment(header)}.{segment(CLAIMS)}.", keys)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_the_public_key_is_no_hmac_secret(signer: Signer, keys: KeySet, form: PublicFormat) -> None:
    key = signer._current()
    assert isinstance(key, RSAKey)
    secret = key.public_key.public_bytes(Encoding.PEM, form)
    for kid in (signer.kid, None):
        signed = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{segment(CLAIMS)}"
        token = f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
        assert "algorithm" in invalid(token, keys)
        # Not even when an operator's list is wrong: no symmetric algorithm is known at all.
        assert "algorithm" in invalid(token, keys, rules("HS256", "none"))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_other_algorithms_are_the_operators_choice(algorithm: str) -> None:
    other = Signer(algorithm)
    token, its_keys = other.sign(CLAIMS), keys_of(other)
    assert verify(token, its_keys, rules(algorithm)).claims == CLAIMS
    others = sorted(ALGORITHMS - {algorithm})
    assert "algorithm" in invalid(token, its_keys, rules(*others))
    # A header that claims another one finds no key for it.
    for lie in others:
        lying = sign_raw(other, {"alg": lie, "kid": other.kid}, CLAIMS)
        assert invalid(lying, its_keys, rules(*ALGORITHMS))


def test_the_curve_belongs_to_the_algorithm() -> None:
    assert CURVES == {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
    p384 = Signer("ES384")
    document = json.loads(p384.jwks())
    for key in document["keys"]:
        del key["alg"]
    keys = parse_key_set(json.dumps(document).encode())
    verify(p384.sign(CLAIMS), keys, rules("ES384"))
    token = sign_raw(p384, {"alg": "ES256", "kid": p384.kid}, CLAIMS)
    assert "no usable ES256 key" in invalid(token, keys, rules("ES256", "ES384"))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": None}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True}],
)
def test_critical_extensions_are_refused(signer: Signer, keys: KeySet, header: Mapping[str, object]) -> None:
    full = {"alg": "RS256", "kid": signer.kid, **header}
    assert "critical" in invalid(sign_raw(signer, full, CLAIMS), keys)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "Jwt", None])
def test_typ_is_jwt_or_absent(signer: Signer, keys: KeySet, kind: str | None) -> None:
    verify(signer.sign(CLAIMS, {"typ": kind}), keys)


@pytest.mark.parametrize("kind", ["at+jwt", "JOSE", "", 1, ["JWT"], "dpop+jwt"])
def test_other_types_are_refused_unless_the_table_lists_them(signer: Signer, keys: KeySet, kind: object) -> None:
    token = signer.sign(CLAIMS, {"typ": kind})
    assert "typ" in invalid(token, keys)
    if isinstance(kind, str) and kind:
        listed = jwt.TokenRules(frozenset({"RS256"}), 3600, frozenset({kind.lower()}))
        verify(token, keys, listed)


def test_without_kid_the_only_key_is_meant(signer: Signer, keys: KeySet) -> None:
    token = signer.sign(CLAIMS, {"kid": None})
    verify(token, keys)
    two = keys_of(signer, Signer("ES256"))
    with pytest.raises(UnknownKey):
        verify(token, two)
    with pytest.raises(UnknownKey):
        verify(token, KeySet(()))


@pytest.mark.parametrize("kid", ["", "other", "\ud800", "../../key", "x" * 600])
def test_an_unknown_kid_may_be_in_a_newer_key_set(signer: Signer, keys: KeySet, kid: str) -> None:
    with pytest.raises(UnknownKey) as caught:
        verify(signer.sign(CLAIMS, {"kid": kid}), keys)
    assert caught.value.sentence == "malformed or invalid token"


@pytest.mark.parametrize("kid", [1, True, [], {}])
def test_kid_is_a_string(signer: Signer, keys: KeySet, kid: object) -> None:
    assert "kid" in invalid(signer.sign(CLAIMS, {"kid": kid}), keys)


def test_keys_and_urls_of_the_header_mean_nothing(signer: Signer, keys: KeySet) -> None:
    forger = Signer("RS256", kid=signer.kid)
    public = json.loads(forger.jwks())["keys"][0]
    headers: list[dict[str, object]] = [{"jwk": public}, {"jku": "https://evil.example/jwks"}, {"x5c": []}, {"x5u": ""}]
    for header in headers:
        with pytest.raises(BadSignature):
            verify(forger.sign(CLAIMS, header), keys)
        verify(signer.sign(CLAIMS, header), keys)


# -- signature --------------------------------------------------------------------------------------------------------


def test_a_signature_by_another_key_of_the_same_name(signer: Signer, keys: KeySet) -> None:
    forger = Signer("RS256", kid=signer.kid)
    with pytest.raises(BadSignature):
        verify(forger.sign(CLAIMS), keys)
    # Two keys of one name (a rotation on its way): either may have signed.
    verify(forger.sign(CLAIMS), keys_of(signer, forger))


@pytest.mark.parametrize("signature", ["", "AAAA", segment(b"\0" * 256), segment(b"\xff" * 256), segment(b"x" * 2000)])
def test_signatures_that_are_none(signer: Signer, keys: KeySet, signature: str) -> None:
    with pytest.raises(BadSignature):
        verify(signer.sign(CLAIMS).rpartition(".")[0] + "." + signature, keys)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA"])
def test_odd_signatures_on_curves(algorithm: str) -> None:
    other = Signer(algorithm)
    stem = other.sign(CLAIMS).rpartition(".")[0]
    length = {"ES256": 64, "ES384": 96, "EdDSA": 64}[algorithm]
    for data in (b"", b"\0" * length, b"\xff" * length, b"x" * (length - 1), b"x" * (length + 1), b"x" * 5000):
        with pytest.raises(BadSignature):
            verify(f"{stem}.{segment(data)}", keys_of(other), rules(algorithm))


@SLOW_FIXTURE
@given(data=st.data())
def test_any_change_of_a_token_is_refused(signer: Signer, keys: KeySet, data: st.DataObject) -> None:
    token = signer.sign(CLAIMS)
    position = data.draw(st.integers(0, len(token) - 1))
    change = data.draw(st.sampled_from("Aa0-_.= \n\u00e4") | st.just(""))
    cut = data.draw(st.integers(0, 2))
    mutated = token[:position] + change + token[position + cut :]
    if mutated == token:
        return
    with pytest.raises(Rejected):
        verify(mutated, keys)


@SLOW_FIXTURE
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x5c", "cty", "zip"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["RS256", "JWT"]) | st.lists(st.text()),
    ),
    payload=st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "sub"]),
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.sampled_from([ISSUER, AUDIENCE, NOW, NOW + 60, 1e300, 10**30])
        | st.text(st.characters(exclude_categories=()))
        | st.lists(st.text(), max_size=2),
    ),
)
def test_signed_nonsense_raises_nothing_else(
    signer: Signer, keys: KeySet, header: dict[str, object], payload: dict[str, object]
) -> None:
    token = sign_raw(signer, {"alg": "RS256", **header}, {**CLAIMS, **payload})
    try:
        verified = verify(token, keys)
    except Rejected:
        return
    assert verified.claims["iss"] == verified.issuer
    json.dumps(dict(verified.claims), ensure_ascii=False).encode("utf-8")


@given(text=st.text(st.characters(exclude_categories=())) | st.text("aA0-_.", max_size=40))
def test_no_text_breaks_reading(text: str) -> None:
    refused = refusal(lambda: jwt.read(text))
    assert refused is None or refused.code.name == "invalid-payload"
