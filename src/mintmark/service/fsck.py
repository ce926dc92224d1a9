"""Does everything that is stored agree with everything else?

Owns which faults there are, what helps against each, and that nothing counts as a fault only because it changed while
we looked: what seems wrong is looked at again in a newer snapshot. Reads in bounded parts and changes nothing; with
`repair` it renders wrong pages again, never touches blobs or rows. Leaves the questions about rows to the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from mintmark.core import simple
from mintmark.core.dist.archive import read_metadata
from mintmark.core.dist.filename import parse_filename
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.names import parse_project, similarity_key
from mintmark.core.records import File, Project, Registry
from mintmark.service.ports import Blobs, BlobState, Clock, Ledger, Pages, Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.sweep import ORPHAN_SECONDS, Progress, gone, silent

READ_BYTES = 1 << 20
# Blobs read at the same time: hashing keeps a few processors busy, more would only fight for the disk.
READERS = 4
# Of rows in one look-up, and of pages rendered in one snapshot.
BATCH = 200
# Of one kind of disagreement between rows: the first ones show what happened.
ROWS_SHOWN = 100
FILES_SHOWN = 3

_ROWS = "Restore a backup, or correct the row with sqlite3 while no server runs and check again."
_LOST = "Restore the file from a backup, or delete it in the registry and publish a new version."
_REPAIR = "Run `mintmark fsck --repair`: pages are made from the ledger."
CURES = {
    "ledger-damaged": "Stop the server and restore a backup; nothing else was checked.",
    "row-dangling": _ROWS,
    "row-disagrees": _ROWS,
    "project-name": _ROWS,
    "file-name": _ROWS,
    "blob-missing": _LOST,
    "blob-size": _LOST,
    "blob-digest": _LOST,
    "file-blake2": _ROWS,
    "metadata-digest": _ROWS,
    "page-missing": _REPAIR,
    "page-wrong": _REPAIR,
    "page-from-elsewhere": _REPAIR,
    "stray-file": "Nothing of Mintmark's has this name: move it away.",
    "blob-orphan": "`mintmark sweep` removes it.",
    "page-orphan": "`mintmark sweep` removes it.",
}
"""What helps, by the kind of fault."""
NOTES = frozenset({"blob-orphan", "page-orphan"})
"""Kinds that are no fault: the price of never losing anything."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be: of what kind, where, and what is wrong."""

    kind: str
    where: str
    what: str
    repaired: bool = False

    @property
    def is_note(self) -> bool:
        """Whether it is worth knowing, but no fault."""
        return self.kind in NOTES

    @property
    def cure(self) -> str:
        """What helps."""
        return CURES[self.kind]


Found = Callable[[Fault], None]


class Fsck:
    """The use case. Works beside a running server."""

    def __init__(self, ledger: Ledger, blobs: Blobs, pages: Pages, renderer: Renderer, clock: Clock) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._pages = pages
        self._renderer = renderer
        self._clock = clock

    async def __call__(
        self, found: Found, *, quick: bool = False, repair: bool = False, progress: Progress = silent
    ) -> None:
        """Tell each fault to `found`, as soon as it is sure. `quick` compares sizes instead of reading every blob."""
        if await self._check_ledger(found, progress):
            return
        await self._check_projects(found, progress)
        # Else a sweep could remove the blob of a file that was deleted after its row was read.
        with self._blobs.hold():
            await self._check_files(found, progress)
            await self._check_blobs(found, progress, quick=quick)
        for name in await asyncio.to_thread(lambda: list(self._blobs.strays())):
            found(Fault("stray-file", name, "It is no blob."))
        await self._check_pages(found, progress, repair=repair)

    # -- the ledger ---------------------------------------------------------------------------------------------------

    async def _check_ledger(self, found: Found, progress: Progress) -> bool:
        """Whether it is too damaged to go on."""
        damage = await self._ledger.read(lambda tx: tx.integrity.damage())
        progress("ledger", 1)
        for text in damage:
            found(Fault("ledger-damaged", "ledger", text))
        if damage:
            return True
        for table, row, other in await self._ledger.read(lambda tx: tx.integrity.dangling(ROWS_SHOWN)):
            found(Fault("row-dangling", f"{table} {row}", f"It refers to a row of {other} that does not exist."))
        for where, wrong in await self._ledger.read(lambda tx: tx.integrity.disagreements(ROWS_SHOWN)):
            found(Fault("row-disagrees", where, wrong))
        return False

    async def _check_projects(self, found: Found, progress: Progress) -> None:
        after = 0
        while part := await self._ledger.read(lambda tx, after=after: tx.integrity.projects_after(after, BATCH)):  # type: ignore[misc]
            after = part[-1][0].id
            progress("projects", len(part))
            for project, similar in part:
                if _normal(project.name) != project.name:
                    found(Fault("project-name", f"project {project.name}", "The name is not in its normal form."))
                elif similarity_key(project.name) != similar:
                    found(Fault("project-name", f"project {project.name}", f"Its similarity key is {similar!r}."))

    # -- files and blobs ----------------------------------------------------------------------------------------------

    async def _check_files(self, found: Found, progress: Progress) -> None:
        after = 0
        while part := await self._ledger.read(lambda tx, after=after: _files(tx, after)):  # type: ignore[misc]
            after = part[-1][0].id
            progress("files", len(part))
            for file, where, project in part:
                wrong = _wrong_name(file, project)
                if wrong:
                    found(Fault("file-name", where, wrong))
                if self._blobs.size(file.sha256) is None and await self._ledger.read(
                    lambda tx, file=file: _is_still(tx, file)  # type: ignore[misc]
                ):
                    found(Fault("blob-missing", where, f"Its content is gone: {_path(file.sha256)}."))

    async def _check_blobs(self, found: Found, progress: Progress, *, quick: bool) -> None:
        orphans_before = self._clock.now() - ORPHAN_SECONDS
        parts = iter(self._blobs.every())
        turns = asyncio.Semaphore(READERS)

        async def check(blob: BlobState, files: Sequence[File]) -> Fault | None:
            async with turns:
                return await asyncio.to_thread(self._check_blob, blob, files, quick)

        while (part := await asyncio.to_thread(lambda: next(parts, None))) is not None:
            known = await self._ledger.read(
                lambda tx, part=part: [(tx.files.holding(b.sha256), tx.files.referenced(b.sha256)) for b in part]  # type: ignore[misc]
            )
            faults = await asyncio.gather(*(check(blob, files) for blob, (files, _) in zip(part, known, strict=True)))
            progress("blobs", len(part))
            for blob, fault, (_, referenced) in zip(part, faults, known, strict=True):
                if fault is not None:
                    found(fault)
                elif not referenced and blob.modified_at < orphans_before:
                    found(Fault("blob-orphan", _path(blob.sha256), f"No file needs its {blob.size_bytes} bytes."))

    def _check_blob(self, blob: BlobState, files: Sequence[File], quick: bool) -> Fault | None:
        """The first fault of a blob. Runs in a thread."""
        where = _path(blob.sha256)
        names = ", ".join(file.filename for file in files[:FILES_SHOWN])
        for file in files:
            if file.size_bytes != blob.size_bytes:
                return Fault("blob-size", where, f"{names}: {blob.size_bytes} bytes instead of {file.size_bytes}.")
        reader = None if quick else self._blobs.open(blob.sha256)
        if reader is None:
            return None
        try:
            content = reader.whole()
            sha256, blake2 = _digests(content)
            if sha256 != blob.sha256:
                return Fault("blob-digest", where, f"{names or 'No file'}: the content's digest is {sha256}.")
            for file in files:
                wrong = "file-blake2" if file.blake2_256 != blake2 else _wrong_metadata(content, file)
                if wrong:
                    return Fault(wrong, f"file {file.filename}", "The ledger has another digest than the content.")
        except OSError as error:
            return Fault("blob-digest", where, f"{names or 'No file'}: it cannot be read: {error.strerror}.")
        finally:
            reader.close()
        return None

    # -- pages --------------------------------------------------------------------------------------------------------

    async def _check_pages(self, found: Found, progress: Progress, *, repair: bool) -> None:
        homes = {each.id: each for each in await self._ledger.read(lambda tx: tx.registries.every())}
        after = 0
        while part := await self._ledger.read(lambda tx, after=after: tx.integrity.projects_after(after, BATCH)):  # type: ignore[misc]
            after = part[-1][0].id
            names = [(homes[each.registry_id], each.name) for each, _ in part if each.registry_id in homes]
            progress("pages", len(part))
            for (registry, name), _ in await self._doubtful(names):
                await self._report_page(found, registry, name, repair=repair)
        for (registry, _), _ in await self._doubtful([(registry, "") for registry in homes.values()]):
            await self._report_page(found, registry, "", repair=repair)
        stored = self._pages.stored()
        for places in iter(lambda: [place for _, place in zip(range(BATCH), stored, strict=False)], []):
            for slug, name in await self._ledger.read(lambda tx, places=places: gone(tx, places)):  # type: ignore[misc]
                found(Fault("page-orphan", f"page {slug}/{name}", "It belongs to no project or registry."))

    async def _doubtful(self, pages: Sequence[tuple[Registry, str]]) -> list[tuple[tuple[Registry, str], str]]:
        """Those of these pages that seem wrong in one snapshot, and how."""

        def work(tx: Transaction) -> list[tuple[tuple[Registry, str], str]]:
            seen = [((registry, name), self._page_fault(tx, registry, name)) for registry, name in pages]
            return [(page, kind) for page, kind in seen if kind]

        return await self._ledger.read(work)

    async def _report_page(self, found: Found, registry: Registry, name: str, *, repair: bool) -> None:
        # Whoever replaced it after the first look had raised the count before, which a newer snapshot shows.
        again = await self._doubtful([(registry, name)])
        for _, kind in again:
            fault = Fault(kind, f"page {registry.slug}/{name}", _WRONG_PAGES[kind])
            found(await self._repair(fault, registry, name) if repair else fault)

    def _page_fault(self, tx: Transaction, registry: Registry, name: str) -> str:
        changes, forms = _page(tx, registry, name)
        if forms is None:
            return ""
        if self._pages.changes(registry.slug, name) > changes:
            return "page-from-elsewhere"
        shown = self._pages.shows(registry.slug, name, forms)
        if shown is None:
            # All were thrown away, and no server has started since: they are rendered when somebody asks for them.
            return "page-missing" if tx.projects.pages_epoch() == self._pages.epoch() else ""
        return "" if shown else "page-wrong"

    async def _repair(self, fault: Fault, registry: Registry, name: str) -> Fault:
        # First removed: one that claims more changes than there were would never be replaced.
        await asyncio.to_thread(self._pages.remove, registry.slug, name)
        try:
            if name:
                await self._renderer.project(registry, name)
            else:
                await self._renderer.listing(registry)
        except (Rejected, Unavailable):
            return fault
        return replace(fault, repaired=not await self._doubtful([(registry, name)]))


_WRONG_PAGES = {
    "page-missing": "It was rendered, but it is not there.",
    "page-wrong": "It is not what the ledger says.",
    "page-from-elsewhere": "It claims more changes than the ledger has, so it is never replaced.",
}


def _page(tx: Transaction, registry: Registry, name: str) -> tuple[int, dict[str, bytes] | None]:
    """What a page must show now; None where nothing is promised: never rendered, or with a dirty mark."""
    if not name:
        listed = tx.projects.listed(registry.id)
        changes = tx.projects.list_changes(registry.id)
        if not listed or tx.integrity.is_list_behind(registry.id):
            return changes, None
        return changes, simple.render_root(listed)
    project = tx.projects.find(registry.id, name)
    if project is None or not project.changes or project.rendered < project.changes:
        return 0, None
    return project.changes, simple.render_project(project, tx.files.of_project(project.id))


def _files(tx: Transaction, after_id: int) -> list[tuple[File, str, Project | None]]:
    """The next files, where they are for people, and their projects."""
    slugs = {registry.id: registry.slug for registry in tx.registries.every()}
    found = []
    for file in tx.files.holding_after(after_id, BATCH):
        known = tx.files.with_project(file.registry_id, file.filename)
        where = f"file {slugs.get(file.registry_id, file.registry_id)}/{file.filename}"
        found.append((file, where, known[1] if known else None))
    return found


def _is_still(tx: Transaction, file: File) -> bool:
    return any(each.id == file.id for each in tx.files.holding(file.sha256))


def _wrong_name(file: File, project: Project | None) -> str:
    try:
        facts = parse_filename(file.filename, legacy=True)
    except Rejected as error:
        return error.detail
    if project is not None and facts.name != project.name:
        return f"It is a file of {facts.name} in the project {project.name}."
    if (str(facts.version), facts.kind) != (file.version, file.kind):
        return f"The ledger says {file.kind} of version {file.version}."
    return ""


def _wrong_metadata(content: BinaryIO, file: File) -> str:
    """The kind of fault, if the metadata inside a wheel is not what readers are promised."""
    if file.metadata_sha256 is None or file.kind != "wheel":
        return ""
    try:
        raw = read_metadata(content, parse_filename(file.filename, legacy=True))
    except Rejected:
        return "metadata-digest"
    return "" if hashlib.sha256(raw).hexdigest() == file.metadata_sha256 else "metadata-digest"


def _digests(content: BinaryIO) -> tuple[str, str]:
    sha256, blake2 = hashlib.sha256(), hashlib.blake2b(digest_size=32)
    for chunk in _chunks(content):
        sha256.update(chunk)
        blake2.update(chunk)
    return sha256.hexdigest(), blake2.hexdigest()


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    content.seek(0)
    while chunk := content.read(READ_BYTES):
        yield chunk


def _normal(name: str) -> str:
    try:
        return parse_project(name)
    except Rejected:
        return ""


def _path(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"
