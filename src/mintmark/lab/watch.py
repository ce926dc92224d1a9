"""The middleware in front of every server of the lab: journal and faults.

Owns what is told about a request and when a fault takes the place of its answer. Leaves entries to `lab.journal`,
what is on to `lab.faults`, the bodies of answers to `lab.fault_answers` and hiding secrets to `lab.redaction`.

It is the outermost middleware, and never holds a body but those of mint and burn requests: a handler may stream what
it gets and what it sends. A handler that finds `ANSWER_IS_LOST` does its work and returns its answer unsent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

from aiohttp import web

from mintmark.lab.fault_answers import ANSWERS, fault_answer
from mintmark.lab.faults import Active, Faults
from mintmark.lab.journal import Facts, Journal
from mintmark.lab.redaction import credential_shown, digest_shown, identity_shown, path_shown, posted_token

CONTROL = "control"
PEEK_MAX_BYTES = 64 * 1024
PEEK_SECONDS = 30.0
# A client that is still sending would report a broken connection instead of the answer.
DRAIN_MAX_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 30.0
RESET_AFTER_BYTES = 64 * 1024
# A client that leaves is noticed this soon.
WAIT_STEP_SECONDS = 0.1

NOTE: web.RequestKey[str] = web.RequestKey("note", str)
"""A sentence that a handler wants in the journal."""
FAULT: web.RequestKey[str] = web.RequestKey("fault", str)
"""The name of the fault; a handler that took a "content" fault sets it."""
CI: web.RequestKey[str] = web.RequestKey("ci", str)
"""The place, where only the handler finds it out."""
RESPONSE_BYTES: web.RequestKey[int] = web.RequestKey("response_bytes", int)
"""How much of a body a streaming handler sent."""
ANSWER_IS_LOST: web.RequestKey[bool] = web.RequestKey("answer_is_lost", bool)
"""Set before the handler runs if nobody will get its answer: then it must not send one itself."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
# aiohttp's own type of a middleware is private.
Middleware: TypeAlias = Any
Sleep: TypeAlias = Callable[[float], Awaitable[object]]

_SLOW = frozenset({"provider-slow", "issuer-slow", "index-slow"})
_DOWN = frozenset({"provider-down", "issuer-down"})
_HELD, _RESET = "mint-timeout", "upload-reset"
_LOST = frozenset({"mint-lost", "upload-lost"})
DEEDS = frozenset({*_SLOW, *_DOWN, _HELD, _RESET, *_LOST})
"""The "answer" faults that are no answer."""


class _Cut(Exception):
    """The connection ends here without an answer. The message is for the journal."""

    def __init__(self, note: str, *, reset: bool = False) -> None:
        super().__init__(note)
        self.reset = reset


def watching(
    journal: Journal,
    faults: Faults,
    server: str,
    name: Callable[[web.Request], tuple[str, str | None]],
    *,
    sleep: Sleep = asyncio.sleep,
) -> Middleware:
    """The middleware of one server. `name` tells a request's action and place; "control" is left alone."""

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        action, ci = name(request)
        if action == CONTROL:
            return await handler(request)
        visit = _Visit(journal, request, server, action, ci)
        fault = faults.take(server, action, ci)
        if fault is not None:
            request[FAULT] = fault.name
        try:
            await visit.peek()
            answer = await (handler(request) if fault is None else _strike(fault, request, handler, sleep))
        except _Cut as cut:
            visit.unanswered(str(cut))
            _close(request, reset=cut.reset)
            # Nobody gets this one; aiohttp wants an answer.
            return web.Response(status=500)
        except web.HTTPException as refusal:
            await visit.answered(refusal)
            raise
        except asyncio.CancelledError:
            visit.unanswered("The client went away, or the lab was stopped, before the answer was complete.")
            raise
        except Exception as error:
            visit.failed(error)
            raise
        await visit.answered(answer)
        return answer

    return watch


async def _strike(fault: Active, request: web.Request, handler: Handler, sleep: Sleep) -> web.StreamResponse:
    """Do what the fault does. Raises `_Cut` where that is no answer."""
    seconds = fault.seconds or 0.0
    if fault.name in ANSWERS:
        if fault.name != "upload-308":
            await _drain(request)
        return fault_answer(fault.name, request)
    if fault.name in _SLOW:
        await _wait(request, seconds, sleep)
        return await handler(request)
    if fault.name in _LOST:
        raise _Cut(await _in_vain(request, handler))
    if fault.name == _RESET:
        await _read_part(request)
        raise _Cut("The fault reset the connection in the middle of the body.", reset=True)
    if fault.name == _HELD:
        await _wait(request, seconds, sleep)
        raise _Cut(f"The fault closed the connection without an answer after {seconds:g} seconds.")
    raise _Cut("The fault closed the connection without an answer.")


async def _in_vain(request: web.Request, handler: Handler) -> str:
    """Let the handler do its work; what became of its answer."""
    request[ANSWER_IS_LOST] = True
    try:
        status = (await handler(request)).status
    except web.HTTPException as error:
        status = error.status
    return f"The answer was {status}; the fault closed the connection before it was sent."


async def _wait(request: web.Request, seconds: float, sleep: Sleep) -> None:
    left = seconds
    while left > 0:
        if _is_gone(request):
            raise _Cut("The client went away while the fault let it wait.")
        await sleep(min(left, WAIT_STEP_SECONDS))
        left -= WAIT_STEP_SECONDS


async def _drain(request: web.Request) -> None:
    left = DRAIN_MAX_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and (chunk := await request.content.readany()):
                left -= len(chunk)
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        return


async def _read_part(request: web.Request) -> None:
    length = request.content_length
    left = RESET_AFTER_BYTES if length is None else min(RESET_AFTER_BYTES, length // 2)
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and (chunk := await request.content.read(left)):
                left -= len(chunk)
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        return


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _close(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if reset and connection is not None:
        # Closing with no time to linger sends a reset, as a server does that crashed or a firewall that lost patience.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Visit:
    """One request on its way through; ends in exactly one entry."""

    def __init__(self, journal: Journal, request: web.Request, server: str, action: str, ci: str | None) -> None:
        self._journal = journal
        self._request = request
        self._server = server
        self._action = action
        self._ci = ci
        self._started = perf_counter()
        self._token: str | None = None

    async def peek(self) -> None:
        """Read the body of a mint or burn request if it is small. The handler's `read()` gets it again."""
        request = self._request
        length = request.content_length
        if self._action not in {"mint", "burn"} or length is None or length > PEEK_MAX_BYTES:
            return
        try:
            async with asyncio.timeout(PEEK_SECONDS):
                self._token = posted_token(await request.read())
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="The body did not arrive in time.") from None

    async def answered(self, answer: web.StreamResponse) -> None:
        """The answer is on its way, or was sent by the handler."""
        request = self._request
        if not answer.prepared and _is_gone(request):
            self.unanswered("" if NOTE in request else "The client went away before it was answered.")
            return
        await self._look_back()
        sent = request.get(RESPONSE_BYTES)
        if sent is None:
            sent = answer.body_length if answer.prepared else answer.content_length or 0
        self._write(
            status=answer.status, reason=answer.reason or "", response_bytes=0 if request.method == "HEAD" else sent
        )

    def unanswered(self, note: str) -> None:
        """There was no answer, or not the whole one."""
        self._write(note=note, response_bytes=self._request.get(RESPONSE_BYTES, 0))

    def failed(self, error: Exception) -> None:
        """The handler raised something: the client left, or this is a bug, which aiohttp answers with 500."""
        if _is_gone(self._request):
            self.unanswered("The client went away before the answer was complete.")
        else:
            # Never its text: it may quote what was sent.
            self._write(status=500, note=f"The lab failed: {type(error).__name__}.")

    async def _look_back(self) -> None:
        """A chunked body says its length only when it is over."""
        content = self._request.content
        if self._action not in {"mint", "burn"} or self._token is not None or not content.at_eof():
            return
        if 0 < content.total_bytes <= PEEK_MAX_BYTES:
            self._token = posted_token(await self._request.read())

    def _write(self, **rest: Any) -> None:
        request, headers = self._request, self._request.headers
        credential = credential_shown(headers.get("Authorization"))
        identity = None
        if self._token is not None and self._action == "burn":
            # To be compared with the uploads that used it.
            credential = credential or f"token {digest_shown(self._token)}"
        elif self._token is not None:
            identity = identity_shown(self._token)
        note = " ".join(text for text in (request.get(NOTE, ""), rest.pop("note", "")) if text)
        facts: Facts = {
            "host": headers.get("Host", ""),
            "path": path_shown(request.raw_path),
            "fault": request.get(FAULT),
            "ci": request.get(CI, self._ci),
            "user_agent": headers.get("User-Agent", ""),
            "accept": headers.get("Accept", ""),
            "content_type": headers.get("Content-Type", ""),
            "credential": credential,
            "identity": identity,
            "request_bytes": request.content.total_bytes,
            "milliseconds": round((perf_counter() - self._started) * 1000, 1),
            "note": note,
        }
        self._journal.write(server=self._server, action=self._action, method=request.method, **{**facts, **rest})
