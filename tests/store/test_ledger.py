"""Conformance: what `service.ports.Ledger` guarantees, for every engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from engines import NOW, OPEN, Store, credential, issuer, opened, project, publisher, registry, wheel_of

from mintmark.core.errors import Misconfigured, Rejected, Unavailable
from mintmark.core.records import OPERATOR, Event, Registry
from mintmark.service.ports import Ledger, Transaction


@pytest.fixture(params=sorted(OPEN))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    return store.open()


async def slugs(ledger: Ledger) -> list[str]:
    return [each.slug for each in await ledger.read(lambda tx: tx.registries.every())]


# -- write ------------------------------------------------------------------------------------------------------------


async def test_what_was_written_is_read_by_everybody(store: Store, ledger: Ledger) -> None:
    other = store.open()
    added = await ledger.write(registry)
    assert added.id > 0
    for each in (ledger, other):
        assert await each.read(lambda tx: tx.registries.find("acme")) == added
        assert await each.glance(lambda tx: tx.registries.find("acme")) == added


async def test_an_exception_undoes_the_work_and_is_raised(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        registry(tx)
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        await ledger.write(work)
    assert await slugs(ledger) == []


async def test_an_exception_undoes_nothing_of_others_in_the_same_commit(ledger: Ledger) -> None:
    def broken(tx: Transaction) -> None:
        registry(tx, "broken")
        raise Rejected("not-found", "No.")

    works = [broken if number % 3 == 0 else partial(registry, slug=f"r{number}") for number in range(30)]
    # Begun together: they share commits.
    outcomes = await asyncio.gather(*(ledger.write(work) for work in works), return_exceptions=True)
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [number % 3 == 0 for number in range(30)]
    assert sorted(await slugs(ledger)) == sorted(f"r{number}" for number in range(30) if number % 3)


async def test_a_broken_rule_of_the_schema_is_undone_alone(ledger: Ledger) -> None:
    await ledger.write(registry)
    outcomes = await asyncio.gather(
        ledger.write(registry),
        ledger.write(lambda tx: registry(tx, "zeta")),
        # Also a reference to nothing.
        ledger.write(lambda tx: tx.projects.insert(12345, "widget", "widget", NOW)),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["IntegrityError", "Registry", "IntegrityError"]
    assert await slugs(ledger) == ["acme", "zeta"]


async def test_works_see_what_those_before_them_did(ledger: Ledger) -> None:
    await ledger.write(registry)

    def count(tx: Transaction) -> int:
        (each,) = tx.registries.every()
        tx.registries.update(replace(each, credential_lifetime_seconds=each.credential_lifetime_seconds + 1))
        return each.credential_lifetime_seconds

    seen = await asyncio.gather(*(ledger.write(count) for _ in range(100)))
    assert list(seen) == list(range(900, 1000))


async def test_writers_of_two_instances_are_serialised(store: Store, ledger: Ledger) -> None:
    other = store.open()
    await ledger.write(registry)

    def count(tx: Transaction) -> int:
        (each,) = tx.registries.every()
        tx.registries.update(replace(each, credential_lifetime_seconds=each.credential_lifetime_seconds + 1))
        return each.credential_lifetime_seconds

    seen = await asyncio.gather(*((other if number % 2 else ledger).write(count) for number in range(60)))
    assert sorted(seen) == list(range(900, 960))


async def test_a_cancelled_caller_undoes_nothing_and_disturbs_nobody(ledger: Ledger) -> None:
    names = ("cancelled", "waiting", "patient")
    tasks = [asyncio.create_task(ledger.write(partial(registry, slug=name))) for name in names]
    # All are queued, and the first group is on its way.
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    assert (await tasks[2]).slug == "patient"
    outcomes = await asyncio.gather(*tasks[:2], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError]
    assert await slugs(ledger) == sorted(names)


async def test_closing_finishes_what_is_pending(store: Store) -> None:
    ledger = store.open()
    writing = [asyncio.create_task(ledger.write(partial(registry, slug=f"r{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await ledger.close()
    assert all(task.done() and task.exception() is None for task in writing)
    assert len(await slugs(store.open())) == 100
    store._opened.remove(ledger)


# -- read and glance --------------------------------------------------------------------------------------------------


async def test_a_read_sees_one_snapshot(ledger: Ledger) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work(tx: Transaction) -> tuple[int, int]:
        before = len(tx.registries.every())
        began.set()
        assert go_on.wait(10)
        return before, len(tx.registries.every())

    reading = asyncio.create_task(ledger.read(work))
    assert await asyncio.to_thread(began.wait, 10)
    # A reader keeps no writer waiting.
    await ledger.write(registry)
    go_on.set()
    assert await reading == (0, 0)
    assert await slugs(ledger) == ["acme"]


async def test_each_look_up_of_a_glance_is_a_snapshot_of_its_own(store: Store, ledger: Ledger) -> None:
    def work(tx: Transaction) -> tuple[int, int]:
        before = len(tx.registries.every())
        store.elsewhere("trust", "acme")
        return before, len(tx.registries.every())

    assert await ledger.glance(work) == (0, 1)


async def test_nothing_uncommitted_is_seen(store: Store, ledger: Ledger) -> None:
    other = store.open()
    seen: list[list[str]] = []

    def work(tx: Transaction) -> None:
        registry(tx)
        # Somebody else looks meanwhile.
        looking = threading.Thread(target=lambda: seen.append(asyncio.run(slugs(other))))
        looking.start()
        looking.join(10)

    await ledger.write(work)
    assert seen == [[]]
    assert await slugs(ledger) == await slugs(other) == ["acme"]


async def test_reading_cannot_write(ledger: Ledger) -> None:
    for method in (ledger.read, ledger.glance):
        with pytest.raises(Unavailable):
            await method(registry)
    assert await slugs(ledger) == []
    # And nothing is left behind that would keep the next one from it.
    await ledger.write(registry)


async def test_an_exception_of_a_reader_is_raised(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        raise LookupError("enough")

    for method in (ledger.read, ledger.glance):
        with pytest.raises(LookupError, match="enough"):
            await method(work)


async def test_other_processes_see_a_commit_and_are_seen_at_once(store: Store, ledger: Ledger) -> None:
    await ledger.write(registry)
    assert store.elsewhere("names") == "acme\n"
    store.elsewhere("trust", "zeta")
    assert await ledger.glance(lambda tx: tx.registries.find("zeta")) is not None
    assert await slugs(ledger) == ["acme", "zeta"]


# -- trust version ----------------------------------------------------------------------------------------------------


async def test_every_change_of_registries_and_issuers_changes_the_trust_version(store: Store, ledger: Ledger) -> None:
    other = store.open()
    seen = {(ledger.trust_version(), other.trust_version())}

    async def changed(work: object) -> None:
        await ledger.write(work)  # type: ignore[arg-type]
        version = ledger.trust_version()
        assert other.trust_version() == version
        assert (version, version) not in seen
        seen.add((version, version))

    acme = await ledger.write(registry)
    seen.add((ledger.trust_version(), other.trust_version()))
    await changed(lambda tx: tx.registries.update(replace(acme, enabled=False)))
    gitlab = await ledger.write(lambda tx: issuer(tx, acme))
    assert ledger.trust_version() not in {version for version, _ in seen}
    await changed(lambda tx: tx.issuers.update(replace(gitlab, keys_epoch=1)))
    await changed(lambda tx: tx.issuers.remove(gitlab.id))
    await changed(lambda tx: tx.registries.remove(acme.id))


async def test_other_processes_change_the_trust_version(store: Store, ledger: Ledger) -> None:
    before = ledger.trust_version()
    store.elsewhere("names")
    # The next turn of the loop, as for every request.
    await asyncio.sleep(0)
    assert ledger.trust_version() == before
    store.elsewhere("trust", "acme")
    await asyncio.sleep(0)
    assert ledger.trust_version() != before


async def test_daily_business_leaves_the_trust_version_alone(store: Store, ledger: Ledger) -> None:
    def prepare(tx: Transaction) -> Registry:
        acme = registry(tx)
        issuer(tx, acme)
        return acme

    acme = await ledger.write(prepare)
    before = ledger.trust_version()

    def business(tx: Transaction) -> None:
        (gitlab,) = tx.issuers.every()
        minted = publisher(tx, gitlab)
        widget = project(tx, acme)
        tx.publishers.reify(minted.id, widget.id)
        tx.publishers.touch((minted.id,), NOW)
        assert tx.replays.claim(gitlab.url, "jti", NOW)
        tx.credentials.end(tx.credentials.insert(credential(registry_id=acme.id)).id, NOW)
        tx.files.insert(wheel_of(widget), uploaded_by="somebody", publisher_id=minted.id)
        tx.projects.mark_rendered(widget.id, tx.projects.mark_changed(widget.id))
        tx.projects.mark_list_changed(acme.id)
        tx.audit.record(Event(NOW, OPERATOR, "test", acme.id))
        tx.publishers.remove(minted.id)

    await store.open().write(business)
    assert ledger.trust_version() == before


async def test_an_undone_change_leaves_the_trust_version_alone(ledger: Ledger) -> None:
    before = ledger.trust_version()

    def work(tx: Transaction) -> None:
        registry(tx)
        raise LookupError

    with pytest.raises(LookupError):
        await ledger.write(work)
    await ledger.write(lambda tx: tx.audit.record(Event(NOW, OPERATOR, "test")))
    assert ledger.trust_version() == before


# -- opening ----------------------------------------------------------------------------------------------------------


async def test_what_is_no_ledger_is_refused(store: Store) -> None:
    if store.engine != "sqlite":
        pytest.skip("a file that is no database")
    with open(store.place, "wb") as file:
        file.write(b"no database at all " * 1000)
    with pytest.raises(Misconfigured, match="data_dir"):
        store.open()
