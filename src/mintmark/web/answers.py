"""Answers on the wire: JSON, and problems (RFC 9457) that today's clients can read as well.

Owns the one body in which every refusal is sent, and its reason phrase, the only place where twine, hatch and flit
show an error. Leaves what is refused to everybody else.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from mintmark.core import negotiate
from mintmark.core.codes import CODES, Code
from mintmark.core.errors import Rejected, Unavailable

PYTP = "application/vnd.pypi.pytp.v1+json"
PROBLEM = "application/problem+json"
JSON = "application/json"
REASON_MAX_CHARACTERS = 200
MINT_FAILED = "Token request failed"

_OFFERS = (PYTP, PROBLEM, JSON)


def json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer. Sent as bytes: aiohttp's `text=` would add a charset that keeps uv from reading errors."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(value),
        headers={"Content-Type": JSON, "Cache-Control": "no-store", **(headers or {})},
    )


def wants_problem(request: web.Request) -> bool:
    """Whether an exchange's client asked for PEP 807's type, or said nothing; then it gets problem+json."""
    return negotiate.choose(request.headers.get("Accept"), (JSON, PROBLEM, PYTP), PYTP) in {PROBLEM, PYTP}


def require_acceptable(request: web.Request) -> None:
    """406 unless the client takes JSON in one of its forms (PEP 807, "Constraints")."""
    if negotiate.choose(request.headers.get("Accept"), _OFFERS, PYTP) is None:
        raise Rejected("not-acceptable", "This route answers in JSON only.", hint=f"Accept {PYTP} or {JSON}.")


def reason_phrase(sentence: str) -> str:
    """A sentence as a reason phrase: one line of ASCII, bounded."""
    text = "".join(c if " " <= c <= "~" else "?" for c in " ".join(sentence.split()))
    return text if len(text) <= REASON_MAX_CHARACTERS else text[: REASON_MAX_CHARACTERS - 3] + "..."


def problem_body(
    code: Code, base_url: str, detail: str, sentence: str, message: str, members: dict[str, object]
) -> dict[str, object]:
    """The members that RFC 9457, PyPI's clients and uv look for, together."""
    return {
        **members,
        "type": f"{base_url}/-/errors#{code.name}",
        "title": code.title,
        "status": code.status,
        "detail": detail,
        "message": message,
        "errors": [{"code": code.name, "description": sentence}],
    }


def refusal(error: Rejected, base_url: str, *, message: str = "", content_type: str = PROBLEM) -> web.Response:
    """The answer to something the caller must change."""
    sentence = error.sentence
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.code.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Mintmark: user __token__, password a credential", charset="UTF-8"'
    if isinstance(allow := error.members.get("allow"), str):
        headers["Allow"] = allow
    if isinstance(size := error.members.get("size"), int):
        headers["Content-Range"] = f"bytes */{size}"
    # uv prints the body of an exchange's refusal as it is: there the long form stands once, where twine reads it.
    detail = error.detail if content_type == JSON else sentence
    body = problem_body(error.code, base_url, detail, sentence, message or sentence, error.members)
    return web.Response(
        status=error.code.status, reason=reason_phrase(sentence), body=msgspec.json.encode(body), headers=headers
    )


def unavailable(error: Unavailable, base_url: str, *, message: str = "", content_type: str = PROBLEM) -> web.Response:
    """The answer when something this server depends on does not work."""
    body = problem_body(error.code, base_url, error.what, error.what, message or error.what, {})
    return web.Response(
        status=error.code.status,
        reason=reason_phrase(error.what),
        body=msgspec.json.encode(body),
        headers={
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "Retry-After": str(error.retry_after_seconds),
        },
    )


def internal_error(incident: str, base_url: str, *, message: str = "", content_type: str = PROBLEM) -> web.Response:
    """The answer to a bug: nothing but a number under which the log has everything."""
    sentence = f"This is a bug in Mintmark. Tell the operator the incident id {incident}."
    body = problem_body(
        CODES["internal-error"], base_url, sentence, sentence, message or sentence, {"incident": incident}
    )
    return web.Response(
        status=500,
        reason=reason_phrase(sentence),
        body=msgspec.json.encode(body),
        headers={"Content-Type": content_type, "Cache-Control": "no-store"},
    )
