"""Ids learned at the first use: whoever gets a name later is refused, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import Room, refused
from support.world import GITHUB, SELF_HOSTED, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUERS = pytest.mark.parametrize("url", [GITHUB, SELF_HOSTED], ids=["github", "gitlab"])
CLAIM = {GITHUB: "repository_id", SELF_HOSTED: "project_id"}
OWNER = {GITHUB: "repository_owner_id", SELF_HOSTED: "namespace_id"}
DAY = 86_400


def ids(url: str, number: object = "11", owner: object = "22") -> dict[str, Any]:
    """The claims with the ids of a job."""
    # GitLab says the project twice: where the job runs, and whose it is.
    also = {"job_project_id": number} if url == SELF_HOSTED else {}
    return {CLAIM[url]: number, OWNER[url]: owner, **also}


def job(room: Room, url: str = SELF_HOSTED, number: str = "11", owner: str = "22") -> str:
    return room.identity_token(url, **ids(url, number, owner))


@ISSUERS
async def test_learned_at_the_first_use_and_demanded_from_then_on(room: Room, url: str) -> None:
    number = await room.publisher("widget", url=url)
    # A refused attempt teaches nothing.
    token = room.identity_token(url, config={"workflow": "other.yml"}, **ids(url, "99", "98"))
    refused(await room.mint(token), "invalid-publisher", token)
    assert [dict(each.pins) for each in await room.publishers()] == [{}]
    assert (await room.mint(job(room, url))).status == 200
    (publisher,) = await room.publishers()
    assert dict(publisher.pins) == {CLAIM[url]: "11", OWNER[url]: "22"}
    (event,) = await room.events("publisher-pinned")
    assert event.facts == {"ids": dict(publisher.pins), "publishers": [number], "count": 1}
    assert (await room.mint(job(room, url))).status == 200
    assert len(await room.events("publisher-pinned")) == 1

    # Deleted, and made again by somebody else under the same name.
    for other in (job(room, url, number="12"), job(room, url, owner="23"), job(room, url, "12", "23")):
        detail = refused(await room.mint(other), "invalid-publisher", other)
        assert "learned at the first use" in detail
        assert "mintmark publisher repin" in detail
    # Leaving the claim out is no way around it.
    token = room.identity_token(url, **ids(url, None))
    refused(await room.mint(token), "invalid-publisher", token)
    events = await room.events("publisher-pin-refused", "refused")
    assert len(events) == 4
    assert events[-1].facts == {"publisher": number, "ids": {CLAIM[url]: {"learned": "11", "actual": "'12'"}}}
    assert (await room.mint(job(room, url))).status == 200


async def test_another_id_is_reported_even_if_something_else_matches(room: Room) -> None:
    first = await room.publisher("widget")
    assert (await room.mint(job(room))).status == 200
    await room.publisher("gadget")
    answer = await room.mint(job(room, number="12"))
    assert (answer.status, answer.json["scope"]["projects"]) == (200, ["gadget"])
    (event,) = await room.events("publisher-pin-refused")
    assert (event.project, event.facts["publisher"]) == ("widget", first)


async def test_a_mismatch_of_something_else_is_no_such_report(room: Room) -> None:
    await room.publisher("widget")
    assert (await room.mint(job(room))).status == 200
    token = room.identity_token(config={"workflow": "other.yml"}, **ids(SELF_HOSTED, "12"))
    refused(await room.mint(token), "invalid-publisher", token)
    assert await room.events("publisher-pin-refused") == []


async def test_of_two_identities_at_once_one_is_learned(room: Room) -> None:
    """The ids are learned in the transaction that decides: whoever comes second is compared with the first."""
    await room.publisher("widget")
    tokens = [job(room, number=str(number)) for number in range(20)]
    answers = await asyncio.gather(*(room.mint(token) for token in tokens))
    assert sorted(answer.status for answer in answers) == [200] + [422] * 19
    assert len(await room.events("publisher-pinned")) == 1


async def test_a_monorepo_learns_for_all_its_projects(room: Room) -> None:
    for number in range(30):
        await room.publisher(f"part-{number}")
    assert (await room.mint(job(room))).status == 200
    assert {each.pins["project_id"] for each in await room.publishers()} == {"11"}
    (event,) = await room.events("publisher-pinned")
    assert event.facts["count"] == 30
    token = job(room, number="12")
    refused(await room.mint(token), "invalid-publisher", token)
    assert len(await room.events("publisher-pin-refused")) == 3


async def test_an_id_that_was_not_there_before_is_learned_later(room: Room) -> None:
    """As when an old GitLab is upgraded to one that says more."""
    await room.publisher("widget")
    assert (await room.mint(room.identity_token(**ids(SELF_HOSTED, owner=None)))).status == 200
    assert (await room.mint(job(room))).status == 200
    assert [dict(each.pins) for each in await room.publishers()] == [{"project_id": "11", "namespace_id": "22"}]


async def test_the_host_wide_exchange_never_learns(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme")
        await world.issuer()
        await world.publisher("widget")
        room = Room(world, "acme")
        assert (await world.mint(world.identity_token(**ids(SELF_HOSTED)))).status == 200
        (publisher,) = await room.publishers()
        assert dict(publisher.pins) == {}
        # Used, but not protected: it lapses when nobody uses it for a month.
        assert publisher.expires_at == int(world.clock.now()) + 30 * DAY
        # What the registry's own exchange learned is demanded by the host-wide one, too.
        assert (await room.mint(job(room))).status == 200
        (publisher,) = await room.publishers()
        assert (publisher.pins["project_id"], publisher.expires_at) == ("11", None)
        token = world.identity_token(**ids(SELF_HOSTED, "12"))
        refused(await world.mint(token), "invalid-publisher", token)


# -- lapsing ----------------------------------------------------------------------------------------------------------


async def test_unused_and_unprotected_it_lapses(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel())).status == 200
    await room.publisher("widget")
    await room.publisher("widget", project_id="11")
    room.clock.advance(30 * DAY + 1)
    unprotected, protected = sorted(await room.publishers(), key=lambda each: each.id)
    assert (unprotected.expires_at is None, protected.expires_at is None) == (False, True)
    token = job(room)
    answer = await room.mint(token)
    assert answer.status == 200, answer.body
    # Only the protected one was used: the other has lapsed and is swept.
    assert [bool(each.pins) for each in sorted(await room.publishers(), key=lambda each: each.id)] == [False, True]
    await room.world.index.sweep()
    assert [each.id for each in await room.publishers()] == [protected.id]
    assert [event.facts["publisher"] for event in await room.events("publisher-lapsed")] == [unprotected.id]


async def test_used_once_it_is_protected_and_stays(room: Room) -> None:
    await room.publisher("widget")
    assert (await room.mint(job(room))).status == 200
    room.clock.advance(400 * DAY)
    await room.world.index.sweep()
    assert (await room.mint(job(room))).status == 200


# -- repin ------------------------------------------------------------------------------------------------------------


async def test_an_operator_changes_what_was_learned(room: Room) -> None:
    number = await room.publisher("widget")
    assert (await room.mint(job(room))).status == 200
    repin = room.world.index.trust.repin_publisher
    changed, claim = await repin(room.slug, number, "11", "12", OPERATOR)
    assert (claim, dict(changed.pins)) == ("project_id", {"project_id": "12", "namespace_id": "22"})
    token = job(room)
    refused(await room.mint(token), "invalid-publisher", token)
    assert (await room.mint(job(room, number="12"))).status == 200
    (event,) = await room.events("publisher-repin")
    assert (event.facts["claim"], event.facts["from"], event.facts["to"]) == ("project_id", "11", "12")
    with pytest.raises(Rejected, match="has not learned"):
        await repin(room.slug, number, "11", "13", OPERATOR)
    with pytest.raises(Rejected, match="no publisher 999999"):
        await repin(room.slug, 999999, "12", "13", OPERATOR)


async def test_two_servers_learn_one_identity(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as one, running_world(tmp_path, signers) as two:
        # Both draw the same numbers; the second begins where the first never comes.
        for _ in range(1000):
            two.index.entropy.draw(32)
        await one.registry("acme")
        await one.issuer()
        await one.publisher("widget")
        rooms = [Room(one, "acme"), Room(two, "acme")]
        tokens = [job(rooms[0], number=str(number)) for number in range(16)]
        answers = await asyncio.gather(*(rooms[n % 2].mint(token) for n, token in enumerate(tokens)))
        assert sorted(answer.status for answer in answers) == [200] + [422] * 15
        assert len(await rooms[1].events("publisher-pinned")) == 1
