"""The ledger on SQLite: one file in the data directory, no other service.

Owns connections, transactions and durability (WAL, `synchronous=FULL`). Leaves statements to the nouns and the
schema to `migrate`. One connection writes: its statements run on the event loop's thread, its waiting in a thread of
its own. A few read, in threads; one more on the event loop's thread serves glances, whose look-ups take microseconds
and never wait for a writer in WAL mode.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from mintmark.core.errors import Misconfigured, Rejected, Unavailable
from mintmark.service.grouping import Group, Outcome
from mintmark.service.ports import Transaction
from mintmark.store.ledger import migrate
from mintmark.store.ledger.nouns import SqlTransaction
from mintmark.store.ledger.session import Session

T = TypeVar("T")
Work = Callable[[Transaction], Any]
# How long a writer waits for another process, for example the command line beside a server.
BUSY_TIMEOUT_MILLISECONDS = 10_000
READERS = 2
CACHE_KIBIBYTES = 16 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# SQLite says FULL for ENOSPC only; a quota, a size limit and a full network disk come as failures to write.
_SQLITE_FULL = frozenset(
    {
        "SQLITE_FULL",
        "SQLITE_IOERR_WRITE",
        "SQLITE_IOERR_FSYNC",
        "SQLITE_IOERR_DIR_FSYNC",
        "SQLITE_IOERR_TRUNCATE",
        "SQLITE_IOERR_SHMSIZE",
    }
)


def _engine(path: Path, begin: str, *, query_only: bool) -> Engine:
    # Not a URL's text, in which a `?` or `%` of the path would mean something.
    url = URL.create("sqlite", database=str(path))
    # Readers are kept open: opening one costs more than most reads.
    engine = (
        create_engine(url, poolclass=QueuePool, pool_size=READERS + 1, max_overflow=0, pool_reset_on_return="rollback")
        if query_only
        # Used by two threads in turn, never at once.
        else create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions by itself: `begin` below does.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
            "journal_mode = WAL",
            # Invariant: an acknowledged commit survives a power failure. NORMAL would lose the last ones in WAL mode.
            "synchronous = FULL",
            "foreign_keys = ON",
            # With a hundred thousand publishers the default of 2 MB would read the same pages again and again.
            f"cache_size = -{CACHE_KIBIBYTES}",
            f"query_only = {'ON' if query_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def translate(error: BaseException) -> BaseException:
    """Storage trouble as one of our errors; anything else unchanged."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        if name in _SQLITE_FULL:
            return Rejected(
                "storage-full", "The ledger has no space left; nothing was changed.", private=f"sqlite: {name}"
            )
        if isinstance(cause, sqlite3.OperationalError):
            return Unavailable("The ledger cannot be used right now.", private=f"sqlite: {name}: {cause}")
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return Rejected("storage-full", "There is no space left; nothing was changed.", private=str(cause.strerror))
    return error


class _WorkFailed(Exception):
    """A piece of work raised; what it raised is its caller's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class SqliteLedger:
    """See `service.ports.Ledger`. Open it with `open_ledger`."""

    def __init__(self, path: Path) -> None:
        self._writing_engine = _engine(path, "BEGIN IMMEDIATE", query_only=False)
        self._reading_engine = _engine(path, "BEGIN", query_only=True)
        self._writer: Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")
        # Whoever waits while a commit is on its way to the disk shares the next one.
        self._group: Group[Work] = Group(self._commit)
        # Outside of any transaction, so that each look-up sees the newest commit.
        self._glance_connection = self._reading_engine.raw_connection()
        driver = self._glance_connection.driver_connection
        assert driver is not None
        self._glance_driver: sqlite3.Connection = driver
        self._glancing = SqlTransaction(Session(driver, "sqlite"))
        self._data_version = -1
        self._version = -1
        self._version_holds = False
        self._trust_version = -1

    # -- service.ports.Ledger ---------------------------------------------------------------------------------------

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, work)

    async def glance(self, work: Callable[[Transaction], T]) -> T:
        try:
            return work(self._glancing)
        except sqlite3.Error as error:
            raise translate(error) from error

    async def write(self, work: Callable[[Transaction], T]) -> T:
        done: T = await self._group.run(work)
        return done

    def version(self) -> int:
        if not self._version_holds:
            # It changes on this connection whenever another one commits, in this process or elsewhere.
            (version,) = self._glance_driver.execute("PRAGMA data_version").fetchone()
            self._version = int(version)
            # Once a turn of the event loop is enough: what a turn works on had arrived before it began, so a commit
            # that anybody could know of when asking was made before this was read.
            self._version_holds = True
            asyncio.get_running_loop().call_soon(self._forget_version)
        return self._version

    def _forget_version(self) -> None:
        self._version_holds = False

    def trust_version(self) -> int:
        version = self.version()
        # Only after a commit can the counter be another one.
        if version != self._data_version:
            (self._trust_version,) = self._glance_driver.execute(
                "SELECT value FROM counters WHERE name = 'trust'"
            ).fetchone()
            self._data_version = version
        return self._trust_version

    async def close(self) -> None:
        await self._group.finish()
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._close_writer)
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self._glance_connection.close()
        self._writing_engine.dispose()
        self._reading_engine.dispose()

    # -- transactions -----------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            with self._reading_engine.connect() as connection, connection.begin():
                return work(SqlTransaction(_session(connection)))
        except (DBAPIError, sqlite3.Error) as error:
            raise translate(error) from error

    async def _commit(self, works: Sequence[Work]) -> Sequence[Outcome]:
        try:
            try:
                return await self._transact(works, self._plain)
            except _WorkFailed as failed:
                if len(works) == 1:
                    return [Outcome(error=translate(failed.error))]
            # One of several failed, and nothing of the group was kept: once more, each to be undone by itself. A
            # savepoint costs as much as two statements, so only groups with a failure pay for it.
            return await self._transact(works, self._guarded)
        except (DBAPIError, sqlite3.Error) as error:
            # After a failed commit the connection's state is not worth guessing.
            await self._in_writer(self._close_writer)
            raise translate(error) from error

    async def _transact(
        self, works: Sequence[Work], run: Callable[[Work, SqlTransaction], Outcome]
    ) -> Sequence[Outcome]:
        """One transaction. What may wait (for another process's lock, for the disk) waits in the writer's thread; the
        statements, microseconds each, run on the event loop's, where no other Python thread is in their way.
        """
        begun = self._begin_now()
        transaction, sql = begun if begun is not None else await self._in_writer(self._begin)
        try:
            outcomes = [run(work, sql) for work in works]
        except BaseException:
            await self._in_writer(transaction.close)
            raise
        await self._in_writer(transaction.commit)
        return outcomes

    async def _in_writer(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, action)

    def _begin_now(self) -> tuple[RootTransaction, SqlTransaction] | None:
        """Begin if no other process is writing at this moment, as is nearly always the case."""
        if self._writer is None:
            return None
        driver = _driver(self._writer)
        driver.execute("PRAGMA busy_timeout = 0")
        try:
            return self._writer.begin(), SqlTransaction(_session(self._writer))
        except DBAPIError as error:
            # Its variants as well, such as another process that recovers the journal after a crash.
            if not getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
            return None
        finally:
            driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")

    def _begin(self) -> tuple[RootTransaction, SqlTransaction]:
        if self._writer is None:
            self._writer = self._writing_engine.connect()
        return self._writer.begin(), SqlTransaction(_session(self._writer))

    def _plain(self, work: Work, transaction: SqlTransaction) -> Outcome:
        try:
            outcome = Outcome(value=work(transaction))
        except Exception as error:
            if not _driver(self._writer).in_transaction:
                raise
            raise _WorkFailed(error) from error
        if not _driver(self._writer).in_transaction:
            # The work hid an error after which SQLite rolled everything back.
            raise sqlite3.OperationalError("the transaction ended early")
        return outcome

    def _guarded(self, work: Work, transaction: SqlTransaction) -> Outcome:
        driver = _driver(self._writer)
        driver.execute("SAVEPOINT work")
        try:
            outcome = Outcome(value=work(transaction))
        except Exception as error:
            if not driver.in_transaction:
                # SQLite itself rolled everything back (disk full, I/O error): the whole group failed.
                raise
            driver.execute("ROLLBACK TO work")
            outcome = Outcome(error=translate(error))
        driver.execute("RELEASE work")
        return outcome

    def _close_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def _driver(connection: Connection | None) -> sqlite3.Connection:
    assert connection is not None
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _session(connection: Connection) -> Session:
    return Session(_driver(connection), "sqlite")


def open_ledger(path: Path) -> SqliteLedger:
    """Create or migrate the ledger's file, then open it. Raises `Misconfigured`."""
    try:
        _migrate(path)
        return SqliteLedger(path)
    except (DBAPIError, sqlite3.Error) as error:
        raise Misconfigured(
            "data_dir", f"The ledger {path.name} cannot be opened: {error}.", "Restore a backup."
        ) from error
    except OSError as error:
        raise Misconfigured(
            "data_dir",
            f"The ledger {path.name} cannot be opened: {error.strerror}.",
            "Run as the user it belongs to, on a disk with free space.",
        ) from error


def _migrate(path: Path) -> None:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Two commands on a new directory: one migrates, the other waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The file is made first, so that it is private from its first byte; SQLite gives its journals the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        engine = _engine(path, "BEGIN IMMEDIATE", query_only=False)
        with engine.connect() as connection, connection.begin():
            migrate.upgrade(connection)
        engine.dispose()
    finally:
        os.close(lock)
