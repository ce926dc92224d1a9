"""The token exchange: discovery, audience, mint and burn (PEP 807, and what PyPI serves today).

Owns parsing the wire. Every decision is in `service.exchange`, `service.mint` and `service.burn`.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.core.exchange import BODY_MAX_BYTES, parse_burn, parse_mint
from mintmark.core.records import Registry
from mintmark.web.answers import json_answer, require_acceptable
from mintmark.web.context import OWN_REGISTRY, address_of, registry_of, services
from mintmark.web.metrics import MINTED

LOG = structlog.get_logger("mintmark.exchange")


async def read_body(request: web.Request) -> bytes:
    """A small body, whatever its Content-Type says. Raises `Rejected("too-large")`."""
    body = bytearray()
    while len(body) <= BODY_MAX_BYTES:
        chunk = await request.content.readany()
        if not chunk:
            return bytes(body)
        body += chunk
    raise Rejected("too-large", f"The body is larger than {BODY_MAX_BYTES} bytes.", hint="It holds one identity token.")


async def discover(request: web.Request) -> web.Response:
    """GET /.well-known/pytp?discover=KEY (PEP 807, "Trusted Publishing Discovery")."""
    require_acceptable(request)
    query = request.raw_path.partition("?")[2]
    return json_answer(await services(request).exchange.discover(query, request[OWN_REGISTRY]))


async def registry_audience(request: web.Request) -> web.Response:
    """GET /REGISTRY/_/oidc/audience."""
    require_acceptable(request)
    return json_answer({"audience": await services(request).exchange.audience(await registry_of(request))})


async def registry_mint(request: web.Request) -> web.Response:
    """POST /REGISTRY/_/oidc/mint-token."""
    require_acceptable(request)
    return await _mint(request, await registry_of(request))


async def registry_burn(request: web.Request) -> web.Response:
    """POST /REGISTRY/_/oidc/burn-token."""
    require_acceptable(request)
    await registry_of(request)
    return await _burn(request)


async def host_audience(request: web.Request) -> web.Response:
    """GET /_/oidc/audience: of the registry on its own host name, else of the shared host."""
    return json_answer({"audience": await services(request).exchange.audience(request[OWN_REGISTRY])})


async def host_mint(request: web.Request) -> web.Response:
    """POST /_/oidc/mint-token, which today's clients call whatever the upload URL's path."""
    own = request[OWN_REGISTRY]
    if own is not None and not own.enabled:
        raise Rejected("not-found", "There is no such registry here.")
    return await _mint(request, own)


async def host_burn(request: web.Request) -> web.Response:
    """POST /_/oidc/burn-token."""
    return await _burn(request)


async def _mint(request: web.Request, registry: Registry | None) -> web.Response:
    wanted = parse_mint(await read_body(request))
    minted = await services(request).mint(registry, wanted, address_of(request))
    MINTED.inc()
    LOG.info("minted", registries=minted.registries, projects=minted.projects[:5], expires=minted.expires_at)
    return json_answer(
        {
            "success": True,
            "token": minted.secret,
            "expires": minted.expires_at,
            "scope": {
                "registries": minted.registries,
                "projects": minted.projects,
                "single-use": minted.single_use,
            },
        }
    )


async def _burn(request: web.Request) -> web.Response:
    await services(request).burn(parse_burn(await read_body(request)), address_of(request))
    return json_answer({"message": "Accepted"}, 202)


ROUTES = (
    web.get("/.well-known/pytp", discover),
    web.get("/_/oidc/audience", host_audience),
    web.post("/_/oidc/mint-token", host_mint),
    # The path of 2023, which maturin still calls.
    web.post("/_/oidc/github/mint-token", host_mint),
    web.post("/_/oidc/burn-token", host_burn),
    web.get("/{registry}/_/oidc/audience", registry_audience),
    web.post("/{registry}/_/oidc/mint-token", registry_mint),
    web.post("/{registry}/_/oidc/burn-token", registry_burn),
)
