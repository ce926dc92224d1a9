"""Pages follow the ledger.

Owns that a change is on the pages before it is acknowledged, and that pages a crash or a full disk left behind are
rendered again. Leaves the pages' form to `core.simple` and their storage to the `Pages` port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from mintmark.core import simple
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.records import Project, Registry
from mintmark.service.grouping import Group, Outcome
from mintmark.service.ports import Ledger, Page, Pages, Transaction
from mintmark.service.steps import Reached, Step

T = TypeVar("T")
# Marks are written together, this long after the first; until then a crash costs one more rendering, nothing else.
MARK_DELAY_SECONDS = 0.5
HEAL_BATCH = 200


class Renderer:
    """Renders project pages and project lists.

    Invariant: the dirty mark of a project is taken away only after its page *and* the list of projects were replaced.
    So a project that never lost its mark may be missing in the list, and any other is in it.
    """

    def __init__(self, ledger: Ledger, pages: Pages, *, reached: Reached) -> None:
        self._ledger = ledger
        self._pages = pages
        self._reached = reached
        # Projects whose page, and whose name in the list, readers see, as of so many changes.
        self._shown: dict[int, int] = {}
        self._marking: asyncio.Task[None] | None = None
        # Uploads that were committed together are rendered together.
        self._showing: Group[tuple[Registry, str]] = Group(self._show)
        # By registry: the next rendering of its list, which has not begun, and whose turn it is.
        self._next_list: dict[int, asyncio.Task[None]] = {}
        self._list_turns: dict[int, asyncio.Lock] = {}

    async def show(self, registry: Registry, name: str) -> None:
        """Bring a project's page and the list up to date. Raises `Unavailable`; then the dirty mark stays."""
        project: Project | None = await self._showing.run((registry, name))
        if project is None:
            return
        # Never `first upload only`: whoever made the first may have died between its commit and the list.
        if not project.rendered and project.id not in self._shown:
            await self.listing(registry)
        self._reached(Step.UPLOAD_PAGES_REPLACED)
        self._remember(project.id, project.changes)
        if self._marking is None or self._marking.done():
            self._marking = asyncio.get_running_loop().create_task(self._mark_later())

    async def project(self, registry: Registry, name: str) -> bool:
        """Render a project's page for a reader who found none; False when there is nothing to show."""
        return await self._replace(lambda tx: self._render(tx, registry, name)) is not None

    async def unsaved(self, registry: Registry, name: str, form: str) -> Page | None:
        """A page for one reader, when it cannot be kept; None when there is nothing to show."""

        def work(tx: Transaction) -> bytes | None:
            if not name:
                return simple.render_root(tx.projects.listed(registry.id))[form]
            project = tx.projects.find(registry.id, name)
            if project is None or not project.changes:
                return None
            return simple.render_project(project, tx.files.of_project(project.id))[form]

        body = await self._ledger.read(work)
        return Page(body, None, simple.validator(body)) if body is not None else None

    async def listing(self, registry: Registry) -> None:
        """Render a registry's list of projects, as it is now or later.

        Whoever comes before a rendering begins is served by it, so that many first uploads at once cost one or two
        renderings of a long list.
        """
        turn = self._next_list.get(registry.id)
        if turn is None:
            turn = asyncio.get_running_loop().create_task(self._list(registry))
            self._next_list[registry.id] = turn
        # One caller that is gone ends nothing for the others.
        await asyncio.shield(turn)

    async def _list(self, registry: Registry) -> None:
        async with self._list_turns.setdefault(registry.id, asyncio.Lock()):
            # Whom this serves has committed, and the snapshot is still to come. Who comes now waits for the next.
            del self._next_list[registry.id]

            def work(tx: Transaction) -> None:
                changes = tx.projects.list_changes(registry.id)
                self._pages.replace(registry.slug, "", changes, simple.render_root(tx.projects.listed(registry.id)))

            await self._replace(work)

    async def adopt(self) -> bool:
        """Whether the pages were thrown away since the ledger knew them; then each has its dirty mark again."""
        epoch = self._pages.epoch()
        if await self._ledger.read(lambda tx: tx.projects.pages_epoch()) == epoch:
            return False
        await self._ledger.write(lambda tx: tx.projects.adopt_pages(epoch))
        return True

    async def heal(self) -> int:
        """Render what a crash or a full disk left behind, here or in another process; the number of pages.

        Tries every page once, so that one that cannot be rendered or written keeps no other from being healed and the
        loop ends; raises the last error when all was tried.
        """
        await self._mark()
        tried: set[int] = set()
        healed = 0
        failure: Exception | None = None
        while True:
            projects, registries = await self._ledger.read(
                lambda tx: (tx.projects.unrendered(HEAL_BATCH + len(tried)), tx.registries.every())
            )
            homes = {registry.id: registry for registry in registries}
            left = [project for project in projects if project.id not in tried]
            if not left:
                break
            for registry_id in {project.registry_id for project in left}:
                of_registry = [project for project in left if project.registry_id == registry_id]
                tried.update(project.id for project in of_registry)
                try:
                    healed += await self._heal(homes[registry_id], of_registry)
                except Exception as error:  # noqa: BLE001 - raised below
                    failure = error
            await self._mark()
        if failure is not None:
            raise failure
        return healed

    async def close(self) -> None:
        """Finish the lists and write the marks that are still waiting."""
        await asyncio.gather(*self._next_list.values(), return_exceptions=True)
        if self._marking is not None:
            self._marking.cancel()
            await asyncio.gather(self._marking, return_exceptions=True)
        await self._mark()

    # -- rendering ----------------------------------------------------------------------------------------------------

    async def _heal(self, registry: Registry, projects: list[Project]) -> int:
        rendered: list[Project] = []
        failure: Exception | None = None
        for project in projects:
            try:
                if await self.project(registry, project.name):
                    rendered.append(project)
            except Exception as error:  # noqa: BLE001 - raised below
                failure = error
        await self.listing(registry)
        for project in rendered:
            self._remember(project.id, project.changes)
        if failure is not None:
            raise failure
        return len(rendered)

    def _render(self, tx: Transaction, registry: Registry, name: str, *, dirty_only: bool = False) -> Project | None:
        project = tx.projects.find(registry.id, name)
        if project is None or not project.changes or (dirty_only and project.rendered >= project.changes):
            return None
        forms = simple.render_project(project, tx.files.of_project(project.id))
        self._pages.replace(registry.slug, name, project.changes, forms)
        return project

    async def _show(self, wanted: Sequence[tuple[Registry, str]]) -> Sequence[Outcome]:
        """Render several projects in one snapshot. What goes wrong with one is nobody else's trouble."""
        # Several files of one project make one page.
        projects = {(registry.id, name): registry for registry, name in wanted}

        def work(tx: Transaction) -> dict[tuple[int, str], Outcome]:
            return {key: self._outcome(tx, registry, key[1]) for key, registry in projects.items()}

        outcomes = await self._ledger.read(work)
        for key, outcome in outcomes.items():
            if outcome.error is not None:
                # Once more by itself, so that trouble of the ledger or the disk is told as what it is.
                outcomes[key] = await self._alone(projects[key], key[1])
        return [outcomes[registry.id, name] for registry, name in wanted]

    def _outcome(self, tx: Transaction, registry: Registry, name: str) -> Outcome:
        try:
            return Outcome(self._render(tx, registry, name, dirty_only=True))
        except Exception as error:  # noqa: BLE001 - see `_show`
            return Outcome(error=error)

    async def _alone(self, registry: Registry, name: str) -> Outcome:
        try:
            return Outcome(await self._replace(lambda tx: self._render(tx, registry, name, dirty_only=True)))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for this page
            return Outcome(error=error)

    async def _replace(self, work: Callable[[Transaction], T]) -> T:
        """Read from the ledger and replace pages inside that snapshot."""
        try:
            return await self._ledger.read(work)
        except OSError as error:
            raise _behind(error) from error

    # -- the dirty mark -----------------------------------------------------------------------------------------------

    def _remember(self, project_id: int, changes: int) -> None:
        self._shown[project_id] = max(changes, self._shown.get(project_id, 0))

    async def _mark_later(self) -> None:
        await asyncio.sleep(MARK_DELAY_SECONDS)
        await self._mark()

    async def _mark(self) -> None:
        """Take the dirty marks of what was shown away. After trouble they wait for the next time."""
        marks, self._shown = self._shown, {}
        if not marks:
            return

        def work(tx: Transaction) -> None:
            for project_id, changes in marks.items():
                tx.projects.mark_rendered(project_id, changes)

        try:
            await self._ledger.write(work)
        except (Rejected, Unavailable):
            for project_id, changes in marks.items():
                self._remember(project_id, changes)
            return
        self._reached(Step.UPLOAD_PAGES_MARKED)


def _behind(error: OSError) -> Unavailable:
    return Unavailable(
        "Everything is recorded, but the index's page cannot be written right now; repeat the request to see it there.",
        private=f"pages: {type(error).__name__}: {error}",
    )
