"""The ledger's file as a whole: copied while others write, and read without being opened for writing.

Owns copies for backups. Leaves where they are kept and the blobs that belong to them to `store.backup`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from mintmark.store.ledger.session import Statement

REVISION = Statement("SELECT version_num FROM alembic_version")
REFERENCES = Statement(
    "SELECT sha256, max(size_bytes) FROM files WHERE state IN ('staged', 'visible', 'yanked') "
    "GROUP BY sha256 ORDER BY sha256"
)
COUNTS = {
    "registries": Statement("SELECT count(*) FROM registries"),
    "publishers": Statement("SELECT count(*) FROM publishers"),
    "projects": Statement("SELECT count(*) FROM projects"),
    "files": Statement("SELECT count(*) FROM files"),
}
_ENGINE = "sqlite"


def copy(source: Path, target: Path) -> None:
    """Copy a ledger that others use, as it is at one moment, into a new private file, durably. Nobody waits for it."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(_connect(source, "rw")) as there, closing(_connect(target, "rw")) as here:
        there.execute("PRAGMA query_only = ON")
        # In one step: in several, a busy ledger would make it begin again and again.
        there.backup(here, pages=-1)
    settle(target)


def settle(path: Path) -> None:
    """Make a ledger that nobody uses one durable file, with no journal beside it."""
    with closing(_connect(path, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def revision(path: Path) -> str:
    """The schema of a copy."""
    with closing(_connect(path, "ro&immutable=1")) as connection:
        (text,) = connection.execute(REVISION.for_engine(_ENGINE)).fetchone()
        return str(text)


def counts(path: Path) -> Mapping[str, int]:
    """How many rows a copy has, for people."""
    with closing(_connect(path, "ro&immutable=1")) as connection:
        return {
            name: int(connection.execute(statement.for_engine(_ENGINE)).fetchone()[0])
            for name, statement in COUNTS.items()
        }


def references(path: Path) -> Iterator[tuple[str, int]]:
    """Digest and size of every blob that a copy needs, in the order of digests.

    Not a wheel's metadata: like pages, it is derived again when it is asked for.
    """
    with closing(_connect(path, "ro&immutable=1")) as connection:
        for sha256, size_bytes in connection.execute(REFERENCES.for_engine(_ENGINE)):
            yield str(sha256), int(size_bytes)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
