"""The reverse proxy in front of the lab's index: what arrives, and what comes back."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from mintmark.lab.authority import Authority
from support.front import PATIENCE_SECONDS, Site, answering, fronting, mirror, speaking

CHUNK = b"x" * 65536
LARGE_BYTES = 64 * 1024 * 1024
# Far below the body, far above what buffers take.
MEMORY_MAX_BYTES = 8 * 1024 * 1024


@pytest_asyncio.fixture
async def site(authority: Authority) -> AsyncIterator[Site]:
    async with answering(mirror) as port, fronting(port, authority) as found:
        yield found


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/simple/", "/%2Bsimple/a%2Fb/%7E", "//x", "/a/../b", "/a?x=%20y&z=+&&", "/?", "/%ff%C3%BC", "/a;b=c/:d@e/"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
async def test_method_and_path_arrive_as_sent(site: Site, method: str, path: str) -> None:
    async with site.ask(method, path) as answer:
        seen = await answer.json()
    assert (seen["method"], seen["path"]) == (method, path if path != "/?" else "/")


async def test_the_end_to_end_headers_arrive_in_order(site: Site) -> None:
    answer = await site.say(
        b"POST http://localhost/a HTTP/1.1\r\nHost: localhost:8443\r\nAuthorization: Basic eDp5\r\nX-Twice: 1\r\n"
        b"x-twice: 2\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nUpgrade-Insecure-Requests: 1\r\n"
        b"Proxy-Authorization: Basic eDp5\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Host: a\r\n"
        b"Forwarded: for=8.8.8.8\r\n"
        b"Accept-Encoding: gzip, br\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    value = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (value["path"], value["body"]) == ("/a", "hello")
    assert sorted(value["headers"]) == sorted(
        [
            ["Host", "localhost:8443"],
            ["Authorization", "Basic eDp5"],
            ["X-Twice", "1"],
            ["X-Twice", "2"],
            ["Upgrade-Insecure-Requests", "1"],
            ["Accept-Encoding", "gzip, br"],
            ["Content-Length", "5"],
            ["X-Forwarded-For", "127.0.0.1"],
            ["X-Forwarded-Proto", "http"],
        ]
    )


async def test_a_body_of_unknown_length_stays_one(site: Site) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    async with site.ask("POST", "/a", data=parts()) as answer:
        seen = await answer.json()
    assert seen["body"] == "hello"
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-forwarded-proto"] == "https"
    assert "content-length" not in headers


async def test_a_client_that_waits_to_be_told_to_continue(site: Site) -> None:
    async with site.ask("POST", "/a", data=io.BytesIO(b"hello"), expect100=True) as answer:
        assert (await answer.json())["body"] == "hello"


async def test_bytes_that_are_no_request(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for data in (b"GET /\xff\xc3\xbc HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"):
        assert b" 400 Bad Request\r\n" in await site.say(data)
    # A lab's terminal belongs to the command under test.
    assert caplog.records == []


async def test_a_large_body_is_never_held(authority: Authority) -> None:
    async def count(request: web.BaseRequest) -> web.Response:
        assert "Transfer-Encoding" not in request.headers
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.Response(text=str(size))

    async def send() -> AsyncIterator[bytes]:
        for _ in range(LARGE_BYTES // len(CHUNK)):
            yield CHUNK

    async with answering(count) as port, fronting(port, authority) as site:
        tracemalloc.start()
        try:
            async with site.ask("POST", "/a", data=send(), headers={"Content-Length": str(LARGE_BYTES)}) as answer:
                assert await answer.text() == str(LARGE_BYTES)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX_BYTES
        finally:
            tracemalloc.stop()
        assert site.journal.after()[0].request_bytes == LARGE_BYTES


async def test_a_large_answer_is_never_held(authority: Authority) -> None:
    async def send(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(LARGE_BYTES)})
        await response.prepare(request)
        for _ in range(LARGE_BYTES // len(CHUNK)):
            await response.write(CHUNK)
        return response

    async with answering(send) as port, fronting(port, authority) as site:
        tracemalloc.start()
        try:
            async with site.ask("GET", "/a") as answer:
                size = sum([len(chunk) async for chunk in answer.content.iter_any()])
            assert size == LARGE_BYTES
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX_BYTES
        finally:
            tracemalloc.stop()
        assert site.journal.after()[0].response_bytes == LARGE_BYTES


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (
            "GET",
            b"HTTP/1.1 200 Fine by me\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\nContent-Encoding: gzip\r\n\r\nhi",
        ),
        ("GET", b"HTTP/1.1 400 File already exists (really)\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/9\r\nContent-Length: 2\r\n\r\nhi"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nDate: x\r\n\r\n'),
        ("GET", b"HTTP/1.1 301 Moved Permanently\r\nLocation: /x/\r\nContent-Length: 0\r\n\r\n"),
        ("POST", b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nServer: Mintmark\r\nContent-Length: 2\r\n\r\nhi"),
    ],
)
async def test_answers_come_back_as_they_are(authority: Authority, method: str, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site:
        got = await site.say(f"{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = got.partition(b"\r\n\r\n")
    wanted, _, wanted_body = answer.partition(b"\r\n\r\n")
    assert body == wanted_body
    assert sorted(head.lower().split(b"\r\n")) == sorted([*wanted.lower().split(b"\r\n"), b"connection: close"])


async def test_an_answer_of_unknown_length(authority: Authority) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site, site.ask("GET", "/") as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert await answer.read() == b"hello"


@pytest.mark.parametrize("reads_on", [True, False])
async def test_an_answer_before_the_end_of_the_body_reaches_the_client(authority: Authority, reads_on: bool) -> None:
    """The index refuses after the headers; the client is still sending."""
    finished = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        if reads_on:
            with suppress(ConnectionError):
                while await reader.read(65536):
                    pass
        else:
            await finished.wait()
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site, asyncio.timeout(PATIENCE_SECONDS):
        # Twice, so that the first one left no connection behind that cannot be used.
        for _ in range(2):
            async with site.ask("POST", "/acme/legacy/", data=io.BytesIO(b"x" * 16_000_000)) as answer:
                assert (answer.status, answer.reason, await answer.read()) == (413, "Too Large", b"no!")
        finished.set()
    assert [(entry.action, entry.status) for entry in site.journal.after()] == [("upload", 413)] * 2


@pytest.mark.parametrize(
    "framing", ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
async def test_a_client_that_goes_away_in_the_middle_of_a_body(authority: Authority, framing: str) -> None:
    """The index must not take the part for the whole."""
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"hello")
        started.set_result(None)
        try:
            rest.set_result(await reader.read())
        except ConnectionError:
            rest.set_result(b"")
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site, asyncio.timeout(PATIENCE_SECONDS):
        _, writer = await asyncio.open_connection("127.0.0.1", site.front.plain_port)
        writer.write(f"POST /legacy/ HTTP/1.1\r\nHost: localhost\r\n{framing}".encode())
        await started
        writer.transport.abort()
        assert (await rest).strip() == b""
    (entry,) = site.journal.after()
    assert (entry.status, entry.request_bytes) == (None, 5)
    assert "went away" in entry.note


@pytest.mark.parametrize(("said", "status"), [(b"", 502), (b"HTTP/1.1 2", 502), (b"nonsense\r\n\r\n", 502)])
async def test_an_index_that_breaks_off_before_it_answers(authority: Authority, said: bytes, status: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site, site.ask("GET", "/") as answer:
        assert answer.status == status
        assert (await answer.json())["errors"][0]["description"].startswith("The lab's index cannot be reached")


async def test_an_index_that_breaks_off_in_the_middle(authority: Authority) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with speaking(serve) as port, fronting(port, authority) as site:
        with pytest.raises(aiohttp.ClientError):
            async with site.ask("GET", "/") as answer:
                await answer.read()
    assert site.journal.after()[0].note == "The index broke off in the middle of its answer."


async def test_an_index_that_is_down(authority: Authority) -> None:
    async with answering(mirror) as port:
        pass
    async with (
        fronting(port, authority) as site,
        site.ask("POST", "/legacy/", data=io.BytesIO(b"x" * 3_000_000)) as answer,
    ):
        assert answer.status == 502
