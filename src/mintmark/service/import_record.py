"""The transaction of an import: several files that are durable already become part of the registry at once.

Owns what is decided at that moment: whether a name is taken and whether the project takes files. Leaves the registry's
policies to `service.admission`, and everything that needs a file's bytes to `service.import_receive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mintmark.core.checks.finding import Finding, refusal, those_that_refuse
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName
from mintmark.core.records import Event, File, Principal, Project, Registry
from mintmark.service.admission import admit
from mintmark.service.import_report import Outcome
from mintmark.service.import_source import Offer
from mintmark.service.ports import Transaction

TAKES_FILES = frozenset({"active", "deprecated"})


@dataclass(frozen=True, slots=True)
class Ready:
    """A file whose blob is durable, to be recorded. `file.project_id` is still unknown."""

    offer: Offer
    name: ProjectName
    file: File
    display_name: str
    status: str
    status_reason: str
    """What the source says of the project, for a new one."""
    findings: tuple[Finding, ...] = ()

    def outcome(self, what: str, refused: Rejected | None = None, findings: tuple[Finding, ...] = ()) -> Outcome:
        return Outcome(
            what,
            self.file.filename,
            self.name,
            self.offer.place,
            self.file.size_bytes,
            self.file.sha256,
            refused.code.name if refused else "",
            refused.sentence if refused else "",
            findings,
        )


def compare(existing: File, sha256: str) -> tuple[str, Rejected | None]:
    """What follows from a name that is taken: the same bytes are `there`, others a `conflict`. Nothing is replaced."""
    if existing.sha256 != sha256:
        return "conflict", Rejected(
            "file-exists",
            f"The registry has {existing.filename} with other content"
            + (" (it was deleted, and its name stays used)." if existing.state == "deleted" else "."),
            hint="Nothing is ever replaced: find out which of the two is right.",
        )
    if existing.state == "deleted":
        return "there", Rejected("file-exists", f"{existing.filename} was deleted here and stays so.")
    return "there", None


class Batch:
    """Records several files. `run` may run twice, of which one run counts."""

    def __init__(self, registry: Registry, ready: Sequence[Ready], label: str, principal: Principal, now: int) -> None:
        self._registry = registry
        self._ready = ready
        self._label = label
        self._principal = principal
        self._now = now

    def run(self, tx: Transaction) -> list[Outcome]:
        """What became of each file, in order. Raises `Rejected` when the registry is gone."""
        home = tx.registries.find(self._registry.slug)
        if home is None or home.id != self._registry.id:
            raise Rejected("not-found", f"The registry {self._registry.slug} was removed while files were coming.")
        rooms: dict[ProjectName, _Room] = {}
        outcomes = []
        for ready in self._ready:
            room = rooms.get(ready.name)
            if room is None:
                room = rooms[ready.name] = _Room(tx, home, ready.name, self._now)
            outcomes.append(room.take(ready, f"import {self._label}"))
        for room in rooms.values():
            self._finish(tx, room)
        return outcomes

    def _finish(self, tx: Transaction, room: _Room) -> None:
        if not room.taken:
            return
        # In the same commit as the files: what a crash keeps is in the audit log as well.
        facts = {"source": self._label, "files": room.taken, "bytes": room.taken_bytes}
        tx.audit.record(Event(self._now, self._principal, "import", self._registry.id, room.name, facts=facts))


class _Room:
    """One project inside the transaction."""

    def __init__(self, tx: Transaction, registry: Registry, name: ProjectName, now: int) -> None:
        self._tx = tx
        self._registry = registry
        self.name = name
        self._now = now
        self.project: Project | None = tx.projects.find(registry.id, name)
        self.taken = self.taken_bytes = 0

    def take(self, ready: Ready, uploaded_by: str) -> Outcome:
        """Record one file, or say why not."""
        existing = self._tx.files.find(self._registry.id, ready.file.filename)
        if existing is not None:
            what, refused = compare(existing, ready.file.sha256)
            return ready.outcome(what, refused)
        # An archived project of the source arrives archived, and in several commits.
        if self.project is not None and self.project.status not in {*TAKES_FILES, ready.status}:
            sentence = f"The project {self.name} is {self.project.status} and takes no files."
            return ready.outcome("refused", Rejected("not-allowed", sentence, hint="Change its status first."))
        admission = admit(self._tx, self._registry, self.name, self.project, ready.file)
        if refusing := those_that_refuse(admission.findings, lenient=True):
            return ready.outcome("refused", refusal(refusing))
        project = self.project or self._create(ready)
        file = self._tx.files.insert(
            replace(ready.file, project_id=project.id, version=admission.version),
            uploaded_by=uploaded_by,
            publisher_id=None,
        )
        assert file is not None, "the name was free a moment ago, inside the same transaction"
        self._count(project, file)
        return ready.outcome("imported", findings=(*ready.findings, *admission.findings))

    def _create(self, ready: Ready) -> Project:
        project = self._tx.projects.insert(self._registry.id, self.name, ready.display_name, self._now)
        if ready.status != "active":
            self._tx.projects.set_status(project.id, ready.status, ready.status_reason)
        return replace(project, status=ready.status, status_reason=ready.status_reason)

    def _count(self, project: Project, file: File) -> None:
        if not self.taken:
            # One mark for all files of the commit.
            project = replace(project, changes=self._tx.projects.mark_changed(project.id))
            if project.changes == 1:
                self._tx.projects.mark_list_changed(self._registry.id)
        self.project = project
        self.taken += 1
        self.taken_bytes += file.size_bytes
