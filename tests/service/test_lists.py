"""The list of projects: rendered once for many first uploads, and never without a project that was acknowledged."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from mintmark.core.errors import Unavailable
from mintmark.core.records import File, Registry
from mintmark.service.ports import Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.steps import ignore
from mintmark.store.pages_dir import DirectoryPages
from support.world import World


class Watched(DirectoryPages):
    """The real pages; tells how often a list was replaced, and may be stopped in the middle of that."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lists = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.broken = False
        self.projects: list[str] = []

    def replace(self, registry: str, project: str, changes: int, forms: Mapping[str, bytes]) -> None:
        if project:
            self.projects.append(project)
        else:
            self.lists += 1
            self.begun.set()
            assert self.go.wait(20)
            if self.broken:
                raise OSError(28, "No space left on device")
        super().replace(registry, project, changes, forms)

    def names(self) -> list[str]:
        page = self.find("acme", "", "json")
        return [entry["name"] for entry in json.loads(page.body)["projects"]] if page else []


async def prepared(world: World) -> tuple[Watched, Renderer, Registry]:
    registry = await world.index.ledger.read(lambda tx: tx.registries.find("acme"))
    assert registry is not None
    pages = Watched(world.index.directory_path)
    return pages, Renderer(world.index.ledger, pages, reached=ignore), registry


def first_file(registry: Registry, name: str) -> Callable[[Transaction], None]:
    """What the first upload of a project commits."""

    def work(tx: Transaction) -> None:
        project = tx.projects.insert(registry.id, name, name, 0)
        filename = f"{name}-1.0.tar.gz"
        file = File(
            0, registry.id, project.id, "1.0", filename, "sdist", "visible", 1, "a" * 64, "b" * 64, None, None, 0
        )
        assert tx.files.insert(file, uploaded_by="test", publisher_id=None)
        tx.projects.mark_changed(project.id)
        tx.projects.mark_list_changed(registry.id)

    return work


def further_change(registry: Registry, name: str) -> Callable[[Transaction], None]:
    """What any change after the first commits."""

    def work(tx: Transaction) -> None:
        project = tx.projects.find(registry.id, name)
        assert project is not None
        tx.projects.mark_changed(project.id)

    return work


async def begun(pages: Watched) -> None:
    assert await asyncio.to_thread(pages.begun.wait, 20)


async def test_one_rendering_serves_everybody_who_came_before_it_began(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    names = [f"project-{number}" for number in range(20)]

    async def upload(name: str) -> list[str]:
        await world.index.ledger.write(first_file(registry, name))
        await renderer.show(registry, name)
        return pages.names()

    pages.go.clear()
    first = asyncio.create_task(upload("the-first"))
    await begun(pages)
    others = [asyncio.create_task(upload(name)) for name in names]
    # All of them have committed and wait for a list: the one that is being rendered may lack them.
    while len(await world.index.ledger.read(lambda tx: tx.projects.listed(registry.id))) <= len(names):
        await asyncio.sleep(0)
    while not renderer._next_list:
        await asyncio.sleep(0)
    assert pages.lists == 1
    pages.go.set()
    seen = await asyncio.gather(first, *others)
    for name, listed in zip(["the-first", *names], seen, strict=True):
        assert name in listed
    # Not one each, although a few may have been on their way to the list while another was rendered.
    assert pages.lists < len(names) / 2
    await renderer.close()


async def test_who_commits_while_a_list_is_rendered_waits_for_the_next(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    await world.index.ledger.write(first_file(registry, "early"))
    pages.go.clear()
    early = asyncio.create_task(renderer.listing(registry))
    await begun(pages)
    # Its snapshot is taken: this one cannot be in it.
    await world.index.ledger.write(first_file(registry, "late"))
    late = [asyncio.create_task(renderer.listing(registry)) for _ in range(3)]
    await asyncio.sleep(0)
    pages.go.set()
    await early
    await asyncio.gather(*late)
    assert pages.names() == ["early", "late"]
    assert pages.lists == 2


async def test_a_client_that_is_gone_takes_the_list_from_nobody(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    await world.index.ledger.write(first_file(registry, "widget"))
    pages.go.clear()
    gone, other = (asyncio.create_task(renderer.listing(registry)) for _ in range(2))
    await begun(pages)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    pages.go.set()
    await other
    assert (pages.names(), pages.lists) == (["widget"], 1)


async def test_trouble_reaches_everybody_it_concerns_and_nobody_else(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    await world.index.ledger.write(first_file(registry, "widget"))
    pages.broken = True
    found = await asyncio.gather(*(renderer.listing(registry) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable] * 3
    pages.broken = False
    await renderer.listing(registry)
    assert (pages.names(), pages.lists) == (["widget"], 2)


async def test_further_files_do_not_touch_the_list(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    await world.index.ledger.write(first_file(registry, "widget"))
    await renderer.show(registry, "widget")
    assert pages.lists == 1

    another = further_change(registry, "widget")
    for _ in range(3):
        await world.index.ledger.write(another)
        await renderer.show(registry, "widget")
    await renderer.close()
    await world.index.ledger.write(another)
    await renderer.show(registry, "widget")
    assert pages.lists == 1
    await renderer.close()


# -- pages that are rendered together ----------------------------------------------------------------------------------


async def test_one_snapshot_renders_a_project_once(world: World) -> None:
    pages, renderer, registry = await prepared(world)
    for name in ("widget", "gadget"):
        await world.index.ledger.write(first_file(registry, name))
    await renderer.heal()
    for name in ("widget", "gadget"):
        await world.index.ledger.write(further_change(registry, name))
    pages.projects.clear()
    await asyncio.gather(*(renderer.show(registry, name) for name in ("widget", "widget", "gadget", "widget")))
    assert sorted(pages.projects) == ["gadget", "widget"]


async def test_trouble_with_the_ledger_is_told_as_such(world: World) -> None:
    """Not as a fault of ours: the client may repeat its request."""
    _, renderer, registry = await prepared(world)
    await world.index.ledger.write(first_file(registry, "widget"))
    with closing(sqlite3.connect(world.index.directory_path / "mintmark.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE files RENAME TO aside")
        with pytest.raises(Unavailable):
            await renderer.show(registry, "widget")
        other.execute("ALTER TABLE aside RENAME TO files")
    await renderer.show(registry, "widget")
