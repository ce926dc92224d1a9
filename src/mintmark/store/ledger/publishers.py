"""Publishers, regular and pending."""

from __future__ import annotations

from dataclasses import asdict, replace

import msgspec

from mintmark.core.records import Constraints, Publisher
from mintmark.store.ledger.session import Row, Session, Statement, columns, to_json

_ALL = "id registry_id issuer_id project project_id config constraints created_at expires_at last_used_at"

CANDIDATES = Statement(
    f"SELECT {columns(_ALL, prefix='p.')} FROM publishers p "
    "JOIN issuers i ON i.id = p.issuer_id JOIN registries r ON r.id = p.registry_id "
    "LEFT JOIN projects j ON j.id = p.project_id "
    "WHERE p.issuer_id = :issuer_id AND p.lookup = :lookup AND i.enabled AND r.enabled AND r.trusted_publishing "
    "AND (j.id IS NULL OR j.status IN ('active', 'deprecated')) ORDER BY p.id"
)
OF_REGISTRY = Statement(f"SELECT {columns(_ALL)} FROM publishers WHERE registry_id = :registry_id ORDER BY project, id")
LIVE = Statement(
    f"SELECT {columns(_ALL, prefix='p.')} FROM publishers p "
    "JOIN issuers i ON i.id = p.issuer_id JOIN registries r ON r.id = p.registry_id "
    "JOIN projects j ON j.id = p.project_id "
    "WHERE p.registry_id = :registry_id AND p.project = :project AND i.enabled AND r.enabled AND r.trusted_publishing "
    "AND j.status IN ('active', 'deprecated') ORDER BY p.id"
)
INSERT = Statement(
    "INSERT INTO publishers (registry_id, issuer_id, project, project_id, lookup, config, constraints, created_at, "
    "expires_at) VALUES (:registry_id, :issuer_id, :project, :project_id, :lookup, :config, :constraints, :created_at, "
    ":expires_at) ON CONFLICT DO NOTHING RETURNING id"
)
REMOVE = Statement("DELETE FROM publishers WHERE id = :id")
PENDING = Statement(
    f"SELECT {columns(_ALL)} FROM publishers WHERE registry_id = :registry_id AND project = :project "
    "AND project_id IS NULL ORDER BY id"
)
REIFY = Statement("UPDATE publishers SET project_id = :project_id, expires_at = NULL WHERE id = :id")
TOUCH = Statement("UPDATE publishers SET last_used_at = :at WHERE id = :id")
PROJECT_OF = Statement("SELECT project FROM publishers WHERE id = :id")
LAPSED = Statement(
    f"SELECT {columns(_ALL)} FROM publishers WHERE project_id IS NULL AND expires_at <= :now ORDER BY id LIMIT :limit"
)
REMOVE_LAPSED = Statement(
    "DELETE FROM publishers WHERE id = :id AND project_id IS NULL AND expires_at <= :now RETURNING id"
)


def _publisher(row: Row) -> Publisher:
    id_, registry_id, issuer_id, project, project_id, config, constraints, created_at, expires_at, last_used_at = row
    return Publisher(
        id_,
        registry_id,
        issuer_id,
        project,
        project_id,
        msgspec.json.decode(config),
        Constraints(**msgspec.json.decode(constraints)),
        created_at,
        expires_at,
        last_used_at,
    )


class Publishers:
    """See `service.ports.Publishers`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def candidates(self, issuer_id: int, lookup: str) -> list[Publisher]:
        return [_publisher(row) for row in self._session.rows(CANDIDATES, {"issuer_id": issuer_id, "lookup": lookup})]

    def of_registry(self, registry_id: int) -> list[Publisher]:
        return [_publisher(row) for row in self._session.rows(OF_REGISTRY, {"registry_id": registry_id})]

    def live(self, registry_id: int, project: str, among: tuple[int, ...]) -> list[Publisher]:
        rows = self._session.rows(LIVE, {"registry_id": registry_id, "project": project})
        return [_publisher(row) for row in rows if row[0] in among]

    def insert(self, publisher: Publisher, lookup: str) -> Publisher | None:
        row = self._session.row(
            INSERT,
            {
                "registry_id": publisher.registry_id,
                "issuer_id": publisher.issuer_id,
                "project": publisher.project,
                "project_id": publisher.project_id,
                "lookup": lookup,
                "config": to_json(dict(publisher.config)),
                "constraints": to_json(asdict(publisher.constraints)),
                "created_at": publisher.created_at,
                "expires_at": publisher.expires_at,
            },
        )
        return replace(publisher, id=row[0]) if row else None

    def remove(self, publisher_id: int) -> None:
        self._session.run(REMOVE, {"id": publisher_id})

    def pending(self, registry_id: int, project: str) -> list[Publisher]:
        rows = self._session.rows(PENDING, {"registry_id": registry_id, "project": project})
        return [_publisher(row) for row in rows]

    def reify(self, publisher_id: int, project_id: int) -> None:
        self._session.run(REIFY, {"id": publisher_id, "project_id": project_id})

    def touch(self, publisher_ids: tuple[int, ...], at: int) -> None:
        for publisher_id in publisher_ids:
            self._session.run(TOUCH, {"id": publisher_id, "at": at})

    def projects_of(self, publisher_ids: tuple[int, ...], limit: int) -> list[str]:
        names: set[str] = set()
        for publisher_id in publisher_ids:
            row = self._session.row(PROJECT_OF, {"id": publisher_id})
            if row:
                names.add(row[0])
            if len(names) >= limit:
                break
        return sorted(names)

    def lapsed(self, now: int, limit: int) -> list[Publisher]:
        return [_publisher(row) for row in self._session.rows(LAPSED, {"now": now, "limit": limit})]

    def remove_lapsed(self, publisher_id: int, now: int) -> bool:
        return bool(self._session.rows(REMOVE_LAPSED, {"id": publisher_id, "now": now}))
