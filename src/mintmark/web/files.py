"""Files and their metadata, whole or in part.

Owns ranges, validators and caching of immutable content (RFC 9110, sections 13 and 14). Leaves finding the blob and
judging the reader to `service.browse`.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from mintmark.core.byte_range import Unsatisfiable, parse_range
from mintmark.core.errors import Rejected
from mintmark.service.browse import Download
from mintmark.service.ports import BlobReader
from mintmark.web.context import address_of, registry_of, services
from mintmark.web.simple import field, names_etag, require_match

# The URL holds the content's digest: it never changes.
CACHE = "max-age=31536000, immutable"


class BlobResponse(web.StreamResponse):
    """A blob's bytes from `start`, sent by the kernel where it can."""

    # The kernel writes behind aiohttp's back, so the headers must be out before.
    _send_headers_immediately = True

    def __init__(self, blob: BlobReader, start: int, count: int, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self._blob = blob
        self._offset = start
        self._length = count

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body; the blob is closed whatever happens."""
        try:
            self.content_length = self._length
            writer = await super().prepare(request)
            if writer is None or request.method == "HEAD" or not self._length:
                return writer
            if not await self._by_kernel(request):
                async for chunk in self._blob.chunks(self._offset, self._length):
                    await self.write(chunk)
            return writer
        finally:
            self._blob.close()

    async def _by_kernel(self, request: web.BaseRequest) -> bool:
        transport, file = request.transport, self._blob.file
        if file is None or transport is None or transport.get_extra_info("sslcontext") is not None:
            return False
        if transport.is_closing():
            raise ConnectionResetError("the client is gone")
        try:
            await asyncio.get_running_loop().sendfile(transport, file, self._offset, self._length, fallback=False)
        except (asyncio.SendfileNotAvailableError, NotImplementedError):
            return False
        return True


async def download(request: web.Request) -> web.StreamResponse:
    """GET /REGISTRY/files/AB/SHA256/FILENAME: a file, or with `.metadata` behind its name its metadata (PEP 658)."""
    registry = await registry_of(request)
    match = request.match_info
    if match["sha256"][:2] != match["prefix"]:
        raise Rejected("not-found", "There is no such file.")
    found = await services(request).browse.download(
        registry,
        match["sha256"],
        match["filename"],
        request.headers.get("Authorization"),
        address_of(request),
    )
    try:
        return _answer(request, found, "private" if registry.private else "public")
    except BaseException:
        found.blob.close()
        raise


def _answer(request: web.Request, found: Download, scope: str) -> web.StreamResponse:
    size = found.blob.size_bytes
    etag = f'"{found.sha256}"'
    headers = {
        "Content-Type": "text/plain; charset=utf-8" if found.is_metadata else "application/octet-stream",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"{scope}, {CACHE}",
        # Browsers never run what is in a package.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    require_match(request.headers, etag)
    if names_etag(field(request.headers, "If-None-Match") or "", etag):
        found.blob.close()
        return web.Response(status=304, headers=headers)
    # Ranges are defined for GET only (RFC 9110, section 14.2).
    wanted = request.headers.get("Range") if request.method == "GET" else None
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != etag:
        wanted = None
    part = parse_range(wanted, size)
    if isinstance(part, Unsatisfiable):
        raise Rejected(
            "range-not-satisfiable", f"The file has {size} bytes.", hint="Ask for less.", members={"size": size}
        )
    if part is None:
        return BlobResponse(found.blob, 0, size, status=200, headers=headers)
    headers["Content-Range"] = part.content_range
    return BlobResponse(found.blob, part.start, part.length, status=206, headers=headers)


ROUTES = (
    web.get("/{registry}/files/{prefix}/{sha256}/{filename}", download),
    web.get("/files/{prefix}/{sha256}/{filename}", download),
)
