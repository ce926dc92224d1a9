"""Releases: versions that files belong to."""

from __future__ import annotations

from collections.abc import Sequence

from mintmark.core.records import Release
from mintmark.store.ledger.session import Session, Statement, columns, placeholders

_ALL = "id project_id version created_at yanked_reason"

FIND = Statement(f"SELECT {columns(_ALL)} FROM releases WHERE project_id = :project_id AND version = :version")
OF_PROJECT = Statement(
    f"SELECT {columns(_ALL, prefix='r.')}, "
    "(SELECT count(*) FROM files f WHERE f.release_id = r.id AND f.state <> 'deleted') "
    "FROM releases r WHERE r.project_id = :project_id ORDER BY r.id"
)
# As many as a version has spellings; what is not used repeats the first.
EQUAL_MAX = 6
_SPELLINGS = placeholders(" ".join(f"v{number}" for number in range(EQUAL_MAX)))
EQUAL = Statement(
    f"SELECT {columns(_ALL, prefix='r.')}, (SELECT count(*) FROM files f WHERE f.release_id = r.id) "
    f"FROM releases r WHERE r.project_id = :project_id AND r.version IN ({_SPELLINGS}) "
    "ORDER BY r.id LIMIT 1"
)
SET_YANKED = Statement("UPDATE releases SET yanked_reason = :reason WHERE id = :id")


class Releases:
    """See `service.ports.Releases`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, project_id: int, version: str) -> Release | None:
        row = self._session.row(FIND, {"project_id": project_id, "version": version})
        return Release(*row) if row else None

    def equal(self, project_id: int, spellings: Sequence[str]) -> tuple[Release, int] | None:
        parameters: dict[str, object] = {f"v{n}": spellings[0] for n in range(EQUAL_MAX)}
        parameters |= {f"v{n}": version for n, version in enumerate(spellings[:EQUAL_MAX])}
        row = self._session.row(EQUAL, parameters | {"project_id": project_id})
        return (Release(*row[:-1]), row[-1]) if row else None

    def of_project(self, project_id: int) -> list[tuple[Release, int]]:
        rows = self._session.rows(OF_PROJECT, {"project_id": project_id})
        return [(Release(*row[:-1]), row[-1]) for row in rows]

    def set_yanked(self, release_id: int, reason: str | None) -> None:
        self._session.run(SET_YANKED, {"id": release_id, "reason": reason})
