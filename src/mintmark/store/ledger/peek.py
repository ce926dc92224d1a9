"""The schema of a ledger that nobody opened.

Owns reading it without creating, migrating or changing anything. Leaves opening to `store.ledger.sqlite`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

REVISION = "SELECT version_num FROM alembic_version"


def revision(path: Path) -> str:
    """The migration that a ledger's file is at, "" when it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            row = connection.execute(REVISION).fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""
