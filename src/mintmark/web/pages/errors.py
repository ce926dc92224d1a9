"""The page of error codes, to which every problem's `type` leads.

Owns its HTML, made from `core.codes`. Works without network, script or style sheet from elsewhere.
"""

from __future__ import annotations

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from mintmark.core.codes import CODES

_TEMPLATES = Environment(
    loader=PackageLoader("mintmark.web", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "max-age=3600",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def render() -> bytes:
    """The page."""
    return _TEMPLATES.get_template("errors.html").render(codes=list(CODES.values())).encode()


async def errors(_request: web.Request) -> web.Response:
    """GET /-/errors: what every error code means and what helps, for people."""
    return web.Response(body=render(), headers=HEADERS)


async def front(_request: web.Request) -> web.Response:
    """GET /: says what this host is, for people."""
    return web.Response(body=_TEMPLATES.get_template("front.html").render().encode(), headers=HEADERS)


ROUTES = (web.get("/-/errors", errors), web.get("/", front))
