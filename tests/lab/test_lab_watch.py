"""The middleware of the lab's servers: what it tells the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from mintmark.lab.redaction import digest_shown
from mintmark.lab.watch import CI, FAULT, NOTE, PEEK_MAX_BYTES, RESPONSE_BYTES
from support.watched import IDENTITY, PATIENCE_SECONDS, SECRET, TOKEN, WatchedServer, basic, nobody_is_left


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WatchedServer]:
    started = WatchedServer()
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


@pytest_asyncio.fixture
async def client(server: WatchedServer) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", timeout=timeout) as session:
        yield session


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_a_request_is_told_before_its_answer_is_there(
    server: WatchedServer, client: aiohttp.ClientSession
) -> None:
    headers = {
        "User-Agent": "uv/1",
        "Accept": "*/*",
        "Content-Type": "text/x",
        "X-Ci": "gitlab",
        "Authorization": basic("__token__", SECRET),
    }
    url = f"/upload/legacy/?token={SECRET}&a=b"
    async with client.post(url, data=b"12345", headers=headers) as answer:
        [entry] = server.journal.after()
        assert answer.status == 200
    assert (entry.server, entry.action, entry.method, entry.ci) == ("index", "upload", "POST", "gitlab")
    assert (entry.host, entry.path) == (f"127.0.0.1:{server.port}", "/upload/legacy/?token=***&a=b")
    assert (entry.user_agent, entry.accept, entry.content_type) == ("uv/1", "*/*", "text/x")
    assert entry.credential == "basic __token__ " + digest_shown(SECRET)
    assert (entry.status, entry.reason, entry.request_bytes, entry.response_bytes) == (200, "OK", 5, 12)
    assert (entry.fault, entry.identity, entry.note) == (None, None, "")
    assert entry.milliseconds >= 0


async def test_control_is_nobodys_business(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    server.faults.set("index-slow")
    async with client.get("/control") as answer:
        assert answer.status == 200
    assert server.journal.after() == []
    assert len(server.faults.listing()) == 1


async def test_head_has_no_body(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async with client.head("/page"):
        assert server.journal.after()[0].response_bytes == 0


async def test_the_identity_of_a_mint_request_is_told(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async with client.post("/mint", json={"token": TOKEN}):
        [entry] = server.journal.after()
    assert entry.identity == IDENTITY
    assert entry.credential is None
    assert [json.loads(body) for body in server.handled] == [{"token": TOKEN}]


async def test_a_chunked_mint_request_is_told_as_well(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"token": "'
        yield TOKEN.encode() + b'"}'

    async with client.post("/mint", data=chunks()):
        assert server.journal.after()[0].identity == IDENTITY
    assert [json.loads(body) for body in server.handled] == [{"token": TOKEN}]


async def test_a_burned_credential_can_be_compared_with_the_upload(
    server: WatchedServer, client: aiohttp.ClientSession
) -> None:
    async with client.post("/burn", json={"token": SECRET}):
        [entry] = server.journal.after()
    assert entry.credential == "token " + digest_shown(SECRET)
    assert entry.identity is None


@pytest.mark.parametrize("body", [b"", b"{", b'{"token": 5}', b"[]", b"x" * (PEEK_MAX_BYTES + 1)])
async def test_other_bodies_reach_the_handler_all_the_same(
    server: WatchedServer, client: aiohttp.ClientSession, body: bytes
) -> None:
    async with client.post("/mint", data=body):
        [entry] = server.journal.after()
    assert (entry.identity, entry.request_bytes) == (None, len(body))
    assert server.handled == [body]


async def test_an_upload_is_never_held(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    arrived = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        first = await request.content.readany()
        arrived.set()
        return web.json_response(len(first) + len(await request.read()))

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        # Comes only once the handler has the first part.
        await arrived.wait()
        yield b"second"

    server.handle = handle
    async with client.post("/upload", data=body()) as answer:
        assert await answer.json() == 11
        assert server.journal.after()[0].request_bytes == 11


async def test_what_handlers_say_is_told(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        request[NOTE], request[FAULT], request[CI] = "Hello.", "keys-empty", "github"
        return web.Response()

    server.handle = handle
    async with client.get("/keys"):
        [entry] = server.journal.after()
    assert (entry.note, entry.fault, entry.ci) == ("Hello.", "keys-empty", "github")


async def test_refusals_and_bugs_are_told(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound(text="nothing")

    async def fail(_request: web.Request) -> web.StreamResponse:
        raise ValueError(SECRET)

    for server.handle in (refuse, fail):
        async with client.get("/page"):
            pass
    refused, failed = server.journal.after()
    assert (refused.status, refused.reason, refused.response_bytes) == (404, "Not Found", 7)
    assert (failed.status, failed.note) == (500, "The lab failed: ValueError.")


async def test_a_streamed_answer_is_counted(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"x" * 1000)
        request[RESPONSE_BYTES] = 1000
        return answer

    server.handle = handle
    async with client.get("/file") as answer:
        assert len(await answer.read()) == 1000
    assert (await server.journal.next()).response_bytes == 1000


# -- clients that leave -----------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_mid_body_is_told(server: WatchedServer) -> None:
    async with server.connection("POST /upload", b"12345", length=100) as (_, writer):
        await writer.drain()
    entry = await server.journal.next()
    assert (entry.status, entry.action) == (None, "upload")
    assert entry.note == "The client went away before the answer was complete."


async def test_a_client_that_leaves_before_the_answer_is_told(server: WatchedServer) -> None:
    started, gone = asyncio.Event(), asyncio.Event()

    async def handle(_request: web.Request) -> web.StreamResponse:
        started.set()
        await gone.wait()
        return web.Response()

    server.handle = handle
    async with server.connection("GET /page"):
        await asyncio.wait_for(started.wait(), PATIENCE_SECONDS)
    await nobody_is_left(server)
    gone.set()
    entry = await server.journal.next()
    assert (entry.status, entry.note) == (None, "The client went away before it was answered.")


async def test_a_server_that_stops_tells_what_it_breaks_off(server: WatchedServer) -> None:
    started = asyncio.Event()

    async def handle(_request: web.Request) -> web.StreamResponse:
        started.set()
        await asyncio.Event().wait()
        return web.Response()

    server.handle = handle
    async with server.connection("GET /page"):
        await asyncio.wait_for(started.wait(), PATIENCE_SECONDS)
        await server.stop()
    entry = await server.journal.next()
    assert entry.status is None
    assert "the lab was stopped" in entry.note


async def test_nothing_secret_of_a_request_is_told(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    hidden = [SECRET, TOKEN, basic("user", SECRET).partition(" ")[2]]
    headers = {"X-Lab-Secret": SECRET, "Cookie": f"a={SECRET}", "Proxy-Authorization": f"Bearer {SECRET}"}
    for authorization in (f"Bearer {SECRET}", SECRET, basic("user", SECRET), f"Bearer {TOKEN}"):
        for action in ("mint", "burn", "upload"):
            for fault in (None, "index-slow"):
                if fault:
                    server.faults.set(fault)
                data = {"token": TOKEN if action == "mint" else SECRET, "password": SECRET}
                url = f"/{action}?password={SECRET}&next={TOKEN}"
                async with client.post(url, json=data, headers={"Authorization": authorization, **headers}):
                    pass
    text = json.dumps([entry.facts() for entry in server.journal.after()])
    assert len(server.journal.after()) == 24
    assert not [each for each in hidden if each in text]
