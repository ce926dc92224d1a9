"""What is swept, what is kept, and that a sweep is never in the way of an upload."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mintmark.core.records import SYSTEM, Event
from mintmark.service import sweep as rules
from mintmark.service.ports import Transaction
from mintmark.service.steps import Step
from mintmark.service.sweep import DAY_SECONDS, Swept
from support.dists import wheel
from support.world import World, running_world


def blob_path(world: World, sha256: str) -> Path:
    return world.index.directory_path / "blobs" / sha256[:2] / sha256


def age(world: World, seconds: float, *digests: str) -> None:
    at = world.clock.now() - seconds
    for sha256 in digests:
        os.utime(blob_path(world, sha256), (at, at))


def keep(world: World, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    spool = world.index.blobs.spool()
    spool.write(content)
    spool.keep(sha256)
    spool.discard()
    return sha256


async def delete(world: World, filename: str) -> None:
    """A file as it is after it was deleted."""

    def work(tx: Transaction) -> None:
        acme = tx.registries.find("acme")
        assert acme
        file = tx.files.find(acme.id, filename)
        assert file
        tx.files.set_state(file.id, "deleted", None)

    await world.index.ledger.write(work)


async def swept(world: World, **more: Any) -> dict[str, object]:
    found = await world.index.sweep(**more)
    return {name: value for name, value in found.facts().items() if value}


async def test_a_fresh_index_has_nothing_to_sweep(world: World) -> None:
    assert not (await world.index.sweep()).anything
    assert Swept().facts().keys() >= {"blobs", "replays"}


async def test_content_that_no_file_needs(world: World) -> None:
    token = await world.token()
    file, other = wheel(), wheel(version="2.0")
    for each in (file, other):
        assert (await world.upload(token, each)).status == 200
    sha256 = [hashlib.sha256(data).hexdigest() for _, data in (file, other)]
    metadata = (await world.get(f"/acme/files/{sha256[0][:2]}/{sha256[0]}/{file[0]}.metadata", auth=token)).body
    derived = hashlib.sha256(metadata).hexdigest()
    orphan, young = keep(world, b"orphan"), keep(world, b"young orphan")
    age(world, 2 * DAY_SECONDS, *sha256, derived, orphan)
    assert await swept(world, dry_run=True) == {"blobs": 1, "blob_bytes": 6}
    assert await swept(world) == {"blobs": 1, "blob_bytes": 6}
    assert not blob_path(world, orphan).exists()
    assert blob_path(world, young).exists()
    # A deleted file's content goes with the metadata that was taken out of it.
    await delete(world, file[0])
    assert await swept(world) == {"blobs": 2, "blob_bytes": len(file[1]) + len(metadata)}
    assert [blob_path(world, each).exists() for each in (*sha256, derived)] == [False, True, False]
    assert not (await world.index.sweep()).anything


async def test_blobs_wait_while_somebody_holds_them(world: World) -> None:
    orphan = keep(world, b"orphan")
    age(world, 2 * DAY_SECONDS, orphan)
    with world.index.blobs.hold():
        assert await swept(world) == {"blobs_held": True}
    assert await swept(world) == {"blobs": 1, "blob_bytes": 6}


async def test_an_upload_whose_blob_is_there_and_whose_row_is_not(tmp_path: Path, signers: Any) -> None:
    """The blob was an old orphan, is kept again by the upload, and a sweep comes before the commit."""
    found: list[bool] = []

    def reached(step: Step) -> None:
        if step is Step.UPLOAD_RECORDED:
            # Inside of the upload's transaction: nobody else sees its row.
            (listed,) = [blob for part in world.index.blobs.every() for blob in part if blob.sha256 == sha256]
            before = world.clock.now() - rules.ORPHAN_SECONDS
            found.append(listed.modified_at < before)
            # What a sweep that had listed the old orphan would do now.
            assert world.index.blobs.remove([replace(listed, modified_at=0)], before) == []

    async with running_world(tmp_path, signers, reached=reached) as world:
        await world.registry("acme")
        token, file = await world.token(), wheel()
        sha256 = keep(world, file[1])
        world.clock.at = os.stat(blob_path(world, sha256)).st_mtime
        age(world, 9 * DAY_SECONDS, sha256)
        assert (await world.upload(token, file)).status == 200
        assert found == [False]
        path = f"/acme/files/{sha256[:2]}/{sha256}/{file[0]}"
        assert (await world.get(path, auth=token)).body == file[1]


async def test_credentials_tokens_and_replay_records(world: World) -> None:
    await world.publisher("widget")
    secret = await world.credential()
    await world.token(lifetime_seconds=60)
    kept = await world.token()
    # A day after its end a credential can still be explained.
    world.clock.advance(900 + DAY_SECONDS)
    assert await swept(world) == {"replays": 1}
    refused = await world.upload(secret, wheel())
    assert "expired" in refused.description
    world.clock.advance(2)
    assert await swept(world, dry_run=True) == {"credentials": 1}
    assert await swept(world) == {"credentials": 1}
    world.clock.advance(90 * DAY_SECONDS)
    # The publisher too: no id protects it, since the host-wide exchange learns none.
    assert await swept(world, dry_run=True) == {"tokens": 1, "publishers": 1}
    assert await swept(world) == {"tokens": 1, "publishers": 1}
    assert (await world.upload(kept, wheel())).status == 200


async def test_a_replay_record_is_kept_longer_than_its_token_is_taken(world: World) -> None:
    await world.publisher("widget")
    token = world.identity_token()
    assert (await world.mint(token)).status == 200
    ((until,),) = await _rows(world, "until")
    world.clock.at = until + rules.REPLAYS_KEPT_SECONDS
    assert await swept(world) == {}
    world.clock.advance(1)
    assert "replays" in await swept(world)
    assert (await world.mint(token)).code == "invalid-token"


async def _rows(world: World, column: str) -> list[tuple[int]]:
    with closing(sqlite3.connect(world.index.directory_path / "mintmark.db")) as connection:
        return connection.execute(f"SELECT {column} FROM replays").fetchall()


async def test_lapsed_pending_publishers_leave_a_trace(world: World) -> None:
    number = await world.publisher("widget")
    assert await swept(world) == {}
    world.clock.advance(400 * DAY_SECONDS - 1)
    assert await swept(world, dry_run=True) == {"publishers": 1}
    assert await swept(world) == {"publishers": 1}
    (event,) = await world.index.ledger.read(lambda tx: tx.audit.latest(None, 1))
    assert (event.principal, event.action, event.project) == (SYSTEM, "publisher-lapsed", "widget")
    assert event.facts["publisher"] == number


@pytest.mark.parametrize(("days", "left"), [(400, 1), (30, 1), (0, 6)])
async def test_old_audit_events(tmp_path: Path, signers: Any, days: int, left: int) -> None:
    async with running_world(tmp_path, signers, audit_keep_days=days) as world:
        now = int(world.clock.now())

        def work(tx: Transaction) -> None:
            for number in range(5):
                tx.audit.record(Event(now - days * DAY_SECONDS - 1, SYSTEM, f"old-{number}"))
            tx.audit.record(Event(now - days * DAY_SECONDS, SYSTEM, "kept"))

        await world.index.ledger.write(work)
        await world.index.sweep()
        assert len(await world.index.ledger.read(lambda tx: tx.audit.latest(None, 99))) == left


async def test_everything_goes_however_much_there_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "BATCH_ROWS", 2)
    monkeypatch.setattr(rules, "BATCH_EVENTS", 2)
    monkeypatch.setattr(rules, "BATCH_NAMES", 2)

    def work(tx: Transaction) -> None:
        for number in range(5):
            tx.replays.claim("https://issuer.example.com", str(number), 1)
            tx.audit.record(Event(1, SYSTEM, "old"))

    await world.index.ledger.write(work)
    for name in "abcde":
        world.index.pages.replace("gone", name, 1, {"json": b"{}"})
        os.utime(world.index.directory_path / f"pages/gone/simple/{name}/.changes", (1, 1))
    seen: list[str] = []
    found = await swept(world, progress=lambda what, _: seen.append(what))
    # The list page of the registry that is gone has a fresh mark or none: the next sweep takes its folder.
    assert {name: found[name] for name in ("replays", "pages")} == {"replays": 5, "pages": 5}
    assert {"replay records", "pages", "audit events"} <= set(seen)


async def test_pages_of_what_is_gone(world: World) -> None:
    token = await world.token()
    await world.upload(token, wheel())
    await world.get("/acme/simple/", auth=token)
    pages = world.index.pages
    for registry, project in (("acme", "nothing"), ("gone", "widget"), ("gone", "")):
        pages.replace(registry, project, 1, {"json": b"{}"})
    root = world.index.directory_path / "pages"
    world.clock.at = os.stat(root).st_mtime
    assert await swept(world, dry_run=True) == {"pages": 3}
    assert await swept(world) == {}
    world.clock.advance(DAY_SECONDS + 60)
    assert await swept(world) == {"pages": 3}
    assert sorted(pages.stored()) == [("acme", ""), ("acme", "widget")]
    (root / "acme/simple/widget/.index.json~").touch()
    world.clock.advance(2 * DAY_SECONDS)
    assert "leftovers" in await swept(world)
