"""Conformance: what the nouns of a transaction guarantee to those who only look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines import NOW, OPEN, Store, opened, registry

from mintmark.core.records import OPERATOR, Event
from mintmark.service.ports import Ledger, Transaction


@pytest.fixture(params=sorted(OPEN))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    return store.open()


async def test_whether_a_token_was_exchanged_can_be_asked_without_exchanging_it(ledger: Ledger) -> None:
    async def is_claimed(issuer_url: str, key: str) -> bool:
        return await ledger.read(lambda tx: tx.replays.is_claimed(issuer_url, key))

    assert not await is_claimed("https://a", "jti:1")
    assert await ledger.write(lambda tx: tx.replays.claim("https://a", "jti:1", NOW))
    assert await is_claimed("https://a", "jti:1")
    assert not await is_claimed("https://a", "jti:2")
    assert not await is_claimed("https://b", "jti:1")


async def test_exchanges_newest_first(ledger: Ledger) -> None:
    def work(tx: Transaction) -> int:
        home = registry(tx).id
        for number, (action, outcome, registry_id) in enumerate(
            [
                ("mint", "minted", home),
                ("upload", "done", home),
                ("mint", "invalid-publisher", home),
                ("mint", "reminted", home),
                ("mint", "invalid-reuse-token", None),
            ]
        ):
            tx.audit.record(Event(NOW + number, OPERATOR, action, registry_id, outcome=outcome))
        return home

    home = await ledger.write(work)

    async def found(registry_id: int | None, since: int, *, failed: bool = False, limit: int = 9) -> list[str]:
        events = await ledger.read(lambda tx: tx.audit.mints(registry_id, since, failed=failed, limit=limit))
        return [event.outcome for event in events]

    assert await found(None, 0) == ["invalid-reuse-token", "reminted", "invalid-publisher", "minted"]
    assert await found(home, 0) == ["reminted", "invalid-publisher", "minted"]
    assert await found(home, 0, failed=True) == ["invalid-publisher"]
    assert await found(None, 0, failed=True, limit=1) == ["invalid-reuse-token"]
    assert await found(None, NOW + 3) == ["invalid-reuse-token", "reminted"]
