"""Conformance: what the nouns of a transaction guarantee about forgetting, and about whether rows agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines import NOW, OPEN, Store, credential, issuer, opened, project, publisher, registry, wheel_of

from mintmark.core.records import OPERATOR, Event
from mintmark.service.ports import Ledger, Transaction


@pytest.fixture(params=sorted(OPEN))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    return store.open()


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def test_minted_credentials_are_forgotten_by_their_end_oldest_first(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        for number in range(5):
            tx.credentials.insert(credential(digest(number), kind="m", expires_at=NOW + number))
        tx.credentials.insert(credential(digest(9), kind="a", expires_at=NOW))

    await ledger.write(work)
    assert await ledger.read(lambda tx: tx.credentials.outlived_minted(NOW + 3)) == 3
    assert await ledger.write(lambda tx: tx.credentials.forget_minted(NOW + 3, 2)) == 2
    assert await ledger.write(lambda tx: tx.credentials.forget_minted(NOW + 3, 2)) == 1
    left = await ledger.read(lambda tx: [n for n in (0, 1, 2, 3, 4, 9) if tx.credentials.find(digest(n))])
    assert left == [3, 4, 9]


async def test_tokens_are_forgotten_when_they_ended_or_expired(ledger: Ledger) -> None:
    def work(tx: Transaction) -> list[int]:
        ends = [(None, None), (NOW - 1, None), (None, NOW - 1), (NOW, NOW + 9)]
        return [
            tx.credentials.insert(credential(digest(n), kind="a", expires_at=expires, ended_at=ended)).id
            for n, (expires, ended) in enumerate(ends)
        ]

    ids = await ledger.write(work)
    await ledger.write(lambda tx: tx.credentials.insert(credential(digest(9), kind="m", expires_at=1)))
    assert await ledger.read(lambda tx: tx.credentials.outlived_tokens(NOW, 9)) == ids[1:3]
    assert await ledger.read(lambda tx: tx.credentials.outlived_tokens(NOW, 1)) == ids[1:2]
    assert [await ledger.write(lambda tx, n=n: tx.credentials.forget_token(n, NOW)) for n in ids] == [  # type: ignore[misc]
        False,
        True,
        True,
        False,
    ]


async def test_all_minted_credentials_end(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        tx.credentials.insert(credential(digest(1), kind="m"))
        tx.credentials.insert(credential(digest(2), kind="m", ended_at=5))
        tx.credentials.insert(credential(digest(3), kind="a"))

    await ledger.write(work)
    assert await ledger.write(lambda tx: tx.credentials.end_minted(NOW)) == 1
    found = await ledger.read(lambda tx: [tx.credentials.find(digest(n)) for n in (1, 2, 3)])
    assert [each.ended_at for each in found if each] == [NOW, 5, None]


async def test_replay_records_are_forgotten_when_their_time_passed(ledger: Ledger) -> None:
    url = "https://issuer.example.com"
    for number in range(4):
        assert await ledger.write(lambda tx, n=number: tx.replays.claim(url, str(n), NOW + n))  # type: ignore[misc]
    assert await ledger.read(lambda tx: tx.replays.outlived(NOW + 2)) == 2
    assert await ledger.write(lambda tx: tx.replays.forget(NOW + 2, 1)) == 1
    assert await ledger.write(lambda tx: tx.replays.forget(NOW + 2, 9)) == 1
    again = [await ledger.write(lambda tx, n=n: tx.replays.claim(url, str(n), NOW)) for n in range(4)]  # type: ignore[misc]
    assert again == [True, True, False, False]


async def test_the_bound_of_identity_tokens_only_rises(ledger: Ledger) -> None:
    assert await ledger.read(lambda tx: tx.replays.issued_after()) == 0
    seen = [ledger.trust_version()]
    for at in (NOW, NOW - 5, NOW + 5):
        await ledger.write(lambda tx, at=at: tx.replays.refuse_issued_until(at))  # type: ignore[misc]
        seen.append(await ledger.read(lambda tx: tx.replays.issued_after()))
        seen.append(await ledger.read(lambda tx: tx.registries.version()))
    assert seen[1::2] == [NOW, NOW, NOW + 5]
    assert len(set(seen[::2])) == 4


async def test_lapsed_publishers_only(ledger: Ledger) -> None:
    def work(tx: Transaction) -> list[int]:
        acme = registry(tx)
        gitlab = issuer(tx, acme)
        lapsed = publisher(tx, gitlab, "lapsed", expires_at=NOW)
        waiting = publisher(tx, gitlab, "waiting", expires_at=NOW + 1)
        attached = publisher(tx, gitlab, "attached", expires_at=NOW)
        tx.publishers.reify(attached.id, project(tx, acme, "attached").id)
        return [lapsed.id, waiting.id, attached.id]

    ids = await ledger.write(work)
    assert [each.id for each in await ledger.read(lambda tx: tx.publishers.lapsed(NOW, 9))] == ids[:1]
    removed = [await ledger.write(lambda tx, n=n: tx.publishers.remove_lapsed(n, NOW)) for n in ids]  # type: ignore[misc]
    assert removed == [True, False, False]


async def test_events_are_forgotten_from_the_oldest_on(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        for number in range(5):
            tx.audit.record(Event(NOW + number, OPERATOR, f"action-{number}"))

    await ledger.write(work)
    assert await ledger.read(lambda tx: tx.audit.outlived(NOW + 3)) == 3
    assert await ledger.write(lambda tx: tx.audit.forget(NOW + 3, 2)) == 2
    assert await ledger.write(lambda tx: tx.audit.forget(NOW + 3, 2)) == 1
    assert await ledger.write(lambda tx: tx.audit.forget(NOW + 3, 2)) == 0
    left = await ledger.read(lambda tx: [event.action for event in tx.audit.latest(None, 9)])
    assert left == ["action-4", "action-3"]


@pytest.mark.parametrize(("state", "held"), [("staged", True), ("visible", True), ("yanked", True), ("deleted", False)])
async def test_which_content_is_needed(ledger: Ledger, state: str, held: bool) -> None:
    def work(tx: Transaction) -> None:
        file = wheel_of(project(tx, registry(tx)), state=state, sha256="a" * 64, metadata_sha256="b" * 64)
        assert tx.files.insert(file, uploaded_by="test", publisher_id=None)

    await ledger.write(work)
    needed = await ledger.read(lambda tx: [tx.files.referenced(each * 64) for each in "abc"])
    assert needed == [held, held, False]
    assert len(await ledger.read(lambda tx: tx.files.holding("a" * 64))) == held
    files = await ledger.read(lambda tx: tx.files.holding_after(0, 9))
    assert len(files) == held
    assert await ledger.read(lambda tx: tx.files.holding_after(files[0].id if files else 1, 9)) == []


async def test_a_sound_ledger_agrees_with_itself(ledger: Ledger) -> None:
    def work(tx: Transaction) -> int:
        acme = registry(tx)
        widget = project(tx, acme)
        tx.files.insert(wheel_of(widget), uploaded_by="test", publisher_id=None)
        tx.projects.mark_changed(widget.id)
        tx.projects.mark_list_changed(acme.id)
        return acme.id

    acme = await ledger.write(work)
    assert await ledger.read(lambda tx: tx.integrity.damage()) == []
    assert await ledger.read(lambda tx: tx.integrity.dangling(9)) == []
    assert await ledger.read(lambda tx: tx.integrity.disagreements(9)) == []
    assert await ledger.read(lambda tx: tx.integrity.is_list_behind(acme))
    ((widget, similar),) = await ledger.read(lambda tx: tx.integrity.projects_after(0, 9))
    assert (widget.name, similar) == ("widget", "w1dget")
    await ledger.write(lambda tx: tx.projects.mark_rendered(widget.id, 1))
    assert not await ledger.read(lambda tx: tx.integrity.is_list_behind(acme))
    await ledger.write(lambda tx: tx.projects.mark_none_rendered())
    assert await ledger.read(lambda tx: tx.integrity.is_list_behind(acme))
