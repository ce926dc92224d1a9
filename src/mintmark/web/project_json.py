"""The JSON documents about projects and releases, for tools that ask for them.

Owns their routes and the redirect to a project's normal name. The documents come rendered from `service.browse`.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.core.names import parse_project
from mintmark.web.answers import JSON
from mintmark.web.context import OWN_REGISTRY, address_of, registry_of, services
from mintmark.web.simple import answer_page, moved

# Clients get JSON whatever they accept, as they are used to.
VARY = "Accept-Encoding"


async def project_json(request: web.Request) -> web.Response:
    """GET /REGISTRY/pypi/PROJECT/json: a project's newest release and all its files, as one JSON document."""
    return await _answer(request, None)


async def release_json(request: web.Request) -> web.Response:
    """GET /REGISTRY/pypi/PROJECT/VERSION/json: one release and its files, as one JSON document."""
    return await _answer(request, request.match_info["version"])


async def _answer(request: web.Request, version: str | None) -> web.Response:
    registry = await registry_of(request)
    at_hand = services(request)
    root = at_hand.exchange.base_of(registry, own_host=request[OWN_REGISTRY] is not None)
    spelled = request.match_info["project"]
    try:
        name = parse_project(spelled)
    except Rejected:
        raise Rejected("not-found", "That is no project name.") from None
    if name != spelled:
        return moved(request, registry, f"pypi/{name}/{'' if version is None else quote(version, safe='') + '/'}json")
    page = await at_hand.browse.project_json(
        registry, name, version, root, request.headers.get("Authorization"), address_of(request)
    )
    return answer_page(request.headers, registry, page, JSON, vary=VARY)


ROUTES = (
    web.get("/{registry}/pypi/{project}/json", project_json),
    web.get("/pypi/{project}/json", project_json),
    web.get("/{registry}/pypi/{project}/{version}/json", release_json),
    web.get("/pypi/{project}/{version}/json", release_json),
)
