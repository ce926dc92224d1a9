"""The CONNECT proxy: where it leads, what it refuses, and that it never holds on to a connection."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintmark.core.errors import Misconfigured
from mintmark.lab import connect_proxy
from mintmark.lab.authority import Authority
from mintmark.lab.connect_proxy import HEAD_MAX_BYTES, ConnectProxy
from mintmark.lab.journal import Journal

PATIENCE_SECONDS = 30
HOST = "index.example"


@dataclass
class FrozenClock:
    def now(self) -> float:
        return 1_795_000_000.0


@dataclass
class Echo:
    """A server that answers with what it got, once it has got everything."""

    port: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"echo: " + await reader.read())
            writer.write_eof()
        except OSError:
            pass
        finally:
            writer.close()
            self.ended.set()


@asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    found = Echo()
    async with serving(found) as port:
        found.port = port
        yield found


@pytest.fixture
def journal() -> Journal:
    return Journal(FrozenClock())


@pytest_asyncio.fixture
async def proxy(echo: Echo, journal: Journal) -> AsyncIterator[ConnectProxy]:
    found = ConnectProxy(
        journal,
        {HOST: ("127.0.0.1", echo.port), "down.example": ("127.0.0.1", 1)},
        own_ports=[echo.port],
        pass_through=["[::ffff:127.0.0.1]"],
    )
    await found.start()
    try:
        yield found
    finally:
        await found.close()


async def say(proxy: ConnectProxy, data: bytes, *, eof: bool = True) -> bytes:
    """Everything the proxy says to this."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            writer.write(data)
            if eof:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize("host", [HOST, "INDEX.example", f"{HOST}."])
@pytest.mark.parametrize("port", [443, 8443])
async def test_a_known_host_leads_to_the_lab(proxy: ConnectProxy, journal: Journal, host: str, port: int) -> None:
    """Both ways, and the client's end reaches the server before the server's answer."""
    said = await say(proxy, f"CONNECT {host}:{port} HTTP/1.1\r\nUser-Agent: uv\r\n\r\nhello".encode())
    assert said == b"HTTP/1.1 200 Connection established\r\n\r\necho: hello"
    (entry,) = journal.after()
    assert (entry.server, entry.action, entry.method) == ("proxy", "connect", "CONNECT")
    assert (entry.host, entry.status, entry.user_agent) == (f"{HOST}:{port}", 200, "uv")
    assert entry.note == "Led to the lab, which stands in for this host."


async def test_own_ports_are_reached_by_every_name_of_loopback(proxy: ConnectProxy, echo: Echo) -> None:
    for name in ("localhost", "127.0.0.1", "[::1]"):
        said = await say(proxy, f"CONNECT {name}:{echo.port} HTTP/1.1\r\n\r\nhello".encode())
        assert said.endswith(b"\r\n\r\necho: hello")


async def test_a_named_host_is_passed_through(proxy: ConnectProxy, echo: Echo, journal: Journal) -> None:
    said = await say(proxy, f"CONNECT [::ffff:127.0.0.1]:{echo.port} HTTP/1.1\r\n\r\nhello".encode())
    # Whether it can be reached is up to the machine; that it was tried is up to us.
    assert b"echo: hello" in said or said.startswith(b"HTTP/1.1 502 ")
    assert journal.after()[0].status in {200, 502}


@pytest.mark.parametrize(
    ("target", "status", "sentence"),
    [
        ("CONNECT elsewhere.example:443", 403, "--impersonate elsewhere.example"),
        ("CONNECT elsewhere.example:443", 403, "--pass-through elsewhere.example"),
        (f"CONNECT x.{HOST}:443", 403, "does not know"),
        (f"CONNECT {HOST}.evil.example:443", 403, "does not know"),
        (f"CONNECT x@{HOST}:443", 400, "no request to a proxy"),
        (f"CONNECT {HOST}", 400, "no request to a proxy"),
        (f"CONNECT {HOST}:", 400, "no request to a proxy"),
        (f"CONNECT {HOST}:0x1bb", 400, "no request to a proxy"),
        (f"CONNECT {HOST}:99999", 400, "no request to a proxy"),
        ("CONNECT :443", 400, "no request to a proxy"),
        ("CONNECT [::1:443", 400, "no request to a proxy"),
        (f"CONNECT {HOST}:443/x", 400, "no request to a proxy"),
        ("CONNECT localhost:1", 403, "Add localhost to NO_PROXY"),
        ("CONNECT 127.0.0.1:1", 403, "Add 127.0.0.1 to NO_PROXY"),
        ("CONNECT 169.254.169.254:80", 403, "does not know 169.254.169.254"),
        ("GET http://127.0.0.1:1/", 403, "Add 127.0.0.1 to NO_PROXY"),
        ("GET http://elsewhere.example/", 405, "Use https"),
        (f"GET http://{HOST}/", 405, "over TLS only"),
        ("GET ftp://elsewhere.example/", 400, "no web server"),
        ("GET /", 400, "no web server"),
        ("CONNECT down.example:443", 502, "down.example:443 cannot be reached"),
    ],
)
async def test_everything_else_is_refused_with_a_sentence(
    proxy: ConnectProxy, journal: Journal, target: str, status: int, sentence: str
) -> None:
    said = (await say(proxy, f"{target} HTTP/1.1\r\n\r\n".encode(), eof=False)).decode()
    head, _, body = said.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert sentence in body
    assert ("Allow: CONNECT" in head) == (status == 405)
    (entry,) = journal.after()
    assert entry.status == status
    assert entry.note == body.strip()


@pytest.mark.parametrize(
    "data",
    [b"hello\r\n\r\n", b"CONNECT a:1\r\n\r\n", b"CONNECT a:1 HTTP/2\r\n\r\n", b"CONNECT \xff:1 HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_http_is_refused(proxy: ConnectProxy, data: bytes) -> None:
    assert (await say(proxy, data)).startswith(b"HTTP/1.1 400 ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(data=st.binary(max_size=200))
async def test_no_bytes_upset_it(proxy: ConnectProxy, data: bytes) -> None:
    said = await say(proxy, data + b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 4")


async def test_the_head_is_bounded(proxy: ConnectProxy) -> None:
    for size in (HEAD_MAX_BYTES, 200_000):
        said = await say(proxy, b"CONNECT a:1 HTTP/1.1\r\nX: " + b"x" * size + b"\r\n\r\n", eof=False)
        assert said.startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_never_ends(proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_proxy, "HEAD_SECONDS", 0)
    assert (await say(proxy, b"CONNECT a:1", eof=False)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_is_cut_off_gets_no_answer(proxy: ConnectProxy, journal: Journal) -> None:
    assert await say(proxy, b"CONNECT a:1") == b""
    assert journal.after() == []


async def test_connections_are_bounded(proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_proxy, "CONNECTIONS_MAX", 0)
    assert (await say(proxy, b"", eof=False)).startswith(b"HTTP/1.1 503 ")


async def test_plain_http_to_the_labs_own_servers(proxy: ConnectProxy, echo: Echo, journal: Journal) -> None:
    """What a client does whose NO_PROXY is not set."""
    request = (
        f"POST http://127.0.0.1:{echo.port}/a?b HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\n"
        "Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
    )
    assert (await say(proxy, request.encode())).decode() == (
        f"echo: POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:{echo.port}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    )
    (entry,) = journal.after()
    assert (entry.method, entry.path, entry.status) == ("POST", "/a?b", None)


async def test_a_client_that_goes_away_is_not_kept(proxy: ConnectProxy, echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\nhello".encode())
    assert await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await echo.ended.wait()


async def test_close_ends_open_tunnels(proxy: ConnectProxy, echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await proxy.close()
    await proxy.close()
    assert loop.time() - began < connect_proxy.CLOSE_SECONDS
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await echo.ended.wait()
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_a_taken_port(proxy: ConnectProxy, journal: Journal) -> None:
    with pytest.raises(Misconfigured) as refused:
        await ConnectProxy(journal, {}, port=proxy.port).start()
    assert "another port" in refused.value.cure


async def test_tls_through_it(authority: Authority, trusting: ssl.SSLContext, journal: Journal) -> None:
    """A real client with a large body, which believes that it talks to the host it names."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Host: {HOST}\r\n".encode() in head
        size = len(await reader.readexactly(3_000_000))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"y" * size)
        await writer.drain()
        writer.close()

    async with serving(answer, authority.server_context([HOST])) as port, aiohttp.ClientSession() as http:
        proxy = ConnectProxy(journal, {HOST: ("127.0.0.1", port)})
        await proxy.start()
        try:
            async with http.post(
                f"https://{HOST}/", data=io.BytesIO(b"x" * 3_000_000), proxy=proxy.url, ssl=trusting
            ) as got:
                assert len(await got.read()) == 3_000_000
        finally:
            await proxy.close()
