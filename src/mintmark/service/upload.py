"""A file on its way in: received, checked, made durable, recorded, visible, acknowledged, in this order.

Owns the order and the one transaction in which permission is judged again and the file becomes part of the registry.
A crash between any two steps leaves the whole file or nothing: an orphan blob is harmless, and a page that is behind
carries a dirty mark. Leaves the form's parsing to `web`, the bytes to `service.incoming`, what is a valid distribution
to `core.checks` and what the registry has room for to `service.admission`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from mintmark.core.checks import description
from mintmark.core.checks.digests import Digests, find_mismatches
from mintmark.core.checks.examine import Examined, examine, take
from mintmark.core.checks.finding import Finding, Grade, refusal, those_that_refuse
from mintmark.core.dist.facts import Archive
from mintmark.core.dist.filename import FilenameFacts, parse_filename
from mintmark.core.dist.gather import gather
from mintmark.core.dist.limits import GatherLimits
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName, parse_project
from mintmark.core.policy import Policy
from mintmark.core.records import Event, File, Registry
from mintmark.service.admission import admit
from mintmark.service.descriptions import Descriptions
from mintmark.service.gate import Uploader, grant_project, grant_upload
from mintmark.service.incoming import Incoming, Keeper
from mintmark.service.ports import Blobs, Clock, Ledger, Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached, Step

# A project's pages are a folder of that name, for which file systems have 255 bytes.
NAME_MAX_CHARACTERS = 200
# What is checked in the event loop, within 100 ms: 256 KiB can hold 40,000 members, or dependencies for two seconds.
QUICK_LIMITS = GatherLimits(members_max=500, unpacked_max_bytes=1 << 20, names_max_bytes=1 << 16)
QUICK_TEXTS_BYTES = 1 << 15


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
    warnings: tuple[Finding, ...] = ()


class Upload:
    """The use case."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        clock: Clock,
        renderer: Renderer,
        descriptions: Descriptions,
        executor: Executor,
        *,
        reached: Reached,
        file_limit_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._clock = clock
        self._renderer = renderer
        self._descriptions = descriptions
        self._executor = executor
        self._keeper = Keeper(executor)
        self._reached = reached
        self._file_limit_bytes = file_limit_bytes

    def receive(self, registry: Registry, *, md5: bool) -> Incoming:
        """Begin a file."""
        limit = min(self._file_limit_bytes, registry.policy.file_limit_bytes or self._file_limit_bytes)
        return Incoming(self._blobs, limit, md5=md5)

    async def __call__(self, registry: Registry, uploader: Uploader, form: Form, incoming: Incoming) -> Accepted:
        """Check, store and record a received file. Raises `Rejected`; keeps nothing then.

        Raises `Unavailable` for trouble that a repetition may overcome: nothing was kept, or everything was and only
        the page is behind, which a repetition or the next healing catches up with.
        """
        self._reached(Step.UPLOAD_RECEIVED)
        parse_form_name(form)
        digests = incoming.digests()
        facts, findings = _read_name(form, digests, registry.policy)
        record = _Record(registry, uploader, form, facts, digests, int(self._clock.now()))
        # Before the archive is read and anything is kept; what counts is the same question inside the commit.
        findings += await self._ledger.glance(record.foresee)
        examined = await self._examine(form, incoming, record)
        findings += examined.findings
        if examined.to_render is not None:
            findings += description.judged(await self._descriptions.renders(examined.to_render))
        record.examined(examined, findings)
        self._reached(Step.UPLOAD_CHECKED)
        await self._keeper.keep(incoming)
        self._reached(Step.UPLOAD_BLOB_DURABLE)

        def work(tx: Transaction) -> Accepted:
            accepted = record.run(tx)
            self._reached(Step.UPLOAD_RECORDED)
            return accepted

        accepted = await self._ledger.write(work)
        self._reached(Step.UPLOAD_COMMITTED)
        # A repetition too: whoever recorded the file may have died, or be about to, before its page was replaced.
        await self._renderer.show(registry, facts.name)
        # Here the receipt will be made, once the index signs them.
        return accepted

    async def _examine(self, form: Form, incoming: Incoming, record: _Record) -> Examined:
        """Every check that needs the bytes. Where there is little to do, that is less than handing it to a thread."""
        if incoming.is_small:
            archive = record.gather(incoming, QUICK_LIMITS)
            if is_quick(archive):
                return record.examine(form, archive)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: record.examine(form, record.gather(incoming))
        )


def is_quick(archive: Archive) -> bool:
    """Whether what was gathered within `QUICK_LIMITS` is everything, and soon examined."""
    return archive.complete and sum(map(len, archive.texts.values())) <= QUICK_TEXTS_BYTES


class _Record:
    """One upload: what is known of it so far, and its transaction."""

    def __init__(
        self, registry: Registry, uploader: Uploader, form: Form, facts: FilenameFacts, digests: Digests, now: int
    ) -> None:
        self._registry = registry
        self._uploader = uploader
        self._form = form
        self._name = facts.name
        self._facts = facts
        self._warnings: tuple[Finding, ...] = ()
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

    def gather(self, incoming: Incoming, limits: GatherLimits | None = None) -> Archive:
        """What the bytes say."""
        return gather(incoming.read_back(), self._facts, limits or GatherLimits())

    def examine(self, form: Form, archive: Archive) -> Examined:
        """Judge what the bytes say.

        A wheel's metadata is not kept beside it: it is part of the wheel, and the first reader gets it from there.
        """
        return examine(archive, self._registry.policy, form.fields)

    def examined(self, examined: Examined, findings: Sequence[Finding]) -> None:
        """Take what the archive says about itself. Raises `Rejected` for everything that was found until now."""
        metadata = take(examined, findings)
        self._warnings = tuple(finding for finding in findings if finding.grade is Grade.WARN)
        self._file = replace(
            self._file, metadata_sha256=examined.metadata_sha256, requires_python=metadata.requires_python
        )

    def foresee(self, tx: Transaction) -> tuple[Finding, ...]:
        """What `run` would refuse, by what the ledger said a moment ago; raises where permission lacks."""
        credential = self._uploader.credential
        grant_project(tx, credential, self._registry, self._name, self._file.version)
        existing = tx.files.find(self._registry.id, self._file.filename)
        if existing is not None:
            self._repeat(existing)
            return ()
        if credential.single_use and credential.spent_on is not None:
            raise _spent()
        project = tx.projects.find(self._registry.id, self._name)
        return admit(tx, self._registry, self._name, project, self._file).findings

    def run(self, tx: Transaction) -> Accepted:
        """Judge and record. Raises `Rejected`; then nothing of it is kept."""
        name, now = self._name, self._file.uploaded_at
        grant = grant_upload(tx, self._uploader, self._registry, name, self._file.version, now)
        existing = tx.files.find(self._registry.id, self._file.filename)
        if existing is not None:
            return self._repeat(existing)
        project = tx.projects.find(self._registry.id, name)
        admission = admit(tx, grant.home, name, project, self._file)
        refusing = those_that_refuse(admission.findings)
        if refusing:
            raise refusal(refusing)
        if project is None:
            display_name = self._form.text("name") or name
            project = tx.projects.insert(self._registry.id, name, display_name, now)
        publisher_id = grant.publisher.id if grant.publisher else None
        file = tx.files.insert(
            replace(self._file, project_id=project.id, version=admission.version),
            uploaded_by=f"{self._uploader.principal.kind} {self._uploader.principal.name}",
            publisher_id=publisher_id,
        )
        assert file is not None
        self._spend(tx)
        if tx.projects.mark_changed(project.id) == 1:
            tx.projects.mark_list_changed(self._registry.id)
        facts: dict[str, object] = {"file": file.filename, "sha256": file.sha256, "publisher": publisher_id}
        if self._warnings:
            facts["warnings"] = list(dict.fromkeys(finding.check for finding in self._warnings))
        tx.audit.record(Event(now, self._uploader.principal, "upload", self._registry.id, name, facts=facts))
        return Accepted(file, new=True, warnings=self._warnings)

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


def _read_name(form: Form, digests: Digests, policy: Policy) -> tuple[FilenameFacts, list[Finding]]:
    """What the file's name says, and what is wrong with the digests. Raises `Rejected` for a name that says nothing:
    without it nobody knows what the file should be."""
    findings = list(find_mismatches(form.fields, digests))
    try:
        return parse_filename(form.filename, legacy=policy.legacy_names), findings
    except Rejected as error:
        wrong = Finding("filename", error.code.name, error.detail, error.hint)
        raise refusal([wrong, *findings]) from None


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
