"""Requests that never reach an endpoint get the body that every refusal has.

Owns the answers to what the HTTP parser and the library refuse before any middleware is asked: what is no HTTP, and
expectations that nobody can meet. Leaves the log line about the first to `web.protocol_log`, and everything else to
`web.boundary`.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.web import answers
from mintmark.web.context import SERVICES


class Runner(web.AppRunner):
    """Runs the application; a connection on which it cannot read a request says so as the application would."""

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self.app[SERVICES].wire.base_url)


class _Server(web.Server):
    def __init__(self, plain: web.Server, base_url: str) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await plain.request_handler(request)
            except web.HTTPExpectationFailed:
                return _answer(Rejected("invalid-request", "The Expect header can be 100-continue only."), base_url)

        super().__init__(
            handle,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
            loop=plain._loop,  # noqa: SLF001 - the library has no other way to choose the class of its connections
            **plain._kwargs,  # noqa: SLF001
        )
        self.base_url = base_url

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # Logs it, and raises when there is nothing to be said any more because an answer was begun.
        plain = super().handle_error(request, status, exc, message)
        if status != HTTPStatus.BAD_REQUEST:
            return plain
        assert isinstance(self._manager, _Server)
        # The parser's own words quote what it read, and with it perhaps a credential.
        refusal = Rejected("invalid-request", "This is no HTTP request that this server can read.")
        return _answer(refusal, self._manager.base_url)


def _answer(refusal: Rejected, base_url: str) -> web.Response:
    answer = answers.refusal(refusal, base_url)
    answer.headers["Server"] = "Mintmark"
    # Where the next request begins is anybody's guess.
    answer.force_close()
    return answer
