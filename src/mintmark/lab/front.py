"""In front of the lab's index: TLS, the journal, the faults and the impersonated hosts.

Owns carrying requests to the unmodified index and its answers back, as a reverse proxy does, without holding a body.
Leaves what impersonated hosts mean to `lab.hosts`, journal and faults to `lab.watch`, and every answer to the index;
its own are 404, 502 and 504, in the form that the exchange's clients can read.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from mintmark.core.errors import Misconfigured
from mintmark.lab.faults import Faults
from mintmark.lab.hosts import Impersonation, impersonation_of, in_their_words, rewrite
from mintmark.lab.journal import Journal
from mintmark.lab.watch import ANSWER_IS_LOST, NOTE, RESPONSE_BYTES, watching

LOG = logging.getLogger("mintmark.lab.front")
CONNECTIONS_MAX = 200
EXCHANGE_SECONDS = 3600.0
CONNECT_SECONDS = 10.0
SHUTDOWN_SECONDS = 1.0
# A body whose answer is there already is read to its end, so that the client sees the answer.
LINGER_SECONDS = 30.0
# As much as the index may want to refuse by itself.
LINE_MAX_BYTES = 64 * 1024
_CLIENT_IS_GONE = 499

ACTIONS = ("discover", "audience", "mint", "burn", "upload", "list", "page", "metadata", "file", "json", "other")
# Below a registry or the host itself; the first that fits.
_GET_ROUTES = (
    ("discover", re.compile(r"/\.well-known/pytp\Z")),
    ("audience", re.compile(r"/_/oidc/audience\Z")),
    ("list", re.compile(r"/simple/?\Z")),
    ("page", re.compile(r"/simple/[^/]+/?\Z")),
    ("metadata", re.compile(r"/files/[^/]+/[^/]+/[^/]+\.metadata\Z")),
    ("file", re.compile(r"/files/[^/]+/[^/]+/[^/]+\Z")),
    ("json", re.compile(r"/pypi/[^/]+(?:/[^/]+)?/json\Z")),
)
_POST_ROUTES = (
    ("mint", re.compile(r"/_/oidc/(?:github/)?mint-token\Z")),
    ("burn", re.compile(r"/_/oidc/burn-token\Z")),
    ("upload", re.compile(r"/legacy/?\Z")),
)
_ROUTES = {"GET": _GET_ROUTES, "HEAD": _GET_ROUTES, "POST": _POST_ROUTES}

# Headers of one connection (RFC 9110, section 7.6.1), and those that only a proxy may write.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
# `Expect` was answered here; the body follows in any case.
_REPLACED = frozenset({"host", "expect", "forwarded"})
# What aiohttp adds to an answer that comes without.
_ADDED = ("Content-Type", "Date", "Server")
_UNTOUCHED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def name_action(method: str, path: str) -> str:
    """What a request to the index asks for, as the journal and the faults call it. With or without a registry."""
    routes = _ROUTES.get(method, ())
    plain = "/".join(map(unquote, path.partition("?")[0].split("/")))
    below = plain[plain.find("/", 1) :] if plain.find("/", 1) > 0 else ""
    # A registry may be called as a route is, so the path itself comes first.
    return next((name for each in (plain, below) for name, route in routes if route.match(each)), "other")


def basic_of(token: str) -> bytes:
    """The Authorization header with which uploaders send an API token."""
    return b"Basic " + base64.b64encode(f"__token__:{token}".encode("ascii"))


class Front:
    """A reverse proxy on loopback: TLS on `port`, and plain http on `plain_port` for clients that need no TLS."""

    def __init__(
        self,
        upstream_port: int,
        impersonations: Sequence[Impersonation],
        journal: Journal,
        faults: Faults,
        ssl_context: ssl.SSLContext,
        port: int = 0,
        plain: bool = True,
        own_host: str = "localhost",
        plain_port: int = 0,
    ) -> None:
        self.port = port
        self.plain_port = plain_port
        self.upstream_port = upstream_port
        self._impersonations = tuple(impersonations)
        self._journal = journal
        self._faults = faults
        self._ssl_context = ssl_context
        self._plain = plain
        self._own_host = own_host
        self._known: tuple[bytes, Callable[[str], str]] | None = None
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def base_url(self) -> str:
        """The index's URL for clients, without a slash at the end; known once started."""
        return f"https://{self._own_host}:{self.port}"

    def know(self, token: str, token_of: Callable[[str], str]) -> None:
        """Take a token that a script has built in for the one that `token_of` gives for the registry of the host."""
        self._known = (basic_of(token), token_of)

    async def start(self) -> None:
        """Listen. Raises `Misconfigured` when the port is taken."""
        application = web.Application(middlewares=[watching(self._journal, self._faults, "index", self._name)])
        application.router.add_route("*", "/{path:.*}", self._forward)
        application.on_response_prepare.append(_without_additions)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=LOG,
            auto_decompress=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LINE_MAX_BYTES,
            max_field_size=LINE_MAX_BYTES,
        )
        self._http = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=EXCHANGE_SECONDS, sock_connect=CONNECT_SECONDS),
            max_line_size=LINE_MAX_BYTES,
            max_field_size=LINE_MAX_BYTES,
        )
        try:
            await self._runner.setup()
            self.port = await self._listen(self.port, self._ssl_context)
            if self._plain:
                self.plain_port = await self._listen(self.plain_port, None)
        except BaseException:
            await self.close()
            raise

    async def _listen(self, port: int, context: ssl.SSLContext | None) -> int:
        assert self._runner is not None
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context).start()
        except OSError as error:
            raise Misconfigured(
                "port",
                f"127.0.0.1:{port} cannot be listened on: {os.strerror(error.errno or 0)}.",
                "Stop what uses it, or choose another port for the lab.",
            ) from None
        return int(self._runner.addresses[-1][1])

    async def close(self) -> None:
        """Stop listening and end every exchange. May be called twice."""
        runner, self._runner = self._runner, None
        http, self._http = self._http, None
        if runner is not None:
            await runner.cleanup()
        if http is not None:
            await http.close()

    def _name(self, request: web.Request) -> tuple[str, str | None]:
        found = rewrite(self._impersonations, request.headers.get("Host", ""), request.method, _path_of(request))
        return ("other" if found is None else name_action(request.method, found[1])), None

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        host, path = request.headers.get("Host", ""), _path_of(request)
        found = rewrite(self._impersonations, host, request.method, path)
        if found is None:
            return _refusal(404, f"The lab stands in for {host}, but not at this path. See --impersonate HOST/PREFIX.")
        body = _Body(request)
        try:
            assert self._http is not None
            async with self._http.request(
                request.method,
                URL(f"http://127.0.0.1:{self.upstream_port}{found[1]}", encoded=True),
                headers=self._request_headers(request, found[0], path),
                data=await body.data(),
                skip_auto_headers=_UNTOUCHED,
                allow_redirects=False,
            ) as answer:
                # Whatever ends the exchange on leaving, the answer has been passed on.
                return await self._answer(request, answer, path)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return _failed(request, error)
        finally:
            # The rest of the body belongs to the server of this request, which must not find a second reader.
            await body.idle.wait()

    async def _answer(self, request: web.Request, answer: aiohttp.ClientResponse, path: str) -> web.StreamResponse:
        headers = self._response_headers(request, answer.headers, path)
        if request.get(ANSWER_IS_LOST):
            with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                await _discard(answer)
            return web.Response(status=answer.status, reason=answer.reason)
        response = _Relayed(answer, headers)
        if self._name(request)[0] == "upload" and impersonation_of(self._impersonations, request.host, path):
            response.set_status(*in_their_words(response.status, response.reason))
            if response.status == 403:
                response.headers.popall("WWW-Authenticate", None)
        sent = 0
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.relay(chunk)
                sent += len(chunk)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            # Part of it is out: only a broken connection tells the client that the rest is missing.
            gone = _is_gone(request)
            request[NOTE] = "The client went away." if gone else "The index broke off in the middle of its answer."
            if request.transport is not None:
                request.transport.abort()
        request[RESPONSE_BYTES] = sent
        return response

    def _request_headers(self, request: web.Request, host: str, path: str) -> CIMultiDict[str]:
        headers = _request_headers(request, host)
        found = impersonation_of(self._impersonations, request.headers.get("Host", ""), path)
        if self._known is not None and found is not None:
            known, token_of = self._known
            if hmac.compare_digest(headers.get("Authorization", "").encode("utf-8", "surrogateescape"), known):
                headers["Authorization"] = basic_of(token_of(found.registry)).decode("ascii")
        return headers

    def _response_headers(self, request: web.Request, headers: MultiMapping[str], path: str) -> CIMultiDict[str]:
        kept = _end_to_end(headers)
        found = impersonation_of(self._impersonations, request.headers.get("Host", ""), path)
        location = kept.get("Location", "")
        # The index redirects within its host, and knows nothing of the prefix.
        if found is not None and found.prefix and location.startswith("/") and not location.startswith("//"):
            kept["Location"] = found.prefix + location
        return kept


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """What a client does wrong is not: the terminal belongs to the command under test, and the line quotes secrets."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError | TimeoutError)


LOG.addFilter(_is_worth_a_line)


class _Relayed(web.StreamResponse):
    """An answer of the index: goes out with the headers that it came with.

    Its end is held back until the journal has it: a client that has read all of it finds its entry there.
    """

    # The headers wait for the first part of the body.
    _send_headers_immediately = False

    def __init__(self, answer: aiohttp.ClientResponse, headers: CIMultiDict[str]) -> None:
        super().__init__(status=answer.status, reason=answer.reason, headers=headers)
        self.added = [name for name in _ADDED if name not in headers]
        self._last = b""

    async def relay(self, chunk: bytes) -> None:
        """Send what was held back, and hold this back."""
        last, self._last = self._last, chunk
        if last:
            await self.write(last)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the rest. The server calls it, once everything else is done."""
        last, self._last = self._last, b""
        await super().write_eof(data or last)


async def _without_additions(_request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, _Relayed):
        for name in response.added:
            response.headers.popall(name, None)


class _Body:
    """The client's body on its way to the index. `idle` is set while nobody reads from the client."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._begun = False
        self.idle = asyncio.Event()
        self.idle.set()

    async def data(self) -> _Body | bytes | None:
        """What to send: this, what somebody has read already, or nothing."""
        if not self._request.body_exists:
            return None
        return await self._request.read() if self._request.content.at_eof() else self

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            # The head goes out with the first part. It must not wait for a client that sends no body: the index, which
            # has deadlines for that, would never hear of it.
            self._begun = True
            return b""
        self.idle.clear()
        try:
            chunk = await self._request.content.readany()
        finally:
            self.idle.set()
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _path_of(request: web.Request) -> str:
    """The raw path with its query; without the host that some clients write in front of it."""
    path = request.raw_path
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path


def _end_to_end(headers: MultiMapping[str]) -> CIMultiDict[str]:
    """The headers that are not of one connection only, in their order."""
    named = {name.strip().lower() for line in headers.getall("Connection", []) for name in line.split(",")}
    dropped = _HOP_BY_HOP | (named - {"content-length"})
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def _request_headers(request: web.Request, host: str) -> CIMultiDict[str]:
    kept: CIMultiDict[str] = CIMultiDict()
    # aiohttp takes another spelling of a name for a replacement.
    spelled: dict[str, str] = {}
    for name, value in _end_to_end(request.headers).items():
        lower = name.lower()
        if lower not in _REPLACED and not lower.startswith("x-forwarded-"):
            kept.add(spelled.setdefault(lower, name), value)
    if host:
        kept["Host"] = host
    kept["X-Forwarded-For"] = "127.0.0.1"
    kept["X-Forwarded-Proto"] = "https" if request.secure else "http"
    return kept


async def _discard(answer: aiohttp.ClientResponse) -> None:
    async for _ in answer.content.iter_any():
        pass


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _failed(request: web.Request, error: Exception) -> web.Response:
    """The index gave no answer."""
    if _is_gone(request):
        request[NOTE] = "The client went away before the index had answered."
        return web.Response(status=_CLIENT_IS_GONE, reason="Client Closed Request")
    if isinstance(error, TimeoutError):
        return _refusal(504, "The lab's index did not answer in time. Look into its log.")
    return _refusal(502, "The lab's index cannot be reached, or broke off. Start the lab again if it has stopped.")


def _refusal(status: int, sentence: str) -> web.Response:
    # The form of the index's own refusals: clients read `errors`.
    body = {"message": sentence, "errors": [{"code": "lab", "description": sentence}]}
    return web.Response(
        body=json.dumps(body).encode("ascii"), content_type="application/json", status=status, reason=sentence
    )
