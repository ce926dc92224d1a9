"""Another index on loopback, as odd as the index of the day: the other side of `mintmark import URL`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


@dataclass
class OtherIndex:
    """What it answers by path: bytes, or a function. `asked` are the requests so far."""

    url: str = ""
    answers: dict[str, bytes | Answerer] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def page(self, path: str, body: str | bytes, content_type: str = "text/html") -> None:
        self.answers[path] = body if isinstance(body, bytes) else body.encode()
        self.types[path] = content_type

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.headers)))
        found = self.answers.get(request.path)
        if found is None:
            return web.Response(status=404)
        if not isinstance(found, bytes):
            return await found(request)
        return web.Response(body=found, headers={"Content-Type": self.types.get(request.path, "text/html")})


@asynccontextmanager
async def other_index() -> AsyncIterator[OtherIndex]:
    """Start one and stop it afterwards."""
    index = OtherIndex()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", index.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        index.url = str(server.make_url("/"))
        yield index


def failing(times: int, then: bytes, status: int = 503, content_type: str = "text/html") -> Answerer:
    """Fails so many times, then answers."""
    left = [times]

    async def answer(request: web.Request) -> web.StreamResponse:
        if left[0]:
            left[0] -= 1
            return web.Response(status=status, headers={"Retry-After": "0"})
        return web.Response(body=then, headers={"Content-Type": content_type})

    return answer


def breaking(data: bytes, at: int, *, ranges: bool, tag: str = '"1"') -> Answerer:
    """Breaks the connection in the middle of the first answer; later ones are whole, or the part asked for."""
    first = [True]

    async def answer(request: web.Request) -> web.StreamResponse:
        if first[0]:
            first[0] = False
            response = web.StreamResponse(headers={"Content-Length": str(len(data)), "ETag": tag})
            await response.prepare(request)
            await response.write(data[:at])
            assert request.transport is not None
            request.transport.close()
            return response
        asked = request.headers.get("Range")
        if not ranges or asked is None or request.headers.get("If-Range", tag) != tag:
            return web.Response(body=data, headers={"ETag": tag})
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return web.Response(
            status=206,
            body=data[start:],
            headers={"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", "ETag": tag},
        )

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    """Sends until the other side has enough."""
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(bytes(1 << 20))
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    """Begins, and never goes on."""
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    await response.write(b"<a")
    await asyncio.Event().wait()
    return response


def redirect(to: str) -> Answerer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return answer
