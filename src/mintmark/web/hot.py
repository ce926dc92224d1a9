"""Project pages, the way that installers wear out: answered in front of the router when nothing needs thought.

Owns the short cut (ADR 0011). It answers only what the application would answer with 200 or 304: a page that is there,
of a public registry or for a credential whose right to read it is remembered. Everything else, every refusal above
all, goes the ordinary way through `web.boundary`, so there is one place for each decision.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from mintmark.core import negotiate
from mintmark.web.context import SERVICES, Services, may_connect_from
from mintmark.web.simple import answer_page, field

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
# The raw path: what is escaped, normalised or malformed takes the ordinary way.
_PAGE = re.compile(r"/([a-z0-9-]+)/simple/([a-z0-9]+(?:-[a-z0-9]+)*)/\Z")


def install(runner: web.AppRunner) -> None:
    """Put the short cut in front of an application that has been set up but not connected to yet."""
    server = runner.server
    assert server is not None
    server.request_handler = short_cut(runner.app[SERVICES], server.request_handler)


def short_cut(services: Services, ordinary: Handler) -> Handler:
    """A handler that answers easy pages itself and passes the rest on."""
    wire, directory, browse = services.wire, services.directory, services.browse
    hosts = frozenset({wire.host, urlsplit(wire.base_url).netloc})

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        match = _PAGE.match(request.raw_path)
        if match is None or request.method != "GET":
            return await ordinary(request)
        headers = request.headers
        chosen = negotiate.simple_form(field(headers, "Accept"))
        if chosen is None or "If-Match" in headers or headers.get("Host") not in hosts:
            return await ordinary(request)
        if wire.proxied_only and not may_connect_from(request.remote or "", wire):
            return await ordinary(request)
        version = services.ledger.version()
        snapshot = directory.fresh(version)
        slug, project = match.groups()
        registry = snapshot.by_slug.get(slug) if snapshot else None
        if registry is None or not registry.enabled:
            return await ordinary(request)
        page = browse.at_hand(version, registry, project, chosen[0], headers.get("Authorization"))
        if page is None:
            return await ordinary(request)
        return answer_page(headers, registry, page, chosen[1])

    return handle
