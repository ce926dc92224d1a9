"""Key sets: which keys are good enough, and why the others are left out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.jwks import (
    ALGORITHMS,
    CURVES,
    JWKS_MAX_BYTES,
    JWKS_MAX_KEYS,
    RSA_ALGORITHMS,
    SAME_KID_MAX,
    BadKeySet,
    KeySet,
    parse_key_set,
)
from mintmark.lab.signer import Signer
from support.tokens import CLAIMS, rules, verify

MEMBERS = ["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg", "key_ops", "d", "k", "x5c"]


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def jwk(signer: Signer, **changes: object) -> dict[str, Any]:
    """The signer's published key; None removes a member."""
    entry = {**json.loads(signer.jwks())["keys"][0], **changes}
    return {name: value for name, value in entry.items() if value is not None}


def parse(*entries: object) -> KeySet:
    return parse_key_set(json.dumps({"keys": entries}).encode())


@pytest.fixture(scope="module")
def rsa() -> Signer:
    return Signer("RS256", kid="rsa")


@pytest.fixture(scope="module")
def curve() -> Signer:
    return Signer("ES256", kid="ec")


def why(entry: object) -> str:
    """Why a key was left out."""
    found = parse(entry)
    assert found.keys == ()
    (reason,) = found.skipped
    assert reason.startswith("key 1: ")
    return reason


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_allowed_algorithm_has_keys(algorithm: str) -> None:
    signer = Signer(algorithm)
    (key,) = parse(jwk(signer)).keys
    assert key.algorithms == {algorithm}
    (free,) = parse(jwk(signer, alg=None, use=None)).keys
    assert algorithm in free.algorithms
    assert free.algorithms <= RSA_ALGORITHMS or free.algorithms <= CURVES.keys()


def test_no_symmetric_algorithm_can_be_allowed() -> None:
    """Invariant: whatever an operator writes."""
    assert {"RS256", "PS256", "ES256", "ES384", "EdDSA"} == ALGORITHMS


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047])
def test_short_rsa_keys(bits: int) -> None:
    """Without a warning by the library, which would reach the operator's terminal instead of the reason."""
    entry = {"kty": "RSA", "n": number((1 << bits) - 1), "e": "AQAB", "kid": "weak"}
    assert f"RSA with {bits} bits is too weak" in why(entry)


def test_long_rsa_keys() -> None:
    assert "more than 8192" in why({"kty": "RSA", "n": number((1 << 8193) - 1), "e": "AQAB"})


def test_leading_zeros_make_no_key_longer() -> None:
    padded = base64.urlsafe_b64encode(b"\0" * 200 + b"\xff" * 128).decode()
    assert "too weak" in why({"kty": "RSA", "n": padded, "e": "AQAB"})


@pytest.mark.parametrize("exponent", [3, 17, 257, 65535])
def test_small_exponents(rsa: Signer, exponent: int) -> None:
    assert "exponent" in why(jwk(rsa, e=number(exponent)))


@pytest.mark.parametrize("exponent", [(1 << 64) + 1, (1 << 2000) + 1])
def test_exponents_that_make_verifying_slow(rsa: Signer, exponent: int) -> None:
    assert "exponent" in why(jwk(rsa, e=number(exponent)))
    assert parse(jwk(rsa, e=number((1 << 63) + 1))).keys


def test_few_keys_share_a_kid(rsa: Signer, curve: Signer) -> None:
    found = parse(*[jwk(rsa)] * (JWKS_MAX_KEYS - 2), jwk(curve), jwk(rsa, kid="other"))
    assert [key.kid for key in found.keys] == ["rsa"] * SAME_KID_MAX + ["ec", "other"]
    assert "have its kid already" in found.skipped[0]


@pytest.mark.parametrize("use", ["enc", "", "SIG", 1, ["sig"], True])
def test_use_must_be_signing(rsa: Signer, use: object) -> None:
    assert "use" in why(jwk(rsa, use=use))


def test_spiffe_bundles_mark_their_keys_otherwise(curve: Signer) -> None:
    assert parse(jwk(curve, use="jwt-svid")).keys
    assert "use" in why(jwk(curve, use="x509-svid"))


@pytest.mark.parametrize("operations", [[], ["sign"], "verify", {"verify": 1}, 1, ["encrypt", "wrapKey"]])
def test_key_ops_must_have_verify(rsa: Signer, operations: object) -> None:
    assert "key_ops" in why(jwk(rsa, key_ops=operations))
    assert parse(jwk(rsa, key_ops=["sign", "verify"])).keys


@pytest.mark.parametrize("declared", ["RS512", "ES384", "HS256", "none", "", "rs256", 1, ["RS256"], True])
def test_alg_must_agree(rsa: Signer, curve: Signer, declared: object) -> None:
    for signer in (rsa, curve):
        assert "algorithm" in why(jwk(signer, alg=declared))


def test_a_key_declared_for_one_algorithm_verifies_no_other(rsa: Signer) -> None:
    (key,) = parse(jwk(rsa, alg="PS256")).keys
    assert key.algorithms == {"PS256"}
    assert parse(jwk(rsa, alg="PS256")).choose("rsa", "RS256") == ()


@pytest.mark.parametrize("kind", [None, "oct", "rsa", "", 1, "AKP", ["RSA"], {}])
def test_unknown_kinds_are_skipped(rsa: Signer, kind: object) -> None:
    assert "kty" in why(jwk(rsa, kty=kind))


@pytest.mark.parametrize("kid", ["", 1, True, [], "x" * 513])
def test_kid_is_a_short_string(rsa: Signer, kid: object) -> None:
    assert "kid" in why(jwk(rsa, kid=kid))
    assert parse(jwk(rsa, kid=None)).keys[0].kid is None


@pytest.mark.parametrize("entry", [None, 1, "key", [], True])
def test_entries_that_are_no_objects(entry: object) -> None:
    assert "not an object" in why(entry)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": None},
        {"e": None},
        {"n": ""},
        {"n": 5},
        {"n": "!!!"},
        {"n": "\u00e4"},
        {"e": "AA"},
        {"e": "AQAA"},
        {"e": "\ud800"},
    ],
)
def test_damaged_rsa_keys(rsa: Signer, changes: Mapping[str, object]) -> None:
    assert why(jwk(rsa, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"x": None}, {"y": "AAAA"}, {"x": "AA"}, {"crv": "P-192"}, {"crv": "secp256k1"}, {"crv": 1}, {"crv": "P-521"}],
)
def test_damaged_and_foreign_curves(curve: Signer, changes: Mapping[str, object]) -> None:
    assert why(jwk(curve, **changes))


@pytest.mark.parametrize("name", ["X25519", "X448", "Ed448", "ed25519", "Ed25519 "])
def test_only_one_edwards_curve_signs(name: str) -> None:
    entry = jwk(Signer("EdDSA"), crv=name, alg=None)
    assert why(entry)
    assert why({**entry, "x": base64.urlsafe_b64encode(b"x" * 57).rstrip(b"=").decode()})


def test_a_private_key_that_was_published_is_held_as_public_only(rsa: Signer, curve: Signer) -> None:
    for signer in (rsa, curve):
        private = {**signer._current().as_dict(private=True), "kid": signer.kid}
        assert "d" in private
        found = parse(private)
        assert found.keys[0].key.is_private is False
        assert "d" not in found.keys[0].key.as_dict()
        verify(signer.sign(CLAIMS), found, rules(signer.algorithm))


def test_one_bad_key_spoils_no_other(rsa: Signer, curve: Signer) -> None:
    found = parse(jwk(rsa), {"kty": "oct", "k": "AAAA"}, jwk(rsa, use="enc"), jwk(curve))
    assert [key.kid for key in found.keys] == ["rsa", "ec"]
    assert [reason.partition(":")[0] for reason in found.skipped] == ["key 2", "key 3"]


def test_choosing_by_kid_and_algorithm(rsa: Signer, curve: Signer) -> None:
    found = parse(jwk(rsa), jwk(curve), jwk(curve, kid=None))
    assert [key.kid for key in found.choose("rsa", "RS256")] == ["rsa"]
    assert found.choose("rsa", "ES256") == found.choose("other", "RS256") == found.choose(None, "RS256") == ()
    assert len(parse(jwk(rsa)).choose(None, "RS256")) == 1
    assert parse(jwk(rsa)).choose(None, "ES256") == ()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not strict JSON"),
        (b"<html>", "not strict JSON"),
        (b"\xff", "UTF-8"),
        (b'{"keys": [], "keys": []}', "twice"),
        (b"[]", "no array"),
        (b"null", "no array"),
        (b"{}", "no array"),
        (b'{"keys": {}}', "no array"),
        (b'{"keys": "x"}', "no array"),
        (b'{"keys": [' + b"1," * 10_000 + b"1]}", "more than 256 keys"),
        (b" " * (JWKS_MAX_BYTES + 1), "larger than"),
    ],
)
def test_documents_that_are_no_key_sets(document: bytes, reason: str) -> None:
    with pytest.raises(BadKeySet, match=reason):
        parse_key_set(document)


def test_as_many_keys_as_allowed(rsa: Signer) -> None:
    assert len(parse(*[jwk(rsa, kid=f"k{n}") for n in range(JWKS_MAX_KEYS)]).keys) == JWKS_MAX_KEYS
    assert parse() == KeySet(())


@given(document=st.binary(max_size=60) | st.text().map(str.encode))
@example(b'{"keys":[{"kty":"RSA","n":"' + b"_" * 400_000 + b'","e":"AQAB"}]}')
def test_no_document_raises_anything_else(document: bytes) -> None:
    with suppress(BadKeySet):
        parse_key_set(document)


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@given(
    entry=st.dictionaries(
        st.sampled_from(MEMBERS),
        st.none()
        | st.booleans()
        | st.integers()
        | TEXT
        | st.lists(TEXT, max_size=2)
        | st.binary(max_size=70).map(lambda data: base64.urlsafe_b64encode(data).decode())
        | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "AQAB"]),
    )
)
@example({"kty": "RSA", "n": "_" * 342, "e": "_" * 342})
@example({"kty": "RSA", "n": "_" * 342, "e": "AQAA"})
@example({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43})
@example({"kty": "EC", "crv": "P-256", "x": "", "y": ""})
def test_no_key_raises_anything(entry: dict[str, object]) -> None:
    found = parse(entry)
    assert len(found.keys) + len(found.skipped) == 1
