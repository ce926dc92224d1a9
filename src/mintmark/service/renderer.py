"""Pages follow the ledger.

Owns that a change is on the pages before it is acknowledged, and that pages a crash left behind are rendered again.
Leaves the pages' form to `core.simple` and their storage to the `Pages` port.
"""

from __future__ import annotations

import asyncio

from mintmark.core import simple
from mintmark.core.records import Project, Registry
from mintmark.service.ports import Ledger, Pages, Transaction
from mintmark.service.steps import Reached, Step

# Marks are written together, this long after the first; until then a crash costs one more rendering, nothing else.
MARK_DELAY_SECONDS = 0.5
HEAL_BATCH = 200
FILE_STATES_SHOWN = frozenset({"visible", "yanked"})


class Renderer:
    """Renders project pages and project lists."""

    def __init__(self, ledger: Ledger, pages: Pages, *, reached: Reached) -> None:
        self._ledger = ledger
        self._pages = pages
        self._reached = reached
        self._rendered: dict[int, int] = {}
        self._marking: asyncio.Task[None] | None = None

    async def project(self, registry: Registry, name: str) -> bool:
        """Render a project's page as the ledger is now; False when there is nothing to show."""

        def work(tx: Transaction) -> Project | None:
            project = tx.projects.find(registry.id, name)
            if project is None or not project.changes:
                return None
            forms = simple.render_project(project, tx.files.of_project(project.id))
            self._pages.replace(registry.slug, name, project.changes, forms)
            return project

        project = await self._ledger.read(work)
        if project is None:
            return False
        self._reached(Step.UPLOAD_PAGES_REPLACED)
        self._mark_soon(project)
        return True

    async def listing(self, registry: Registry) -> None:
        """Render a registry's list of projects."""

        def work(tx: Transaction) -> None:
            changes = tx.projects.list_changes(registry.id)
            self._pages.replace(registry.slug, "", changes, simple.render_root(tx.projects.listed(registry.id)))

        await self._ledger.read(work)

    async def heal(self) -> int:
        """Render what a crash left behind, here or in another process; the number of pages."""
        healed = 0
        while batch := await self._ledger.read(lambda tx: (tx.projects.unrendered(HEAL_BATCH), tx.registries.every())):
            projects, registries = batch
            homes = {registry.id: registry for registry in registries}
            for project in projects:
                await self.project(homes[project.registry_id], project.name)
            for registry_id in {project.registry_id for project in projects}:
                await self.listing(homes[registry_id])
            await self._mark()
            healed += len(projects)
            if len(projects) < HEAL_BATCH:
                break
        return healed

    async def close(self) -> None:
        """Write the marks that are still waiting."""
        if self._marking is not None:
            self._marking.cancel()
        await self._mark()

    def _mark_soon(self, project: Project) -> None:
        self._rendered[project.id] = max(project.changes, self._rendered.get(project.id, 0))
        if self._marking is None or self._marking.done():
            self._marking = asyncio.get_running_loop().create_task(self._mark_later())

    async def _mark_later(self) -> None:
        await asyncio.sleep(MARK_DELAY_SECONDS)
        await self._mark()

    async def _mark(self) -> None:
        marks, self._rendered = self._rendered, {}
        if not marks:
            return

        def work(tx: Transaction) -> None:
            for project_id, changes in marks.items():
                tx.projects.mark_rendered(project_id, changes)

        await self._ledger.write(work)
        self._reached(Step.UPLOAD_PAGES_MARKED)
