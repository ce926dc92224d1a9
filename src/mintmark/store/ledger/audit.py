"""The audit log."""

from __future__ import annotations

import msgspec

from mintmark.core.records import Event, Principal
from mintmark.store.ledger.session import Row, Session, Statement, columns, to_json

_ALL = "at principal_kind principal_name action registry_id project outcome facts"
# Facts of one event as JSON text. Longer ones are cut to their names, since claims are somebody else's text.
FACTS_MAX_CHARACTERS = 8192

RECORD = Statement(
    "INSERT INTO events (at, principal_kind, principal_name, action, registry_id, project, outcome, facts) "
    "VALUES (:at, :principal_kind, :principal_name, :action, :registry_id, :project, :outcome, :facts)"
)
LATEST = Statement(f"SELECT {columns(_ALL)} FROM events ORDER BY id DESC LIMIT :limit")
LATEST_OF_REGISTRY = Statement(
    f"SELECT {columns(_ALL)} FROM events WHERE registry_id = :registry_id ORDER BY id DESC LIMIT :limit"
)
# By the order of events and not by an index: whoever looks is a person, and what is looked for is near the end.
_MINTS = f"SELECT {columns(_ALL)} FROM events WHERE action = 'mint' AND at >= :since"
_FAILED = " AND outcome NOT IN ('minted', 'reminted')"
_OF_REGISTRY = " AND registry_id = :registry_id"
_NEWEST = " ORDER BY id DESC LIMIT :limit"
MINTS = {
    (False, False): Statement(f"{_MINTS}{_NEWEST}"),
    (False, True): Statement(f"{_MINTS}{_FAILED}{_NEWEST}"),
    (True, False): Statement(f"{_MINTS}{_OF_REGISTRY}{_NEWEST}"),
    (True, True): Statement(f"{_MINTS}{_OF_REGISTRY}{_FAILED}{_NEWEST}"),
}
# Events are in the order of time, so the oldest are looked at and no index is needed.
FORGET = Statement(
    "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, at FROM events ORDER BY id LIMIT :limit) oldest "
    "WHERE at < :before) RETURNING id"
)
OUTLIVED = Statement("SELECT count(*) FROM events WHERE at < :before")


def _event(row: Row) -> Event:
    at, kind, name, action, registry_id, project, outcome, facts = row
    return Event(at, Principal(kind, name), action, registry_id, project, outcome, msgspec.json.decode(facts))


class Audit:
    """See `service.ports.Audit`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def record(self, event: Event) -> None:
        facts = to_json(dict(event.facts))
        if len(facts) > FACTS_MAX_CHARACTERS:
            # Somebody else's text must not take the place of what happened.
            kept = {name: value for name, value in event.facts.items() if name != "claims"}
            facts = to_json({**kept, "too_long": ["claims"]})
        if len(facts) > FACTS_MAX_CHARACTERS:
            facts = to_json({"too_long": sorted(event.facts)})
        self._session.run(
            RECORD,
            {
                "at": event.at,
                "principal_kind": event.principal.kind,
                "principal_name": event.principal.name,
                "action": event.action,
                "registry_id": event.registry_id,
                "project": event.project,
                "outcome": event.outcome,
                "facts": facts,
            },
        )

    def latest(self, registry_id: int | None, limit: int) -> list[Event]:
        if registry_id is None:
            return [_event(row) for row in self._session.rows(LATEST, {"limit": limit})]
        rows = self._session.rows(LATEST_OF_REGISTRY, {"registry_id": registry_id, "limit": limit})
        return [_event(row) for row in rows]

    def mints(self, registry_id: int | None, since: int, *, failed: bool, limit: int) -> list[Event]:
        parameters: dict[str, object] = {"since": since, "limit": limit}
        if registry_id is not None:
            parameters["registry_id"] = registry_id
        return [_event(row) for row in self._session.rows(MINTS[registry_id is not None, failed], parameters)]

    def outlived(self, before: int) -> int:
        (row,) = self._session.rows(OUTLIVED, {"before": before})
        number: int = row[0]
        return number

    def forget(self, before: int, limit: int) -> int:
        return len(self._session.rows(FORGET, {"before": before, "limit": limit}))
