"""Backups beside a running index, and what is restored from them."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine

from mintmark.assemble import restore_backup
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.lab.signer import Signer
from mintmark.service.fsck import Fault
from mintmark.store import backup
from mintmark.store.backup import Made
from mintmark.store.ledger import migrate
from support.clock import FrozenClock
from support.dists import wheel
from support.refusals import refusal
from support.world import World, running_world


def make(world: World, target: Path, **more: Any) -> Made:
    options = {"version": "test", "now": world.clock.now(), "link": False, "verify": False, **more}
    return backup.make(world.index.directory_path, target, progress=lambda _what, _count: None, **options)


async def restore(source: Path, directory: Path, name: str = "", *, incomplete: bool = False, **more: Any) -> Made:
    return await restore_backup(
        source, name, directory, incomplete=incomplete, progress=lambda _what, _count: None, **more
    )


def digest(file: tuple[str, bytes]) -> str:
    return hashlib.sha256(file[1]).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def faults(world: World) -> list[Fault]:
    found: list[Fault] = []
    await world.index.fsck(found.append)
    return found


async def uploaded(world: World, token: str, *versions: str) -> None:
    for version in versions:
        assert (await world.upload(token, wheel(version=version))).status == 200


# -- the whole way ----------------------------------------------------------------------------------------------------


async def test_everything_acknowledged_before_a_backup_is_in_it(
    world: World, tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    token = await world.token()
    acknowledged: list[tuple[str, bytes]] = []
    stop = asyncio.Event()

    async def upload(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            file = wheel(name, f"1.{number}", body=world.random.randbytes(5000))
            assert (await world.upload(token, file)).status == 200
            acknowledged.append(file)

    uploading = [asyncio.create_task(upload(name)) for name in ("widget", "gadget")]
    while len(acknowledged) < 10:
        await asyncio.sleep(0)
    before = list(acknowledged)
    made = await asyncio.to_thread(make, world, tmp_path / "backup", verify=True)
    stop.set()
    await asyncio.gather(*uploading)
    assert (made.faulty, made.files >= len(before)) == ((), True)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    await restore(tmp_path / "backup", elsewhere / "data", clock=world.clock)
    async with running_world(elsewhere, signers) as restored:
        assert await faults(restored) == []
        for name, data in before:
            sha256 = hashlib.sha256(data).hexdigest()
            assert (await restored.get(f"/acme/files/{sha256[:2]}/{sha256}/{name}", auth=token)).body == data
        listing = (await restored.get("/acme/simple/", auth=token)).body
        assert b"widget" in listing
        assert b"gadget" in listing
        # It lives on.
        await uploaded(restored, token, "2.0")
        await restored.index.renderer.heal()
        assert await faults(restored) == []


async def test_what_a_restored_index_does_not_believe(
    world: World, tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    await world.publisher("widget")
    secret = await world.credential()
    make(world, tmp_path / "backup")
    # After the backup: a token is exchanged, and a credential is burned.
    token = world.identity_token()
    assert (await world.mint(token)).status == 200
    world.clock.advance(30)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    await restore(tmp_path / "backup", elsewhere / "data", clock=world.clock)
    clock = FrozenClock(world.clock.now())
    async with running_world(elsewhere, signers, clock=clock) as restored:
        for _ in range(9):
            # The entropy of tests begins anew with each index.
            restored.index.entropy.draw(1)
        assert (await restored.upload(secret, wheel())).status in {401, 403}
        refused = await restored.mint(token)
        assert refused.code == "invalid-reuse-token"
        assert "Run the job again" in refused.description
        # By a clock that is ahead, it could have been exchanged before as well.
        clock.advance(30)
        assert (await restored.mint(restored.identity_token())).code == "invalid-reuse-token"
        clock.advance(1)
        fresh = await restored.credential()
        assert (await restored.upload(fresh, wheel())).status == 200
        actions = [e.action for e in await restored.index.ledger.read(lambda tx: tx.audit.latest(None, 99))]
        assert "restore" in actions


# -- what a backup looks like -----------------------------------------------------------------------------------------


async def test_the_form_of_a_backup(world: World, tmp_path: Path) -> None:
    await uploaded(world, await world.token(), "1.0")
    target = tmp_path / "backup"
    made = make(world, target)
    home = target / "snapshots" / made.name
    manifest = json.loads((home / "manifest.json").read_bytes())
    assert manifest["rows"] == {"registries": 1, "publishers": 0, "projects": 1, "files": 1}
    assert manifest["ledger"]["sha256"] == hashlib.sha256((home / "mintmark.db").read_bytes()).hexdigest()
    assert (manifest["schema"], manifest["mintmark"], manifest["missing"]["count"]) == (migrate.HEAD, "test", 0)
    assert manifest["made_at"] == world.clock.now()
    sha256 = digest(wheel())
    assert set(tree(target)) == {
        f"snapshots/{made.name}/manifest.json",
        f"snapshots/{made.name}/mintmark.db",
        f"blobs/{sha256[:2]}/{sha256}",
    }
    assert {path.stat().st_mode & 0o077 for path in (target, *target.rglob("*"))} == {0}


async def test_the_next_backup_copies_only_what_is_new(world: World, tmp_path: Path) -> None:
    token, target = await world.token(), tmp_path / "backup"
    await uploaded(world, token, "1.0", "2.0")
    first = make(world, target)
    await uploaded(world, token, "3.0")
    second, third = make(world, target), make(world, target)
    assert [(m.files, m.copied) for m in (first, second, third)] == [(2, 2), (3, 1), (3, 0)]
    # Also within one second.
    assert backup.names(target) == [first.name, second.name, third.name]
    for made, files in ((first, 2), (third, 3)):
        await restore(target, tmp_path / made.name, made.name)
        with closing(sqlite3.connect(tmp_path / made.name / "mintmark.db")) as connection:
            assert connection.execute("SELECT count(*) FROM files").fetchone() == (files,)


async def test_what_is_wrong_in_a_former_backup_is_copied_again(world: World, tmp_path: Path) -> None:
    await uploaded(world, await world.token(), "1.0")
    target = tmp_path / "backup"
    make(world, target)
    copy = target / "blobs" / digest(wheel())[:2] / digest(wheel())
    copy.write_bytes(copy.read_bytes()[:-1])
    assert make(world, target).copied == 1
    # A flipped byte is seen by those who read.
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    assert make(world, target).copied == 0
    assert make(world, target, verify=True).copied == 1
    assert copy.read_bytes() == wheel()[1]


async def test_linked_files(world: World, tmp_path: Path) -> None:
    await uploaded(world, await world.token(), "1.0")
    make(world, tmp_path / "backup", link=True)
    inodes = {
        (root / "blobs" / digest(wheel())[:2] / digest(wheel())).stat().st_ino
        for root in (world.index.directory_path, tmp_path / "backup")
    }
    assert len(inodes) == 1


async def test_an_interrupted_backup_leaves_the_former_one(world: World, tmp_path: Path) -> None:
    token, target = await world.token(), tmp_path / "backup"
    await uploaded(world, token, "1.0")
    first = make(world, target)
    # What a process that was killed leaves behind.
    left = target / "snapshots" / ".20260101T000000Z~"
    left.mkdir()
    (left / "mintmark.db").write_bytes(b"half")
    (target / "blobs" / digest(wheel())[:2] / f".{'0' * 64}~").write_bytes(b"half")
    assert backup.names(target) == [first.name]
    # One that fails on its way is not there either.
    await uploaded(world, token, "2.0")
    blob = digest(wheel(version="2.0"))
    (target / "blobs" / blob[:2]).mkdir(exist_ok=True)
    (target / "blobs" / blob[:2] / f".{blob}~").mkdir()
    with pytest.raises(OSError, match="directory"):
        make(world, target)
    assert backup.names(target) == [first.name]
    assert [path.name for path in (target / "snapshots").iterdir()] == [first.name]
    (target / "blobs" / blob[:2] / f".{blob}~").rmdir()
    assert make(world, target).copied == 1


async def test_what_a_killed_backup_copied_is_durable_before_the_next_has_its_name(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not copied a second time; but nobody has synced the folder that it is in."""
    token, target = await world.token(), tmp_path / "backup"
    await uploaded(world, token, "1.0")
    blob = digest(wheel())
    folder = target / "blobs" / blob[:2]
    folder.mkdir(parents=True)
    (target / "snapshots").mkdir()
    shutil.copy(world.index.directory_path / "blobs" / blob[:2] / blob, folder)
    synced, fsync = set[int](), os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noting)
    assert make(world, target).copied == 0
    assert {path.stat().st_ino for path in (folder, folder.parent, target, target.parent)} <= synced


async def test_nothing_is_swept_during_a_backup(world: World, tmp_path: Path) -> None:
    """A file that is deleted after the ledger was copied is still copied itself."""
    token = await world.token()
    await uploaded(world, token, "1.0")
    blobs = world.index.blobs
    blob = next(part[0] for part in blobs.every() if part)
    swept: list[object] = []
    backup.make(
        world.index.directory_path,
        tmp_path / "backup",
        version="test",
        now=1.0,
        link=False,
        verify=False,
        progress=lambda _what, _count: swept.append(blobs.remove([blob], 2e9)),
    )
    assert swept == [None]
    assert blobs.remove([blob], 9e9) == [blob]


async def test_files_that_the_index_itself_lost(world: World, tmp_path: Path) -> None:
    token, target = await world.token(), tmp_path / "backup"
    await uploaded(world, token, "1.0", "2.0")
    lost = digest(wheel())
    (world.index.directory_path / "blobs" / lost[:2] / lost).unlink()
    made = make(world, target)
    assert (made.faulty, made.copied) == ((lost,), 1)
    assert json.loads((target / "snapshots" / made.name / "manifest.json").read_bytes())["missing"] == {
        "count": 1,
        "sha256": [lost],
    }
    with pytest.raises(Rejected, match="missing or damaged"):
        await restore(target, tmp_path / "restored")
    assert (await restore(target, tmp_path / "restored", incomplete=True)).faulty == (lost,)


# -- refusals ---------------------------------------------------------------------------------------------------------


async def test_where_no_backup_can_go(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = world.index.directory_path
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters").touch()
    (tmp_path / "file").touch()
    for target in (data, data / "backup", other, tmp_path / "file", tmp_path / "no" / "where"):
        refused = refusal(lambda target=target: make(world, target))  # type: ignore[misc]
        assert refused is not None
        assert refused.code.name == "invalid-backup"
        assert refused.hint
    assert not (data / "backup").exists()
    with pytest.raises(Misconfigured, match="holds no ledger"):
        backup.make(
            other, tmp_path / "b", version="", now=0, link=False, verify=False, progress=lambda _what, _count: None
        )
    target = tmp_path / "backup"
    make(world, target)
    with Locked(target):
        busy = refusal(lambda: make(world, target))
        assert busy is not None
        assert "Another backup" in busy.detail
    monkeypatch.setattr(backup, "SPARE_BYTES", 1_000_000_000_000_000_000)
    await uploaded(world, await world.token(), "1.0")
    full = refusal(lambda: make(world, target))
    assert full is not None
    assert (full.code.name, "bytes left" in full.detail) == ("storage-full", True)
    assert len(backup.names(target)) == 1


class Locked:
    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)


async def test_what_cannot_be_restored(world: World, tmp_path: Path) -> None:
    await uploaded(world, await world.token(), "1.0")
    target = tmp_path / "backup"
    made = make(world, target)
    home = target / "snapshots" / made.name
    data = tmp_path / "restored"
    original = tree(target)

    async def refused(source: Path = target, directory: Path = data, name: str = "") -> str:
        with pytest.raises(Rejected) as found:
            await restore(source, directory, name)
        assert found.value.code.name == "invalid-backup"
        assert not (directory / "mintmark.db").exists() or directory == world.index.directory_path
        for path, content in original.items():
            (target / path).write_bytes(content)
        return found.value.detail

    assert "no backup" in await refused(tmp_path / "nothing")
    assert "no backup 'x'" in await refused(name="x")
    assert "not empty" in await refused(directory=world.index.directory_path)
    (home / "mintmark.db").write_bytes((home / "mintmark.db").read_bytes()[:-1] + b"!")
    assert "not the one that was copied" in await refused()
    (home / "mintmark.db").unlink()
    assert "is damaged" in await refused()
    for text in (b"", b"[]", b"{}", b'{"format": 9}', b'{"format": 1, "ledger": 7}', b"\xff"):
        (home / "manifest.json").write_bytes(text)
        assert "is damaged" in (detail := await refused()) or "newer release" in detail
    blob = target / "blobs" / digest(wheel())[:2] / digest(wheel())
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert "missing or damaged" in await refused()
    # Whatever went wrong before, the same folder can be used in the end.
    await restore(target, data)
    assert sorted(path.name for path in data.iterdir()) == ["blobs", "mintmark.db"]
    assert tree(data / "blobs") == tree(target / "blobs")
    # Only once.
    with pytest.raises(Rejected, match="not empty"):
        await restore(target, data)


async def test_an_older_ledger_is_migrated(world: World, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    made = make(world, target)
    ledger = target / "snapshots" / made.name / "mintmark.db"
    ledger.unlink()
    config = Config()
    config.set_main_option("script_location", "mintmark.store.ledger:migrations")
    engine = create_engine(URL.create("sqlite", database=str(ledger)))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    manifest = json.loads((ledger.parent / "manifest.json").read_bytes())
    manifest["ledger"] = {"sha256": file_digest(ledger), "size_bytes": ledger.stat().st_size}
    (ledger.parent / "manifest.json").write_text(json.dumps(manifest))
    await restore(target, tmp_path / "restored")
    with closing(sqlite3.connect(tmp_path / "restored" / "mintmark.db")) as restored:
        assert restored.execute("SELECT version_num FROM alembic_version").fetchone() == (migrate.HEAD,)


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
