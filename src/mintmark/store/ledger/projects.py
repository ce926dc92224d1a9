"""Projects and the dirty mark of their pages."""

from __future__ import annotations

from mintmark.core.names import similarity_key
from mintmark.core.records import Project
from mintmark.store.ledger.session import Session, Statement, columns

ALL = "id registry_id name display_name status changes rendered created_at status_reason"

FIND = Statement(f"SELECT {columns(ALL)} FROM projects WHERE registry_id = :registry_id AND name = :name")
INSERT = Statement(
    "INSERT INTO projects (registry_id, name, display_name, status, changes, rendered, created_at, "
    "similar) VALUES (:registry_id, :name, :display_name, 'active', 0, 0, :at, :similar) RETURNING id"
)
LISTED = Statement(
    "SELECT name FROM projects p WHERE registry_id = :registry_id "
    "AND EXISTS (SELECT 1 FROM files f WHERE f.project_id = p.id AND f.state <> 'staged') ORDER BY name"
)
MARK_CHANGED = Statement("UPDATE projects SET changes = changes + 1 WHERE id = :id RETURNING changes")
# Never backwards: a slower renderer that finished later must not hide a newer page's mark.
MARK_RENDERED = Statement("UPDATE projects SET rendered = :changes WHERE id = :id AND rendered < :changes")
UNRENDERED = Statement(f"SELECT {columns(ALL)} FROM projects WHERE rendered < changes ORDER BY id LIMIT :limit")
MARK_LIST_CHANGED = Statement("UPDATE registries SET list_changes = list_changes + 1 WHERE id = :registry_id")
LIST_CHANGES = Statement("SELECT list_changes FROM registries WHERE id = :registry_id")
COUNT = Statement("SELECT count(*) FROM projects WHERE registry_id = :registry_id")
MARK_ALL_CHANGED = Statement("UPDATE projects SET rendered = 0 WHERE rendered > 0")
PAGES_EPOCH = Statement("SELECT value FROM counters WHERE name = 'pages'")
ADOPT_PAGES = Statement(
    "INSERT INTO counters (name, value) VALUES ('pages', :epoch) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
EVERY = Statement(
    f"SELECT {columns(ALL, prefix='p.')}, "
    "(SELECT count(*) FROM files f WHERE f.project_id = p.id AND f.state <> 'deleted'), "
    "(SELECT count(DISTINCT f.release_id) FROM files f WHERE f.project_id = p.id AND f.state <> 'deleted') "
    "FROM projects p WHERE p.registry_id = :registry_id AND p.name > :after_name ORDER BY p.name LIMIT :limit"
)
SIMILAR = Statement("SELECT name FROM projects WHERE registry_id = :registry_id AND similar = :key ORDER BY name")
SET_STATUS = Statement("UPDATE projects SET status = :status, status_reason = :reason WHERE id = :id")
RENAME = Statement("UPDATE projects SET display_name = :display_name WHERE id = :id")
RELEASES_COUNT = Statement("SELECT count(*) FROM releases WHERE project_id = :id")
# PostgreSQL adds integers up to a decimal.
BYTES = Statement(
    "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM files WHERE project_id = :id AND state <> 'deleted'"
)


class Projects:
    """See `service.ports.Projects`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, registry_id: int, name: str) -> Project | None:
        row = self._session.row(FIND, {"registry_id": registry_id, "name": name})
        return Project(*row) if row else None

    def insert(self, registry_id: int, name: str, display_name: str, at: int) -> Project:
        (row,) = self._session.rows(
            INSERT,
            {
                "registry_id": registry_id,
                "name": name,
                "display_name": display_name,
                "at": at,
                "similar": similarity_key(name),
            },
        )
        return Project(row[0], registry_id, name, display_name, "active", 0, 0, at)

    def listed(self, registry_id: int) -> list[str]:
        return [row[0] for row in self._session.rows(LISTED, {"registry_id": registry_id})]

    def mark_changed(self, project_id: int) -> int:
        (row,) = self._session.rows(MARK_CHANGED, {"id": project_id})
        changes: int = row[0]
        return changes

    def mark_rendered(self, project_id: int, changes: int) -> None:
        self._session.run(MARK_RENDERED, {"id": project_id, "changes": changes})

    def pages_epoch(self) -> int:
        row = self._session.row(PAGES_EPOCH)
        return int(row[0]) if row else 0

    def adopt_pages(self, epoch: int) -> None:
        self._session.run(ADOPT_PAGES, {"epoch": epoch})
        self.mark_none_rendered()

    def mark_none_rendered(self) -> None:
        self._session.run(MARK_ALL_CHANGED)

    def mark_list_changed(self, registry_id: int) -> None:
        self._session.run(MARK_LIST_CHANGED, {"registry_id": registry_id})

    def list_changes(self, registry_id: int) -> int:
        row = self._session.row(LIST_CHANGES, {"registry_id": registry_id})
        return int(row[0]) if row else 0

    def unrendered(self, limit: int) -> list[Project]:
        return [Project(*row) for row in self._session.rows(UNRENDERED, {"limit": limit})]

    def count(self, registry_id: int) -> int:
        return self._number(COUNT, {"registry_id": registry_id})

    def every(self, registry_id: int, after_name: str, limit: int) -> list[tuple[Project, int, int]]:
        rows = self._session.rows(EVERY, {"registry_id": registry_id, "after_name": after_name, "limit": limit})
        return [(Project(*row[:-2]), row[-2], row[-1]) for row in rows]

    def similar(self, registry_id: int, key: str) -> list[str]:
        return [row[0] for row in self._session.rows(SIMILAR, {"registry_id": registry_id, "key": key})]

    def set_status(self, project_id: int, status: str, reason: str) -> None:
        self._session.run(SET_STATUS, {"id": project_id, "status": status, "reason": reason})

    def rename(self, project_id: int, display_name: str) -> None:
        self._session.run(RENAME, {"id": project_id, "display_name": display_name})

    def releases_count(self, project_id: int) -> int:
        return self._number(RELEASES_COUNT, {"id": project_id})

    def bytes_of(self, project_id: int) -> int:
        return self._number(BYTES, {"id": project_id})

    def _number(self, statement: Statement, parameters: dict[str, object]) -> int:
        (row,) = self._session.rows(statement, parameters)
        number: int = row[0]
        return number
