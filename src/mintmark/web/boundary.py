"""The outermost layer: every request comes in and every answer goes out here.

Owns the check of the Host header, the one place where exceptions become answers, and the log line of a refusal.
Leaves the body of an answer to `web.answers`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from mintmark.core.errors import Rejected, Unavailable
from mintmark.web import answers
from mintmark.web.context import OWN_REGISTRY, host_name, may_connect_from, services
from mintmark.web.metrics import ANSWERS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOG = structlog.get_logger("mintmark.web")


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Resolve the host, run the endpoint, answer whatever happens."""
    try:
        await _resolve_host(request)
        return await handler(request)
    except Rejected as error:
        return _refuse(request, error)
    except Unavailable as error:
        LOG.warning("unavailable", path=request.path, what=error.what, private=error.private)
        ANSWERS["unavailable"].inc()
        return answers.unavailable(error, services(request).wire.base_url, **_manner(request))
    except web.HTTPException as error:
        return _refuse(request, _translate(error))
    except Exception as error:
        if isinstance(error, ConnectionError) and _is_gone(request):
            # Nobody is there to be told; that is no bug.
            return _refuse(request, Rejected("invalid-request", "The client is gone."))
        incident = secrets.token_hex(6)
        LOG.exception("bug", incident=incident, method=request.method, path=request.path)
        ANSWERS["bug"].inc()
        return answers.internal_error(incident, services(request).wire.base_url, **_manner(request))


async def _resolve_host(request: web.Request) -> None:
    wire = services(request).wire
    request[OWN_REGISTRY] = None
    path = request.path
    if path.startswith("/-/") and path != "/-/errors":
        # Load balancers probe by address.
        return
    if not may_connect_from(request.remote or "", wire):
        raise Rejected("misdirected-request", "This server is reached through its proxy only.")
    name = host_name(request.headers.get("Host", ""))
    if name == wire.host:
        return
    snapshot = await services(request).directory.current()
    own = snapshot.by_host.get(name)
    if own is None:
        raise Rejected("misdirected-request", "This server does not answer for that host name.")
    request[OWN_REGISTRY] = own


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _refuse(request: web.Request, error: Rejected) -> web.Response:
    # Installers ask anonymously first; that is no event.
    tell = LOG.debug if error.code.status == 401 and not request.headers.get("Authorization") else LOG.info
    tell(
        "refused",
        method=request.method,
        path=request.path,
        code=error.code.name,
        detail=error.detail,
        private=error.private,
    )
    ANSWERS["refused"].inc()
    return answers.refusal(error, services(request).wire.base_url, **_manner(request))


def _manner(request: web.Request) -> dict[str, str]:
    """How a failure is worded on this route: the exchange's clients have conventions of their own."""
    if "/_/oidc/" not in request.path and not request.path.startswith("/.well-known/"):
        return {}
    content_type = answers.PROBLEM if answers.wants_problem(request) else answers.JSON
    minting = request.path.endswith("/mint-token")
    return {"content_type": content_type, **({"message": answers.MINT_FAILED} if minting else {})}


def _translate(error: web.HTTPException) -> Rejected:
    """aiohttp's own refusals as ours."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Rejected(
            "method-not-allowed",
            f"{error.method} is not possible here.",
            hint=f"Possible: {allowed}.",
            members={"allow": allowed},
        )
    if error.status == 404:
        return Rejected("not-found", "There is nothing here.")
    if error.status == 413:
        return Rejected("too-large", "The body is too large.")
    return Rejected("invalid-request", error.reason or "The request is not valid.")
