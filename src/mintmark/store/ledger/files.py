"""Files and the releases they belong to."""

from __future__ import annotations

from dataclasses import replace

from mintmark.core.records import File
from mintmark.store.ledger.session import Session, Statement, columns

_ALL = (
    "id registry_id project_id version filename kind state size_bytes sha256 blake2_256 metadata_sha256 "
    "requires_python uploaded_at yanked_reason upload_microseconds"
)

FIND = Statement(f"SELECT {columns(_ALL)} FROM files WHERE registry_id = :registry_id AND filename = :filename")
OF_PROJECT = Statement(
    f"SELECT {columns(_ALL)} FROM files WHERE project_id = :project_id AND state IN ('visible', 'yanked') ORDER BY id"
)
ENSURE_RELEASE = Statement(
    "INSERT INTO releases (project_id, version, created_at) VALUES (:project_id, :version, :at) ON CONFLICT DO NOTHING"
)
INSERT = Statement(
    "INSERT INTO files (registry_id, project_id, release_id, version, filename, kind, state, size_bytes, sha256, "
    "blake2_256, metadata_sha256, requires_python, uploaded_at, yanked_reason, upload_microseconds, uploaded_by, "
    "publisher_id) "
    "SELECT :registry_id, :project_id, r.id, :version, :filename, :kind, :state, :size_bytes, :sha256, "
    ":blake2_256, :metadata_sha256, :requires_python, :uploaded_at, :yanked_reason, :upload_microseconds, "
    ":uploaded_by, :publisher_id "
    "FROM releases r WHERE r.project_id = :project_id AND r.version = :version "
    "ON CONFLICT DO NOTHING RETURNING id"
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
        return replace(file, id=row[0]) if row else None

    def of_project(self, project_id: int) -> list[File]:
        return [File(*row) for row in self._session.rows(OF_PROJECT, {"project_id": project_id})]
