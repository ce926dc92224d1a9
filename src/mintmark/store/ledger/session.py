"""Running statements inside a transaction that SQLAlchemy owns.

Owns the way from SQL text to rows. SQLAlchemy compiles each statement once into the parameter style of the engine;
it then runs on the driver's connection, since Core's execution costs more than a whole identity token's verification
(ADR 0003). The SQL is the subset that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

Row = tuple[Any, ...]
_ENCODER = msgspec.json.Encoder(order="sorted")

# sqlite3 takes `:name`, psycopg takes `%(name)s`; both take a mapping.
_DIALECTS: Mapping[str, Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="pyformat"),  # type: ignore[no-untyped-call]
}


class Statement:
    """One SQL statement with `:named` parameters."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled: dict[str, str] = {}

    def for_engine(self, engine: str) -> str:
        """The text for an engine: `sqlite` or `postgresql`."""
        compiled = self._compiled.get(engine)
        if compiled is None:
            compiled = str(text(self.source).compile(dialect=_DIALECTS[engine]))
            self._compiled[engine] = compiled
        return compiled


class Session:
    """A driver connection inside a transaction (or, for glances, outside of one)."""

    __slots__ = ("_connection", "_engine")

    def __init__(self, connection: Any, engine: str) -> None:
        self._connection = connection
        self._engine = engine

    def rows(self, statement: Statement, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Every row. Also for statements with RETURNING."""
        result: list[Row] = self._connection.execute(statement.for_engine(self._engine), parameters or {}).fetchall()
        return result

    def row(self, statement: Statement, parameters: Mapping[str, object] | None = None) -> Row | None:
        """The only row, or None."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    def run(self, statement: Statement, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement that answers nothing."""
        self._connection.execute(statement.for_engine(self._engine), parameters or {})


def columns(names: str, *, prefix: str = "") -> str:
    """`a, b` as a select list, optionally `p.a, p.b`."""
    return ", ".join(f"{prefix}{name}" for name in names.split())


def placeholders(names: str) -> str:
    """`a b` as `:a, :b`."""
    return ", ".join(f":{name}" for name in names.split())


def to_json(value: object) -> str:
    """Canonical JSON text: equal values have equal texts, so that uniqueness can be a constraint."""
    return _ENCODER.encode(value).decode()


def texts(value: str) -> tuple[str, ...]:
    """A JSON array of strings."""
    return tuple(msgspec.json.decode(value))


def as_json_list(value: Iterable[object]) -> str:
    """A JSON array."""
    return to_json(list(value))
