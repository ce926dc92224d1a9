"""Whether the rows agree with each other.

Owns the questions whose only good answer is none. Leaves what they mean for people to `service.fsck`.
"""

from __future__ import annotations

import sqlite3

from mintmark.core.records import Project
from mintmark.store.ledger.projects import ALL as PROJECT_COLUMNS
from mintmark.store.ledger.session import Session, Statement, columns

# Both are SQLite's own. On an engine with a server, checking its files is the server's task.
FILE = Statement("PRAGMA integrity_check(100)")
FOREIGN_KEYS = Statement("PRAGMA foreign_key_check")

PROJECTS_AFTER = Statement(
    f"SELECT {columns(PROJECT_COLUMNS)}, similar FROM projects WHERE id > :after_id ORDER BY id LIMIT :limit"
)
UNRENDERED = Statement("SELECT 1 FROM projects WHERE registry_id = :registry_id AND rendered < changes LIMIT 1")

# By what is wrong: the names of the rows for which it is.
DISAGREEMENTS = {
    "The file belongs to a release of another project or version.": Statement(
        "SELECT 'file ' || f.filename FROM files f JOIN releases r ON r.id = f.release_id "
        "WHERE r.project_id <> f.project_id OR r.version <> f.version ORDER BY f.id LIMIT :limit"
    ),
    "The file belongs to a project of another registry.": Statement(
        "SELECT 'file ' || f.filename FROM files f JOIN projects p ON p.id = f.project_id "
        "WHERE p.registry_id <> f.registry_id ORDER BY f.id LIMIT :limit"
    ),
    "The file is not yanked but has a reason for it.": Statement(
        "SELECT 'file ' || filename FROM files WHERE state = 'visible' AND yanked_reason IS NOT NULL "
        "ORDER BY id LIMIT :limit"
    ),
    "The publisher belongs to an issuer of another registry.": Statement(
        "SELECT 'publisher ' || p.id FROM publishers p JOIN issuers i ON i.id = p.issuer_id "
        "WHERE i.registry_id <> p.registry_id ORDER BY p.id LIMIT :limit"
    ),
    "The publisher is attached to another project than it names.": Statement(
        "SELECT 'publisher ' || p.id FROM publishers p JOIN projects j ON j.id = p.project_id "
        "WHERE j.registry_id <> p.registry_id OR j.name <> p.project ORDER BY p.id LIMIT :limit"
    ),
    "The project's count of changes is lower than what was rendered.": Statement(
        "SELECT 'project ' || name FROM projects WHERE rendered > changes ORDER BY id LIMIT :limit"
    ),
    "The project has files, but no change was ever counted, so it has no page.": Statement(
        "SELECT 'project ' || p.name FROM projects p WHERE p.changes = 0 AND EXISTS "
        "(SELECT 1 FROM files f WHERE f.project_id = p.id AND f.state <> 'staged') ORDER BY p.id LIMIT :limit"
    ),
    "The registry has projects with files, but no change of its list was ever counted.": Statement(
        "SELECT 'registry ' || r.slug FROM registries r WHERE r.list_changes = 0 AND EXISTS "
        "(SELECT 1 FROM projects p WHERE p.registry_id = r.id AND p.changes > 0) ORDER BY r.id LIMIT :limit"
    ),
}


class Integrity:
    """See `service.ports.Integrity`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def damage(self) -> list[str]:
        try:
            return [str(row[0]) for row in self._session.rows(FILE) if row[0] != "ok"]
        except sqlite3.DatabaseError as error:
            return [str(error)]

    def dangling(self, limit: int) -> list[tuple[str, int, str]]:
        rows = self._session.rows(FOREIGN_KEYS)
        return [(table, row_id or 0, parent) for table, row_id, parent, _ in rows[:limit]]

    def disagreements(self, limit: int) -> list[tuple[str, str]]:
        return [
            (str(row[0]), wrong)
            for wrong, statement in DISAGREEMENTS.items()
            for row in self._session.rows(statement, {"limit": limit})
        ]

    def projects_after(self, after_id: int, limit: int) -> list[tuple[Project, str]]:
        rows = self._session.rows(PROJECTS_AFTER, {"after_id": after_id, "limit": limit})
        return [(Project(*row[:-1]), row[-1]) for row in rows]

    def is_list_behind(self, registry_id: int) -> bool:
        return bool(self._session.rows(UNRENDERED, {"registry_id": registry_id}))
