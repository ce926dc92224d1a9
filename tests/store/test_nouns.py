"""Conformance: the nouns of `service.ports.Transaction`, for every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from engines import (
    NOW,
    OPEN,
    Store,
    credential,
    finish,
    issuer,
    maybe_publisher,
    opened,
    project,
    publisher,
    registry,
    wheel_of,
)

from mintmark.core.records import OPERATOR, SYSTEM, Constraints, Event, Issuer, Principal, Project, Publisher, Registry
from mintmark.service.ports import Ledger, Transaction
from mintmark.store.ledger.audit import FACTS_MAX_CHARACTERS

T = TypeVar("T")
ISSUER = "https://issuer.example.com"


@pytest.fixture(params=sorted(OPEN))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    return store.open()


async def in_one(ledger: Ledger, work: Callable[[Transaction, Registry, Issuer], T]) -> T:
    """Run work in a transaction that first made a registry with an issuer."""

    def begin(tx: Transaction) -> T:
        acme = registry(tx)
        return work(tx, acme, issuer(tx, acme))

    return await ledger.write(begin)


def attached(tx: Transaction, of: Issuer, name: str = "widget", **values: object) -> tuple[Publisher, Project]:
    found = publisher(tx, of, name, **values)
    made = tx.projects.insert(of.registry_id, name, name, NOW)
    tx.publishers.reify(found.id, made.id)
    return found, made


# -- registries and issuers -------------------------------------------------------------------------------------------


async def test_registries_keep_every_field(ledger: Ledger) -> None:
    odd = Registry(
        0, "zeta", "audience", 'Title "quoted" ü', "pkgs.example.com", False, False, False, True, True, False, 1
    )
    added = await ledger.write(lambda tx: tx.registries.insert(odd))
    assert added == replace(odd, id=added.id)
    assert await ledger.read(lambda tx: tx.registries.find("zeta")) == added
    changed = replace(Registry(added.id, "eta", "other"), title="T")
    await ledger.write(lambda tx: tx.registries.update(changed))
    assert await ledger.read(lambda tx: (tx.registries.find("zeta"), tx.registries.every())) == (None, [changed])


async def test_a_registry_with_projects_stays(ledger: Ledger) -> None:
    acme = await ledger.write(registry)
    await ledger.write(lambda tx: project(tx, acme))
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await ledger.write(lambda tx: tx.registries.remove(acme.id))
    assert await ledger.read(lambda tx: tx.registries.find("acme")) == acme


async def test_a_registry_goes_with_its_issuers_publishers_and_credentials(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> Registry:
        publisher(tx, gitlab)
        tx.credentials.insert(credential(registry_id=acme.id))
        return acme

    acme = await in_one(ledger, work)
    await ledger.write(lambda tx: tx.registries.remove(acme.id))

    def gone(tx: Transaction) -> tuple[object, ...]:
        return (*tx.registries.every(), *tx.issuers.every(), *tx.publishers.of_registry(acme.id))

    assert await ledger.read(gone) == ()
    assert await ledger.read(lambda tx: tx.credentials.find(b"d" * 32)) is None


async def test_issuers_keep_every_field(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> tuple[Issuer, Issuer | None]:
        odd = Issuer(
            0, acme.id, "n", "github", ISSUER, "ci.example.com/x", ("a-*", "b"), ("ES256",), 60, ("10.0.0.0/8",), True,
            "PEM", '{"keys":[]}', False, 3, 4, "api://audience", True,
        )  # fmt: skip
        added = tx.issuers.insert(odd)
        assert added == replace(odd, id=added.id)
        tx.issuers.update(replace(added, url="https://b.example.com", projects=()))
        return replace(added, url="https://b.example.com", projects=()), tx.issuers.find(acme.id, "n")

    expected, found = await in_one(ledger, work)
    assert found == expected


# -- publishers -------------------------------------------------------------------------------------------------------


async def test_the_same_publisher_is_registered_once_a_project(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        publisher(tx, gitlab, config={"a": "1", "b": "2"})
        # The order of fields is no difference.
        assert maybe_publisher(tx, gitlab, config={"b": "2", "a": "1"}) is None
        assert maybe_publisher(tx, gitlab, "other", config={"b": "2", "a": "1"}) is not None
        assert maybe_publisher(tx, gitlab, config={"a": "1"}) is not None
        assert maybe_publisher(tx, gitlab, config={"a": "1"}, constraints=Constraints(tag="v*")) is not None
        other = issuer(tx, acme, "other")
        assert maybe_publisher(tx, other, config={"a": "1", "b": "2"}) is not None

    await in_one(ledger, work)


async def test_publishers_keep_every_field(ledger: Ledger) -> None:
    limits = Constraints("refs/heads/*", True, "v{version}", "upload-only")

    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        added = publisher(tx, gitlab, config={"ü": '"'}, constraints=limits, expires_at=NOW + 9)
        tx.publishers.touch((added.id,), NOW + 3)
        expected = replace(added, last_used_at=NOW + 3)
        assert tx.publishers.of_registry(acme.id) == [expected]
        assert tx.publishers.candidates(gitlab.id, ["foo/bar"]) == [expected]
        made = project(tx, acme)
        tx.publishers.reify(added.id, made.id)
        assert tx.publishers.of_registry(acme.id) == [replace(expected, project_id=made.id, expires_at=None)]

    await in_one(ledger, work)


@pytest.mark.parametrize("why", ["issuer", "registry", "exchange", "other lookup", "other issuer"])
async def test_candidates_are_of_what_is_enabled(ledger: Ledger, why: str) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        publisher(tx, gitlab)
        other = issuer(tx, acme, "other")
        assert [each.project for each in tx.publishers.candidates(gitlab.id, ["foo/bar"])] == ["widget"]
        if why == "issuer":
            tx.issuers.update(replace(gitlab, enabled=False))
        elif why == "registry":
            tx.registries.update(replace(acme, enabled=False))
        elif why == "exchange":
            tx.registries.update(replace(acme, trusted_publishing=False))
        asked = other.id if why == "other issuer" else gitlab.id
        assert tx.publishers.candidates(asked, ["foo/baz" if why == "other lookup" else "foo/bar"]) == []

    await in_one(ledger, work)


@pytest.mark.parametrize("why", ["pending", "issuer", "registry", "removed", "other project", "not among"])
async def test_live_are_attached_and_enabled(ledger: Ledger, why: str) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        found, _ = attached(tx, gitlab)
        pending = publisher(tx, gitlab, config={"repository": "other"})
        among: tuple[int, ...] = (pending.id, found.id)
        assert [each.id for each in tx.publishers.live(acme.id, "widget", among)] == [found.id]
        if why == "issuer":
            tx.issuers.update(replace(gitlab, enabled=False))
        elif why == "registry":
            tx.registries.update(replace(acme, enabled=False))
        elif why == "removed":
            tx.publishers.remove(found.id)
        elif why in {"pending", "not among"}:
            among = (pending.id,) if why == "pending" else ()
        assert tx.publishers.live(acme.id, "other" if why == "other project" else "widget", among) == []

    await in_one(ledger, work)


async def test_pending_wait_for_one_project(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        waiting = publisher(tx, gitlab), publisher(tx, issuer(tx, acme, "other"), expires_at=NOW - 1)
        publisher(tx, gitlab, "gadget")
        assert tx.publishers.pending(acme.id, "widget") == list(waiting)
        tx.publishers.reify(waiting[0].id, project(tx, acme).id)
        assert tx.publishers.pending(acme.id, "widget") == [waiting[1]]

    await in_one(ledger, work)


async def test_ids_are_never_given_again(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, gitlab: Issuer) -> None:
        former = publisher(tx, gitlab)
        tx.publishers.remove(former.id)
        assert publisher(tx, gitlab).id > former.id
        tx.issuers.remove(gitlab.id)
        assert issuer(tx, acme).id > gitlab.id
        spare = registry(tx, "spare")
        tx.registries.remove(spare.id)
        assert registry(tx, "spare").id > spare.id

    await in_one(ledger, work)


# -- credentials and replays ------------------------------------------------------------------------------------------


async def test_credentials_are_found_by_digest_only(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        plain = credential(bytes(range(32)), registry_id=acme.id, single_use=True, issuer_url=ISSUER, subject="ü")
        added = tx.credentials.insert(plain)
        assert added == replace(plain, id=added.id)
        assert tx.credentials.find(bytes(range(32))) == added
        assert tx.credentials.find(b"\0" * 32) is None
        tx.credentials.insert(credential(b"t" * 32, registry_id=acme.id, kind="token"))
        assert tx.credentials.of_registry(acme.id, "minted") == [added]

    await in_one(ledger, work)


async def test_ending_twice_keeps_the_first_time(ledger: Ledger) -> None:
    added = await ledger.write(lambda tx: tx.credentials.insert(credential()))
    for at in (NOW + 1, NOW + 2):
        await ledger.write(lambda tx, at=at: tx.credentials.end(added.id, at))  # type: ignore[misc]
    found = await ledger.read(lambda tx: tx.credentials.find(added.digest))
    assert found == replace(added, ended_at=NOW + 1)


async def test_a_credential_is_spent_on_one_file(store: Store, ledger: Ledger) -> None:
    other = store.open()
    added = await ledger.write(lambda tx: tx.credentials.insert(credential()))

    def spend(number: int) -> Callable[[Transaction], bool]:
        return lambda tx: tx.credentials.spend(added.id, f"{number:064x}")

    spent = await asyncio.gather(*((other if number % 2 else ledger).write(spend(number)) for number in range(20)))
    assert sum(spent) == 1
    winner = f"{spent.index(True):064x}"
    assert await ledger.write(lambda tx: tx.credentials.spend(added.id, winner)) is True
    found = await ledger.read(lambda tx: tx.credentials.find(added.digest))
    assert found is not None
    assert found.spent_on == winner


async def test_a_token_is_claimed_by_exactly_one(store: Store, ledger: Ledger) -> None:
    other = store.open()
    claims = (
        (other if number % 2 else ledger).write(lambda tx: tx.replays.claim(ISSUER, "jti", NOW)) for number in range(50)
    )
    assert sum(await asyncio.gather(*claims)) == 1
    # Of another issuer it is another token.
    assert await ledger.write(lambda tx: tx.replays.claim(ISSUER + "/", "jti", NOW)) is True


async def test_a_token_is_claimed_by_one_process(store: Store, ledger: Ledger) -> None:
    processes = [store.begin_elsewhere("claim", "60") for _ in range(2)]
    won = [set(finish(process, "go\n").split()) for process in processes]
    assert won[0] | won[1] == {str(number) for number in range(60)}
    assert not won[0] & won[1]
    assert not await ledger.write(lambda tx: tx.replays.claim(ISSUER, "0", 1))


async def test_an_undone_claim_is_none(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        assert tx.replays.claim(ISSUER, "jti", NOW)
        raise LookupError

    with pytest.raises(LookupError):
        await ledger.write(work)
    assert await ledger.write(lambda tx: tx.replays.claim(ISSUER, "jti", NOW)) is True


# -- projects and files -----------------------------------------------------------------------------------------------


async def test_listed_are_projects_with_files(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        for name in ("b", "a", "staged"):
            state = "staged" if name == "staged" else "visible"
            tx.files.insert(wheel_of(project(tx, acme, name), state=state), uploaded_by="x", publisher_id=None)
        project(tx, acme, "empty")
        foreign = registry(tx, "other")
        tx.files.insert(wheel_of(project(tx, foreign, "foreign")), uploaded_by="x", publisher_id=None)
        assert tx.projects.listed(acme.id) == ["a", "b"]
        assert (tx.projects.count(acme.id), tx.projects.count(foreign.id)) == (4, 1)

    await in_one(ledger, work)


async def test_the_dirty_mark_counts_up_and_never_backwards(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        made = project(tx, acme)
        assert tx.projects.find(acme.id, "widget") == made
        assert tx.projects.unrendered(9) == []
        assert [tx.projects.mark_changed(made.id) for _ in range(3)] == [1, 2, 3]
        tx.projects.mark_rendered(made.id, 2)
        assert tx.projects.unrendered(9) == [replace(made, changes=3, rendered=2)]
        tx.projects.mark_rendered(made.id, 1)
        assert tx.projects.unrendered(9) == [replace(made, changes=3, rendered=2)]
        tx.projects.mark_rendered(made.id, 3)
        assert tx.projects.unrendered(9) == []
        for number in range(3):
            tx.projects.mark_changed(project(tx, acme, f"p{number}").id)
        assert [each.name for each in tx.projects.unrendered(2)] == ["p0", "p1"]
        assert tx.projects.list_changes(acme.id) == 0
        tx.projects.mark_list_changed(acme.id)
        assert tx.projects.list_changes(acme.id) == 1

    await in_one(ledger, work)


async def test_a_file_name_is_given_once_a_registry(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        made = project(tx, acme)
        plain = wheel_of(made)
        added = tx.files.insert(plain, uploaded_by="somebody", publisher_id=7)
        assert added is not None
        assert added == replace(plain, id=added.id)
        assert tx.files.find(acme.id, plain.filename) == added
        assert tx.files.insert(replace(plain, sha256="0" * 64), uploaded_by="x", publisher_id=None) is None
        elsewhere = wheel_of(project(tx, registry(tx, "other")))
        assert elsewhere.filename == plain.filename
        assert tx.files.insert(elsewhere, uploaded_by="x", publisher_id=None) is not None

    await in_one(ledger, work)


async def test_a_deleted_file_keeps_its_name_and_is_not_shown(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        made = project(tx, acme)
        for number, state in enumerate(("visible", "staged", "yanked", "deleted")):
            file = wheel_of(made, f"{4 - number}.0", state=state)
            assert tx.files.insert(file, uploaded_by="x", publisher_id=None) is not None
            found = tx.files.find(acme.id, file.filename)
            assert found is not None
            assert found.state == state
            assert tx.files.insert(replace(file, state="visible"), uploaded_by="x", publisher_id=None) is None
        # In the order of their upload, whatever their versions.
        assert [file.version for file in tx.files.of_project(made.id)] == ["4.0", "2.0"]

    await in_one(ledger, work)


# -- audit ------------------------------------------------------------------------------------------------------------


async def test_the_latest_events_come_first(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        events = [
            Event(
                NOW + number, Principal("token", "ü"), "act", acme.id if number % 2 else None, "p", "o", {"n": number}
            )
            for number in range(6)
        ]
        for event in events:
            tx.audit.record(event)
        assert tx.audit.latest(None, 9) == events[::-1]
        assert tx.audit.latest(acme.id, 2) == [events[5], events[3]]

    await in_one(ledger, work)


async def test_facts_are_bounded(ledger: Ledger) -> None:
    def work(tx: Transaction, acme: Registry, _: Issuer) -> None:
        tx.audit.record(Event(NOW, SYSTEM, "fits", facts={"x": "y" * (FACTS_MAX_CHARACTERS - 8)}))
        tx.audit.record(Event(NOW, OPERATOR, "long", facts={"claims": {"sub": "z" * 9000}, "b": 1}))
        long, fits = tx.audit.latest(None, 2)
        assert long.facts == {"b": 1, "too_long": ["claims"]}
        assert len(str(fits.facts["x"])) == FACTS_MAX_CHARACTERS - 8

    await in_one(ledger, work)
