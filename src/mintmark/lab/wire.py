"""What the lab's provider server says over HTTP in the same way everywhere.

Owns JSON answers, refusals as one sentence, and comparing secrets. Leaves paths and contents to the modules that
answer at them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.lab.faults import BadFault
from mintmark.lab.kinds.model import BadOrder
from mintmark.lab.orders import BODY_MAX_BYTES

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(value: object, status: int = 200) -> web.Response:
    """A JSON answer that nobody keeps."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(
        body=json.dumps(value).encode("ascii"), content_type="application/json", status=status, headers=headers
    )


@web.middleware
async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as JSON with one sentence."""
    try:
        return await handler(request)
    except Rejected as error:
        return answer({"message": error.sentence}, 400)
    except (BadOrder, BadFault) as error:
        return answer({"message": str(error)}, 400)
    except web.HTTPRequestEntityTooLarge:
        return answer({"message": f"The body is larger than {BODY_MAX_BYTES} bytes."}, 413)
    except web.HTTPException as error:
        return answer({"message": error.text or error.reason}, error.status)


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def is_secret(given: str, kept: bytes) -> bool:
    """Whether this is the secret with that digest; takes as long for every wrong one."""
    return hmac.compare_digest(digest(given), kept)


def host_of(request: web.Request) -> str:
    """The host that the client means, without its port."""
    host = request.headers.get("Host", "").lower()
    return host if host.endswith("]") else host.rpartition(":")[0] or host
