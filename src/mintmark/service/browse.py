"""The read side: pages and files that a reader may see.

Owns finding them. Leaves permission to `service.gate`, and negotiation, ranges and caching headers to `web`.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import Executor
from dataclasses import dataclass

from mintmark.core.dist.archive import read_metadata
from mintmark.core.dist.filename import parse_filename
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.records import File, Registry
from mintmark.service.gate import Gate
from mintmark.service.ports import BlobReader, Blobs, Ledger, Page, Pages
from mintmark.service.renderer import FILE_STATES_SHOWN, Renderer

METADATA_SUFFIX = ".metadata"


@dataclass(frozen=True, slots=True)
class Download:
    """An open blob and what HTTP says about it. The caller closes the blob."""

    blob: BlobReader
    sha256: str
    is_metadata: bool
    filename: str


class Browse:
    """The use case."""

    def __init__(
        self, ledger: Ledger, blobs: Blobs, pages: Pages, gate: Gate, renderer: Renderer, executor: Executor
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._pages = pages
        self._gate = gate
        self._renderer = renderer
        self._executor = executor

    async def page(self, registry: Registry, project: str, form: str, authorization: str | None, address: str) -> Page:
        """A project's page, or the list of projects when `project` is "". Raises `Rejected`."""
        if registry.private:
            await self._gate.reader(registry, project, authorization, address)
        page = self._pages.find(registry.slug, project, form)
        if page is not None:
            return page
        # Never rendered yet, or lost: pages can always be made from the ledger.
        if project:
            if not await self._renderer.project(registry, project):
                raise Rejected("not-found", f"The registry {registry.slug} has no project {project}.")
        else:
            await self._renderer.listing(registry)
        page = self._pages.find(registry.slug, project, form)
        if page is None:
            raise Rejected("not-found", "The page is gone.")
        return page

    def at_hand(
        self, version: int, registry: Registry, project: str, form: str, authorization: str | None
    ) -> Page | None:
        """A project's page, if it is there and its reader is known; None says nothing and asks for `page`.

        `version` is the ledger's, read before.
        """
        if registry.private and not self._gate.remembers(version, registry, project, authorization):
            return None
        return self._pages.find(registry.slug, project, form)

    async def download(
        self, registry: Registry, sha256: str, name: str, authorization: str | None, address: str
    ) -> Download:
        """A file, or a wheel's metadata under the file's name with `.metadata`. Raises `Rejected`."""
        if registry.private and not authorization:
            # Ask for the credential before saying whether the file exists.
            await self._gate.reader(registry, "", authorization, address)
        filename = name.removesuffix(METADATA_SUFFIX)
        wants_metadata = filename != name
        file, project = await self._ledger.glance(lambda tx: _file(tx.files.find(registry.id, filename)))
        if registry.private:
            await self._gate.reader(registry, project, authorization, address)
        if file is None or file.state not in FILE_STATES_SHOWN or file.sha256 != sha256:
            raise Rejected("not-found", f"The registry {registry.slug} has no such file.")
        digest = file.metadata_sha256 if wants_metadata else file.sha256
        blob = self._blobs.open(digest) if digest else None
        if blob is None and digest and wants_metadata:
            blob = await asyncio.get_running_loop().run_in_executor(self._executor, self._derive, file, digest)
        if blob is None or digest is None:
            raise Rejected("not-found", f"The registry {registry.slug} has no such file.")
        return Download(blob, digest, wants_metadata, filename)

    def _derive(self, file: File, digest: str) -> BlobReader | None:
        """Take a wheel's metadata out of the wheel and keep it for the next reader. Runs in a thread."""
        wheel = self._blobs.open(file.sha256)
        if wheel is None:
            return None
        try:
            raw = read_metadata(wheel.whole(), parse_filename(file.filename))
        finally:
            wheel.close()
        # The ledger has the digest since the upload: what is derived must be what was checked then.
        if hashlib.sha256(raw).hexdigest() != digest:
            raise Unavailable(
                "The file's metadata cannot be read right now.", private=f"{file.filename}: other metadata"
            )
        spool = self._blobs.spool()
        try:
            spool.write(raw)
            spool.keep(digest)
        finally:
            spool.discard()
        return self._blobs.open(digest)


def _file(file: File | None) -> tuple[File | None, str]:
    """The file and its project's normal name, which the file name begins with."""
    if file is None:
        return None, ""
    return file, file.filename.split("-", 1)[0].replace("_", "-")
