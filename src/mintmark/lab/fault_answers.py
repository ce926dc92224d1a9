"""The answers that faults give in the place of the real ones.

Owns their bodies, headers and reason phrases, in the form of the real index: what a client makes of them here it makes
of them there. Leaves when to give one to `lab.watch`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType

from aiohttp import web

from mintmark.core import negotiate
from mintmark.core.codes import CODES

PYTP = "application/vnd.pypi.pytp.v1+json"
PROBLEM = "application/problem+json"
JSON = "application/json"
RETRY_AFTER_SECONDS = 1
REASON_MAX_CHARACTERS = 200
MINT_FAILED = "Token request failed"

# Fault: the public code, and the status where it is not the code's.
_REFUSALS: Mapping[str, tuple[str, int | None]] = {
    "audience-403": ("exchange-disabled", None),
    "audience-404": ("not-found", None),
    "audience-500": ("internal-error", None),
    "mint-403": ("exchange-disabled", None),
    "mint-422": ("invalid-publisher", None),
    "mint-429": ("rate-limited", None),
    "mint-500": ("internal-error", None),
    "burn-404": ("not-found", None),
    "burn-500": ("internal-error", None),
    "upload-400": ("invalid-metadata", None),
    "upload-403": ("credential-refused", None),
    "upload-409": ("file-exists", 409),
    "upload-503": ("unavailable", None),
}


def fault_answer(name: str, request: web.Request) -> web.Response:
    """The answer of a fault that has one."""
    return ANSWERS[name](name, request)


def _refusal(name: str, request: web.Request) -> web.Response:
    code_name, other_status = _REFUSALS[name]
    code = CODES[code_name]
    status = other_status or code.status
    sentence = f"{code.title}: the fault {name} of the lab is on."
    content_type = _content_type(name, request)
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    if status in {429, 503}:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    body = {
        **({"incident": secrets.token_hex(6)} if status == 500 else {}),
        "type": f"{request.scheme}://{request.host}/-/errors#{code.name}",
        "title": code.title,
        "status": status,
        "detail": sentence,
        "message": MINT_FAILED if name.startswith("mint-") else sentence,
        "errors": [{"code": code.name, "description": sentence}],
    }
    return web.Response(
        status=status, reason=sentence[:REASON_MAX_CHARACTERS], body=json.dumps(body).encode("ascii"), headers=headers
    )


def _content_type(name: str, request: web.Request) -> str:
    """Clients of the exchange choose; everybody else gets a problem (RFC 9457)."""
    if name.startswith("upload-"):
        return PROBLEM
    chosen = negotiate.choose(request.headers.get("Accept"), (JSON, PROBLEM, PYTP), PYTP)
    return PROBLEM if chosen in {PROBLEM, PYTP} else JSON


def _plain(status: int, body: bytes, content_type: str = JSON) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _provider_error(name: str, request: web.Request) -> web.Response:
    status = 403 if name == "provider-403" else 500
    return _plain(status, json.dumps({"message": f"The fault {name} of the lab is on."}).encode("ascii"))


def _page(name: str, request: web.Request) -> web.Response:
    return _plain(200, b"<!doctype html>\n<title>Maintenance</title>\n")


def _redirect(name: str, request: web.Request) -> web.Response:
    """To the same URL, its trailing slash toggled: what servers do that know one form of an upload URL only."""
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    other = path[:-1] if path.endswith("/") and path != "/" else path + "/"
    location = f"{request.scheme}://{request.host}{other}{'?' + query if query else ''}"
    return web.Response(status=308, headers={"Location": location, "Cache-Control": "no-store"})


ANSWERS: Mapping[str, Callable[[str, web.Request], web.Response]] = MappingProxyType(
    {
        **dict.fromkeys(_REFUSALS, _refusal),
        **dict.fromkeys(("provider-403", "provider-500", "issuer-500"), _provider_error),
        **dict.fromkeys(("provider-malformed", "issuer-malformed"), _page),
        "mint-invalid-json": lambda name, request: _plain(200, b'{"success": true, "token": "'),
        "burn-202": lambda name, request: _plain(202, b'{"message": "Accepted"}'),
        "upload-308": _redirect,
    }
)
