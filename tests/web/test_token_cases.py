"""Verification of identity tokens over the wire: group B of the behavioural cases."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from mintmark.lab.keys import LabKeys
from mintmark.lab.signer import Signer
from support.wire import Network, refused, segment
from support.world import GITHUB, GITLAB, HOST_AUDIENCE, SELF_HOSTED, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = "malformed or invalid token"
ISSUERS = pytest.mark.parametrize("url", [GITHUB, GITLAB, SELF_HOSTED], ids=["G0", "L0", "LS0"])


async def check_invalid(world: World, token: str, path: str = "/_/oidc/mint-token") -> None:
    """One flat sentence: what is wrong with a token that nobody vouches for is told to nobody."""
    assert refused(await world.mint(token, path), "invalid-token", token) == INVALID


@ISSUERS
async def test_b01_signature_by_another_key(house: World, url: str) -> None:
    forger = Signer(kid=house.signers[url].kid)
    await check_invalid(house, forger.sign(house.claims(url)))


async def test_b01_signature_that_was_changed(house: World) -> None:
    header, payload, signature = house.identity_token().split(".")
    right = base64.urlsafe_b64decode(signature + "==")
    for changed in ("", *map(segment, (b"\0", bytes(256), right[:-1], right[::-1], right + b"\0", b"\0" + right))):
        await check_invalid(house, f"{header}.{payload}.{changed}")
    claims = {**house.claims(), "project_path": "other/project"}
    await check_invalid(house, f"{header}.{segment(claims)}.{signature}")


def hs256(house: World) -> str:
    """The public key as a password: the oldest trick."""
    key = house.signers[SELF_HOSTED]._current()
    assert isinstance(key, RSAKey)
    pem = key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{segment({'alg': 'HS256', 'kid': house.signers[SELF_HOSTED].kid})}.{segment(house.claims())}"
    return f"{signed}.{segment(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


def rs512(house: World) -> str:
    key = house.signers[SELF_HOSTED]._current()
    assert isinstance(key, RSAKey)
    private = key.private_key
    assert private is not None
    signed = f"{segment({'alg': 'RS512', 'kid': house.signers[SELF_HOSTED].kid})}.{segment(house.claims())}"
    return f"{signed}.{segment(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA512()))}"


def unsigned(algorithm: str) -> Callable[[World], str]:
    def make(house: World) -> str:
        header = {"alg": algorithm, "kid": house.signers[SELF_HOSTED].kid}
        return f"{segment(header)}.{segment(house.claims())}."

    return make


def signed_with(algorithm: str) -> Callable[[World], str]:
    def make(house: World) -> str:
        return Signer(algorithm, house.signers[SELF_HOSTED].kid).sign(house.claims())

    return make


ALGORITHMS: dict[str, Callable[[World], str]] = {
    "HS256": hs256,
    "none": unsigned("none"),
    "None": unsigned("None"),
    "empty": unsigned(""),
    "RS512": rs512,
    "PS256": signed_with("PS256"),
    "ES256": signed_with("ES256"),
    "EdDSA": signed_with("EdDSA"),
}


@pytest.mark.parametrize("make", ALGORITHMS.values(), ids=[f"B02-{name}" for name in ALGORITHMS])
async def test_b02_algorithm_that_is_not_allowed(house: World, make: Callable[[World], str]) -> None:
    await check_invalid(house, make(house))


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "EdDSA"])
async def test_b02_algorithms_are_the_operators_choice(tmp_path: Path, algorithm: str) -> None:
    signer = Signer(algorithm)
    async with running_world(tmp_path, {SELF_HOSTED: signer}) as world:
        await world.registry("acme")
        await world.issuer("acme", algorithms=[algorithm])
        await world.publisher("widget")
        assert (await world.mint(world.identity_token())).status == 200
        await check_invalid(world, signer.sign(world.claims(), {"alg": "RS256"}))


AUDIENCES: dict[str, object] = {
    "B03-missing": None,
    "B04-testpypi": "testpypi",
    "B04-case": HOST_AUDIENCE.upper(),
    "B04-space": HOST_AUDIENCE + " ",
    "B04-prefix": HOST_AUDIENCE + "_acme",
    "B04-shorter": HOST_AUDIENCE[:-1],
    "B05-two": [HOST_AUDIENCE, "x"],
    "B05-twice": [HOST_AUDIENCE, HOST_AUDIENCE],
    "B05-none": [],
    "B05-nested": [[HOST_AUDIENCE]],
    "B05-object": {HOST_AUDIENCE: 1},
    "B05-number": 1,
}


@pytest.mark.parametrize("audience", AUDIENCES.values(), ids=list(AUDIENCES))
async def test_audience(house: World, audience: object) -> None:
    claims = {name: value for name, value in house.claims().items() if name != "aud"}
    if audience is not None:
        claims["aud"] = audience
    await check_invalid(house, house.signers[SELF_HOSTED].sign(claims))


async def test_b06_audience_in_an_array_of_one(house: World) -> None:
    token = house.signers[SELF_HOSTED].sign({**house.claims(), "aud": [HOST_AUDIENCE]})
    assert (await house.mint(token)).status == 200


async def test_audiences_of_host_and_registries_are_not_interchangeable(house: World) -> None:
    paths = {
        HOST_AUDIENCE: "/_/oidc/mint-token",
        "mintmark_localhost_acme": "/acme/_/oidc/mint-token",
        "mintmark_localhost_open": "/open/_/oidc/mint-token",
    }
    for audience in paths:
        for right, path in paths.items():
            token = house.identity_token(audience=audience)
            if audience == right:
                assert (await house.mint(token, path)).status == 200
            else:
                await check_invalid(house, token, path)


# Seconds from now; the leeway is 30.
DATES: dict[str, tuple[dict[str, float | None], bool]] = {
    "B07-exp-28": ({"iat": -300, "exp": -28}, True),
    "B07-exp-30": ({"iat": -300, "exp": -30}, True),
    "B07-exp-32": ({"iat": -300, "exp": -32}, False),
    "B08-no-exp": ({"exp": None}, False),
    "B08-no-iat": ({"iat": None}, False),
    "B09-iat+20": ({"iat": 20, "nbf": None}, True),
    "B09-iat+60": ({"iat": 60, "nbf": None}, False),
    "B09-nbf+20": ({"nbf": 20}, True),
    "B09-nbf+60": ({"nbf": 60}, False),
    "B10-no-nbf": ({"nbf": None}, True),
    "B18-ten-years": ({"exp": 315_360_000}, False),
    "B18-exp-before-iat": ({"iat": 10, "exp": 5}, False),
    "B18-exp-is-iat": ({"iat": 10, "exp": 10}, False),
}


@ISSUERS
@pytest.mark.parametrize(("dates", "good"), DATES.values(), ids=list(DATES))
async def test_dates(house: World, url: str, dates: dict[str, float | None], good: bool) -> None:
    now = int(house.clock.now())
    changes: dict[str, Any] = {name: None if value is None else now + int(value) for name, value in dates.items()}
    token = house.identity_token(url, **changes)
    if good:
        assert (await house.mint(token)).status == 200
    else:
        await check_invalid(house, token)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "change",
    [str, lambda date: date + 0.5, lambda date: True, lambda date: [date], lambda date: {}, lambda date: -date,
     lambda date: date * 10**9],
    ids=["string", "fraction", "bool", "array", "object", "negative", "enormous"],
)  # fmt: skip
async def test_b18_dates_are_whole_numbers(house: World, name: str, change: Callable[[int], object]) -> None:
    date = int(house.clock.now())
    await check_invalid(house, house.signers[SELF_HOSTED].sign({**house.claims(), name: change(date)}))


async def test_integral_float_is_a_date(house: World) -> None:
    now = house.clock.now()
    token = house.identity_token(iat=float(int(now)), exp=float(int(now) + 300), nbf=None)
    assert (await house.mint(token)).status == 200


@pytest.mark.parametrize(
    "issuer", [SELF_HOSTED + "/", SELF_HOSTED.upper(), SELF_HOSTED.replace("https", "http"), SELF_HOSTED + ":443"]
)
async def test_b11_issuer_is_compared_byte_for_byte(house: World, issuer: str) -> None:
    token = house.identity_token(iss=issuer)
    assert refused(await house.mint(token), "invalid-payload", token).startswith("unknown trusted publishing issuer")


async def test_b12_token_without_kid(tmp_path: Path) -> None:
    signer = Signer("ES256")
    async with running_world(tmp_path, {SELF_HOSTED: signer}) as world:
        await world.registry("acme")
        await world.issuer("acme", algorithms=["ES256"])
        await world.publisher("widget")
        # Deviation: allowed when the set has exactly one usable key.
        assert (await world.mint(signer.sign(world.claims(), {"kid": None}))).status == 200
        signer.rotate()
        await check_invalid(world, signer.sign(world.claims(), {"kid": None}))


async def test_b13_keys_are_rotated(tmp_path: Path) -> None:
    signer = Signer("ES256")
    network = Network({SELF_HOSTED: signer})
    async with running_world(tmp_path, {SELF_HOSTED: signer}, keys=network) as world:
        await world.registry("acme")
        await world.issuer("acme", algorithms=["ES256"])
        await world.publisher("widget")
        network.known = await LabKeys({SELF_HOSTED: signer}).current(_source())
        before = world.identity_token()
        signer.rotate()
        # Unknown kid: fetched anew once, then known; tokens signed before are still good.
        assert (await world.mint(world.identity_token())).status == 200
        assert (await world.mint(before)).status == 200
        lost = world.identity_token()
        signer.rotate(same_kid=True)
        # Another key under the old name, as Jenkins does.
        assert (await world.mint(world.identity_token())).status == 200
        await check_invalid(world, lost)


def _source() -> Any:
    from mintmark.service.ports import KeySource

    return KeySource(SELF_HOSTED)


@pytest.mark.parametrize("kid", ["unknown", "", 1, ["x"], None, "x" * 5000, "'; DROP TABLE issuers; --"], ids=repr)
async def test_b14_unknown_kid(house: World, kid: object) -> None:
    members = {"alg": "RS256", "typ": "JWT", "kid": kid}
    # The former key's set holds one key: without kid that one is tried, but nothing is signed by it here.
    forged = Signer(kid="x").sign(house.claims())
    await check_invalid(house, f"{segment(members)}.{forged.partition('.')[2]}")


HEADERS: dict[str, dict[str, object]] = {
    "B16-crit": {"crit": ["exp"]},
    "B16-crit-unknown": {"crit": ["x-mintmark"], "x-mintmark": 1},
    "B16-crit-empty": {"crit": []},
    "B16-b64": {"b64": False},
    "typ": {"typ": "at+jwt"},
    "typ-number": {"typ": 1},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
async def test_b16_headers_that_are_refused(house: World, header: Mapping[str, object]) -> None:
    await check_invalid(house, house.signers[SELF_HOSTED].sign(house.claims(), header))


@pytest.mark.parametrize(
    "header", [{"typ": None}, {"typ": "jwt"}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example"}],
    ids=repr,
)  # fmt: skip
async def test_headers_that_mean_nothing(house: World, header: Mapping[str, object]) -> None:
    assert (await house.mint(house.signers[SELF_HOSTED].sign(house.claims(), header))).status == 200


async def test_key_inside_the_token_is_never_used(house: World) -> None:
    forger = Signer(kid=house.signers[SELF_HOSTED].kid)
    jwk = json.loads(forger.jwks())["keys"][0]
    await check_invalid(house, forger.sign(house.claims(), {"jwk": jwk}))


class OddSigner(Signer):
    """Publishes its key with other members, or another key."""

    def __init__(self, algorithm: str, change: Mapping[str, object]) -> None:
        super().__init__(algorithm)
        self._change = change

    def jwks(self) -> bytes:
        (key,) = json.loads(super().jwks())["keys"]
        changed = {name: value for name, value in {**key, **self._change}.items() if value is not None}
        return json.dumps({"keys": [changed]}).encode()


KEYS: dict[str, tuple[dict[str, object], bool]] = {
    "B17-alg-of-another": ({"alg": "ES384"}, False),
    "B17-alg-is-symmetric": ({"alg": "HS256"}, False),
    "B17-no-alg": ({"alg": None}, True),
    "B18-use-enc": ({"use": "enc"}, False),
    "B18-no-use": ({"use": None}, True),
    "B18-key-ops-sign": ({"key_ops": ["sign"], "use": None}, False),
    "B18-key-ops-verify": ({"key_ops": ["verify"], "use": None}, True),
    "B18-curve": ({"crv": "P-384"}, False),
    "B15-no-key": ({"kty": "oct", "k": "AAAA"}, False),
}


@pytest.mark.parametrize(("change", "good"), KEYS.values(), ids=list(KEYS))
async def test_keys_that_may_not_verify(tmp_path: Path, change: dict[str, object], good: bool) -> None:
    signer = OddSigner("ES256", change)
    async with running_world(tmp_path, {SELF_HOSTED: signer}) as world:
        await world.registry("acme")
        await world.issuer("acme", algorithms=["ES256"])
        await world.publisher("widget")
        if good:
            assert (await world.mint(world.identity_token())).status == 200
        else:
            await check_invalid(world, world.identity_token())


class WeakSigner(Signer):
    """Signs with RSA of 1024 bits, as no issuer should."""

    def __init__(self) -> None:
        super().__init__(kid="weak")
        self._weak = rsa.generate_private_key(65537, 1024)

    def sign(self, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
        signed = f"{segment({'alg': 'RS256', 'kid': 'weak'})}.{segment(claims)}"
        return f"{signed}.{segment(self._weak.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def jwks(self) -> bytes:
        modulus = self._weak.public_key().public_numbers().n.to_bytes(128, "big")
        key = {"kty": "RSA", "kid": "weak", "e": "AQAB", "n": segment(modulus)}
        return json.dumps({"keys": [key]}).encode()


async def test_b18_weak_rsa_key(tmp_path: Path) -> None:
    async with running_world(tmp_path, {SELF_HOSTED: WeakSigner()}) as world:
        await world.registry("acme")
        await world.issuer("acme")
        await world.publisher("widget")
        await check_invalid(world, world.identity_token())


async def test_lifetime_limit_is_the_operators_choice(tmp_path: Path) -> None:
    signer = Signer("ES256")
    async with running_world(tmp_path, {SELF_HOSTED: signer}) as world:
        await world.registry("acme")
        await world.issuer("acme", algorithms=["ES256"], max_token_lifetime_seconds=600)
        await world.publisher("widget")
        now = int(world.clock.now())
        assert (await world.mint(world.identity_token(iat=now, exp=now + 600))).status == 200
        await check_invalid(world, world.identity_token(iat=now, exp=now + 601))


@pytest.mark.parametrize("claim", ["jti", "project_path", "environment", "ref_path", "sub", "sha"])
async def test_claims_that_are_no_text(house: World, claim: str) -> None:
    """Half a surrogate pair is JSON, but no text that a ledger can hold."""
    token = house.identity_token(**{claim: "\ud800"})
    refused(await house.mint(token), "invalid-token", token)


@pytest.mark.parametrize("jti", ["", "x" * 501, 1, [], {}, True], ids=repr)
async def test_jti_is_a_short_string(house: World, jti: object) -> None:
    await check_invalid(house, house.identity_token(jti=jti))


async def test_base64_has_one_form(house: World) -> None:
    """A second text of one token would be a second token to whoever compares texts."""
    token = house.identity_token()
    last = token[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(last) ^ 1]
    padded = token.rpartition(".")[2]
    assert base64.urlsafe_b64decode(padded + "==") == base64.urlsafe_b64decode(padded[:-1] + other + "==")
    refused(await house.mint(token[:-1] + other), "invalid-payload", token)
