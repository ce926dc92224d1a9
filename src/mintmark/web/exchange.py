"""The token exchange: discovery, audience, mint and burn (PEP 807, and what PyPI serves today).

Owns parsing the wire. Every decision is in `service.exchange`, `service.mint` and `service.burn`.
"""

from __future__ import annotations

import asyncio

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
    """A small body, whatever its Content-Type says. Raises `Rejected`: too large, or too slow."""
    body = bytearray()
    seconds = services(request).wire.body_idle_seconds
    try:
        # For the whole of it: an identity token is two kilobytes.
        async with asyncio.timeout(seconds):
            while len(body) <= BODY_MAX_BYTES:
                chunk = await request.content.readany()
                if not chunk:
                    return bytes(body)
                body += chunk
    except TimeoutError:
        raise Rejected("timeout", f"The body did not arrive within {seconds} seconds.") from None
    raise Rejected("too-large", f"The body is larger than {BODY_MAX_BYTES} bytes.", hint="It holds one identity token.")


async def discover(request: web.Request) -> web.Response:
    """GET /.well-known/pytp?discover=KEY: where the exchange of an upload URL is (PEP 807, discovery)."""
    require_acceptable(request)
    query = request.raw_path.partition("?")[2]
    return json_answer(await services(request).exchange.discover(query, request[OWN_REGISTRY]))


async def registry_audience(request: web.Request) -> web.Response:
    """GET /REGISTRY/_/oidc/audience: what the registry's identity tokens must name as their audience."""
    require_acceptable(request)
    return json_answer({"audience": await services(request).exchange.audience(await registry_of(request))})


async def registry_mint(request: web.Request) -> web.Response:
    """POST /REGISTRY/_/oidc/mint-token: identity token in, upload credential out."""
    require_acceptable(request)
    return await _mint(request, await registry_of(request))


async def registry_burn(request: web.Request) -> web.Response:
    """POST /REGISTRY/_/oidc/burn-token: ends an upload credential before its time."""
    require_acceptable(request)
    await registry_of(request)
    return await _burn(request)


async def host_audience(request: web.Request) -> web.Response:
    """GET /_/oidc/audience: the audience of the whole host; on a registry's own host name, the registry's."""
    return json_answer({"audience": await services(request).exchange.audience(_host_registry(request))})


async def host_mint(request: web.Request) -> web.Response:
    """POST /_/oidc/mint-token: mints for the whole host; today's clients call it whatever the upload URL's path."""
    return await _mint(request, _host_registry(request))


async def host_burn(request: web.Request) -> web.Response:
    """POST /_/oidc/burn-token: burns for the whole host."""
    return await _burn(request)


def _host_registry(request: web.Request) -> Registry | None:
    """The registry whose own host name was asked, None for the shared host."""
    own = request[OWN_REGISTRY]
    if own is not None and not own.enabled:
        raise Rejected("not-found", "There is no such registry here.")
    return own


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
                "reads": minted.reads,
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
