"""The outermost layer: hosts, proxies, probes, the page of error codes, and any request at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mintmark.core.codes import CODES
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import answer_of, head, raw, refused
from support.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORWARDED = "X-Forwarded-For"


# -- hosts ------------------------------------------------------------------------------------------------------------

HOSTS = [
    "evil.example", "evil.example:80", "", "127.0.0.1", "localhost.", "localhost.evil.example", "xlocalhost", "[::1]",
    "localhost@evil.example", "local%68ost", "\xff", " ", "localhost evil.example", "[localhost", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: repr(host[:30]))
async def test_unknown_host(house: World, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/open/simple/"), ("POST", "/_/oidc/mint-token"), ("GET", "/-/errors")):
        answer = answer_of(await raw(house, head(house, method, path, "Content-Length: 0", host=host or " ")))
        if answer.status != 400:
            refused(answer, "misdirected-request")
            assert answer.json["type"].startswith(house.index.settings.base_url)
            assert "evil" not in answer.body.decode()


async def test_no_host_and_two_hosts(house: World) -> None:
    answer = answer_of(await raw(house, b"GET /open/simple/ HTTP/1.0\r\n\r\n"))
    refused(answer, "misdirected-request")
    twice = head(house, "GET", "/open/simple/", "Host: evil.example")
    assert answer_of(await raw(house, twice)).status == 400


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost", "localhost:1", "localhost:443"])
async def test_known_host(house: World, host: str) -> None:
    assert answer_of(await raw(house, head(house, "GET", "/open/simple/", host=host))).status == 200


async def test_urls_never_come_from_the_request(house: World) -> None:
    fields = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example;proto=https")
    path = "/.well-known/pytp?discover=%2Facme%2Flegacy%2F"
    answer = answer_of(await raw(house, head(house, "GET", path, *fields, host="localhost:7")))
    assert answer.json["audience-endpoint"].startswith(house.index.settings.base_url + "/acme/")
    answer = answer_of(await raw(house, head(house, "GET", "/open/simple/Wid.get", *fields, host="localhost:7")))
    assert answer.headers["Location"] == "/open/simple/wid-get/"
    # A target with a host of its own does not count either.
    answer = answer_of(await raw(house, head(house, "GET", "http://evil.example/open/simple/Wid.get")))
    assert answer.headers["Location"] == "/open/simple/wid-get/"


# -- operations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "10.0.0.7:8080", "evil.example"])
async def test_probes_answer_under_every_name(house: World, host: str) -> None:
    for path, status in (("/-/health", "ok"), ("/-/ready", "ready")):
        answer = answer_of(await raw(house, head(house, "GET", path, host=host)))
        assert (answer.status, answer.json) == (200, {"status": status})
    metrics = answer_of(await raw(house, head(house, "GET", "/-/metrics", host=host)))
    assert metrics.status == 200
    assert b"mintmark_minted_total" in metrics.body
    refused(answer_of(await raw(house, head(house, "GET", "/-/nothing", host=host))), "not-found")


async def test_ready_needs_the_ledger(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        assert (await world.get("/-/ready")).status == 200
        refused(await world.request("POST", "/-/ready"), "method-not-allowed")


async def test_page_of_error_codes(house: World) -> None:
    """Every problem's `type` leads there."""
    answer = await house.get("/-/errors")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    html = answer.body.decode()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert anchors == list(CODES)
    assert len(re.findall(r'\bid="', html)) == len(set(re.findall(r'\bid="([^"]+)"', html)))
    for code in CODES.values():
        assert f"HTTP {code.status}" in html
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert "<script" not in html
    front = await house.get("/")
    assert (front.status, front.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


# -- proxies ----------------------------------------------------------------------------------------------------------

PROXIED: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"], "mints_per_address_per_minute": 1}
SPOOFS = {
    "appended": (f"{FORWARDED}: 203.0.113.1, 198.51.100.9",),
    "two-lines": (f"{FORWARDED}: 203.0.113.1", f"{FORWARDED}: 198.51.100.9"),
    "through-two-proxies": (f"{FORWARDED}: 203.0.113.1, 198.51.100.9, 10.0.0.7",),
    "without-spaces": (f"{FORWARDED}: 203.0.113.1,198.51.100.9",),
}


@pytest.mark.parametrize("fields", SPOOFS.values(), ids=list(SPOOFS))
async def test_what_a_client_says_itself_never_counts(
    tmp_path: Path, signers: Mapping[str, Signer], fields: tuple[str, ...]
) -> None:
    """The last address that no trusted proxy added is the client's, in one header line or several."""
    async with running_world(tmp_path, signers, **PROXIED) as world:

        async def mint(*lines: str) -> str:
            body = b'{"token": "x"}'
            request = head(world, "POST", "/_/oidc/mint-token", *lines, f"Content-Length: {len(body)}")
            return answer_of(await raw(world, request + body)).code

        codes = []
        for address in ("203.0.113.1", "203.0.113.2", "127.0.0.1"):
            spoofed = [field.replace("203.0.113.1", address) for field in fields]
            codes.append(await mint(*spoofed))
            refused(answer_of(await raw(world, head(world, "GET", "/-/metrics", *spoofed))), "not-found")
        assert codes == ["invalid-payload", "rate-limited", "rate-limited"]
        assert await mint(*(field.replace("198.51.100.9", "198.51.100.10") for field in fields)) == "invalid-payload"


async def test_without_proxies_the_header_means_nothing(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, mints_per_address_per_minute=2) as world:
        for number in range(4):
            answer = await world.mint("x", headers={FORWARDED: f"203.0.113.{number}"})
            refused(answer, "invalid-payload" if number < 2 else "rate-limited")
        assert (await world.get("/-/metrics", headers={FORWARDED: "203.0.113.1"})).status == 200


async def test_addresses_of_one_network_are_one_client(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """Whoever has an IPv6 address has 2**64 of them."""
    async with running_world(tmp_path, signers, **PROXIED) as world:
        codes = []
        one_network = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2")
        for address in (*one_network, "2001:db8:1:3::1", "::ffff:198.51.100.9", "198.51.100.9"):
            codes.append((await world.mint("x", headers={FORWARDED: address})).code)
        assert codes == ["invalid-payload", "rate-limited", "invalid-payload", "invalid-payload", "rate-limited"]


@pytest.mark.parametrize("value", ["", ",", "unknown", "x" * 5000, "203.0.113.1, ", "127.0.0.1, 10.0.0.1", "\xff"])
async def test_strange_forwarded_addresses(tmp_path: Path, signers: Mapping[str, Signer], value: str) -> None:
    async with running_world(tmp_path, signers, **PROXIED) as world:
        answer = answer_of(await raw(world, head(world, "POST", "/_/oidc/mint-token", f"{FORWARDED}: {value}")))
        refused(answer, "invalid-payload")


async def test_plain_http_is_for_the_proxies_only(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ["10.0.0.0/8"], "base_url": "https://pkgs.example.com"}
    async with running_world(tmp_path, signers, **settings) as world:
        await world.registry("open", private=False)
        for host in ("pkgs.example.com", "localhost"):
            for fields in ((), (f"{FORWARDED}: 10.0.0.1",)):
                answer = answer_of(await raw(world, head(world, "GET", "/open/simple/", *fields, host=host)))
                assert refused(answer, "misdirected-request") == "This server is reached through its proxy only."
        assert (await world.get("/-/health")).status == 200


async def test_behind_a_proxy_urls_are_the_public_ones(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"], "base_url": "https://pkgs.example.com"}
    async with running_world(tmp_path, signers, **settings) as world:
        await world.registry("acme")
        await world.issuer()
        headers = {"Host": "pkgs.example.com"}
        found = await world.get("/.well-known/pytp?discover=%2Facme%2Flegacy%2F", headers=headers)
        assert found.json["token-mint-endpoint"] == "https://pkgs.example.com/acme/_/oidc/mint-token"
        answer = await world.get("/acme/simple/", headers=headers)
        assert answer.json["type"] == "https://pkgs.example.com/-/errors#credential-required"
        refused(answer, "credential-required")


# -- any request ------------------------------------------------------------------------------------------------------

TARGETS = [
    "*", "/*", "//", "///", "/.", "/..", "/../..", "/%", "/%2", "/%00", "/%2e%2e/%2e%2e/etc/passwd", "/\\..\\..", "/;",
    "/acme", "/acme/", "/acme/legacy/x", "/acme/_/oidc/", "/acme/_/oidc/mint-token/", "/_/oidc/", "/_/", "/-/", "/-",
    "/static/x", "/api/", "/simple/", "/legacy/", "/files/", "/integrity/", "/.well-known/", "/.well-known/pytp/",
    "/acme/integrity/widget/1.0/x/provenance", "/" + "a/" * 2000, "/" + "%41" * 2000, "/favicon.ico", "/robots.txt",
    "/acme/_%2Foidc%2Faudience", "/_%2foidc/audience", "/acme%2Fsimple%2F", "/%61cme/nothing", "/ACME/simple/",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
async def test_targets_and_methods(house: World, method: str) -> None:
    for target in TARGETS:
        received = await raw(house, head(house, method, target, "Content-Length: 0"))
        answer = answer_of(received)
        assert 400 <= answer.status < 500, (target, answer)
        if answer.status != 400 and method != "HEAD":
            refused(answer, answer.json["errors"][0]["code"])


async def test_a_bug_while_reading(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """What nobody thought of: somebody else's rights on a file of the data directory."""
    async with running_world(tmp_path, signers) as world:
        await world.registry("open", private=False)
        assert (await world.upload(await world.token("open"), wheel(), "open")).status == 200
        filename, data = wheel()
        digest = hashlib.sha256(data).hexdigest()
        blob = world.index.directory_path / "blobs" / digest[:2] / digest
        blob.unlink()
        blob.mkdir()
        answer = await world.get(f"/open/files/{digest[:2]}/{digest}/{filename}")
        refused(answer, "internal-error")
        assert set(answer.json) == {"incident", "type", "title", "status", "detail", "message", "errors"}
        assert re.fullmatch(r"[0-9a-f]{12}", answer.json["incident"])
        assert str(tmp_path) not in answer.body.decode()
        assert "Error" not in answer.body.decode().replace("Internal error", "")


async def test_many_requests_on_one_connection(house: World) -> None:
    """A refusal leaves the connection as usable as an answer does."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for number in range(30):
            path = ("/open/simple/", "/open/simple/nothing/", "/acme/simple/", "/-/health")[number % 4]
            async with session.get(house.url + path, headers={"Host": "localhost"}) as response:
                assert response.status == (200, 404, 401, 200)[number % 4]
                await response.read()
