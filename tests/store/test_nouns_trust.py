"""Learned ids, registry-wide publishers, readers and repeated exchanges in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from engines import NOW, OPEN, credential, issuer, maybe_publisher, opened, project, publisher, registry

from mintmark.core.records import FirstMint, Issuer, Registry
from mintmark.service.ports import Ledger, Transaction

T = TypeVar("T")
ISSUER = "https://gitlab.example.com"


@pytest.fixture(params=sorted(OPEN))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as store:
        yield store.open()


async def in_one(ledger: Ledger, work: Callable[[Transaction, Registry, Issuer], T]) -> T:
    """Run work in one transaction, with a registry and an issuer."""

    def whole(tx: Transaction) -> T:
        acme = registry(tx)
        return work(tx, acme, issuer(tx, acme))

    return await ledger.write(whole)


async def test_candidates_by_any_of_many_keys(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        found = [publisher(tx, gitlab, name) for name in ("one", "two")]
        for count in (1, 2, 3, 64, 200, 300, 600):
            keys = [f"key-{number}" for number in range(count - 1)]
            assert tx.publishers.candidates(gitlab.id, [*keys, "foo/bar"]) == found
            assert tx.publishers.candidates(gitlab.id, ["foo/bar", *keys, "foo/bar"]) == found
        assert tx.publishers.candidates(gitlab.id, []) == []
        assert tx.publishers.candidates(gitlab.id, ["foo/baz"]) == []

    await in_one(ledger, work)


async def test_a_reader_is_another_publisher(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        made = project(tx, acme)
        uploads, reads = publisher(tx, gitlab), publisher(tx, gitlab, reads=True)
        assert maybe_publisher(tx, gitlab, reads=True) is None
        # It waits for no project, and is no way to upload to it.
        assert tx.publishers.pending(acme.id, "widget") == [uploads]
        tx.publishers.reify(uploads.id, made.id)
        assert tx.publishers.pending(acme.id, "widget") == []
        assert [p.id for p in tx.publishers.live(acme.id, "widget", (uploads.id, reads.id))] == [uploads.id]
        assert [p.reads for p in tx.publishers.of_registry(acme.id)] == [False, True]

    await in_one(ledger, work)


async def test_learned_ids_are_kept_and_end_the_wait(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        first, second = publisher(tx, gitlab, "one"), publisher(tx, gitlab, "two", pins={"a/b": "ü"})
        tx.publishers.set_expiry((first.id, second.id), NOW + 5)
        tx.publishers.set_pins(first.id, {"id": "1", "owner": "2"})
        assert tx.publishers.of_registry(acme.id) == [
            replace(first, pins={"id": "1", "owner": "2"}),
            replace(second, expires_at=NOW + 5),
        ]
        assert [p.id for p in tx.publishers.lapsed(NOW + 5, 9)] == [second.id]

    await in_one(ledger, work)


async def test_whoever_nobody_used_lapses(ledger: Ledger) -> None:
    """Also one whose project exists, if it has a time at all."""

    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        attached = publisher(tx, gitlab)
        tx.publishers.reify(attached.id, project(tx, acme).id)
        assert tx.publishers.lapsed(NOW * 2, 9) == []
        tx.publishers.set_expiry((attached.id,), NOW)
        assert tx.publishers.lapsed(NOW - 1, 9) == []
        assert [p.id for p in tx.publishers.lapsed(NOW, 9)] == [attached.id]
        assert not tx.publishers.remove_lapsed(attached.id, NOW - 1)
        assert tx.publishers.remove_lapsed(attached.id, NOW)
        assert not tx.publishers.remove_lapsed(attached.id, NOW)

    await in_one(ledger, work)


@pytest.mark.parametrize("off", ["nothing", "issuer", "registry", "exchange", "project"])
async def test_attached_publishers_with_their_issuers(ledger: Ledger, off: str) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        made = project(tx, acme)
        named, wide = publisher(tx, gitlab), publisher(tx, gitlab, "acme-*")
        tx.publishers.reify(named.id, made.id)
        other = registry(tx, "other")
        foreign = publisher(tx, issuer(tx, other), "acme-*")
        if off == "issuer":
            tx.issuers.update(replace(gitlab, enabled=False))
        elif off == "registry":
            tx.registries.update(replace(acme, enabled=False))
        elif off == "exchange":
            tx.registries.update(replace(acme, trusted_publishing=False))
        elif off == "project":
            tx.projects.set_status(made.id, "archived", "")
        among = (wide.id, 999, named.id, foreign.id)
        found = tx.publishers.attached(acme.id, among, 9)
        expected = {"nothing": [named.id, wide.id], "project": [wide.id]}.get(off, [])
        assert [(each.id, of) for each, of in found] == [(number, gitlab) for number in expected]
        assert len(tx.publishers.attached(acme.id, among, 1)) == min(1, len(expected))
        assert tx.publishers.attached(acme.id, (), 9) == []

    await in_one(ledger, work)


async def test_many_attached_publishers(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        ids = [publisher(tx, gitlab, f"part-{number:03}-*").id for number in range(600)]
        assert [each.id for each, _ in tx.publishers.attached(acme.id, ids, 600)] == ids
        assert [each.id for each, _ in tx.publishers.attached(acme.id, ids[::-1], 3)] == ids[:3]

    await in_one(ledger, work)


async def test_credentials_keep_which_publishers_are_wide(ledger: Ledger) -> None:
    added = await ledger.write(lambda tx: tx.credentials.insert(credential(wide=(2,))))
    assert await ledger.read(lambda tx: tx.credentials.by_id(added.id)) == added
    assert await ledger.read(lambda tx: tx.credentials.by_id(added.id + 1)) is None


async def test_a_replay_record_remembers_its_first_exchange(ledger: Ledger) -> None:
    first = FirstMint("d" * 64, 1, (3, 4), 5)

    def work(tx: Transaction) -> None:
        assert tx.replays.claim(ISSUER, "jti", NOW)
        assert tx.replays.first(ISSUER, "jti") is None
        tx.replays.set_first(ISSUER, "jti", first)

    await ledger.write(work)
    assert await ledger.read(lambda tx: tx.replays.first(ISSUER, "jti")) == first
    assert await ledger.read(lambda tx: tx.replays.first(ISSUER + "/", "jti")) is None
    # It is still the record that lets nobody through.
    assert not await ledger.write(lambda tx: tx.replays.claim(ISSUER, "jti", NOW))
    assert await ledger.write(lambda tx: tx.replays.forget(NOW + 1, 9)) == 1
    assert await ledger.read(lambda tx: tx.replays.first(ISSUER, "jti")) is None


async def test_counting_repetitions_loses_none(ledger: Ledger) -> None:
    def begin(tx: Transaction) -> None:
        tx.replays.claim(ISSUER, "jti", NOW)
        tx.replays.set_first(ISSUER, "jti", FirstMint("d", 1, (), 0))

    def count(tx: Transaction) -> None:
        first = tx.replays.first(ISSUER, "jti")
        assert first is not None
        tx.replays.set_first(ISSUER, "jti", replace(first, repetitions=first.repetitions + 1))

    await ledger.write(begin)
    await asyncio.gather(*(ledger.write(count) for _ in range(50)))
    counted = await ledger.read(lambda tx: tx.replays.first(ISSUER, "jti"))
    assert counted is not None
    assert counted.repetitions == 50
