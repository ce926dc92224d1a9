"""Endpoint and payload of the exchange: group A of the behavioural cases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mintmark.core import credentials
from mintmark.lab.signer import Signer
from support.wire import Network, refused, segment
from support.world import GITHUB, GITLAB, HOST_AUDIENCE, SELF_HOSTED, Answer, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACME = "mintmark_localhost_acme"
MINT = "/_/oidc/mint-token"
ISSUERS = pytest.mark.parametrize("url", [GITHUB, GITLAB, SELF_HOSTED], ids=["G0", "L0", "LS0"])


async def post(house: World, body: bytes, path: str = MINT, **more: Any) -> Answer:
    return await house.request("POST", path, data=body, **more)


async def test_a01_audience(house: World) -> None:
    for path, audience in (("/_/oidc/audience", HOST_AUDIENCE), ("/acme/_/oidc/audience", ACME)):
        answer = await house.get(path)
        assert (answer.status, answer.json) == (200, {"audience": audience})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a02_audience_where_nothing_is_exchanged(
    house: World, tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    answer = await house.get("/plain/_/oidc/audience")
    refused(answer, "exchange-disabled")
    assert answer.json["message"] == "Trusted publishing functionality not enabled"
    async with running_world(tmp_path, signers) as bare:
        await bare.registry("acme", trusted_publishing=False)
        await bare.issuer()
        await bare.registry("own", host_mint=False)
        await bare.issuer("own")
        for path in ("/_/oidc/audience", "/acme/_/oidc/audience"):
            answer = await bare.get(path)
            refused(answer, "exchange-disabled")
            assert answer.json["message"] == "Trusted publishing functionality not enabled"
        assert (await bare.get("/own/_/oidc/audience")).status == 200


@ISSUERS
@pytest.mark.parametrize(
    ("path", "audience"), [(MINT, HOST_AUDIENCE), ("/acme/_/oidc/mint-token", ACME)], ids=["host", "registry"]
)
async def test_a03_mint(house: World, url: str, path: str, audience: str) -> None:
    answer = await house.mint(house.identity_token(url, audience), path)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json
    assert body["success"] is True
    assert credentials.digest(body["token"]) is not None
    assert body["token"].startswith("mintmark_m")
    assert isinstance(body["expires"], int)
    assert body["expires"] - house.clock.now() == 900
    assert body["scope"] == {"registries": ["acme"], "projects": ["widget"], "reads": [], "single-use": False}


UNREADABLE: list[object] = [
    "", [], "a string", 12345, 3.14, None, {}, {"token": None}, {"wrongkey": ""}, {"token": 3.14}, {"token": 0},
    {"token": [""]}, {"token": []}, {"token": {}}, True, {"Token": "x"}, [{"token": "x"}],
]  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: f"A04-{json.dumps(body)}")
async def test_a04_unreadable_body(house: World, body: object) -> None:
    answer = await post(house, json.dumps(body).encode())
    assert refused(answer, "invalid-payload")
    assert answer.json["message"] == "Token request failed"


NOT_JSON = {
    "empty": b"",
    "space": b"  \n",
    "text": b"token=abc",
    "cut": b'{"token": "a',
    "two": b'{"token": "a"}{"token": "b"}',
    "duplicate-key": b'{"token": "a", "token": "b"}',
    "latin-1": b'{"token": "\xe9"}',
    "nan": b'{"token": NaN}',
    "bom": b"\xef\xbb\xbf{}",
    "utf-16": '{"token": "a"}'.encode("utf-16"),
    "deep": b"[" * 30_000,
    "deep-object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "huge-number": b'{"token": ' + b"9" * 30_000 + b"}",
    "infinite-number": b'{"token": "a", "x": 1e999}',
    "nul": b"\0" * 100,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=[f"A05-{name}" for name in NOT_JSON])
async def test_a05_body_that_is_not_json(house: World, body: bytes) -> None:
    refused(await post(house, body), "invalid-payload")


async def test_a05_body_beyond_its_limit(house: World) -> None:
    ample = json.dumps({"token": "x", "padding": "y" * (32 * 1024 - 100)}).encode()
    refused(await post(house, ample), "invalid-payload")
    for path in (MINT, "/acme/_/oidc/mint-token", "/_/oidc/burn-token"):
        answer = await post(house, b" " * (32 * 1024 + 1), path)
        refused(answer, "too-large")


HEADER = {"alg": "RS256", "typ": "JWT"}
NOT_JWT: dict[str, object] = {
    "word": "not-a-jwt",
    "empty": "",
    "two-segments": f"{segment(HEADER)}.{segment({'iss': SELF_HOSTED})}",
    "four-segments": f"{segment(HEADER)}.{segment({'iss': SELF_HOSTED})}.AAAA.AAAA",
    "payload-not-json": f"{segment(HEADER)}.{segment(b'hello')}.AAAA",
    "payload-array": f"{segment(HEADER)}.{segment([1])}.AAAA",
    "header-not-json": f"{segment(b'hello')}.{segment({'iss': SELF_HOSTED})}.AAAA",
    "header-number": f"{segment(1)}.{segment({'iss': SELF_HOSTED})}.AAAA",
    "empty-header": f".{segment({'iss': SELF_HOSTED})}.AAAA",
    "dots": "..",
    "padding": f"{segment(HEADER)}==.{segment({'iss': SELF_HOSTED})}.AAAA",
    "standard-base64": f"{segment(HEADER)}.{segment({'iss': SELF_HOSTED})}.a+/b",
    "base64-length": f"{segment(HEADER)}.{segment({'iss': SELF_HOSTED})}.A",
    "newline": f"{segment(HEADER)}.{segment({'iss': SELF_HOSTED})}.AAAA\n",
    "surrogate": "\ud800.\ud800.\ud800",
    "not-ascii": "ключ.ключ.ключ",
}


@pytest.mark.parametrize("token", NOT_JWT.values(), ids=[f"A06-{name}" for name in NOT_JWT])
async def test_a06_not_a_jwt(house: World, token: str) -> None:
    assert refused(await house.mint(token), "invalid-payload", token) == "malformed JWT"


@pytest.mark.parametrize("claims", [{}, {"iss": None}, {"iss": 1}, {"iss": [GITLAB]}, {"iss": ""}, {"iss": "x" * 501}])
async def test_a07_jwt_without_iss(house: World, claims: object) -> None:
    token = f"{segment(HEADER)}.{segment(claims)}.AAAA"
    assert refused(await house.mint(token), "invalid-payload", token) == "malformed JWT"


STRANGE = {
    "duplicate-claim": b'{"iss": "https://gitlab.example.com", "iss": "https://gitlab.com"}',
    "nan": b'{"iss": "https://gitlab.example.com", "exp": NaN}',
    "infinity": b'{"iss": "https://gitlab.example.com", "exp": Infinity}',
    "overflow": b'{"iss": "https://gitlab.example.com", "exp": 1e999}',
    "digits": b'{"iss": "https://gitlab.example.com", "exp": ' + b"9" * 5000 + b"}",
    "deep": b'{"iss": "https://gitlab.example.com", "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "latin-1": b'{"iss": "\xe9"}',
    "overlong-utf-8": b'{"iss": "\xc0\xaf"}',
    "trailing": b'{"iss": "https://gitlab.example.com"} x',
}


@pytest.mark.parametrize("payload", STRANGE.values(), ids=[f"A08-{name}" for name in STRANGE])
async def test_a08_jwt_that_troubles_a_decoder(house: World, payload: bytes) -> None:
    token = f"{segment(HEADER)}.{segment(payload)}.AAAA"
    assert refused(await house.mint(token), "invalid-payload", token) == "malformed JWT"


async def test_a08_jwt_that_is_too_long(house: World) -> None:
    token = house.identity_token(SELF_HOSTED, padding="x" * 16_384)
    assert refused(await house.mint(token), "invalid-payload", token) == "malformed JWT"
    nearly = house.identity_token(SELF_HOSTED, padding="x" * 9_000)
    assert (await house.mint(nearly)).status == 200


async def test_a09_unknown_issuer_is_never_asked(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    network = Network(signers)
    async with running_world(tmp_path, signers, keys=network) as world:
        await world.registry("acme")
        await world.issuer("acme", SELF_HOSTED)
        await world.registry("quiet", host_mint=False)
        await world.issuer("quiet", GITHUB)
        for path, token in (
            (MINT, world.identity_token(GITLAB)),
            # Trusted by a registry that takes no part in the host-wide exchange, or by another registry.
            (MINT, world.identity_token(GITHUB)),
            ("/acme/_/oidc/mint-token", world.identity_token(GITHUB, ACME)),
            (MINT, f"{segment(HEADER)}.{segment({'iss': 'file:///etc/passwd'})}.AAAA"),
            (MINT, f"{segment(HEADER)}.{segment({'iss': 'https://x/' + chr(13) + chr(10) + 'Evil: 1'})}.AAAA"),
            (MINT, f"{segment(HEADER)}.{segment({'iss': chr(0xD800) + chr(0x202E)})}.AAAA"),
        ):
            answer = await world.mint(token, path)
            assert refused(answer, "invalid-payload", token).startswith("unknown trusted publishing issuer")
        assert network.asked == []


async def test_a10_provider_switched_off(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme")
        await world.issuer("acme", GITHUB, enabled=False)
        await world.issuer("acme", SELF_HOSTED, enabled=False)
        await world.registry("off", trusted_publishing=False)
        await world.issuer("off", GITHUB)
        token = world.identity_token(GITHUB)
        detail = "github trusted publishing functionality not enabled"
        assert refused(await world.mint(token), "not-enabled", token) == detail
        token = world.identity_token(GITHUB, "mintmark_localhost_off")
        assert refused(await world.mint(token, "/off/_/oidc/mint-token"), "not-enabled", token) == detail
        # A custom issuer of that kind as well.
        token = world.identity_token(SELF_HOSTED)
        detail = "gitlab trusted publishing functionality not enabled"
        assert refused(await world.mint(token), "not-enabled", token) == detail


@pytest.mark.parametrize("extra", [{"x": 1}, {"features": [], "x": {"y": [1]}}, {"": None}], ids=str)
async def test_a11_unknown_keys_are_ignored(house: World, extra: dict[str, object]) -> None:
    assert (await house.mint(house.identity_token(), extra=extra)).status == 200


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", "\xff"]
)
async def test_a12_any_content_type(house: World, content_type: str) -> None:
    answer = await house.mint(house.identity_token(), headers={"Content-Type": content_type})
    assert answer.status == 200, answer.body


@ISSUERS
async def test_a13_path_of_2023_takes_every_provider(house: World, url: str) -> None:
    path = "/_/oidc/github/mint-token"
    assert (await house.mint(house.identity_token(url), path)).status == 200
    token = house.identity_token(url, "another")
    refused(await house.mint(token, path), "invalid-token", token)


FEATURES: dict[str, object] = {
    "both": ["multi-use-token", "single-use-token"],
    "unknown": ["eternal-token"],
    "known-and-unknown": ["single-use-token", "eternal-token"],
    "string": "single-use-token",
    "null": None,
    "object": {},
    "false": False,
    "number-inside": ["single-use-token", 1],
    "nested": [["single-use-token"]],
    "other-case": ["Single-Use-Token"],
    "empty-name": [""],
}


@pytest.mark.parametrize("features", FEATURES.values(), ids=list(FEATURES))
async def test_features_that_cannot_be(house: World, features: object) -> None:
    token = house.identity_token()
    refused(await house.mint(token, extra={"features": features}), "invalid-features", token)
    # Nothing is spent.
    assert (await house.mint(token)).status == 200


@pytest.mark.parametrize(
    ("features", "single"),
    [
        ([], False),
        (["multi-use-token"], False),
        (["multi-use-token", "multi-use-token"], False),
        (["single-use-token"], True),
    ],
    ids=["empty", "multi", "multi-twice", "single"],
)
async def test_features(house: World, features: list[str], single: bool) -> None:
    answer = await house.mint(house.identity_token(), extra={"features": features})
    assert (answer.status, answer.json["scope"]["single-use"]) == (200, single)


@pytest.mark.parametrize("path", [MINT, "/acme/_/oidc/mint-token", "/_/oidc/github/mint-token"])
async def test_mint_answers_post_only(house: World, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await house.request(method, path)
        refused(answer, "method-not-allowed")
        assert answer.headers["Allow"] == "POST"
