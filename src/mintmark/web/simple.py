"""The simple API: lists of projects and project pages (PEP 503, 691, 700).

Owns negotiation, redirects and validators. Pages come rendered from `service.browse`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from aiohttp import web
from multidict import MultiMapping

from mintmark.core import negotiate
from mintmark.core.errors import Rejected
from mintmark.core.names import parse_project
from mintmark.core.records import Registry
from mintmark.service.ports import Page
from mintmark.web.context import OWN_REGISTRY, address_of, registry_of, services

_NORMAL = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_REFUSED = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*\Z")
# Always revalidated: what an upload was told is published must be what the next installer sees.
CACHE = "no-cache"
# Not Authorization: private pages are for one user's cache anyway, and pip takes a mismatch for a damaged entry.
VARY = "Accept, Accept-Encoding"


async def project_page(request: web.Request) -> web.Response:
    """GET /REGISTRY/simple/PROJECT/: a project's files, as JSON or HTML (PEP 503, 691)."""
    registry = await registry_of(request)
    name = request.match_info["project"]
    if not _NORMAL.match(name):
        return await _normalized(request, registry, name)
    return await _page(request, registry, name)


async def project_list(request: web.Request) -> web.Response:
    """GET /REGISTRY/simple/: the list of projects, as JSON or HTML."""
    return await _page(request, await registry_of(request), "")


async def add_slash(request: web.Request) -> web.Response:
    """GET without the slash at the end: redirects to the page (301, PEP 503)."""
    registry = await registry_of(request)
    name = request.match_info.get("project")
    if name is None:
        return moved(request, registry, "simple/")
    return await _normalized(request, registry, name)


async def _normalized(request: web.Request, registry: Registry, name: str) -> web.Response:
    try:
        return moved(request, registry, f"simple/{parse_project(name)}/")
    except Rejected:
        raise Rejected("not-found", "That is no project name.") from None


def moved(request: web.Request, registry: Registry, path: str) -> web.Response:
    """A redirect to another path of the registry, which stands there percent-encoded."""
    prefix = "" if request[OWN_REGISTRY] else f"/{registry.slug}"
    return web.Response(status=301, headers={"Location": f"{prefix}/{path}", "Cache-Control": CACHE})


async def _page(request: web.Request, registry: Registry, project: str) -> web.Response:
    headers = request.headers
    chosen = negotiate.simple_form(field(headers, "Accept"))
    if chosen is None:
        raise Rejected(
            "not-acceptable",
            "This page exists as HTML and as JSON only.",
            hint=f"Accept {negotiate.JSON_V1} or {negotiate.HTML}.",
        )
    form, content_type = chosen
    authorization = headers.get("Authorization")
    page = await services(request).browse.page(registry, project, form, authorization, address_of(request))
    return answer_page(headers, registry, page, content_type)


def field(headers: MultiMapping[str], name: str) -> str | None:
    """A header that is a list, all of its lines together (RFC 9110, section 5.3); None when it is absent."""
    lines = headers.getall(name, ())
    return lines[0] if len(lines) == 1 else ", ".join(lines) or None


def answer_page(
    headers: MultiMapping[str], registry: Registry, page: Page, content_type: str, *, vary: str = VARY
) -> web.Response:
    """The answer with a page: whole, compressed, or 304. `headers` are the request's. Raises `Rejected` (412)."""
    compressed = page.gzip if page.gzip and accepts_gzip(field(headers, "Accept-Encoding") or "") else None
    # Two codings are two representations (RFC 9110, section 8.8.3.3).
    etag = f'"{page.etag}{"-gzip" if compressed else ""}"'
    require_match(headers, etag)
    fields = {
        # On a 304 as well: pip merges its headers into the page it has cached.
        "Content-Type": content_type,
        "ETag": etag,
        "Server": "Mintmark",
        "Vary": vary,
        "Cache-Control": f"private, {CACHE}" if registry.private else CACHE,
    }
    if_none_match = field(headers, "If-None-Match")
    if if_none_match is not None and names_etag(if_none_match, etag):
        return web.Response(status=304, headers=fields)
    if compressed:
        fields["Content-Encoding"] = "gzip"
        return web.Response(body=compressed, headers=fields)
    return web.Response(body=page.body, headers=fields)


@lru_cache(maxsize=256)
def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding names gzip with a weight above 0 (RFC 9110, section 12.5.3)."""
    for element in header.lower().split(","):
        name, _, parameters = element.partition(";")
        if name.strip() in {"gzip", "x-gzip"}:
            return not _REFUSED.match(parameters)
    return False


def require_match(headers: MultiMapping[str], etag: str) -> None:
    """Raise `Rejected` (412) unless If-Match, if it is there, names the validator (section 13.1.1: strong comparison).

    There is no Last-Modified: two changes may come within its one second. So If-Modified-Since and
    If-Unmodified-Since say nothing here (sections 13.1.3 and 13.1.4).
    """
    wanted = field(headers, "If-Match")
    if wanted is None or wanted.strip() == "*" or any(part.strip() == etag for part in wanted.split(",")):
        return
    raise Rejected(
        "precondition-failed",
        "If-Match names another version of this than there is now.",
        hint="Ask again without it.",
    )


def names_etag(header: str, etag: str) -> bool:
    """Whether If-None-Match names the validator (RFC 9110, section 13.1.2: weak comparison)."""
    return header.strip() == "*" or any(part.strip().removeprefix("W/") == etag for part in header.split(","))


HOT_ROUTES = (
    web.get("/{registry}/simple/{project}/", project_page),
    web.get("/simple/{project}/", project_page),
)
ROUTES = (
    web.get("/{registry}/simple/", project_list),
    web.get("/simple/", project_list),
    web.get("/{registry}/simple", add_slash),
    web.get("/simple", add_slash),
    web.get("/{registry}/simple/{project}", add_slash),
    web.get("/simple/{project}", add_slash),
)
