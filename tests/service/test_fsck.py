"""`fsck` finds each planted fault, and nothing in an index that is sound."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from mintmark.core.life_cycle import OneFile, WholeVersion
from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from mintmark.service.fsck import CURES, NOTES, Fault, Fsck
from mintmark.service.renderer import Renderer
from mintmark.service.steps import ignore
from mintmark.service.sweep import DAY_SECONDS
from mintmark.store.ledger.sqlite import open_ledger
from mintmark.store.pages_dir import DirectoryPages
from support.dists import sdist, wheel
from support.wire import SIMPLE_JSON
from support.world import World, running_world

FILENAME, DATA = wheel()
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Planted:
    """An index at rest, with `widget` 1.0 as wheel and sdist, and `gadget` 1.0."""

    world: World
    token: str

    @property
    def folder(self) -> Path:
        return self.world.index.directory_path

    def blob(self, sha256: str = SHA256) -> Path:
        return self.folder / "blobs" / sha256[:2] / sha256

    def page(self, project: str = "widget", form: str = "json") -> Path:
        return self.folder / "pages/acme/simple" / project / f"index.{form}"

    def lose(self, project: str) -> None:
        """A page in all its forms."""
        for form in ("json", "html"):
            self.page(project, form).unlink()

    def sql(self, statement: str) -> None:
        """Break a row as somebody with sqlite3 would."""
        with closing(sqlite3.connect(self.folder / "mintmark.db", isolation_level=None)) as connection:
            assert connection.execute(statement).rowcount

    async def found(self, *, quick: bool = False, repair: bool = False) -> list[Fault]:
        faults: list[Fault] = []
        await self.world.index.fsck(faults.append, quick=quick, repair=repair)
        return faults

    async def kinds(self, **more: bool) -> list[str]:
        return [fault.kind for fault in await self.found(**more)]


@pytest.fixture
async def planted(tmp_path: Path, signers: Mapping[str, Signer]) -> AsyncIterator[Planted]:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme")
        await world.issuer("acme")
        await world.registry("empty")
        token = await world.token()
        for file in ((FILENAME, DATA), sdist(), wheel("gadget")):
            assert (await world.upload(token, file)).status == 200
        # Without marks that wait: what is found is found for sure.
        await world.index.renderer.heal()
        yield Planted(world, token)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


FAULTS: Mapping[str, tuple[Callable[[Planted], object], str]] = {
    "flipped-byte": (
        lambda p: edit(p.blob(), lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:]),
        "blob-digest",
    ),
    "truncated": (lambda p: edit(p.blob(), lambda data: data[:-1]), "blob-size"),
    "emptied": (lambda p: edit(p.blob(), lambda data: b""), "blob-size"),
    "removed": (lambda p: p.blob().unlink(), "blob-missing"),
    "stray-file": (lambda p: (p.folder / "blobs/00/notes").touch(), "stray-file"),
    "blob-in-another-folder": (lambda p: (p.folder / "blobs" / "00" / ("1" * 64)).touch(), "stray-file"),
    "page-deleted": (lambda p: p.lose("widget"), "page-missing"),
    "page-half-deleted": (lambda p: p.page(form="html").unlink(), "page-wrong"),
    "page-edited": (lambda p: edit(p.page(), lambda data: data.replace(b"widget", b"midget")), "page-wrong"),
    "html-edited": (lambda p: edit(p.page(form="html"), lambda data: data + b" "), "page-wrong"),
    "page-of-another-time": (
        lambda p: (p.page().parent / ".changes").write_bytes(b"99".rjust(20)),
        "page-from-elsewhere",
    ),
    "list-edited": (lambda p: edit(p.page(""), lambda data: data.replace(b"gadget", b"budget")), "page-wrong"),
    "list-deleted": (lambda p: p.lose(""), "page-missing"),
    "wrong-size": (lambda p: p.sql("UPDATE files SET size_bytes = 7, sha256 = sha256 WHERE id = 1"), "blob-size"),
    "wrong-blake2": (lambda p: p.sql(f"UPDATE files SET blake2_256 = '{'0' * 64}' WHERE id = 1"), "file-blake2"),
    "wrong-metadata": (
        lambda p: p.sql(f"UPDATE files SET metadata_sha256 = '{'0' * 64}' WHERE id = 1"),
        "metadata-digest",
    ),
    "wrong-version": (
        lambda p: p.sql(
            "UPDATE releases SET version = '9' WHERE id = (SELECT release_id FROM files WHERE filename LIKE 'gadget%')"
        ),
        "row-disagrees",
    ),
    "file-of-another-name": (lambda p: p.sql("UPDATE files SET kind = 'sdist' WHERE id = 1"), "file-name"),
    "reason-without-yank": (lambda p: p.sql("UPDATE files SET yanked_reason = '' WHERE id = 1"), "row-disagrees"),
    "rendered-too-much": (lambda p: p.sql("UPDATE projects SET rendered = 99 WHERE id = 1"), "row-disagrees"),
    "list-never-changed": (
        lambda p: p.sql("UPDATE registries SET list_changes = 0 WHERE slug = 'acme'"),
        "row-disagrees",
    ),
    "wrong-similar": (lambda p: p.sql("UPDATE projects SET similar = 'x' WHERE id = 1"), "project-name"),
    "dangling": (
        lambda p: p.sql(
            "INSERT INTO releases (project_id, version, created_at) VALUES (99, '1.0', 0)",
        ),
        "row-dangling",
    ),
}
# A wrong row is also shown on a page, or a wrong mark hides it: what comes along.
ALONG: Mapping[str, set[str]] = {
    "wrong-size": {"page-wrong"},
    "wrong-metadata": {"page-wrong"},
    "file-of-another-name": {"metadata-digest"},
    "list-never-changed": {"page-from-elsewhere"},
}
IN_QUICK = {"flipped-byte": set(), "wrong-blake2": set(), "wrong-metadata": {"page-wrong"}}


async def test_a_sound_index_is_clean(planted: Planted) -> None:
    assert await planted.found() == []
    assert await planted.found(quick=True, repair=True) == []


@pytest.mark.parametrize("name", FAULTS)
async def test_each_planted_fault(planted: Planted, name: str) -> None:
    plant, kind = FAULTS[name]
    plant(planted)
    found = await planted.found()
    assert {fault.kind for fault in found} - ALONG.get(name, set()) == {kind}, found
    assert [fault.kind for fault in found].count(kind) == 1
    assert all(fault.where and fault.what and fault.cure for fault in found)
    quick = set(await planted.kinds(quick=True))
    assert quick == IN_QUICK[name] if name in IN_QUICK else kind in quick


PAGES = [name for name, (_, kind) in FAULTS.items() if kind.startswith("page-")]


@pytest.mark.parametrize("name", PAGES)
async def test_pages_are_repaired(planted: Planted, name: str) -> None:
    FAULTS[name][0](planted)
    (fault,) = await planted.found(repair=True)
    assert fault.repaired
    assert await planted.found() == []
    page = await planted.world.get("/acme/simple/widget/", auth=planted.token, headers=SIMPLE_JSON)
    assert [file["filename"] for file in page.json["files"]] == [FILENAME, sdist()[0]]


@pytest.mark.parametrize("name", ["flipped-byte", "removed", "wrong-blake2", "wrong-version", "stray-file"])
async def test_blobs_and_rows_are_never_touched(planted: Planted, name: str) -> None:
    FAULTS[name][0](planted)
    before = await planted.found()
    assert [fault for fault in await planted.found(repair=True) if not fault.repaired] == before
    assert await planted.found() == before


async def test_a_damaged_ledger_is_told_and_nothing_else(planted: Planted) -> None:
    # The pages of an index that the schema no longer knows belong to nothing.
    with closing(sqlite3.connect(planted.folder / "mintmark.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'ix_files_sha256'")
        connection.commit()
    found: list[Fault] = []
    ledger = open_ledger(planted.folder / "mintmark.db")
    index = planted.world.index
    try:
        await Fsck(ledger, index.blobs, index.pages, index.renderer, index.clock)(found.append)
    finally:
        await ledger.close()
    assert {fault.kind for fault in found} == {"ledger-damaged"}


async def test_orphans_are_no_fault(planted: Planted) -> None:
    blobs, clock = planted.world.index.blobs, planted.world.clock
    sha256 = hashlib.sha256(b"orphan").hexdigest()
    spool = blobs.spool()
    spool.write(b"orphan")
    spool.keep(sha256)
    spool.discard()
    clock.at = os.stat(planted.blob(sha256)).st_mtime
    # It may belong to an upload on its way.
    assert await planted.found() == []
    clock.advance(2 * DAY_SECONDS)
    planted.world.index.pages.replace("acme", "nothing", 1, {"json": b"{}"})
    found = await planted.found()
    assert {fault.kind for fault in found} == NOTES
    assert all(fault.is_note for fault in found)


async def test_a_page_with_a_dirty_mark_is_no_fault(planted: Planted) -> None:
    planted.sql("UPDATE projects SET changes = changes + 1 WHERE name = 'widget'")
    planted.page().unlink()
    edit(planted.page(""), lambda data: data.replace(b"widget", b"midget"))
    assert await planted.found() == []


@pytest.mark.parametrize("repair", [False, True])
async def test_after_a_restart_of_the_machine(planted: Planted, repair: bool) -> None:
    """All pages were thrown away, and no server has run since; absent ones are rendered when somebody asks."""
    await planted.world.index.renderer.adopt()
    await planted.world.index.renderer.heal()
    assert await planted.found() == []
    index, found = planted.world.index, list[Fault]()
    pages = DirectoryPages(index.directory_path, "another boot")
    renderer = Renderer(index.ledger, pages, reached=ignore)
    check = Fsck(index.ledger, index.blobs, pages, renderer, index.clock)
    await check(found.append, repair=repair)
    assert found == []
    # What is there is compared all the same.
    home = await index.ledger.read(lambda tx: tx.registries.find("acme"))
    assert home is not None
    assert await renderer.project(home, "widget")
    edit(planted.page(), lambda data: data + b" ")
    await check(found.append, repair=repair)
    assert [(fault.kind, fault.repaired) for fault in found] == [("page-wrong", repair)]
    # From the first start of a server on, each page was rendered or has its mark.
    assert await renderer.adopt()
    await renderer.heal()
    planted.lose("gadget")
    await check(found.append)
    assert found[-1].kind == "page-missing"


async def test_beside_uploads_and_changes(planted: Planted) -> None:
    """What changes while we look is no fault."""
    world, token = planted.world, planted.token
    stop = asyncio.Event()

    async def upload(name: str) -> int:
        number = 0
        while not stop.is_set():
            number += 1
            assert (await world.upload(token, wheel(name, f"1.{number}"))).status == 200
        return number

    async def check() -> None:
        try:
            for round_ in range(6):
                assert await planted.found(quick=bool(round_ % 2)) == []
        finally:
            stop.set()

    first, second, _ = await asyncio.gather(upload("widget"), upload("busy"), check())
    assert min(first, second) > 1
    await world.index.renderer.heal()
    assert await planted.found() == []


async def test_after_changes_of_a_life_cycle(planted: Planted) -> None:
    world = planted.world
    life = world.index.life_cycle
    await life.yank("acme", "widget", WholeVersion("1.0"), "broken", OPERATOR)
    assert (await world.upload(planted.token, wheel("widget", "2.0"))).status == 200
    await life.unyank("acme", "widget", WholeVersion("1.0"), OPERATOR)
    await life.delete("acme", "widget", OneFile(sdist()[0]), OPERATOR)
    await life.set_status("acme", "gadget", "archived", "", OPERATOR)
    await world.index.renderer.heal()
    assert await planted.found() == []
    # The deleted file's content is swept, then there is nothing to find either.
    for path in (planted.folder / "blobs").rglob("?" * 64):
        os.utime(path, (1, 1))
    assert (await world.index.sweep()).blobs == 1
    assert await planted.found() == []


def test_every_kind_has_a_test_and_a_cure() -> None:
    assert {kind for _, kind in FAULTS.values()} | NOTES | {"ledger-damaged"} == set(CURES)
