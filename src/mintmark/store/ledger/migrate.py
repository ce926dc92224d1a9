"""Bringing a database to the schema of this release.

Owns when migrations run and what is refused. The migrations themselves are in `migrations/versions`; Alembic is
imported only when one has to run, so that starting a server on a current database does not pay for it.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from mintmark.core.errors import Misconfigured

# The newest migration. A test compares it with the scripts.
HEAD = "0003"


def current(connection: Connection) -> str | None:
    """The revision a database is at, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(connection: Connection) -> None:
    """Migrate to `HEAD`. The caller holds a lock that keeps other processes out.

    Raises `Misconfigured` for a database of a newer release: its meaning is unknown here.
    """
    revision = current(connection)
    if revision == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "mintmark.store.ledger:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise Misconfigured(
            "data_dir",
            f"The ledger was written by a newer release of Mintmark (schema {revision}).",
            "Install that release again, or restore a backup of the older one.",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
