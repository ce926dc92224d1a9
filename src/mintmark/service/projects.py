"""The life cycle of projects, releases and files after their upload.

Owns the use cases: yank and take back, delete, change a project's status, write its name differently, and look at all
of it. Each is one transaction that changes the state, sets the dirty mark and says who did it; then the pages follow.
A crash in between leaves pages that are behind and carry their mark, as after an upload. Leaves what is a reason,
status or name to `core.life_cycle`, and freeing space to the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mintmark.core.checks.finding import shown
from mintmark.core.errors import Rejected
from mintmark.core.life_cycle import (
    OFFERED_STATES,
    OneFile,
    Target,
    WholeVersion,
    parse_display_name,
    parse_reason,
    parse_status,
    parse_version,
)
from mintmark.core.names import ProjectName, parse_project, parse_slug, similarity_key
from mintmark.core.records import Event, File, Principal, Project, Registry, Release
from mintmark.service.ports import Clock, Ledger, Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached, Step
from mintmark.service.trust import find_registry

PAGE_PROJECTS = 500
"""Projects of one transaction when all of a registry are listed."""
NAMED_MAX = 5
"""Projects, versions or files that a refusal names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did. `files` are those whose state is another one now, as they were before."""

    project: Project
    """As it was before."""
    changed: bool
    files: tuple[File, ...] = ()
    versions: tuple[str, ...] = ()
    """Of the files that the change is about, as they are spelled in the registry."""


@dataclass(frozen=True, slots=True)
class Line:
    """A project in a list. Deleted files do not count."""

    project: Project
    files: int
    releases: int


@dataclass(frozen=True, slots=True)
class Portrait:
    """All of a project: releases in the order of their creation, files in any state in the order of their upload."""

    project: Project
    size_bytes: int
    releases: Sequence[Release]
    files: Sequence[File]


@dataclass(slots=True)
class _Aim:
    """What a change is about, inside its transaction."""

    project: Project
    releases: list[Release]
    files: list[File]
    whole: bool
    changed: bool = False
    moved: list[File] = field(default_factory=list)

    def move(self, tx: Transaction, file: File, state: str, reason: str | None) -> None:
        """Bring a file into a state, unless it is in it."""
        if (file.state, file.yanked_reason) != (state, reason):
            tx.files.set_state(file.id, state, reason)
            self.moved.append(file)
            self.changed = True

    def mark(self, tx: Transaction, release: Release, reason: str | None) -> None:
        """Yank a release as a whole or take it back, unless it is so."""
        if release.yanked_reason != reason:
            tx.releases.set_yanked(release.id, reason)
            self.changed = True


class LifeCycle:
    """The use cases. All may be repeated: what is so already changes nothing and is recorded no second time."""

    def __init__(self, ledger: Ledger, clock: Clock, renderer: Renderer, *, reached: Reached) -> None:
        self._ledger = ledger
        self._clock = clock
        self._renderer = renderer
        self._reached = reached

    # -- releases and files -------------------------------------------------------------------------------------------

    async def yank(self, slug: str, project: str, target: Target, reason: str, principal: Principal) -> Outcome:
        """Keep installers from choosing it by themselves (PEP 592); who asks for exactly it still gets it."""
        said = parse_reason(reason)

        def work(tx: Transaction, aim: _Aim) -> None:
            for release in aim.releases if aim.whole else ():
                aim.mark(tx, release, said)
            for file in aim.files:
                if file.state in OFFERED_STATES:
                    aim.move(tx, file, "yanked", said)
                elif not aim.whole:
                    raise _gone(file)

        return await self._aimed(slug, project, target, "yank", {"reason": said}, principal, work)

    async def unyank(self, slug: str, project: str, target: Target, principal: Principal) -> Outcome:
        """Take a yank back. A single file's also ends the yank of its release as a whole: the other files stay
        yanked each by itself, and files that come later are not."""

        def work(tx: Transaction, aim: _Aim) -> None:
            for file in aim.files:
                if file.state == "yanked":
                    aim.move(tx, file, "visible", None)
                elif not aim.whole and file.state != "visible":
                    raise _gone(file)
            for release in aim.releases if aim.whole or aim.moved else ():
                aim.mark(tx, release, None)

        return await self._aimed(slug, project, target, "unyank", {}, principal, work)

    async def delete(self, slug: str, project: str, target: Target, principal: Principal) -> Outcome:
        """Take files away for ever.

        Invariant: the name of a deleted file stays used, so that it never stands for other bytes. The project stays
        too, and its name with it: with no files left its page is an empty list.
        """

        def work(tx: Transaction, aim: _Aim) -> None:
            for file in aim.files:
                if file.state != "deleted":
                    aim.move(tx, file, "deleted", None)

        return await self._aimed(slug, project, target, "delete", {}, principal, work)

    async def _aimed(
        self,
        slug: str,
        name: str,
        target: Target,
        action: str,
        facts: Mapping[str, object],
        principal: Principal,
        change: Callable[[Transaction, _Aim], None],
    ) -> Outcome:
        def work(tx: Transaction, project: Project) -> tuple[Outcome, dict[str, object]]:
            aim = _take_aim(tx, project, target)
            change(tx, aim)
            versions = tuple(release.version for release in aim.releases)
            # Not the files' names: there may be a thousand. Their rows stay in the ledger, deleted or not.
            about: dict[str, object] = {"versions": versions, "files": len(aim.moved)}
            if isinstance(target, OneFile):
                about["file"] = target.filename
            return Outcome(project, aim.changed, tuple(aim.moved), versions), {**about, **facts}

        return await self._change(slug, name, action, principal, work)

    # -- projects -----------------------------------------------------------------------------------------------------

    async def set_status(self, slug: str, project: str, status: str, reason: str, principal: Principal) -> Outcome:
        """Give a project one of the statuses of PEP 792. The reason is told beside it."""
        wanted, said = parse_status(status), parse_reason(reason)

        def work(tx: Transaction, found: Project) -> tuple[Outcome, dict[str, object]]:
            changed = (found.status, found.status_reason) != (wanted, said)
            if changed:
                tx.projects.set_status(found.id, wanted, said)
            return Outcome(found, changed), {"status": wanted, "former": found.status, "reason": said}

        return await self._change(slug, project, "project-status", principal, work)

    async def rename(self, slug: str, project: str, display_name: str, principal: Principal) -> Outcome:
        """Write a project's name differently, for people. Its normal name stays."""
        wanted = parse_display_name(display_name, parse_name(project))

        def work(tx: Transaction, found: Project) -> tuple[Outcome, dict[str, object]]:
            changed = found.display_name != wanted
            if changed:
                tx.projects.rename(found.id, wanted)
            return Outcome(found, changed), {"name": wanted, "former": found.display_name}

        return await self._change(slug, project, "project-rename", principal, work)

    async def _change(
        self,
        slug: str,
        name: str,
        action: str,
        principal: Principal,
        change: Callable[[Transaction, Project], tuple[Outcome, dict[str, object]]],
    ) -> Outcome:
        """One transaction with the dirty mark and the event, then the pages. Raises `Rejected`, changing nothing."""
        home, normal = parse_slug(slug), parse_name(name)
        now = int(self._clock.now())

        def work(tx: Transaction) -> tuple[Registry, Outcome]:
            registry = find_registry(tx, home)
            project = _find(tx, registry, normal)
            outcome, facts = change(tx, project)
            if outcome.changed:
                # The first change that is counted must be the first file, which puts the project into the list. Until
                # then there is no page that could change.
                if project.changes:
                    tx.projects.mark_changed(project.id)
                tx.audit.record(Event(now, principal, action, registry.id, normal, facts=facts))
            return registry, outcome

        registry, outcome = await self._ledger.write(work)
        self._reached(Step.CHANGE_COMMITTED)
        # A repetition too: whoever made the change may have died before the page was replaced.
        await self._renderer.show(registry, normal)
        return outcome

    # -- looking ------------------------------------------------------------------------------------------------------

    async def every(self, slug: str) -> list[Line]:
        """All projects of a registry by name, with how much is in them."""
        home = parse_slug(slug)
        lines: list[Line] = []

        def work(tx: Transaction) -> list[tuple[Project, int, int]]:
            after = lines[-1].project.name if lines else ""
            return tx.projects.every(find_registry(tx, home).id, after, PAGE_PROJECTS)

        while True:
            found = await self._ledger.read(work)
            lines += [Line(*each) for each in found]
            if len(found) < PAGE_PROJECTS:
                return lines

    async def portrait(self, slug: str, project: str) -> Portrait:
        """A project with all its releases and files."""
        home, normal = parse_slug(slug), parse_name(project)

        def work(tx: Transaction) -> Portrait:
            found = _find(tx, find_registry(tx, home), normal)
            releases = [release for release, _ in tx.releases.of_project(found.id)]
            return Portrait(found, tx.projects.bytes_of(found.id), releases, tx.files.all_of_project(found.id))

        return await self._ledger.read(work)


# -- finding ----------------------------------------------------------------------------------------------------------


def parse_name(text: str) -> ProjectName:
    """The normal form of the project that somebody names. Raises `Rejected("invalid-change")`."""
    try:
        return parse_project(text)
    except Rejected as error:
        raise Rejected("invalid-change", f"{shown(text)} is not a project name.", hint=error.hint) from None


def _find(tx: Transaction, registry: Registry, name: ProjectName) -> Project:
    project = tx.projects.find(registry.id, name)
    if project is not None:
        return project
    similar = tx.projects.similar(registry.id, similarity_key(name))[:NAMED_MAX]
    raise Rejected(
        "invalid-change",
        f"{registry.slug} has no project {name}.",
        hint=f"There is: {', '.join(similar)}."
        if similar
        else f"`mintmark project list {registry.slug}` shows what there is.",
    )


def _take_aim(tx: Transaction, project: Project, target: Target) -> _Aim:
    if isinstance(target, OneFile):
        return _aim_at_file(tx, project, target)
    return _aim_at_version(tx, project, target)


def _aim_at_version(tx: Transaction, project: Project, target: WholeVersion) -> _Aim:
    version = parse_version(target.text)
    every = [release for release, _ in tx.releases.of_project(project.id)]
    # To installers 1.0 and 1.0.0 are one version, so nobody may mean only one of them.
    releases = [release for release in every if parse_version(release.version) == version]
    if not releases:
        latest = [release.version for release in every[-NAMED_MAX:]]
        raise Rejected(
            "invalid-change",
            f"{project.name} has no version {version}.",
            hint=f"The latest: {', '.join(latest)}." if latest else "It has no version at all yet.",
        )
    files = [file for release in releases for file in tx.files.of_release(project.id, release.version)]
    return _Aim(project, releases, files, whole=True)


def _aim_at_file(tx: Transaction, project: Project, target: OneFile) -> _Aim:
    # No file's name has other characters, and the ledger takes no half of a character.
    file = tx.files.find(project.registry_id, target.filename) if target.filename.isascii() else None
    if file is None or file.project_id != project.id:
        latest = [each.filename for each in tx.files.of_project(project.id)[-NAMED_MAX:]]
        raise Rejected(
            "invalid-change",
            f"{project.name} has no file {shown(target.filename)}.",
            hint=f"The latest: {', '.join(latest)}." if latest else "It offers no file.",
        )
    release = tx.releases.find(project.id, file.version)
    return _Aim(project, [release] if release else [], [file], whole=False)


def _gone(file: File) -> Rejected:
    if file.state == "deleted":
        return Rejected("invalid-change", f"{file.filename} was deleted.", hint="Publish a new version.")
    return Rejected("invalid-change", f"{file.filename} is not published yet.", hint="Publish or delete it.")
