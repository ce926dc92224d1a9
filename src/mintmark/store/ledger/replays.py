"""Which identity tokens were exchanged."""

from __future__ import annotations

from mintmark.store.ledger.session import Session, Statement

# RETURNING decides, not the row count, which is not portable between drivers.
CLAIM = Statement(
    "INSERT INTO replays (issuer_url, key, until) VALUES (:issuer_url, :key, :until)"
    " ON CONFLICT DO NOTHING RETURNING until"
)


class Replays:
    """See `service.ports.Replays`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, issuer_url: str, key: str, until: int) -> bool:
        return bool(self._session.rows(CLAIM, {"issuer_url": issuer_url, "key": key, "until": until}))
