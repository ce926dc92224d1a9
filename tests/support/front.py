"""The lab's front before servers of a test's own, with a client that believes it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from mintmark.lab.authority import Authority
from mintmark.lab.faults import Faults
from mintmark.lab.front import Front
from mintmark.lab.hosts import parse_impersonations
from mintmark.lab.journal import Journal
from support.clock import FrozenClock

PATIENCE_SECONDS = 30
PREFIX = "/api/v4/projects/1/packages/pypi"
MAP = parse_impersonations(["index.example=acme", "upload.example=acme", f"gitlab.example{PREFIX}"])
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A running front with a client that trusts it."""

    front: Front
    journal: Journal
    faults: Faults
    http: aiohttp.ClientSession
    trusting: ssl.SSLContext

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """A request over TLS, its path as it is."""
        url = URL(self.front.base_url + path, encoded=True)
        return self.http.request(method, url, ssl=self.trusting, allow_redirects=False, **more)

    async def say(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes over plain http."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.front.plain_port)
            try:
                writer.write(data)
                return await reader.read()
            finally:
                writer.close()


@asynccontextmanager
async def fronting(port: int, authority: Authority) -> AsyncIterator[Site]:
    """A front before the server on this port."""
    journal, faults = Journal(FrozenClock()), Faults()
    front = Front(port, MAP, journal, faults, authority.server_context())
    await front.start()
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            yield Site(front, journal, faults, http, ssl.create_default_context(cadata=authority.ca_pem))
    finally:
        await front.close()


@asynccontextmanager
async def speaking(serve: Serve) -> AsyncIterator[int]:
    """A server of bare bytes."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def answering(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    """A server that answers everything with `handler`."""
    runner = web.ServerRunner(web.Server(handler, auto_decompress=False), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def mirror(request: web.BaseRequest) -> web.Response:
    """What arrived."""
    body = await request.read()
    headers = [[name, value] for name, value in request.headers.items()]
    return web.json_response(
        {"method": request.method, "path": request.raw_path, "headers": headers, "body": body.decode("latin-1")}
    )
