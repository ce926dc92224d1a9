"""Migrations: an empty database becomes what `schema` says, and a newer one is left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, text

from mintmark.core.errors import Misconfigured
from mintmark.store.ledger import migrate
from mintmark.store.ledger.schema import METADATA
from mintmark.store.ledger.sqlite import open_ledger


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(URL.create("sqlite", database=str(tmp_path / "mintmark.db")))
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def normal_sql(connection: Connection) -> dict[str, str]:
    """What SQLite keeps of the schema, without the differences of white space."""
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {
        name: " ".join(sorted(part.strip() for part in sql.replace("\n", " ").split(",")))
        for name, sql in rows
        if name != "alembic_version"
    }


def test_an_empty_database_becomes_the_schema(connection: Connection) -> None:
    migrate.upgrade(connection)
    assert migrate.current(connection) == migrate.HEAD
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, METADATA) == []


def test_migrated_and_created_are_the_same(connection: Connection) -> None:
    """Also in what Alembic does not compare: AUTOINCREMENT, checks, defaults."""
    migrate.upgrade(connection)
    migrated = normal_sql(connection)
    engine = create_engine("sqlite://")
    with engine.connect() as other:
        METADATA.create_all(other)
        created = normal_sql(other)
    engine.dispose()
    assert migrated.keys() == created.keys()
    for name, sql in created.items():
        for word in ("AUTOINCREMENT", "CHECK", "UNIQUE", "FOREIGN KEY", "NOT NULL", "DEFAULT"):
            assert migrated[name].count(word) == sql.count(word), (name, word)


def test_head_is_the_newest_script(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "mintmark.store.ledger:migrations")
    scripts = ScriptDirectory.from_config(config)
    # One line of history: with two heads it would depend on their order what a database becomes.
    assert scripts.get_heads() == [migrate.HEAD]


def test_migrating_again_changes_nothing(connection: Connection) -> None:
    migrate.upgrade(connection)
    connection.execute(text("UPDATE counters SET value = 42"))
    before = normal_sql(connection)
    migrate.upgrade(connection)
    assert normal_sql(connection) == before
    assert connection.execute(text("SELECT value FROM counters")).scalar_one() == 42


async def test_a_ledger_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "mintmark.db"
    await open_ledger(place).close()
    newer = sqlite3.connect(place)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.commit()
    newer.close()
    before = place.read_bytes()
    with pytest.raises(Misconfigured, match="newer release") as refused:
        open_ledger(place)
    assert "9999" in refused.value.problem
    assert refused.value.cure
    assert place.read_bytes() == before


async def test_a_failed_migration_leaves_an_empty_database(tmp_path: Path) -> None:
    place = tmp_path / "mintmark.db"
    foreign = sqlite3.connect(place)
    # In the way of the last table that the first migration makes.
    foreign.execute("CREATE TABLE files (x)")
    foreign.close()
    with pytest.raises(Misconfigured, match="cannot be opened"):
        open_ledger(place)
    after = sqlite3.connect(place)
    tables = {name for (name,) in after.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    after.close()
    assert tables == {"files"}
