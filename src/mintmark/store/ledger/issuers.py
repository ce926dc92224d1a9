"""Trust entries."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from mintmark.core.records import Issuer
from mintmark.store.ledger.registries import BUMP_TRUST
from mintmark.store.ledger.session import Row, Session, Statement, as_json_list, columns, placeholders, texts

_SETTINGS = (
    "registry_id name provider url server projects algorithms max_lifetime_seconds networks allow_http ca_pem jwks "
    "enabled keys_epoch purge_epoch audience remint"
)
ALL = "id " + _SETTINGS
_LISTS = ("projects", "algorithms", "networks")

EVERY = Statement(f"SELECT {columns(ALL)} FROM issuers ORDER BY registry_id, name")
FIND = Statement(f"SELECT {columns(ALL)} FROM issuers WHERE registry_id = :registry_id AND name = :name")
INSERT = Statement(f"INSERT INTO issuers ({columns(_SETTINGS)}) VALUES ({placeholders(_SETTINGS)}) RETURNING id")
UPDATE = Statement(f"UPDATE issuers SET {', '.join(f'{name} = :{name}' for name in _SETTINGS.split())} WHERE id = :id")
REMOVE_PUBLISHERS = Statement("DELETE FROM publishers WHERE issuer_id = :id")
REMOVE = Statement("DELETE FROM issuers WHERE id = :id")


def issuer_of(row: Row) -> Issuer:
    """The record in a row of the columns `ALL`."""
    fields = dict(zip(ALL.split(), row, strict=True))
    for name in _LISTS:
        fields[name] = texts(fields[name])
    for name in ("allow_http", "enabled", "remint"):
        fields[name] = bool(fields[name])
    return Issuer(**fields)


def _parameters(issuer: Issuer) -> dict[str, Any]:
    fields = asdict(issuer)
    for name in _LISTS:
        fields[name] = as_json_list(fields[name])
    return fields


class Issuers:
    """See `service.ports.Issuers`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def every(self) -> list[Issuer]:
        return [issuer_of(row) for row in self._session.rows(EVERY)]

    def find(self, registry_id: int, name: str) -> Issuer | None:
        row = self._session.row(FIND, {"registry_id": registry_id, "name": name})
        return issuer_of(row) if row else None

    def insert(self, issuer: Issuer) -> Issuer:
        (row,) = self._session.rows(INSERT, _parameters(issuer))
        self._session.run(BUMP_TRUST)
        return replace(issuer, id=row[0])

    def update(self, issuer: Issuer) -> None:
        self._session.run(UPDATE, _parameters(issuer))
        self._session.run(BUMP_TRUST)

    def remove(self, issuer_id: int) -> None:
        self._session.run(REMOVE_PUBLISHERS, {"id": issuer_id})
        self._session.run(REMOVE, {"id": issuer_id})
        self._session.run(BUMP_TRUST)
