"""What faults look like to a client, and in the journal."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.lab.authority import Authority
from mintmark.lab.fault_answers import ANSWERS
from mintmark.lab.faults import FAULTS
from mintmark.lab.watch import ANSWER_IS_LOST
from mintmark.web import answers
from support.watched import IDENTITY, PATIENCE_SECONDS, TOKEN, WatchedServer, nobody_is_left, read_all


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


# -- faults that answer -----------------------------------------------------------------------------------------------

STATUSES = {name: int(name.rpartition("-")[2]) for name in ANSWERS if name[-3:].isdigit()}


@pytest.mark.parametrize("name", [name for name in ANSWERS if FAULTS[name].server == "index"])
async def test_an_answer_of_a_fault(server: WatchedServer, client: aiohttp.ClientSession, name: str) -> None:
    server.faults.set(name)
    [action] = FAULTS[name].actions
    body = json.dumps({"token": TOKEN}).encode()
    async with client.post(f"/{action}", data=body, allow_redirects=False) as answer:
        [entry] = server.journal.after()
        text = await answer.read()
    assert answer.status == entry.status == STATUSES.get(name, 200)
    assert (entry.fault, entry.request_bytes, entry.response_bytes) == (name, len(body), len(text))
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.headers.get("Retry-After") is not None) == (answer.status in {429, 503})
    assert entry.identity == (IDENTITY if action == "mint" else None)
    assert server.handled == []
    async with client.post(f"/{action}") as second:
        assert second.status == 200
    assert len(server.handled) == 1


@pytest.mark.parametrize(
    "name", [name for name, status in STATUSES.items() if status >= 400 and FAULTS[name].server == "index"]
)
async def test_refusals_have_the_form_of_the_index(
    server: WatchedServer, client: aiohttp.ClientSession, name: str
) -> None:
    server.faults.set(name, times=2)
    [action] = FAULTS[name].actions
    message = answers.MINT_FAILED if action == "mint" else ""
    real = answers.refusal(Rejected("invalid-publisher", "A sentence."), "http://host", message=message)
    for accept, content_type in (("application/problem+json", answers.PROBLEM), ("application/json", answers.JSON)):
        async with client.post(f"/{action}", headers={"Accept": accept}) as answer:
            body = await answer.json(content_type=None)
        assert answer.headers["Content-Type"] == (answers.PROBLEM if action == "upload" else content_type)
        assert isinstance(real.body, bytes)
        assert body.keys() - {"incident"} == json.loads(real.body).keys()
        assert body["status"] == answer.status
        [error] = body["errors"]
        assert error["description"] == body["detail"] == answer.reason
        assert name in error["description"]
        assert body["message"] == (message or body["detail"])


@pytest.mark.parametrize("name", ["mint-invalid-json", "issuer-malformed"])
async def test_what_is_no_json(server: WatchedServer, name: str) -> None:
    await server.stop()
    server.server = FAULTS[name].server
    await server.start()
    server.faults.set(name)
    action = "keys" if server.server == "provider" else "mint"
    async with server.connection(f"GET /{action}") as (reader, writer):
        writer.write(b"GET /control HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = (await read_all(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: application/json" in head
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(body.partition(b"HTTP/1.1")[0])


async def test_a_refused_body_is_read_to_its_end(server: WatchedServer) -> None:
    server.faults.set("upload-409")
    half = 2 * 1024 * 1024
    async with server.connection("POST /upload", b"x" * half, length=2 * half) as (reader, writer):
        await writer.drain()
        answered = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        writer.write(b"x" * half)
        await writer.drain()
        assert (await asyncio.wait_for(answered, PATIENCE_SECONDS)).startswith(b"HTTP/1.1 409 File already exists")
    assert (await server.journal.next()).request_bytes == 2 * half


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/upload/legacy/", "/upload/legacy"),
        ("/upload/legacy", "/upload/legacy/"),
        ("/upload/legacy/?a=b%2F&c", "/upload/legacy?a=b%2F&c"),
        ("/upload", "/upload/"),
    ],
)
async def test_a_redirect_comes_at_once(server: WatchedServer, asked: str, told: str) -> None:
    server.faults.set("upload-308")
    async with server.connection(f"POST {asked}", length=1000) as (reader, _):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
    assert head.startswith(b"HTTP/1.1 308 ")
    assert f"\r\nLocation: http://localhost{told}\r\n".encode() in head


# -- faults that do something -----------------------------------------------------------------------------------------


async def test_a_slow_server_answers_in_the_end(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    server.faults.set("index-slow", seconds=2.5)
    async with client.get("/json") as answer:
        assert answer.status == 200
    assert sum(server.slept) == pytest.approx(2.5)
    assert server.journal.after()[0].fault == "index-slow"
    assert len(server.handled) == 1


async def test_a_client_that_does_not_wait_is_noticed(server: WatchedServer) -> None:
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def sleep(_seconds: float) -> None:
        waiting.set()
        await gone.wait()

    server.sleep = sleep
    server.faults.set("index-slow", seconds=60)
    async with server.connection("GET /page"):
        await asyncio.wait_for(waiting.wait(), PATIENCE_SECONDS)
    await nobody_is_left(server)
    gone.set()
    entry = await server.journal.next()
    assert (entry.status, entry.fault) == (None, "index-slow")
    assert entry.note == "The client went away while the fault let it wait."
    assert server.handled == []


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("provider-down", "The fault closed the connection without an answer."),
        ("mint-timeout", "The fault closed the connection without an answer after 2 seconds."),
        ("mint-lost", "The answer was 200; the fault closed the connection before it was sent."),
        ("upload-lost", "The answer was 200; the fault closed the connection before it was sent."),
        ("upload-reset", "The fault reset the connection in the middle of the body."),
    ],
)
async def test_no_answer(authority: Authority, name: str, note: str, *, secure: bool) -> None:
    server = WatchedServer()
    server.server = FAULTS[name].server
    await server.start(authority.server_context() if secure else None)
    trusting = ssl.create_default_context(cadata=authority.ca_pem) if secure else None
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting or True))
    server.faults.set(name, seconds=2 if FAULTS[name].takes_seconds else None)
    action = min(FAULTS[name].actions)
    url = f"{'https' if secure else 'http'}://localhost:{server.port}/{action}"
    try:
        async with session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.post(url, data=b"12345678")
            entry = await server.journal.next()
            assert (entry.status, entry.fault, entry.note) == (None, name, note)
            assert len(server.handled) == name.endswith("-lost")
            assert sum(server.slept) == pytest.approx(2 if name == "mint-timeout" else 0)
            async with session.post(url) as answer:
                assert answer.status == 200
    finally:
        await server.stop()


async def test_a_lost_refusal(server: WatchedServer, client: aiohttp.ClientSession) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        assert request[ANSWER_IS_LOST]
        raise web.HTTPForbidden

    server.handle = refuse
    server.faults.set("mint-lost")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post("/mint", data=b"{}")
    assert server.journal.after()[0].note.startswith("The answer was 403;")


async def test_a_reset_comes_in_the_middle_of_the_body(server: WatchedServer) -> None:
    server.faults.set("upload-reset")
    async with server.connection("POST /upload", b"x" * 1000, length=1000) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await read_all(reader)
    entry = await server.journal.next()
    assert (entry.status, entry.fault) == (None, "upload-reset")
    assert 500 <= entry.request_bytes <= 1000
    assert server.handled == []


async def test_a_reset_waits_for_a_part_of_the_body(server: WatchedServer) -> None:
    server.faults.set("upload-reset")
    async with server.connection("POST /upload", b"x" * 400, length=1000) as (reader, writer):
        await writer.drain()
        # Half of it is not there yet.
        writer.write(b"x" * 100)
        with pytest.raises(ConnectionResetError):
            await read_all(reader)
    assert (await server.journal.next()).request_bytes == 500
