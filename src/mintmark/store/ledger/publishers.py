"""Publishers, regular and pending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from types import MappingProxyType

import msgspec

from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.store.ledger.issuers import ALL as ISSUER_COLUMNS
from mintmark.store.ledger.issuers import issuer_of
from mintmark.store.ledger.session import Row, Session, Statement, columns, to_json

_ALL = "id registry_id issuer_id project project_id config constraints created_at expires_at last_used_at pins reads"
# Keys or ids of one statement. It is filled up to a power of two, so that there are few statements.
_AT_ONCE = 256
_SHARED = 1024
_WIDTH = len(_ALL.split())
_HOME_IS_ON = "i.enabled AND r.enabled AND r.trusted_publishing"

_FROM = (
    "FROM publishers p JOIN issuers i ON i.id = p.issuer_id JOIN registries r ON r.id = p.registry_id "
    "LEFT JOIN projects j ON j.id = p.project_id "
)
_PROJECT_IS_OPEN = "(j.id IS NULL OR j.status IN ('active', 'deprecated'))"
_SIZES = tuple(1 << power for power in range(_AT_ONCE.bit_length()))
_NAMES = {size: ", ".join(f":k{number}" for number in range(size)) for size in _SIZES}

CANDIDATES = {
    size: Statement(
        f"SELECT {columns(_ALL, prefix='p.')} {_FROM}"
        f"WHERE p.issuer_id = :issuer_id AND p.lookup IN ({_NAMES[size]}) AND {_HOME_IS_ON} AND {_PROJECT_IS_OPEN} "
        "ORDER BY p.id"
    )
    for size in _SIZES
}
ATTACHED = {
    size: Statement(
        f"SELECT {columns(_ALL, prefix='p.')}, {columns(ISSUER_COLUMNS, prefix='i.')} {_FROM}"
        f"WHERE p.registry_id = :registry_id AND p.id IN ({_NAMES[size]}) AND {_HOME_IS_ON} AND {_PROJECT_IS_OPEN} "
        "ORDER BY p.id"
    )
    for size in _SIZES
}
OF_REGISTRY = Statement(f"SELECT {columns(_ALL)} FROM publishers WHERE registry_id = :registry_id ORDER BY project, id")
LIVE = Statement(
    f"SELECT {columns(_ALL, prefix='p.')} {_FROM}"
    f"WHERE p.registry_id = :registry_id AND p.project = :project AND NOT p.reads AND {_HOME_IS_ON} "
    "AND j.status IN ('active', 'deprecated') ORDER BY p.id"
)
INSERT = Statement(
    "INSERT INTO publishers (registry_id, issuer_id, project, project_id, lookup, config, constraints, created_at, "
    "expires_at, pins, reads) VALUES (:registry_id, :issuer_id, :project, :project_id, :lookup, :config, :constraints, "
    ":created_at, :expires_at, :pins, :reads) ON CONFLICT DO NOTHING RETURNING id"
)
REMOVE = Statement("DELETE FROM publishers WHERE id = :id")
PENDING = Statement(
    f"SELECT {columns(_ALL)} FROM publishers WHERE registry_id = :registry_id AND project = :project "
    "AND project_id IS NULL AND NOT reads ORDER BY id"
)
REIFY = Statement("UPDATE publishers SET project_id = :project_id, expires_at = NULL WHERE id = :id")
TOUCH = Statement("UPDATE publishers SET last_used_at = :at WHERE id = :id")
SET_EXPIRY = Statement("UPDATE publishers SET expires_at = :at WHERE id = :id")
SET_PINS = Statement("UPDATE publishers SET pins = :pins, expires_at = NULL WHERE id = :id")
LAPSED = Statement(f"SELECT {columns(_ALL)} FROM publishers WHERE expires_at <= :now ORDER BY id LIMIT :limit")
REMOVE_LAPSED = Statement("DELETE FROM publishers WHERE id = :id AND expires_at <= :now RETURNING id")


# Publishers of one identity share what is equal: most of an exchange for hundreds of projects would be reading it.
@lru_cache(maxsize=_SHARED)
def _texts(text: str) -> Mapping[str, str]:
    return MappingProxyType(msgspec.json.decode(text, type=dict[str, str]))


@lru_cache(maxsize=_SHARED)
def _constraints(text: str) -> Constraints:
    return msgspec.json.decode(text, type=Constraints)


def _publisher(row: Row) -> Publisher:
    id_, registry_id, issuer_id, project, project_id, config, constraints, created_at, *rest = row
    expires_at, last_used_at, pins, reads = rest
    return Publisher(
        id_,
        registry_id,
        issuer_id,
        project,
        project_id,
        _texts(config),
        _constraints(constraints),
        created_at,
        expires_at,
        last_used_at,
        _texts(pins),
        bool(reads),
    )


def _parts(values: Sequence[object]) -> Iterator[dict[str, object]]:
    """Parameters `k0`, `k1` … for all values, a few at once; the last value fills up what is left."""
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        size = 1 << (len(part) - 1).bit_length()
        yield {f"k{number}": part[min(number, len(part) - 1)] for number in range(size)}


class Publishers:
    """See `service.ports.Publishers`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def candidates(self, issuer_id: int, lookups: Sequence[str]) -> list[Publisher]:
        return [
            _publisher(row)
            for keys in _parts(list(dict.fromkeys(lookups)))
            for row in self._session.rows(CANDIDATES[len(keys)], {"issuer_id": issuer_id, **keys})
        ]

    def of_registry(self, registry_id: int) -> list[Publisher]:
        return [_publisher(row) for row in self._session.rows(OF_REGISTRY, {"registry_id": registry_id})]

    def live(self, registry_id: int, project: str, among: tuple[int, ...]) -> list[Publisher]:
        rows = self._session.rows(LIVE, {"registry_id": registry_id, "project": project})
        return [_publisher(row) for row in rows if row[0] in among]

    def attached(self, registry_id: int, among: Sequence[int], limit: int) -> list[tuple[Publisher, Issuer]]:
        found: list[tuple[Publisher, Issuer]] = []
        for keys in _parts(sorted(set(among))):
            rows = self._session.rows(ATTACHED[len(keys)], {"registry_id": registry_id, **keys})
            found += [(_publisher(row[:_WIDTH]), issuer_of(row[_WIDTH:])) for row in rows]
            if len(found) >= limit:
                break
        return found[:limit]

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
                "pins": to_json(dict(publisher.pins)),
                "reads": publisher.reads,
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

    def set_expiry(self, publisher_ids: tuple[int, ...], at: int) -> None:
        for publisher_id in publisher_ids:
            self._session.run(SET_EXPIRY, {"id": publisher_id, "at": at})

    def set_pins(self, publisher_id: int, pins: Mapping[str, str]) -> None:
        self._session.run(SET_PINS, {"id": publisher_id, "pins": to_json(dict(pins))})

    def lapsed(self, now: int, limit: int) -> list[Publisher]:
        return [_publisher(row) for row in self._session.rows(LAPSED, {"now": now, "limit": limit})]

    def remove_lapsed(self, publisher_id: int, now: int) -> bool:
        return bool(self._session.rows(REMOVE_LAPSED, {"id": publisher_id, "now": now}))
