"""Which identity tokens were exchanged."""

from __future__ import annotations

import msgspec

from mintmark.core.records import FirstMint
from mintmark.store.ledger.registries import BUMP_TRUST
from mintmark.store.ledger.session import Session, Statement, to_json

# RETURNING decides, not the row count, which is not portable between drivers.
CLAIM = Statement(
    "INSERT INTO replays (issuer_url, key, until) VALUES (:issuer_url, :key, :until)"
    " ON CONFLICT DO NOTHING RETURNING until"
)
IS_CLAIMED = Statement("SELECT 1 FROM replays WHERE issuer_url = :issuer_url AND key = :key")
FORGET = Statement(
    "DELETE FROM replays WHERE (issuer_url, key) IN (SELECT issuer_url, key FROM replays WHERE until < :before "
    "ORDER BY until LIMIT :limit) RETURNING until"
)
FIRST = Statement("SELECT first FROM replays WHERE issuer_url = :issuer_url AND key = :key AND first IS NOT NULL")
SET_FIRST = Statement("UPDATE replays SET first = :first WHERE issuer_url = :issuer_url AND key = :key")
OUTLIVED = Statement("SELECT count(*) FROM replays WHERE until < :before")
ISSUED_AFTER = Statement("SELECT value FROM counters WHERE name = 'identity-tokens-issued-after'")
REFUSE_ISSUED_UNTIL = Statement(
    "INSERT INTO counters (name, value) VALUES ('identity-tokens-issued-after', :at) ON CONFLICT (name) "
    "DO UPDATE SET value = excluded.value WHERE counters.value < excluded.value"
)


class Replays:
    """See `service.ports.Replays`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, issuer_url: str, key: str, until: int) -> bool:
        return bool(self._session.rows(CLAIM, {"issuer_url": issuer_url, "key": key, "until": until}))

    def is_claimed(self, issuer_url: str, key: str) -> bool:
        return self._session.row(IS_CLAIMED, {"issuer_url": issuer_url, "key": key}) is not None

    def first(self, issuer_url: str, key: str) -> FirstMint | None:
        row = self._session.row(FIRST, {"issuer_url": issuer_url, "key": key})
        return msgspec.json.decode(row[0], type=FirstMint) if row else None

    def set_first(self, issuer_url: str, key: str, first: FirstMint) -> None:
        self._session.run(SET_FIRST, {"issuer_url": issuer_url, "key": key, "first": to_json(first)})

    def outlived(self, before: int) -> int:
        (row,) = self._session.rows(OUTLIVED, {"before": before})
        number: int = row[0]
        return number

    def forget(self, before: int, limit: int) -> int:
        return len(self._session.rows(FORGET, {"before": before, "limit": limit}))

    def refuse_issued_until(self, at: int) -> None:
        self._session.run(REFUSE_ISSUED_UNTIL, {"at": at})
        self._session.run(BUMP_TRUST)

    def issued_after(self) -> int:
        row = self._session.row(ISSUED_AFTER)
        return int(row[0]) if row else 0
