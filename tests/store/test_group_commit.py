"""Many writers, few commits, and what becomes of them when SQLite or the disk fails."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engines import registry
from sqlalchemy import event

from mintmark.core.errors import Rejected, Unavailable
from mintmark.service.grouping import GROUP_MAX, Group, Outcome
from mintmark.service.ports import Transaction
from mintmark.store.ledger import sqlite as sqlite_ledger
from mintmark.store.ledger.nouns import SqlTransaction
from mintmark.store.ledger.session import Statement
from mintmark.store.ledger.sqlite import SqliteLedger, Work, open_ledger, translate


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = open_ledger(tmp_path / "mintmark.db")
    yield ledger
    await ledger.close()


def pragma(tx: Transaction, text: str) -> object:
    assert isinstance(tx, SqlTransaction)
    row = tx.session.row(Statement(f"PRAGMA {text}"))
    return row[0] if row else None


async def slugs(ledger: SqliteLedger) -> list[str]:
    return [each.slug for each in await ledger.read(lambda tx: tx.registries.every())]


# -- grouping ---------------------------------------------------------------------------------------------------------


class Engine:
    """Commits by running the works; the first commit waits until it is told to go on."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.began, self.go_on = threading.Event(), threading.Event()
        self.trouble: Exception | None = None

    def commit(self, works: Sequence[Work]) -> Sequence[Outcome]:
        self.groups.append(len(works))
        self.began.set()
        assert self.go_on.wait(10)
        if self.trouble is not None:
            raise self.trouble
        nothing: Any = None
        return [Outcome(value=work(nothing)) for work in works]


async def in_thread(executor: Executor, engine: Engine, works: Sequence[Work]) -> Sequence[Outcome]:
    return await asyncio.get_running_loop().run_in_executor(executor, engine.commit, works)


def answer(number: int, _: Transaction) -> int:
    return number


async def test_whoever_waits_for_a_commit_shares_the_next_one() -> None:
    engine = Engine()
    with ThreadPoolExecutor(1) as executor:
        group: Group[Work] = Group(lambda works: in_thread(executor, engine, works))
        first = asyncio.create_task(group.run(lambda _: "first"))
        assert await asyncio.to_thread(engine.began.wait, 10)
        others = [asyncio.create_task(group.run(partial(answer, number))) for number in range(GROUP_MAX + 6)]
        await asyncio.sleep(0)
        engine.go_on.set()
        assert await first == "first"
        # Each gets the answer to its own work.
        assert await asyncio.gather(*others) == list(range(GROUP_MAX + 6))
        await group.finish()
    assert engine.groups == [1, GROUP_MAX, 6]


async def test_a_failed_commit_is_everybodys_and_the_next_one_works() -> None:
    engine = Engine()
    engine.trouble = LookupError("no disk")
    engine.go_on.set()
    with ThreadPoolExecutor(1) as executor:
        group: Group[Work] = Group(lambda works: in_thread(executor, engine, works))
        outcomes = await asyncio.gather(*(group.run(lambda _: 1) for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no disk"] * 3
        engine.trouble = None
        assert await group.run(lambda _: 2) == 2


async def test_an_exception_that_no_future_takes_leaves_nobody_waiting(sqlite: SqliteLedger) -> None:
    def odd(_: Transaction) -> None:
        next(iter(()))

    outcomes = await asyncio.wait_for(
        asyncio.gather(sqlite.write(odd), sqlite.write(registry), return_exceptions=True), 10
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["RuntimeError", "Registry"]


async def test_many_writers_make_few_commits(sqlite: SqliteLedger) -> None:
    commits: list[object] = []
    event.listen(sqlite._writing_engine, "commit", commits.append)
    await asyncio.gather(*(sqlite.write(partial(registry, slug=f"r{number}")) for number in range(3 * GROUP_MAX)))
    assert len(commits) == 3
    assert len(await slugs(sqlite)) == 3 * GROUP_MAX


def _add(tx: Transaction, slug: str) -> None:
    registry(tx, slug)


# -- durability -------------------------------------------------------------------------------------------------------


async def test_a_commit_survives_a_power_failure(sqlite: SqliteLedger) -> None:
    def work(tx: Transaction) -> tuple[object, ...]:
        return tuple(pragma(tx, name) for name in ("journal_mode", "synchronous", "foreign_keys", "query_only"))

    assert await sqlite.write(work) == ("wal", 2, 1, 0)
    assert await sqlite.read(work) == ("wal", 2, 1, 1)
    assert await sqlite.glance(work) == ("wal", 2, 1, 1)


# -- trouble ----------------------------------------------------------------------------------------------------------


async def test_when_sqlite_undid_everything_nobody_is_told_otherwise(sqlite: SqliteLedger) -> None:
    """A full disk or an I/O error may end the whole transaction, the works of others in it included."""
    await sqlite.write(registry)

    def ends_all(tx: Transaction) -> None:
        assert isinstance(tx, SqlTransaction)
        tx.session.run(Statement("UPDATE OR ROLLBACK registries SET audience = 'audience_acme'"))

    outcomes = await asyncio.gather(
        sqlite.write(lambda tx: _add(tx, "before")),
        sqlite.write(ends_all),
        sqlite.write(lambda tx: _add(tx, "after")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, sqlite3.IntegrityError) for outcome in outcomes] == [True] * 3
    assert await slugs(sqlite) == ["acme"]
    await sqlite.write(lambda tx: _add(tx, "later"))
    assert await slugs(sqlite) == ["acme", "later"]


async def test_who_swallows_such_an_error_cannot_commit_half(sqlite: SqliteLedger) -> None:
    await sqlite.write(registry)

    def swallows(tx: Transaction) -> None:
        assert isinstance(tx, SqlTransaction)
        _add(tx, "half")
        with pytest.raises(sqlite3.IntegrityError):
            tx.session.run(Statement("UPDATE OR ROLLBACK registries SET audience = 'audience_acme'"))
        _add(tx, "other-half")

    with pytest.raises(Unavailable):
        await sqlite.write(swallows)
    assert "half" not in await slugs(sqlite)
    await sqlite.write(lambda tx: _add(tx, "later"))
    assert "later" in await slugs(sqlite)


async def test_a_full_ledger_refuses_and_heals(sqlite: SqliteLedger) -> None:
    await sqlite.write(registry)
    pages = await sqlite.write(lambda tx: pragma(tx, "page_count"))
    await sqlite.write(lambda tx: pragma(tx, f"max_page_count = {pages}"))

    def large(tx: Transaction) -> None:
        for number in range(200):
            registry(tx, f"large-{number}", title="x" * 1000)

    for _ in range(2):
        with pytest.raises(Rejected) as refused:
            await sqlite.write(large)
        assert (refused.value.code.name, refused.value.code.status) == ("storage-full", 507)
        assert refused.value.sentence == "The ledger has no space left; nothing was changed."
    assert await slugs(sqlite) == ["acme"]
    # What needs no new page still goes, and with space everything does, on the same connection or a new one.
    await sqlite.write(lambda tx: pragma(tx, "max_page_count = 100000"))
    await sqlite.write(large)
    assert len(await slugs(sqlite)) == 201


async def test_a_full_ledger_refuses_one_and_takes_the_others(sqlite: SqliteLedger) -> None:
    await sqlite.write(registry)
    pages = await sqlite.write(lambda tx: pragma(tx, "page_count"))
    await sqlite.write(lambda tx: pragma(tx, f"max_page_count = {pages}"))

    def large(tx: Transaction) -> None:
        for number in range(200):
            registry(tx, f"large-{number}", title="x" * 1000)

    outcomes = await asyncio.gather(
        sqlite.write(lambda tx: tx.registries.find("acme")), sqlite.write(large), return_exceptions=True
    )
    # Either SQLite undid the large one alone, or all: never is one told that it was kept when it was not.
    assert isinstance(outcomes[1], Rejected)
    assert await slugs(sqlite) == ["acme"]


async def test_a_ledger_that_cannot_be_opened_is_unavailable_until_it_can(tmp_path: Path) -> None:
    place, away = tmp_path / "mintmark.db", tmp_path / "away.db"
    ledger = open_ledger(place)
    try:
        # The writing connection is opened by the first write.
        place.rename(away)
        place.mkdir()
        with pytest.raises(Unavailable):
            await ledger.write(registry)
        with pytest.raises(Unavailable):
            await ledger.read(lambda tx: tx.registries.every())
        place.rmdir()
        away.rename(place)
        await ledger.write(registry)
        assert await slugs(ledger) == ["acme"]
    finally:
        await ledger.close()


async def test_a_writer_elsewhere_holds_up_writers_but_not_the_loop(tmp_path: Path, sqlite: SqliteLedger) -> None:
    await sqlite.write(registry)
    other = sqlite3.connect(tmp_path / "mintmark.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(sqlite.write(lambda tx: _add(tx, "later")))
        # The loop turns, and readers are served, while the writer waits.
        for _ in range(20):
            assert await slugs(sqlite) == ["acme"]
        assert not writing.done()
        other.execute("ROLLBACK")
        await writing
        assert await slugs(sqlite) == ["acme", "later"]
    finally:
        other.close()


async def test_a_writer_elsewhere_that_does_not_end_is_unavailable(
    tmp_path: Path, sqlite: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_ledger, "BUSY_TIMEOUT_MILLISECONDS", 1)
    other = sqlite3.connect(tmp_path / "mintmark.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as refused:
            await sqlite.write(registry)
        assert "SQLITE_BUSY" in refused.value.private
        other.execute("ROLLBACK")
        await sqlite.write(registry)
    finally:
        other.close()
    assert await slugs(sqlite) == ["acme"]


def _sqlite_error(kind: type[sqlite3.Error], name: str) -> sqlite3.Error:
    error = kind("text")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_sqlite_error(sqlite3.OperationalError, "SQLITE_FULL"), Rejected),
        (_sqlite_error(sqlite3.OperationalError, "SQLITE_IOERR_WRITE"), Rejected),
        (_sqlite_error(sqlite3.OperationalError, "SQLITE_IOERR_SHMSIZE"), Rejected),
        # A disk that cannot be read is not full.
        (_sqlite_error(sqlite3.OperationalError, "SQLITE_IOERR_READ"), Unavailable),
        (_sqlite_error(sqlite3.OperationalError, "SQLITE_BUSY"), Unavailable),
        (_sqlite_error(sqlite3.IntegrityError, "SQLITE_CONSTRAINT_UNIQUE"), sqlite3.IntegrityError),
        (OSError(errno.ENOSPC, "full"), Rejected),
        (OSError(errno.EDQUOT, "quota"), Rejected),
        (OSError(errno.EIO, "broken"), OSError),
        (LookupError("a bug"), LookupError),
    ],
    ids=str,
)
def test_trouble_in_our_words(error: Exception, expected: type[Exception]) -> None:
    assert type(translate(error)) is expected


async def test_a_path_means_itself(tmp_path: Path) -> None:
    odd = tmp_path / "a?b=c%20#d"
    odd.mkdir()
    ledger = open_ledger(odd / "mintmark.db")
    await ledger.write(registry)
    await ledger.close()
    assert {path.name for path in tmp_path.iterdir()} == {odd.name}
    assert {path.name for path in odd.iterdir()} == {"mintmark.db", "mintmark.lock"}
