"""Upload credentials and API tokens."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from mintmark.core.records import Credential
from mintmark.store.ledger.session import Row, Session, Statement, as_json_list, columns, placeholders, texts

_FIELDS = (
    "digest kind registry_id name publishers projects can_upload can_read single_use spent_on ref created_at "
    "expires_at ended_at issuer_url subject wide"
)
_ALL = "id " + _FIELDS

FIND = Statement(f"SELECT {columns(_ALL)} FROM credentials WHERE digest = :digest")
BY_ID = Statement(f"SELECT {columns(_ALL)} FROM credentials WHERE id = :id")
INSERT = Statement(f"INSERT INTO credentials ({columns(_FIELDS)}) VALUES ({placeholders(_FIELDS)}) RETURNING id")
END = Statement("UPDATE credentials SET ended_at = :at WHERE id = :id AND ended_at IS NULL")
SPEND = Statement(
    "UPDATE credentials SET spent_on = :sha256 WHERE id = :id AND (spent_on IS NULL OR spent_on = :sha256) RETURNING id"
)
OF_REGISTRY = Statement(
    f"SELECT {columns(_ALL)} FROM credentials WHERE registry_id = :registry_id AND kind = :kind ORDER BY id"
)
END_MINTED = Statement("UPDATE credentials SET ended_at = :at WHERE kind = 'm' AND ended_at IS NULL RETURNING id")
FORGET_MINTED = Statement(
    "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials WHERE kind = 'm' AND expires_at < :before "
    "ORDER BY expires_at LIMIT :limit) RETURNING id"
)
OUTLIVED_MINTED = Statement("SELECT count(*) FROM credentials WHERE kind = 'm' AND expires_at < :before")
# Not by an index: asked for once a day, of a table that forgetting the minted ones keeps small.
OUTLIVED = Statement(
    "SELECT id FROM credentials WHERE kind <> 'm' AND (ended_at < :before OR expires_at < :before) "
    "ORDER BY id LIMIT :limit"
)
FORGET = Statement(
    "DELETE FROM credentials WHERE id = :id AND (ended_at < :before OR expires_at < :before) RETURNING id"
)


def _credential(row: Row) -> Credential:
    fields = dict(zip(_ALL.split(), row, strict=True))
    fields["digest"] = bytes(fields["digest"])
    for name in ("publishers", "wide"):
        fields[name] = tuple(msgspec.json.decode(fields[name]))
    fields["projects"] = texts(fields["projects"])
    for name in ("can_upload", "can_read", "single_use"):
        fields[name] = bool(fields[name])
    return Credential(**fields)


class Credentials:
    """See `service.ports.Credentials`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, digest: bytes) -> Credential | None:
        row = self._session.row(FIND, {"digest": digest})
        return _credential(row) if row else None

    def by_id(self, credential_id: int) -> Credential | None:
        row = self._session.row(BY_ID, {"id": credential_id})
        return _credential(row) if row else None

    def insert(self, credential: Credential) -> Credential:
        parameters: dict[str, object] = {name: getattr(credential, name) for name in _FIELDS.split()}
        for name in ("publishers", "projects", "wide"):
            parameters[name] = as_json_list(parameters[name])  # type: ignore[arg-type]
        (row,) = self._session.rows(INSERT, parameters)
        return replace(credential, id=row[0])

    def end(self, credential_id: int, at: int) -> None:
        self._session.run(END, {"id": credential_id, "at": at})

    def spend(self, credential_id: int, sha256: str) -> bool:
        return bool(self._session.rows(SPEND, {"id": credential_id, "sha256": sha256}))

    def of_registry(self, registry_id: int, kind: str) -> list[Credential]:
        return [_credential(row) for row in self._session.rows(OF_REGISTRY, {"registry_id": registry_id, "kind": kind})]

    def end_minted(self, at: int) -> int:
        return len(self._session.rows(END_MINTED, {"at": at}))

    def outlived_minted(self, before: int) -> int:
        (row,) = self._session.rows(OUTLIVED_MINTED, {"before": before})
        number: int = row[0]
        return number

    def forget_minted(self, before: int, limit: int) -> int:
        return len(self._session.rows(FORGET_MINTED, {"before": before, "limit": limit}))

    def outlived_tokens(self, before: int, limit: int) -> list[int]:
        return [row[0] for row in self._session.rows(OUTLIVED, {"before": before, "limit": limit})]

    def forget_token(self, token_id: int, before: int) -> bool:
        return bool(self._session.rows(FORGET, {"id": token_id, "before": before}))
