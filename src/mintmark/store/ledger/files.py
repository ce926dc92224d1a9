"""Files, and how they come into their releases."""

from __future__ import annotations

from dataclasses import replace

from mintmark.core.records import File, Project
from mintmark.store.ledger.projects import ALL as PROJECT_COLUMNS
from mintmark.store.ledger.session import Session, Statement, columns

_ALL = (
    "id registry_id project_id version filename kind state size_bytes sha256 blake2_256 metadata_sha256 "
    "requires_python uploaded_at yanked_reason upload_microseconds"
)
_COUNT = len(_ALL.split())

FIND = Statement(f"SELECT {columns(_ALL)} FROM files WHERE registry_id = :registry_id AND filename = :filename")
WITH_PROJECT = Statement(
    f"SELECT {columns(_ALL, prefix='f.')}, {columns(PROJECT_COLUMNS, prefix='p.')} "
    "FROM files f JOIN projects p ON p.id = f.project_id "
    "WHERE f.registry_id = :registry_id AND f.filename = :filename"
)
OF_PROJECT = Statement(
    f"SELECT {columns(_ALL)} FROM files WHERE project_id = :project_id AND state IN ('visible', 'yanked') ORDER BY id"
)
ALL_OF_PROJECT = Statement(f"SELECT {columns(_ALL)} FROM files WHERE project_id = :project_id ORDER BY id")
OF_RELEASE = Statement(
    f"SELECT {columns(_ALL)} FROM files WHERE release_id = "
    "(SELECT id FROM releases WHERE project_id = :project_id AND version = :version) ORDER BY id"
)
SET_STATE = Statement("UPDATE files SET state = :state, yanked_reason = :yanked_reason WHERE id = :id")
ENSURE_RELEASE = Statement(
    "INSERT INTO releases (project_id, version, created_at) VALUES (:project_id, :version, :at) ON CONFLICT DO NOTHING"
)
# A file that is yanked for a reason of its own keeps it.
_YANKED_WITH_RELEASE = "r.yanked_reason IS NOT NULL AND :state = 'visible'"
INSERT = Statement(
    "INSERT INTO files (registry_id, project_id, release_id, version, filename, kind, state, size_bytes, sha256, "
    "blake2_256, metadata_sha256, requires_python, uploaded_at, yanked_reason, upload_microseconds, uploaded_by, "
    "publisher_id) "
    "SELECT :registry_id, :project_id, r.id, :version, :filename, :kind, "
    f"CASE WHEN {_YANKED_WITH_RELEASE} THEN 'yanked' ELSE :state END, :size_bytes, :sha256, "
    ":blake2_256, :metadata_sha256, :requires_python, :uploaded_at, "
    f"CASE WHEN {_YANKED_WITH_RELEASE} THEN r.yanked_reason ELSE :yanked_reason END, :upload_microseconds, "
    ":uploaded_by, :publisher_id "
    "FROM releases r WHERE r.project_id = :project_id AND r.version = :version "
    "ON CONFLICT DO NOTHING RETURNING id, state, yanked_reason"
)
_HOLDING = "state IN ('staged', 'visible', 'yanked')"
REFERENCED = Statement(
    f"SELECT 1 WHERE EXISTS (SELECT 1 FROM files WHERE sha256 = :sha256 AND {_HOLDING}) "
    f"OR EXISTS (SELECT 1 FROM files WHERE metadata_sha256 = :sha256 AND {_HOLDING})"
)
HOLDING = Statement(f"SELECT {columns(_ALL)} FROM files WHERE sha256 = :sha256 AND {_HOLDING} ORDER BY id")
HOLDING_AFTER = Statement(
    f"SELECT {columns(_ALL)} FROM files WHERE id > :after_id AND {_HOLDING} ORDER BY id LIMIT :limit"
)


class Files:
    """See `service.ports.Files`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, registry_id: int, filename: str) -> File | None:
        row = self._session.row(FIND, {"registry_id": registry_id, "filename": filename})
        return File(*row) if row else None

    def insert(self, file: File, *, uploaded_by: str, publisher_id: int | None) -> File | None:
        self._session.run(
            ENSURE_RELEASE, {"project_id": file.project_id, "version": file.version, "at": file.uploaded_at}
        )
        parameters: dict[str, object] = {name: getattr(file, name) for name in _ALL.split()}
        parameters["uploaded_by"] = uploaded_by
        parameters["publisher_id"] = publisher_id
        row = self._session.row(INSERT, parameters)
        return replace(file, id=row[0], state=row[1], yanked_reason=row[2]) if row else None

    def with_project(self, registry_id: int, filename: str) -> tuple[File, Project] | None:
        row = self._session.row(WITH_PROJECT, {"registry_id": registry_id, "filename": filename})
        return (File(*row[:_COUNT]), Project(*row[_COUNT:])) if row else None

    def of_project(self, project_id: int) -> list[File]:
        return [File(*row) for row in self._session.rows(OF_PROJECT, {"project_id": project_id})]

    def all_of_project(self, project_id: int) -> list[File]:
        return [File(*row) for row in self._session.rows(ALL_OF_PROJECT, {"project_id": project_id})]

    def of_release(self, project_id: int, version: str) -> list[File]:
        rows = self._session.rows(OF_RELEASE, {"project_id": project_id, "version": version})
        return [File(*row) for row in rows]

    def set_state(self, file_id: int, state: str, yanked_reason: str | None) -> None:
        self._session.run(SET_STATE, {"id": file_id, "state": state, "yanked_reason": yanked_reason})

    def referenced(self, sha256: str) -> bool:
        return bool(self._session.rows(REFERENCED, {"sha256": sha256}))

    def holding(self, sha256: str) -> list[File]:
        return [File(*row) for row in self._session.rows(HOLDING, {"sha256": sha256})]

    def holding_after(self, after_id: int, limit: int) -> list[File]:
        rows = self._session.rows(HOLDING_AFTER, {"after_id": after_id, "limit": limit})
        return [File(*row) for row in rows]
