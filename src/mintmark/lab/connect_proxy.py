"""The lab's proxy: the only way in which an unmodified client reaches the lab under the name of somebody else's host.

Owns the CONNECT method, the map from hosts to the lab's servers, and refusing every other host: a command in the lab
must not reach the real one by mistake. Leaves TLS to the servers behind it, of which it sees encrypted bytes only.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import urlsplit

from mintmark.core.errors import Misconfigured
from mintmark.lab.hosts import normal_host
from mintmark.lab.journal import Journal

HEAD_MAX_BYTES = 16 * 1024
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 10.0
TUNNEL_SECONDS = 3600.0
CONNECTIONS_MAX = 256
CHUNK_BYTES = 64 * 1024
CLOSE_SECONDS = 1.0
LINGER_SECONDS = 1.0
LINGER_MAX_BYTES = 1024 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Headers of one connection, which end at the proxy.
_DROPPED = frozenset({"connection", "proxy-connection", "proxy-authorization", "keep-alive"})
# What can happen to a connection; anything else would be a bug.
_BROKEN = (OSError, EOFError, RuntimeError, asyncio.LimitOverrunError)
_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class _Head:
    """The first request of a connection."""

    method: str
    target: str
    version: str
    fields: list[bytes]

    def text(self, name: str) -> str:
        """The first header of this name, or nothing."""
        for line in self.fields:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode("ascii"):
                return value.strip().decode("latin-1")
        return ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where a client wants to go. `path` is None for a tunnel."""

    head: _Head
    host: str
    port: int
    path: str | None = None
    began: float = field(default_factory=time.monotonic)


class _Refused(Exception):
    """The client is told no. The message is a sentence with the cure."""

    def __init__(self, status: HTTPStatus, sentence: str, asked: _Asked | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.asked = asked


class ConnectProxy:
    """A proxy on loopback. `targets` says where in the lab a host is, for every port of it.

    Invariant: a connection is made to a target, to one of `own_ports` on loopback or to a host of `pass_through`, and
    nowhere else.
    """

    def __init__(
        self,
        journal: Journal,
        targets: Mapping[str, tuple[str, int]],
        pass_through: Collection[str] = (),
        own_ports: Collection[int] = (),
        port: int = 0,
    ) -> None:
        self.port = port
        self._journal = journal
        self._targets = {normal_host(host): address for host, address in targets.items()}
        self._pass_through = frozenset(map(normal_host, pass_through))
        self._own_ports = own_ports
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What HTTPS_PROXY is set to; known once started."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen. Raises `Misconfigured` when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=CHUNK_BYTES)
        except OSError as error:
            raise Misconfigured(
                "port",
                f"127.0.0.1:{self.port} cannot be listened on: {os.strerror(error.errno or 0)}.",
                "Stop what uses it, or choose another port for the lab's proxy.",
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=CLOSE_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A client that goes away, or a server that does, is the client's matter.
            with suppress(*_BROKEN):
                await self._connection(reader, writer)
        except asyncio.CancelledError:
            # Only `close` cancels; the stream's own callback would report it as an error.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._connections) > CONNECTIONS_MAX:
                raise _Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"The lab's proxy serves {CONNECTIONS_MAX} connections at a time. Close some of them.",
                )
            asked = _destination(await _read_head(reader))
            address, note = self._allowed(asked)
            upstream = await _open(address, asked)
        except _Refused as error:
            await self._refuse(reader, writer, error)
            return
        self._write(asked, HTTPStatus.OK if asked.path is None else None, note)
        try:
            if asked.path is None:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream[1].write(_forwarded_head(asked))
            async with asyncio.timeout(TUNNEL_SECONDS):
                await _splice((reader, writer), upstream)
        finally:
            upstream[1].transport.abort()

    def _allowed(self, asked: _Asked) -> tuple[tuple[str, int], str]:
        """The address behind a host, with a sentence for the journal. Raises `_Refused`."""
        host = asked.host
        if host in LOOPBACK and asked.port in self._own_ports:
            return ("127.0.0.1", asked.port), "Led to a server of the lab."
        if host in self._pass_through:
            return (host.strip("[]"), asked.port), "Passed through to the real host."
        if host in self._targets and asked.path is None:
            return self._targets[host], "Led to the lab, which stands in for this host."
        if host in LOOPBACK:
            status, sentence = HTTPStatus.FORBIDDEN, f"Port {asked.port} is none of the lab's. Add {host} to NO_PROXY."
        elif host in self._targets:
            status = HTTPStatus.METHOD_NOT_ALLOWED
            sentence = f"The lab stands in for {host} over TLS only. Write https:// instead of http://."
        elif asked.path is not None:
            status = HTTPStatus.METHOD_NOT_ALLOWED
            sentence = f"The lab's proxy leads nowhere over plain http. Use https, or --pass-through {host}."
        else:
            status = HTTPStatus.FORBIDDEN
            sentence = (
                f"The lab does not know {host}. Start it with --impersonate {host} to have it stand in for that index, "
                f"or with --pass-through {host} to reach the real one."
            )
        raise _Refused(status, sentence, asked)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: _Refused) -> None:
        self._write(error.asked, error.status, error.sentence)
        body = f"{error.sentence}\n".encode("utf-8", "replace")
        allow = "Allow: CONNECT\r\n" if error.status == HTTPStatus.METHOD_NOT_ALLOWED else ""
        head = (
            f"HTTP/1.1 {error.status.value} {error.status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n{allow}Connection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        writer.write_eof()
        await _linger(reader)

    def _write(self, asked: _Asked | None, status: HTTPStatus | None, note: str) -> None:
        """Into the journal. Before the client learns of it, so that it finds its own request there."""
        self._journal.write(
            server="proxy",
            action="connect",
            method=asked.head.method if asked else "",
            host=f"{asked.host}:{asked.port}" if asked else "",
            path=(asked.path if asked else None) or "",
            status=status.value if status else None,
            reason=status.phrase if status else "",
            user_agent=asked.head.text("user-agent") if asked else "",
            milliseconds=round((time.monotonic() - asked.began) * 1000, 3) if asked else 0.0,
            note=note,
        )


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            data = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise _Refused(
            HTTPStatus.REQUEST_TIMEOUT, f"No request arrived within {HEAD_SECONDS:.0f} seconds. Connect again."
        ) from None
    except asyncio.LimitOverrunError:
        data = b" " * (HEAD_MAX_BYTES + 1)
    if len(data) > HEAD_MAX_BYTES:
        raise _Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request's head is larger than {HEAD_MAX_BYTES} bytes. Send fewer headers to the proxy.",
        )
    line, *fields = data[:-4].split(b"\r\n")
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3 or not all(part.isascii() and part.isprintable() and part for part in parts):
        raise _not_http()
    if parts[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise _not_http()
    return _Head(parts[0], parts[1], parts[2], fields)


def _destination(head: _Head) -> _Asked:
    """Where a request is to go. Raises `_Refused`."""
    try:
        if head.method == "CONNECT":
            found = urlsplit(f"//{head.target}")
            if found.port is not None and found.netloc == head.target and "@" not in head.target:
                return _Asked(head, _host_of(found.hostname), found.port)
            raise _not_http()
        found = urlsplit(head.target)
        if found.scheme.lower() == "http" and "@" not in found.netloc:
            path = head.target[len("http://") + len(found.netloc) :].partition("#")[0]
            path = path if path.startswith("/") else f"/{path}"
            return _Asked(head, _host_of(found.hostname), 80 if found.port is None else found.port, path)
    except ValueError:
        raise _not_http() from None
    raise _Refused(HTTPStatus.BAD_REQUEST, "This is the lab's proxy, no web server. Set HTTPS_PROXY to its address.")


def _host_of(name: str | None) -> str:
    if not name:
        raise ValueError("no host")
    # An IPv6 address keeps its brackets.
    return normal_host(f"[{name}]" if ":" in name else name)


def _not_http() -> _Refused:
    return _Refused(HTTPStatus.BAD_REQUEST, "That is no request to a proxy. Send `CONNECT host:port HTTP/1.1`.")


def _forwarded_head(asked: _Asked) -> bytes:
    """A plain http request as its server expects it: for one path, and the only one of its connection."""
    kept = [
        line for line in asked.head.fields if line.partition(b":")[0].strip().lower().decode("latin-1") not in _DROPPED
    ]
    first = f"{asked.head.method} {asked.path} {asked.head.version}".encode("ascii")
    return b"\r\n".join([first, *kept, b"Connection: close"]) + b"\r\n\r\n"


async def _open(address: tuple[str, int], asked: _Asked) -> _Streams:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(*address, limit=CHUNK_BYTES)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise _Refused(
            HTTPStatus.BAD_GATEWAY,
            f"{asked.host}:{asked.port} cannot be reached: {reason}. Look whether it runs.",
            asked,
        ) from None


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read on for a moment: a client whose bytes are left unread gets a reset, and not the answer."""
    left = LINGER_MAX_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0 and (data := await reader.read(CHUNK_BYTES)):
                left -= len(data)


async def _splice(client: _Streams, server: _Streams) -> None:
    """Carry bytes both ways until both sides have said all; the end of one side is passed on, no more."""
    # When one way breaks, the caller ends both connections, and with them the other way.
    await asyncio.gather(_carry(client[0], server[1]), _carry(server[0], client[1]))


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK_BYTES):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof() and not sink.is_closing():
        sink.write_eof()
