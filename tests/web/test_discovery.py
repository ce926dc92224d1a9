"""Discovery (PEP 807): which keys name an upload URL, and that every other one gets the same answer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from mintmark.core.records import OPERATOR
from support.wire import PROBLEM, PYTP, Room, answer_of, head, raw, refused
from support.world import Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/.well-known/pytp?discover="


async def discover(house: World, key: str, **more: object) -> Answer:
    """The raw key, which no client library may encode again: sent on a connection of its own."""
    fields = [f"{name}: {value}" for name, value in more.items()]
    return answer_of(await raw(house, head(house, "GET", URL + key, *fields)))


@pytest.mark.parametrize("slug", ["acme", "open"])
@pytest.mark.parametrize("slash", ["", "%2F", "/"], ids=["no-slash", "slash", "plain-slash"])
async def test_upload_url_with_and_without_slash(house: World, slug: str, slash: str) -> None:
    base = f"{house.index.settings.base_url}/{slug}"
    answer = await discover(house, f"%2F{slug}%2Flegacy{slash}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {
        "audience-endpoint": f"{base}/_/oidc/audience",
        "token-mint-endpoint": f"{base}/_/oidc/mint-token",
        "token-burn-endpoint": f"{base}/_/oidc/burn-token",
        "features": ["multi-use-token", "single-use-token"],
        "default-features": ["multi-use-token"],
    }


async def test_lower_case_escapes_and_other_parameters(house: World) -> None:
    for query in ("%2facme%2flegacy%2f", "%2Facme%2Flegacy%2F&x=1", "%2F%61cme%2Flegacy"):
        assert (await discover(house, query)).status == 200
    answer = await house.get("/.well-known/pytp?x=1&discover=%2Facme%2Flegacy%2F")
    assert answer.status == 200


WRONG = {
    "unknown": "%2Fnothing%2Flegacy%2F",
    "without-issuers": "%2Fplain%2Flegacy%2F",
    "empty": "",
    "root": "%2F",
    "relative": "acme%2Flegacy%2F",
    "no-upload-url": "%2Facme%2Fsimple%2F",
    "registry-only": "%2Facme%2F",
    "deeper": "%2Facme%2Flegacy%2Fx",
    "below": "%2Fx%2Facme%2Flegacy",
    "own-host-path": "%2Flegacy%2F",
    "double-slash": "%2F%2Facme%2Flegacy%2F",
    "double-slash-inside": "%2Facme%2F%2Flegacy%2F",
    "double-slash-at-end": "%2Facme%2Flegacy%2F%2F",
    "dot": "%2F.%2Facme%2Flegacy%2F",
    "dots": "%2Fx%2F..%2Facme%2Flegacy%2F",
    "dot-inside": "%2Facme%2F.%2Flegacy%2F",
    "double-encoding": "%252Facme%252Flegacy%252F",
    "encoded-dots": "%2F%252e%252e%2Facme%2Flegacy%2F",
    "half-double": "%2Facme%252Flegacy%2F",
    "broken-escape": "%2Facme%2Flegacy%2",
    "broken-escape-hex": "%2Facme%2Flegacy%2G",
    "capitals": "%2FACME%2Flegacy%2F",
    "query-inside": "%2Facme%2Flegacy%2F%3Fx",
    "fragment-inside": "%2Facme%2Flegacy%2F%23x",
    "backslash": "%5Cacme%5Clegacy%5C",
    "nul": "%2Facme%2Flegacy%2F%00",
    "newline": "%2Facme%2Flegacy%2F%0D%0AX: 1".replace(" ", "%20"),
    "not-utf-8": "%2Fa%FFcme%2Flegacy%2F",
    "not-ascii": "%2Fa%C3%A9cme%2Flegacy%2F",
    "whole-url": "http%3A%2F%2Flocalhost%2Facme%2Flegacy%2F",
    "plus": "%2Facme%2Flegacy%2F+",
    "twice": "%2Facme%2Flegacy%2F&discover=%2Facme%2Flegacy%2F",
    "twice-different": "%2Facme%2Flegacy%2F&discover=%2Fopen%2Flegacy%2F",
    "long": "%2F" + "a" * 600 + "%2Flegacy%2F",
}


@pytest.mark.parametrize("key", WRONG.values(), ids=list(WRONG))
async def test_everything_else_gets_the_same_answer(house: World, key: str) -> None:
    reference = await discover(house, "%2Fno-such-registry%2Flegacy%2F")
    answer = await discover(house, key)
    refused(answer, "not-found")
    assert (answer.body, answer.reason) == (reference.body, reference.reason)
    assert {name: value for name, value in answer.headers.items() if name != "Date"} == {
        name: value for name, value in reference.headers.items() if name != "Date"
    }


@pytest.mark.parametrize(
    "query", ["", "?", "?discover", "?Discover=%2Facme%2Flegacy%2F", "?%64iscover=%2Facme%2Flegacy"]
)
async def test_missing_key(house: World, query: str) -> None:
    answer = answer_of(await raw(house, head(house, "GET", "/.well-known/pytp" + query)))
    refused(answer, "not-found")
    assert answer.body == (await discover(house, "%2Fno-such-registry%2Flegacy%2F")).body


async def test_registry_that_stops_exchanging_looks_like_none(room: Room) -> None:
    house, key = room.world, f"%2F{room.slug}%2Flegacy%2F"
    reference = (await discover(house, "%2Fno-such-registry%2Flegacy%2F")).body
    assert (await discover(house, key)).status == 200
    for name in ("enabled", "trusted_publishing"):
        await room.change(**{name: False})
        assert (await discover(house, key)).body == reference
        await room.change(**{name: True})
        assert (await discover(house, key)).status == 200
    for name in ("gitlab", "github"):
        await house.index.trust.change_issuer(room.slug, name, lambda it: replace(it, enabled=False), OPERATOR)
    assert (await discover(house, key)).body == reference


# -- content negotiation of the exchange ------------------------------------------------------------------------------

TAKEN = [
    None, "*/*", "application/*", "application/json", PROBLEM, PYTP, f"text/html, {PYTP};q=0.5", "text/html, */*;q=0.1",
    "application/json;q=0.001", "APPLICATION/JSON", "nonsense",
]  # fmt: skip
NOT_TAKEN = ["text/html", "text/*", "application/xml", "application/json;q=0", "*/*;q=0", "text/html, */*;q=0.0"]
ROUTES = {
    "discovery": ("GET", "/.well-known/pytp?discover=%2Facme%2Flegacy%2F", 200),
    "audience": ("GET", "/acme/_/oidc/audience", 200),
    "mint": ("POST", "/acme/_/oidc/mint-token", 422),
    "burn": ("POST", "/acme/_/oidc/burn-token", 422),
    "host-audience": ("GET", "/_/oidc/audience", 200),
    "host-mint": ("POST", "/_/oidc/mint-token", 422),
    "host-github": ("POST", "/_/oidc/github/mint-token", 422),
    "host-burn": ("POST", "/_/oidc/burn-token", 422),
}


@pytest.mark.parametrize(("method", "path", "status"), ROUTES.values(), ids=list(ROUTES))
async def test_accept(house: World, method: str, path: str, status: int) -> None:
    for accept in TAKEN:
        answer = await house.request(method, path, headers={} if accept is None else {"Accept": accept})
        assert answer.status == status, accept
    for accept in NOT_TAKEN:
        answer = await house.request(method, path, headers={"Accept": accept})
        if path.startswith("/_/oidc"):
            assert answer.status == status, accept
        else:
            refused(answer, "not-acceptable")


PROBLEM_WANTED = [None, PYTP, PROBLEM, f"{PYTP}, application/json;q=0.5", "nonsense"]
JSON_WANTED = ["*/*", "application/json", "application/*", "application/json, text/plain;q=0.5", "text/html"]
FAILURES = {
    "404-discovery": ("GET", "/.well-known/pytp?discover=x", "not-found"),
    "404-registry": ("GET", "/nothing/_/oidc/audience", "not-found"),
    "404-route": ("GET", "/acme/_/oidc/nothing", "not-found"),
    "403": ("GET", "/plain/_/oidc/audience", "exchange-disabled"),
    "405": ("POST", "/acme/_/oidc/audience", "method-not-allowed"),
    "405-mint": ("GET", "/_/oidc/mint-token", "method-not-allowed"),
    "422": ("POST", "/_/oidc/mint-token", "invalid-payload"),
    "422-burn": ("POST", "/_/oidc/burn-token", "invalid-payload"),
}


@pytest.mark.parametrize(("method", "path", "code"), FAILURES.values(), ids=list(FAILURES))
async def test_content_type_of_failures(house: World, method: str, path: str, code: str) -> None:
    """Exactly `application/json` for today's clients: uv compares the whole header."""
    pairs = itertools.chain(((a, PROBLEM) for a in PROBLEM_WANTED), ((a, "application/json") for a in JSON_WANTED))
    for accept, expected in pairs:
        if accept == "text/html" and not path.startswith("/_/oidc") and code != "method-not-allowed":
            continue
        answer = await house.request(method, path, headers={} if accept is None else {"Accept": accept})
        refused(answer, code)
        assert answer.headers["Content-Type"] == expected, accept
        minting = path.endswith("mint-token")
        assert answer.json["message"] == ("Token request failed" if minting else answer.description)


async def test_not_acceptable_is_said_in_json(house: World) -> None:
    answer = await house.get("/acme/_/oidc/audience", headers={"Accept": "text/html"})
    refused(answer, "not-acceptable")
    assert answer.headers["Content-Type"] == "application/json"
