"""The application: routes in the order in which they are tried.

Owns that order. aiohttp's router keeps every route whose first segment varies in one list and scans it, so the
routes installers ask for come first.
"""

from __future__ import annotations

from concurrent.futures import Executor

from aiohttp import web

from mintmark.web import exchange, files, operations, project_json, simple, upload
from mintmark.web.boundary import boundary
from mintmark.web.context import SERVICES, Services
from mintmark.web.pages import errors
from mintmark.web.protocol_log import protocol_logger


async def _sign(_request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp would name its own and Python's version, which helps only who looks for their faults.
    response.headers["Server"] = "Mintmark"


def build(services: Services, receiving: Executor) -> web.Application:
    """The aiohttp application. `receiving` runs the threads in which uploads are hashed and written."""
    app = web.Application(
        middlewares=[boundary],  # Bodies are never inflated: every bound on a body is the bound of what is read.
        handler_args={"access_log": None, "auto_decompress": False, "logger": protocol_logger()},
    )
    app[SERVICES] = services
    app.on_response_prepare.append(_sign)
    app[upload.RECEIVING] = receiving
    for routes in (
        simple.HOT_ROUTES,
        files.ROUTES,
        upload.ROUTES,
        exchange.ROUTES,
        simple.ROUTES,
        project_json.ROUTES,
        operations.ROUTES,
        errors.ROUTES,
    ):
        app.add_routes(routes)
    return app
