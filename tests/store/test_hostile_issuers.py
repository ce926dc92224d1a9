"""Issuers that want something else than to be verified: to send the server elsewhere, or to keep it busy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence

import issuer_stub as stubs
import pytest
import pytest_asyncio
from aiohttp import web
from issuer_stub import DISCOVERY, IssuerStub, World, key_set, kids, source_of
from joserfc.jwk import RSAKey

from mintmark.core.jwks import JWKS_MAX_KEYS, SAME_KID_MAX
from mintmark.core.jwt import BadSignature, TokenRules, read, verify
from mintmark.service.ports import KeySource
from mintmark.store.address_guard import ForbiddenAddress
from mintmark.store.issuer_http import IssuerHttp
from support.tokens import AUDIENCE, CLAIMS, NOW, segment

INSIDE = ("169.254.169.254", "10.0.0.1", "127.0.0.2", "::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe")
ONLY = ("127.0.0.1/32",)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        yield World(stack)


class Names:
    """A name server in the hands of the issuer: one answer after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def lookup(self, host: str, _port: int, _family: int) -> list[str]:
        self.asked.append(host)
        return list(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def closing(body: bytes) -> stubs.Handler:
    """An answer after which the connection ends, so that the next request needs a new one."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Connection": "close"})

    return handler


async def named(world: World, name: str = "issuer.example") -> tuple[IssuerStub, KeySource]:
    """An issuer under a name that only its own name server knows."""
    issuer = await world.issuer()
    issuer.url = issuer.url.replace("127.0.0.1", name)
    issuer.describe()
    return issuer, KeySource(issuer.url, networks=ONLY, allow_http=True)


# -- names that change what they mean ---------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", INSIDE)
async def test_a_name_that_moves_inside_between_two_requests(world: World, inside: str) -> None:
    issuer, source = await named(world)
    document = issuer.answers[DISCOVERY]
    assert isinstance(document, bytes)
    issuer.answers[DISCOVERY] = closing(document)
    names = Names(["127.0.0.1"], [inside])
    with pytest.raises(ForbiddenAddress):
        await IssuerHttp(lookup=names.lookup).fetch_keys(source)
    assert names.asked == ["issuer.example"] * 2
    assert issuer.asked == {DISCOVERY: 1}


@pytest.mark.parametrize("inside", INSIDE)
async def test_a_name_that_moves_inside_for_a_redirect(world: World, inside: str) -> None:
    issuer, source = await named(world)

    async def moved(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere", "Connection": "close"})

    issuer.answers["/jwks"], issuer.answers["/elsewhere"] = moved, key_set("one")
    names = Names(["127.0.0.1"], [inside])
    with pytest.raises(ForbiddenAddress):
        # Discovery and key set share a connection; the redirect needs a new one.
        await IssuerHttp(lookup=names.lookup).fetch_keys(source)
    assert issuer.asked == {DISCOVERY: 1, "/jwks": 1}


@pytest.mark.parametrize("inside", INSIDE)
async def test_a_name_that_means_inside_and_outside(world: World, inside: str) -> None:
    issuer, source = await named(world)
    with pytest.raises(ForbiddenAddress):
        await IssuerHttp(lookup=Names(["127.0.0.1", inside]).lookup).fetch_keys(source)
    assert not issuer.asked


async def test_the_checked_address_is_the_one_that_is_asked(world: World) -> None:
    """A name is looked up once for a connection: between the check and the connection nothing can change."""
    issuer, source = await named(world)
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert b"one" in await IssuerHttp(lookup=names.lookup).fetch_keys(source)
    assert names.asked == ["issuer.example"]
    assert issuer.asked == {DISCOVERY: 1, "/jwks": 1}


async def test_key_sets_on_another_name_are_looked_up_as_well(world: World) -> None:
    issuer, source = await named(world)
    issuer.describe(jwks_uri=issuer.url.replace("issuer.example", "metadata.example") + "/jwks")
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    with pytest.raises(ForbiddenAddress):
        await IssuerHttp(lookup=names.lookup).fetch_keys(source)
    assert names.asked == ["issuer.example", "metadata.example"]
    assert issuer.asked == {DISCOVERY: 1}


# -- work for nothing -------------------------------------------------------------------------------------------------


async def test_another_key_under_the_same_kid_each_time(world: World) -> None:
    """Every token with a bad signature asks for newer keys; the issuer is asked once a minute all the same."""
    issuer = await world.issuer()
    keys, source = world.keys(), source_of(issuer)
    known = await keys.current(source)
    for minute in range(1, 4):
        world.clock.seconds += 60
        issuer.serve_keys(key_set("one"))
        found = await asyncio.gather(*(keys.newer(source, known) for _ in range(100)))
        assert len(set(map(id, found))) == 1
        assert found[0] is not known
        assert await keys.newer(source, found[0]) is found[0], "the cooldown holds"
        assert issuer.fetches == minute + 1
        known = found[0]


async def test_a_key_set_full_of_keys_under_one_kid(world: World) -> None:
    """Each of them could have signed. Only a few are tried, so that refusing a forged token stays cheap."""
    issuer = await world.issuer()
    key = {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "one"}
    issuer.serve_keys(json.dumps({"keys": [key] * JWKS_MAX_KEYS}).encode())
    found = await world.keys().current(source_of(issuer))
    assert kids(found) == ["one"] * SAME_KID_MAX
    token = read(f"{segment({'alg': 'RS256', 'kid': 'one'})}.{segment(CLAIMS)}.{segment(bytes(256))}")
    with pytest.raises(BadSignature):
        verify(token, found, TokenRules(frozenset({"RS256"}), 3600), AUDIENCE, NOW)


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
@pytest.mark.parametrize("answer", [stubs.drip, stubs.hang, stubs.endless, stubs.compressed("gzip")])
async def test_a_hostile_issuer_keeps_no_other_waiting(world: World, path: str, answer: stubs.Handler) -> None:
    bad, good = await world.issuer(), await world.issuer()
    bad.answers[path] = answer
    keys = world.keys()
    waiting = asyncio.create_task(keys.current(source_of(bad)))
    assert kids(await keys.current(source_of(good))) == ["one"]
    waiting.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await waiting
    assert good.asked == {DISCOVERY: 1, "/jwks": 1}
