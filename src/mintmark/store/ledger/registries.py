"""Registries."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from mintmark.core.policy import Policy
from mintmark.core.records import Registry
from mintmark.store.ledger.session import Row, Session, Statement, columns, placeholders, to_json

_SETTINGS = (
    "slug audience title host private enabled trusted_publishing trusted_publishing_only publishers_read host_mint "
    "credential_lifetime_seconds policy"
)
_ALL = "id " + _SETTINGS

EVERY = Statement(f"SELECT {columns(_ALL)} FROM registries ORDER BY slug")
FIND = Statement(f"SELECT {columns(_ALL)} FROM registries WHERE slug = :slug")
INSERT = Statement(f"INSERT INTO registries ({columns(_SETTINGS)}) VALUES ({placeholders(_SETTINGS)}) RETURNING id")
UPDATE = Statement(
    f"UPDATE registries SET {', '.join(f'{name} = :{name}' for name in _SETTINGS.split())} WHERE id = :id"
)
REMOVE_PUBLISHERS = Statement("DELETE FROM publishers WHERE registry_id = :id")
REMOVE_ISSUERS = Statement("DELETE FROM issuers WHERE registry_id = :id")
REMOVE_CREDENTIALS = Statement("DELETE FROM credentials WHERE registry_id = :id")
REMOVE = Statement("DELETE FROM registries WHERE id = :id")
BUMP_TRUST = Statement("UPDATE counters SET value = value + 1 WHERE name = 'trust'")


def _registry(row: Row) -> Registry:
    fields = dict(zip(_ALL.split(), row, strict=True))
    for name in ("private", "enabled", "trusted_publishing", "trusted_publishing_only", "publishers_read", "host_mint"):
        fields[name] = bool(fields[name])
    fields["policy"] = msgspec.json.decode(fields["policy"], type=Policy)
    return Registry(**fields)


def _parameters(registry: Registry) -> dict[str, object]:
    # Unlike `asdict`, which would take the policy apart as well.
    parameters: dict[str, object] = {name: getattr(registry, name) for name in _ALL.split()}
    return parameters | {"policy": to_json(registry.policy)}


VERSION = Statement("SELECT value FROM counters WHERE name = 'trust'")


class Registries:
    """See `service.ports.Registries`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def version(self) -> int:
        (row,) = self._session.rows(VERSION)
        return int(row[0])

    def every(self) -> list[Registry]:
        return [_registry(row) for row in self._session.rows(EVERY)]

    def find(self, slug: str) -> Registry | None:
        row = self._session.row(FIND, {"slug": slug})
        return _registry(row) if row else None

    def insert(self, registry: Registry) -> Registry:
        (row,) = self._session.rows(INSERT, _parameters(registry))
        self._session.run(BUMP_TRUST)
        return replace(registry, id=row[0])

    def update(self, registry: Registry) -> None:
        self._session.run(UPDATE, _parameters(registry))
        self._session.run(BUMP_TRUST)

    def remove(self, registry_id: int) -> None:
        for statement in (REMOVE_CREDENTIALS, REMOVE_PUBLISHERS, REMOVE_ISSUERS, REMOVE):
            self._session.run(statement, {"id": registry_id})
        self._session.run(BUMP_TRUST)
