"""The read side: pages and files that a reader may see.

Owns finding them. Leaves permission to `service.gate`, and negotiation, ranges and caching headers to `web`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from mintmark.core import project_json
from mintmark.core.dist.archive import read_metadata
from mintmark.core.dist.filename import parse_filename
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.life_cycle import why_not_offered
from mintmark.core.records import File, Project, Registry
from mintmark.service.gate import Gate
from mintmark.service.ports import BlobReader, Blobs, Ledger, Page, Pages, Transaction
from mintmark.service.renderer import Renderer

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
        try:
            if project:
                await self._renderer.project(registry, project)
            else:
                await self._renderer.listing(registry)
        except Unavailable:
            # There may be no space for it; that is no reason not to show it.
            page = await self._renderer.unsaved(registry, project, form)
        else:
            page = self._pages.find(registry.slug, project, form)
        if page is None:
            raise Rejected("not-found", f"The registry {registry.slug} has no project {project}.")
        return page

    async def project_json(
        self, registry: Registry, name: str, version: str | None, root: str, authorization: str | None, address: str
    ) -> Page:
        """The JSON document about a project's newest release and all its files, or about one release.

        URLs in it begin with `root`. Made for the first reader after a change, from the metadata of one file. Raises
        `Rejected`, and `Unavailable` when that file is damaged.
        """
        if registry.private:
            await self._gate.reader(registry, name, authorization, address)
        missing = Rejected("not-found", f"The registry {registry.slug} has no such project or release.")
        project = await self._ledger.glance(lambda tx: tx.projects.find(registry.id, name))
        # At once, whatever was kept.
        if project is None or project.status == "quarantined":
            raise missing
        if version is not None and len(version) > project_json.VERSION_MAX_CHARACTERS:
            raise missing
        form = project_json.form_name(root, version)
        # Kept under the number of changes that it shows: whatever changes makes it another page.
        page = self._pages.derived(registry.slug, name, project.changes, form)
        if page is not None:
            return page
        found = await self._ledger.read(lambda tx: _with_files(tx, registry, name))
        if found is None:
            raise missing
        described = project_json.described_version(found[1], version)
        if described is None:
            raise missing

        def make() -> Page:
            project, files = found
            metadata = self._metadata(project_json.describing_file(files, described))
            try:
                body = project_json.render(project, files, described, metadata, root, releases=version is None)
            except Rejected as error:
                raise Unavailable(error.detail, private=f"{registry.slug}: {project.name}: {error.private}") from error
            return self._pages.derive(registry.slug, name, project.changes, form, body)

        return await asyncio.get_running_loop().run_in_executor(self._executor, make)

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
        found = await self._ledger.glance(lambda tx: tx.files.with_project(registry.id, filename))
        if registry.private:
            await self._gate.reader(registry, found[1].name if found else "", authorization, address)
        # A staged file must not be told from one that does not exist.
        if found is None or found[0].sha256 != sha256 or found[0].state == "staged":
            raise Rejected("not-found", f"The registry {registry.slug} has no such file.")
        file, project = found
        held_back = why_not_offered(project, file)
        if held_back:
            raise Rejected("not-found", held_back)
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
        raw = _metadata_of(wheel, file)
        # A full disk keeps nobody from reading.
        with suppress(OSError):
            self._keep(raw, digest)
        return self._blobs.open(digest) or _Unkept(raw)

    def _keep(self, raw: bytes, digest: str) -> None:
        spool = self._blobs.spool()
        try:
            spool.write(raw)
            spool.keep(digest)
        finally:
            spool.discard()

    def _metadata(self, file: File) -> bytes:
        """A file's metadata, from what is kept beside it or from itself. Raises `Unavailable`. Runs in a thread."""
        blob = self._blobs.open(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is not None:
            try:
                raw = blob.whole().read()
            finally:
                blob.close()
            if hashlib.sha256(raw).hexdigest() == file.metadata_sha256:
                return raw
        archive = self._blobs.open(file.sha256)
        if archive is None:
            raise _unreadable(file, "the blob is gone")
        return _metadata_of(archive, file)


class _Unkept:
    """Metadata that there is no space for, straight from memory. See `service.ports.BlobReader`."""

    file: BinaryIO | None = None

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size_bytes = len(raw)

    async def chunks(self, start: int, count: int) -> AsyncIterator[bytes]:
        yield self._raw[start : start + count]

    def whole(self) -> BinaryIO:
        return io.BytesIO(self._raw)

    def close(self) -> None:
        return


def _metadata_of(archive: BlobReader, file: File) -> bytes:
    """The metadata inside an archive, which is closed. Raises `Unavailable`."""
    try:
        raw = read_metadata(archive.whole(), parse_filename(file.filename, legacy=True))
    except (Rejected, OSError) as error:
        # It was all right when it came.
        raise _unreadable(file, str(error)) from error
    finally:
        archive.close()
    # The ledger has a wheel's digest since the upload: what is derived must be what was checked then.
    if file.metadata_sha256 and hashlib.sha256(raw).hexdigest() != file.metadata_sha256:
        raise _unreadable(file, "other metadata")
    return raw


def _unreadable(file: File, private: str) -> Unavailable:
    return Unavailable("The file's metadata cannot be read right now.", private=f"{file.filename}: {private}"[:500])


def _with_files(tx: Transaction, registry: Registry, name: str) -> tuple[Project, list[File]] | None:
    """A project and the files it offers, as of one moment."""
    project = tx.projects.find(registry.id, name)
    if project is None:
        return None
    files = [file for file in tx.files.of_project(project.id) if not why_not_offered(project, file)]
    return project, files
