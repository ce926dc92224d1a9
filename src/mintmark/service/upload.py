"""A file on its way in: received, checked, made durable, recorded, visible, acknowledged, in this order.

Owns the order and the one transaction in which permission is judged again and the file becomes part of the registry.
A crash between any two steps leaves the whole file or nothing: an orphan blob is harmless, and a page that is behind
carries a dirty mark. Leaves the form's parsing to `web` and what is a valid distribution to `core.dist`.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar

from mintmark.core.checks.agreement import check_agreement
from mintmark.core.checks.digests import Digests, check_digests
from mintmark.core.dist.archive import read_metadata
from mintmark.core.dist.filename import FilenameFacts, parse_filename
from mintmark.core.dist.metadata import CoreMetadata, parse_metadata
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName, parse_project
from mintmark.core.records import Event, File, Registry
from mintmark.service.gate import Uploader, grant_project, grant_upload
from mintmark.service.ports import Blobs, Clock, Ledger, Spool, Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached, Step

T = TypeVar("T")
# Files up to this size wait in memory. Larger ones go to the disk as they come, so memory stays constant.
MEMORY_MAX_BYTES = 256 * 1024
# A project's pages are a folder of that name, for which file systems have 255 bytes.
NAME_MAX_CHARACTERS = 200
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Form:
    """The text fields of the upload form. Hints, never the truth: the metadata is read from the file."""

    fields: Mapping[str, str]
    filename: str

    def text(self, name: str) -> str | None:
        """A field's value; None when it is absent or empty, as pdm sends what it does not know."""
        return self.fields.get(name) or None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer: `new` is False for a byte-identical file that was there already."""

    file: File
    new: bool


class Incoming:
    """Hashes and stores the bytes of one file as they come. Used from one thread at a time.

    A small file stays in memory until it is kept: what is refused then never touches the disk.
    """

    def __init__(self, blobs: Blobs, limit_bytes: int, *, md5: bool) -> None:
        self._blobs = blobs
        self._limit_bytes = limit_bytes
        self._spool: Spool | None = None
        self._memory = b""
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._blake2 = hashlib.blake2b(digest_size=32)
        # Only to be compared with what an old client sends; never trusted.
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Rejected` when they are too many or do not fit on the disk."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise Rejected("too-large", f"The file is larger than {self._limit_bytes} bytes.")
        self._sha256.update(chunk)
        self._blake2.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)
        if self._spool is None and self.size_bytes <= MEMORY_MAX_BYTES:
            self._memory += chunk
            return
        self._store(chunk)

    def read_back(self) -> BinaryIO:
        """The bytes so far, seekable, valid until `discard`."""
        return io.BytesIO(self._memory) if self._spool is None else self._spool.read_back()

    def keep(self) -> None:
        """Make the file a durable blob. Raises `Rejected` when there is no space."""
        if self._spool is None:
            self._store(b"")
        assert self._spool is not None
        with_space(self._spool.keep, self._sha256.hexdigest())

    def _store(self, chunk: bytes) -> None:
        if self._spool is None:
            self._spool = with_space(self._blobs.spool)
            if self._memory:
                with_space(self._spool.write, self._memory)
                self._memory = b""
        if chunk:
            with_space(self._spool.write, chunk)

    def digests(self) -> Digests:
        """Digests of what was taken so far."""
        md5 = self._md5.hexdigest() if self._md5 is not None else None
        return Digests(self._sha256.hexdigest(), self._blake2.hexdigest(), md5, self.size_bytes)

    def discard(self) -> None:
        """Forget what was taken, unless it was kept."""
        if self._spool is not None:
            self._spool.discard()


def with_space(action: Callable[..., T], *arguments: object) -> T:
    """Run a storage action; a full disk becomes `Rejected("storage-full")`."""
    try:
        return action(*arguments)
    except OSError as error:
        if error.errno in _FULL:
            raise Rejected(
                "storage-full", "The index has no space for this file; nothing of it was kept.", private=str(error)
            ) from error
        raise


class Upload:
    """The use case."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        clock: Clock,
        renderer: Renderer,
        executor: Executor,
        *,
        reached: Reached,
        file_limit_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._clock = clock
        self._renderer = renderer
        self._executor = executor
        self._reached = reached
        self._file_limit_bytes = file_limit_bytes

    def receive(self, *, md5: bool) -> Incoming:
        """Begin a file."""
        return Incoming(self._blobs, self._file_limit_bytes, md5=md5)

    async def __call__(self, registry: Registry, uploader: Uploader, form: Form, incoming: Incoming) -> Accepted:
        """Check, store and record a received file. Raises `Rejected`; keeps nothing then.

        Raises `Unavailable` for trouble that a repetition may overcome: nothing was kept, or everything was and only
        the page is behind, which a repetition or the next healing catches up with.
        """
        self._reached(Step.UPLOAD_RECEIVED)
        parse_form_name(form)
        digests = incoming.digests()
        check_digests(form.fields, digests)
        file = parse_filename(form.filename)
        now = int(self._clock.now())
        record = _Record(registry, uploader, form, file, digests, now)
        # Before the archive is read and anything is kept; what counts is the same question inside the commit.
        await self._ledger.glance(record.foresee)
        await asyncio.get_running_loop().run_in_executor(self._executor, self._examine, form, incoming, record)

        def work(tx: Transaction) -> Accepted:
            accepted = record.run(tx)
            self._reached(Step.UPLOAD_RECORDED)
            return accepted

        accepted = await self._ledger.write(work)
        self._reached(Step.UPLOAD_COMMITTED)
        # A repetition too: whoever recorded the file may have died, or be about to, before its page was replaced.
        await self._renderer.show(registry, file.name)
        # Here the receipt will be made, once the index signs them.
        return accepted

    def _examine(self, form: Form, incoming: Incoming, record: _Record) -> None:
        """Every check that needs the bytes, then durability. Runs in a thread.

        A wheel's metadata is not kept beside it: it is part of the wheel, and the first reader gets it from there.
        """
        raw = read_metadata(incoming.read_back(), record.facts)
        metadata = parse_metadata(raw)
        check_agreement(
            form_name=form.text("name"),
            form_version=form.text("version"),
            form_filetype=form.text("filetype"),
            form_pyversion=form.text("pyversion"),
            facts=record.facts,
            metadata=metadata,
        )
        self._reached(Step.UPLOAD_CHECKED)
        record.examined(metadata, raw)
        incoming.keep()
        self._reached(Step.UPLOAD_BLOB_DURABLE)


class _Record:
    """The transaction of an upload."""

    def __init__(
        self, registry: Registry, uploader: Uploader, form: Form, facts: FilenameFacts, digests: Digests, now: int
    ) -> None:
        self._registry = registry
        self._uploader = uploader
        self._form = form
        self._name = facts.name
        self.facts = facts
        self._file = File(
            id=0,
            registry_id=registry.id,
            project_id=0,
            version=str(facts.version),
            filename=facts.filename,
            kind=facts.kind,
            state="visible",
            size_bytes=digests.size_bytes,
            sha256=digests.sha256,
            blake2_256=digests.blake2_256,
            metadata_sha256=None,
            requires_python=None,
            uploaded_at=now,
        )

    def examined(self, metadata: CoreMetadata, raw: bytes) -> None:
        """Take what the archive says about itself."""
        # Of a wheel's METADATA, which readers get by itself (PEP 658).
        digest = hashlib.sha256(raw).hexdigest() if self.facts.kind == "wheel" else None
        self._file = replace(self._file, metadata_sha256=digest, requires_python=metadata.requires_python)

    def foresee(self, tx: Transaction) -> None:
        """Raise `Rejected` for what `run` would refuse, by the credential as it was a moment ago."""
        credential = self._uploader.credential
        grant_project(tx, credential, self._registry, self._name, self._file.version)
        existing = tx.files.find(self._registry.id, self._file.filename)
        if existing is not None:
            self._repeat(existing)
        elif credential.single_use and credential.spent_on is not None:
            raise _spent()

    def run(self, tx: Transaction) -> Accepted:
        """Judge and record. Raises `Rejected`; then nothing of it is kept."""
        name, now = self._name, self._file.uploaded_at
        grant = grant_upload(tx, self._uploader, self._registry, name, self._file.version, now)
        project = tx.projects.find(self._registry.id, name)
        if project is None:
            display_name = self._form.text("name") or name
            project = tx.projects.insert(self._registry.id, name, display_name, now)
        file = tx.files.insert(
            replace(self._file, project_id=project.id),
            uploaded_by=f"{self._uploader.principal.kind} {self._uploader.principal.name}",
            publisher_id=grant.publisher.id if grant.publisher else None,
        )
        if file is None:
            existing = tx.files.find(self._registry.id, self._file.filename)
            assert existing is not None
            return self._repeat(existing)
        self._spend(tx)
        if tx.projects.mark_changed(project.id) == 1:
            tx.projects.mark_list_changed(self._registry.id)
        tx.audit.record(
            Event(
                now,
                self._uploader.principal,
                "upload",
                self._registry.id,
                name,
                facts={
                    "file": file.filename,
                    "sha256": file.sha256,
                    "publisher": grant.publisher.id if grant.publisher else None,
                },
            )
        )
        return Accepted(file, new=True)

    def _spend(self, tx: Transaction) -> None:
        # Invariant: a single-use credential is consumed by the commit of its first accepted file, by nothing else.
        credential = self._uploader.credential
        if not credential.single_use:
            return
        current = tx.credentials.find(credential.digest)
        # The same bytes under another name are another file.
        if (
            current is None
            or current.spent_on is not None
            or not tx.credentials.spend(credential.id, self._file.sha256)
        ):
            raise _spent()

    def _repeat(self, existing: File) -> Accepted:
        """The name is taken: the same bytes again are a retry, other bytes are refused."""
        if existing.state == "deleted":
            raise Rejected(
                "file-exists",
                f"File already exists ({existing.filename}): it was deleted, and its name stays used.",
                hint="Publish a new version.",
            )
        if existing.sha256 != self._file.sha256:
            raise Rejected(
                "file-exists",
                f"File already exists ({existing.filename}) with other content.",
                hint="Published files never change: publish a new version.",
            )
        return Accepted(existing, new=False)


def _spent() -> Rejected:
    return Rejected("credential-refused", "The credential was for a single file.")


def parse_form_name(form: Form) -> ProjectName:
    """The normal form of the form's project name. Raises `Rejected("invalid-upload")`."""
    text = form.text("name")
    if text is None:
        raise Rejected("invalid-upload", "The form has no field name.")
    if len(text) > NAME_MAX_CHARACTERS:
        raise Rejected("invalid-upload", f"The project name is longer than {NAME_MAX_CHARACTERS} characters.")
    try:
        return parse_project(text)
    except Rejected as error:
        raise Rejected("invalid-upload", error.detail, hint=error.hint) from None
