"""POST /REGISTRY/legacy/: the upload API that every uploader speaks.

Owns what is known from the headers (who, how long), draining a refused body, and the answer. Leaves the form to
`web.form` and every decision to `service.upload`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

import structlog
from aiohttp import web

from mintmark.core.checks.finding import SHOWN_MAX, Finding
from mintmark.core.errors import Rejected
from mintmark.core.records import Registry
from mintmark.service.upload import Form
from mintmark.web.context import address_of, registry_of, services
from mintmark.web.form import FormReader, boundary_of
from mintmark.web.metrics import UPLOADED, UPLOADED_BYTES

LOG = structlog.get_logger("mintmark.upload")
# A client that is still sending would report a broken connection instead of the reason; so a refused body is read to
# its end, up to this much.
DRAIN_BYTES = 32 * 1024 * 1024
DRAIN_SECONDS = 300
# Who sends nothing, or has stopped, is waiting for the answer.
DRAIN_IDLE_SECONDS = 5
# The form's text beside the file.
FORM_OVERHEAD_BYTES = 32 * 1024 * 1024
RECEIVING: web.AppKey[Executor] = web.AppKey("receiving", Executor)


async def upload(request: web.Request) -> web.Response:
    """POST /REGISTRY/legacy/: takes one file, with or without the slash at the end."""
    try:
        return await _upload(request)
    except Rejected:
        await _drain(request)
        raise


async def _upload(request: web.Request) -> web.Response:
    registry = await registry_of(request)
    at_hand = services(request)
    uploader = await at_hand.gate.uploader(registry, request.headers.get("Authorization"), address_of(request))
    length = request.content_length
    if length is None:
        raise Rejected("length-required", "The upload has no Content-Length.")
    if length > at_hand.wire.file_limit_bytes + FORM_OVERHEAD_BYTES:
        raise Rejected("too-large", f"The upload is larger than {at_hand.wire.file_limit_bytes} bytes.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Rejected(
            "invalid-upload", "The body is compressed.", hint="Send it as it is; packages are compressed already."
        )
    boundary = boundary_of(request.headers.get("Content-Type", ""))
    reader = FormReader(
        partial(at_hand.upload.receive, registry),
        request.app[RECEIVING],
        field_limit_bytes=at_hand.wire.form_field_limit_bytes,
        fields_limit=at_hand.wire.form_fields_limit,
        idle_seconds=at_hand.wire.body_idle_seconds,
    )
    try:
        form = await reader.read(request.content, boundary, length)
        check_protocol(request.query.get(":action"), form)
        assert reader.file is not None
        accepted = await at_hand.upload(registry, uploader, form, reader.file)
    finally:
        if reader.file is not None:
            reader.file.discard()
    _log(registry, form, new=accepted.new)
    if accepted.new:
        UPLOADED.inc()
        UPLOADED_BYTES.inc(accepted.file.size_bytes)
    return web.Response(
        status=200,
        body=_warnings(accepted.warnings),
        headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"},
    )


def _warnings(warnings: Sequence[Finding]) -> bytes:
    """What people may want to mend next time, a line each; nothing for a file without fault."""
    return "".join(f"Warning ({each.check}): {each.sentence} {each.cure}\n" for each in warnings[:SHOWN_MAX]).encode()


def check_protocol(action: str | None, form: Form) -> None:
    """`:action` and `protocol_version`, wherever a client puts them."""
    action = action or form.text(":action")
    if action != "file_upload":
        raise Rejected("invalid-upload", "The :action is not file_upload.", hint="Only files can be uploaded.")
    if (form.text("protocol_version") or "1") != "1":
        raise Rejected("invalid-upload", "The protocol_version is not 1.")


def _log(registry: Registry, form: Form, *, new: bool) -> None:
    LOG.info("uploaded" if new else "uploaded again", registry=registry.slug, file=form.filename)
    if form.text("attestations") and new:
        # Kept and verified once the index can; the file itself is welcome meanwhile.
        LOG.info("attestations ignored", registry=registry.slug, file=form.filename)


async def _drain(request: web.Request) -> None:
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                async with asyncio.timeout(DRAIN_IDLE_SECONDS):
                    chunk = await request.content.readany()
                if not chunk:
                    return
                left -= len(chunk)
    except (ConnectionError, TimeoutError, web.HTTPException):
        return


ROUTES = (
    web.post("/{registry}/legacy/", upload),
    # Never a redirect: most uploaders do not repeat a POST.
    web.post("/{registry}/legacy", upload),
    web.post("/legacy/", upload),
    web.post("/legacy", upload),
)
