"""A server behind the lab's middleware, with nothing of its own, and a client that may be rude to it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from mintmark.lab.faults import Faults
from mintmark.lab.journal import Entry, Journal
from mintmark.lab.redaction import digest_shown
from mintmark.lab.watch import PEEK_MAX_BYTES, watching
from support.clock import FrozenClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATIENCE_SECONDS = 10
SECRET = "correct-horse-battery-staple"


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


TOKEN = f"{segment({'alg': 'ES256'})}.{segment({'iss': 'https://gitlab.com', 'aud': 'a', 'sub': 's', 'exp': 5})}.c2ln"
IDENTITY = {"digest": digest_shown(TOKEN), "iss": "https://gitlab.com", "sub": "s", "aud": "a", "exp": 5}


class LoudJournal(Journal):
    """Says when there is a new entry, so that tests need not ask again and again."""

    def __init__(self) -> None:
        super().__init__(FrozenClock())
        self.news: asyncio.Queue[Entry] = asyncio.Queue()

    def write(self, **facts: Any) -> Entry:
        entry = super().write(**facts)
        self.news.put_nowait(entry)
        return entry

    async def next(self) -> Entry:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.news.get()


class WatchedServer:
    """One watched server. The first part of a path is the action, a header names the place."""

    def __init__(self) -> None:
        self.journal = LoudJournal()
        self.faults = Faults()
        self.handled: list[bytes] = []
        self.handle: Handler = self.take
        self.slept: list[float] = []
        self.sleep: Callable[[float], Awaitable[object]] = self._sleep
        self.server = "index"
        self.port = 0
        self.runner: web.AppRunner | None = None

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.handled.append(await request.read())
        return web.json_response({"ok": True})

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        def name(request: web.Request) -> tuple[str, str | None]:
            return request.path.split("/")[1], request.headers.get("X-Ci")

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.handle(request)

        async def sleep(seconds: float) -> object:
            return await self.sleep(seconds)

        watch = watching(self.journal, self.faults, self.server, name, sleep=sleep)
        app = web.Application(middlewares=[watch], client_max_size=10 * PEEK_MAX_BYTES)
        app.router.add_route("*", "/{path:.*}", handle)
        self.runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.01)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        runner, self.runner = self.runner, None
        if runner is not None:
            await runner.cleanup()

    @asynccontextmanager
    async def connection(
        self, head: str, body: bytes = b"", *, context: ssl.SSLContext | None = None, length: int | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A client that says exactly this and may then do what it likes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            size = len(body) if length is None else length
            writer.write(f"{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode() + body)
            yield reader, writer
        finally:
            writer.transport.abort()


async def nobody_is_left(server: WatchedServer) -> None:
    """Wait until the server knows that its clients are gone."""
    assert server.runner is not None
    assert server.runner.server is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(connection.transport is not None for connection in server.runner.server.connections):
            await asyncio.sleep(0)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.read()
