"""Acknowledged means durable and visible: the order of one upload's system calls, and what a full disk does to it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from mintmark.core.errors import Unavailable
from mintmark.core.records import OPERATOR, File, Project, Registry
from mintmark.lab.signer import Signer
from mintmark.service.fsck import Fault
from mintmark.service.ports import Transaction
from mintmark.service.steps import Step
from mintmark.store.ledger.nouns import SqlTransaction
from mintmark.store.ledger.session import Statement
from support.dists import sdist, wheel
from support.world import SELF_HOSTED, World, running_world

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


class Disk:
    """Records what the operating system is asked for, and knows which names would survive a power failure now.

    A file's content survives once it was synced, a name once its folder was synced after the rename.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.durable: set[str] = set()
        self.durable_at: dict[Step, set[str]] = {}
        self._synced: dict[int, int] = {}

    def wrap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("fsync", "rename", "replace"):
            monkeypatch.setattr(os, name, getattr(self, name)(getattr(os, name)))

    def fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            real(descriptor)
            state, place = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
            self._synced[state.st_ino] = state.st_size
            if os.path.isdir(place):
                self.durable |= {entry.name for entry in os.scandir(place) if self._content_synced(entry)}
            self.calls.append(f"fsync {self._name(place)}")

        return fsync

    def rename(self, real: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def rename(source: str, target: str) -> None:
            real(source, target)
            self.calls.append(f"rename {self._name(source)} {self._name(target)}")

        return rename

    replace = rename

    def reached(self, step: Step) -> None:
        self.calls.append(step)
        self.durable_at[step] = set(self.durable)

    def _content_synced(self, entry: os.DirEntry[str]) -> bool:
        return self._synced.get(entry.inode()) == entry.stat().st_size

    def _name(self, place: str | Path) -> str:
        relative = os.path.relpath(place, self.root)
        # The names of files on their way in are random.
        return "incoming/*" if relative.startswith("incoming/") else relative


@pytest.fixture
async def recorded(
    tmp_path: Path, signers: Mapping[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, Disk]]:
    disk = Disk(tmp_path / "data")
    async with running_world(tmp_path, signers, reached=disk.reached) as world:
        await world.registry("acme")
        await world.issuer("acme", SELF_HOSTED)
        disk.wrap(monkeypatch)
        yield world, disk


# -- the order --------------------------------------------------------------------------------------------------------


async def test_the_order_of_one_upload(recorded: tuple[World, Disk]) -> None:
    world, disk = recorded
    filename, data = wheel()
    content = hashlib.sha256(data).hexdigest()
    secret = await world.token()
    assert (await world.upload(secret, (filename, data))).status == 200
    # What the next start would do anyway, at once.
    await world.index.renderer.close()

    def kept(sha256: str) -> list[str]:
        folder = f"blobs/{sha256[:2]}"
        return ["fsync incoming/*", f"rename incoming/* {folder}/{sha256}", f"fsync {folder}"]

    def replaced(folder: str) -> list[str]:
        names = ("index.json", "index.html")
        return [f"rename {folder}/.{name}~ {folder}/{name}" for name in names]

    settled = disk.calls.index(Step.UPLOAD_PAGES_REPLACED) + 1
    assert disk.calls[:settled] == [
        Step.UPLOAD_RECEIVED,
        Step.UPLOAD_CHECKED,
        *kept(content),
        Step.UPLOAD_BLOB_DURABLE,
        Step.UPLOAD_RECORDED,
        Step.UPLOAD_COMMITTED,
        *replaced("pages/acme/simple/widget"),
        *replaced("pages/acme/simple"),
        Step.UPLOAD_PAGES_REPLACED,
    ]
    # Pages can be made again: nobody waits for their way to the disk (ADR 0012).
    assert disk.calls[settled:] == [Step.UPLOAD_PAGES_MARKED]
    # Before the transaction's commit, the blob's content and name survive whatever happens.
    assert content in disk.durable_at[Step.UPLOAD_RECORDED]
    assert content not in disk.durable_at[Step.UPLOAD_CHECKED]


async def test_a_source_distribution_is_durable_before_its_commit(recorded: tuple[World, Disk]) -> None:
    world, disk = recorded
    file = sdist()
    assert (await world.upload(await world.token(), file)).status == 200
    assert hashlib.sha256(file[1]).hexdigest() in disk.durable_at[Step.UPLOAD_RECORDED]


async def test_commits_of_uploads_and_mints_are_synced(world: World) -> None:
    def settings(tx: Transaction) -> list[object]:
        assert isinstance(tx, SqlTransaction)
        return [tx.session.rows(Statement(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous")]

    # 2 is FULL: in WAL mode the log is synced at each commit (sqlite.org/pragma.html#pragma_synchronous).
    assert await world.index.ledger.write(settings) == ["wal", 2]


# -- pages follow -----------------------------------------------------------------------------------------------------


async def visible(world: World, secret: str, name: str = "widget") -> bool:
    """Whether a file is on the project's page in both forms and its project in the list, or nowhere."""
    found = []
    for path, needle in ((f"/acme/simple/{name}/", f"{name}-1.0-py3-none-any.whl"), ("/acme/simple/", f"{name}")):
        for accept in (JSON, {"Accept": "text/html"}):
            answer = await world.get(path, auth=secret, headers=accept)
            found.append(answer.status == 200 and needle.encode() in answer.body)
    assert len(set(found)) == 1, found
    return found[0]


def block(world: World, name: str = "widget") -> Path:
    """Put a file where the project's folder of pages belongs: the operating system refuses every page."""
    obstacle = world.index.directory_path / "pages/acme/simple" / name
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_bytes(b"")
    return obstacle


async def test_a_page_that_cannot_be_written_heals_by_repeating(world: World) -> None:
    secret = await world.token()
    obstacle = block(world)
    for _ in range(2):
        refused = await world.upload(secret, wheel())
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert b"Everything is recorded" in refused.body
    obstacle.unlink()
    # Not acknowledged so far. Repeating the very same upload makes it visible.
    assert (await world.upload(secret, wheel())).status == 200
    assert await visible(world, secret)


async def test_a_page_that_cannot_be_written_is_shown_all_the_same(world: World) -> None:
    secret = await world.token()
    obstacle = block(world)
    assert (await world.upload(secret, wheel())).status == 503
    page = await world.get("/acme/simple/widget/", auth=secret, headers=JSON)
    assert [each["filename"] for each in page.json["files"]] == ["widget-1.0-py3-none-any.whl"]
    assert (await world.get("/acme/simple/gadget/", auth=secret)).status == 404
    obstacle.unlink()
    # The very same page, once it is kept.
    assert (await world.upload(secret, wheel())).status == 200
    kept = await world.get("/acme/simple/widget/", auth=secret, headers=JSON)
    assert (kept.body, kept.headers["ETag"]) == (page.body, page.headers["ETag"])


async def test_a_page_that_cannot_be_written_heals_by_itself(world: World) -> None:
    secret = await world.token()
    obstacle = block(world)
    assert (await world.upload(secret, wheel())).status == 503
    assert (await world.upload(secret, wheel("gadget"))).status == 200
    with pytest.raises(Unavailable):
        await world.index.renderer.heal()
    obstacle.unlink()
    assert await world.index.renderer.heal() == 1
    assert await visible(world, secret)
    assert await world.index.renderer.heal() == 0


async def test_a_page_that_cannot_be_read_is_rendered_again(world: World) -> None:
    """A damaged disk, or a page that belongs to another user: the ledger knows what it shows."""
    secret = await world.token()
    assert (await world.upload(secret, wheel())).status == 200
    await world.index.renderer.heal()
    folder = world.index.directory_path / "pages/acme/simple"
    for form in ("json", "html"):
        for page in (folder / f"index.{form}", folder / f"widget/index.{form}"):
            page.unlink()
            # Refused by the operating system, to root as well.
            page.symlink_to(page)
    faults: list[Fault] = []
    await world.index.fsck(faults.append)
    assert [fault.kind for fault in faults] == ["page-missing"] * 2
    assert await visible(world, secret)
    assert not (folder / "widget/index.json").is_symlink()


async def test_one_page_that_cannot_be_written_keeps_no_other_from_healing(world: World) -> None:
    """More of them than one batch, before and after it; and the loop ends."""
    block(world, "p3")
    registry = await _registry(world)

    def work(tx: Transaction) -> None:
        for number in range(450):
            tx.projects.mark_changed(tx.projects.insert(registry.id, f"p{number}", f"p{number}", 1).id)

    await world.index.ledger.write(work)
    with pytest.raises(Unavailable):
        await world.index.renderer.heal()
    left = await world.index.ledger.read(lambda tx: tx.projects.unrendered(500))
    assert [project.name for project in left] == ["p3"]


async def test_a_project_that_cannot_be_rendered_keeps_no_server_from_starting(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme")
        secret = await world.token()
        registry = await _registry(world)

        def work(tx: Transaction) -> None:
            for name in ("broken", "whole"):
                project = tx.projects.insert(registry.id, name, name, 1)
                tx.files.insert(
                    _file(project, version="?" if name == "broken" else "1.0"), uploaded_by="x", publisher_id=None
                )
                tx.projects.mark_changed(project.id)

        await world.index.ledger.write(work)
    async with running_world(tmp_path, signers) as world:
        # Rendered before anybody asked.
        assert (tmp_path / "data/pages/acme/simple/whole/index.json").exists()
        assert (await world.get("/acme/simple/whole/", auth=secret)).status == 200
        with pytest.raises(ValueError, match="version"):
            await world.index.renderer.heal()


def _file(project: Project, version: str) -> File:
    name = f"{project.name}-{version}.tar.gz"
    return File(
        0, project.registry_id, project.id, version, name, "sdist", "visible", 1, "a" * 64, "b" * 64, None, None, 1
    )


async def _registry(world: World) -> Registry:
    found = await world.index.ledger.read(lambda tx: tx.registries.find("acme"))
    assert found is not None
    return found


async def _project(world: World) -> Project:
    registry = await _registry(world)
    found = await world.index.ledger.read(lambda tx: tx.projects.find(registry.id, "widget"))
    assert found is not None
    return found


class Died(Exception):
    """Ends a request at a step; what it had done so far stays."""


class Process:
    """Once doomed, the next request ends after its commit, as if its process did; the one after it goes through."""

    doomed = False

    def __call__(self, step: Step) -> None:
        if step is Step.UPLOAD_COMMITTED and self.doomed:
            self.doomed = False
            raise Died


async def test_repeating_an_upload_elsewhere_shows_what_another_process_left(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    """The first process dies after its commit; the client's retry reaches a second one, not to be told 200."""
    process = Process()
    async with running_world(tmp_path, signers, reached=process) as world:
        await world.registry("acme")
        secret = await world.token()
        # There is a page already, without the file.
        assert (await world.upload(secret, sdist())).status == 200
        process.doomed = True
        assert (await world.upload(secret, wheel())).status == 500
        assert (await world.upload(secret, wheel())).status == 200
        assert await visible(world, secret)


@pytest.mark.parametrize("meanwhile", ["second file", "reader"])
async def test_a_project_stays_unlisted_by_nobodys_mistake(
    tmp_path: Path, signers: Mapping[str, Signer], meanwhile: str
) -> None:
    """Who died after the first file's commit left the list behind; nobody may take the dirty mark away without it."""
    process = Process()
    async with running_world(tmp_path, signers, reached=process) as world:
        await world.registry("acme")
        secret = await world.token()
        # A list without the project is there already.
        assert (await world.get("/acme/simple/", auth=secret, headers=JSON)).json["projects"] == []
        process.doomed = True
        assert (await world.upload(secret, wheel())).status == 500
        if meanwhile == "second file":
            assert (await world.upload(secret, sdist())).status == 200
        else:
            assert (await world.get("/acme/simple/widget/", auth=secret, headers=JSON)).status == 200
        await world.index.renderer.close()
        await world.index.renderer.heal()
        assert await visible(world, secret)


async def test_a_change_before_the_first_file_keeps_no_project_from_being_listed(world: World) -> None:
    """The exchange for a pending publisher makes a project without files; what is changed then is no page's change."""
    await world.publisher("widget")
    minted, token = await world.credential(), await world.token()
    assert (await world.get("/acme/simple/", auth=token, headers=JSON)).json["projects"] == []
    changed = await world.index.life_cycle.set_status("acme", "widget", "deprecated", "", OPERATOR)
    assert changed.changed
    # A project that has never had a file has no page.
    assert (await world.get("/acme/simple/widget/", auth=token, headers=JSON)).status == 404
    await world.index.renderer.heal()
    assert (await world.upload(minted, wheel())).status == 200
    assert await visible(world, token)
    page = await world.get("/acme/simple/widget/", auth=token, headers=JSON)
    assert page.json["project-status"] == {"status": "deprecated"}


async def test_marks_wait_for_a_ledger_that_cannot_be_written(world: World) -> None:
    await world.index.ledger.write(lambda tx: _run(tx, "PRAGMA busy_timeout = 1"))
    assert (await world.upload(await world.token(), wheel())).status == 200
    other = sqlite3.connect(world.index.directory_path / "mintmark.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        # Stopping a server beside a busy command line is no failure.
        await world.index.renderer.close()
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert (await _project(world)).rendered == 0
    await world.index.renderer.close()
    assert (await _project(world)).rendered == 1


def _run(tx: Transaction, statement: str) -> None:
    assert isinstance(tx, SqlTransaction)
    tx.session.rows(Statement(statement))
