"""The same identity token again, where an issuer allows it: its bounds, one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from mintmark.service.mint_again import REPETITIONS_MAX
from support.dists import wheel
from support.wire import Room, open_room, refused
from support.world import SELF_HOSTED, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def allow(room: Room, remint: bool = True) -> None:
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, remint=remint), OPERATOR)


@pytest_asyncio.fixture(loop_scope="module")
async def again(room: Room) -> Room:
    """A registry whose issuer allows it, with a publisher."""
    await allow(room)
    await room.publisher("widget")
    return room


async def reused(room: Room, token: str, **more: Any) -> str:
    return refused(await room.mint(token, **more), "invalid-reuse-token", token)


async def test_off_unless_the_operator_says_so(room: Room) -> None:
    await room.publisher("widget")
    token = room.identity_token()
    assert (await room.mint(token)).status == 200
    await reused(room, token)
    # A decision about later exchanges: what was spent stays spent.
    await allow(room)
    await reused(room, token)
    token = room.identity_token()
    assert (await room.mint(token)).status == 200
    assert (await room.mint(token)).status == 200
    await allow(room, remint=False)
    await reused(room, token)


async def test_each_repetition_ends_the_former_credential(again: Room) -> None:
    token = again.identity_token()
    secrets = [(await again.mint(token)).json["token"] for _ in range(3)]
    assert len(set(secrets)) == 3
    for former in secrets[:2]:
        refused(await again.upload(former, wheel()), "credential-refused", former)
        refused(await again.get("/simple/widget/", auth=former), "credential-invalid", former)
    assert (await again.upload(secrets[2], wheel())).status == 200
    assert [event.facts["repetition"] for event in await again.events("mint", "reminted")] == [2, 1]
    assert len(await again.events("mint", "minted")) == 1


async def test_it_works_again_after_a_burn(again: Room) -> None:
    """uv burns its credential after a run; the second run of the job has the same identity token."""
    token = again.identity_token()
    secret = (await again.mint(token)).json["token"]
    await again.world.request("POST", f"/{again.slug}/_/oidc/burn-token", json={"token": secret})
    answer = await again.mint(token)
    assert answer.status == 200
    assert (await again.upload(answer.json["token"], wheel())).status == 200
    refused(await again.upload(secret, wheel()), "credential-refused", secret)


async def test_ten_times_at_most(again: Room) -> None:
    token = again.identity_token()
    for _ in range(1 + REPETITIONS_MAX):
        last = await again.mint(token)
        assert last.status == 200
    assert REPETITIONS_MAX == 10
    assert "repeated 10 times" in await reused(again, token)
    # The refusal takes nothing away.
    assert (await again.upload(last.json["token"], wheel())).status == 200


async def test_until_the_token_expires_and_not_a_second_longer(again: Room) -> None:
    now = int(again.clock.now())
    token = again.identity_token(iat=now, exp=now + 100)
    assert (await again.mint(token)).status == 200
    again.clock.advance(now + 99.5 - again.clock.now())
    assert (await again.mint(token)).status == 200
    # Within the leeway, in which a first exchange would still be taken.
    again.clock.advance(1)
    assert "until it expires" in await reused(again, token)
    fresh = again.identity_token(iat=now, exp=now + 100)
    assert (await again.mint(fresh)).status == 200
    await reused(again, fresh)


async def test_another_token_of_the_same_id_is_no_repetition(again: Room) -> None:
    """The id alone is not proof: whoever has another signed token must not end this job's credential."""
    claims = again.world.claims(SELF_HOSTED, again.audience, jti="the-same")
    sign = again.world.signers[SELF_HOSTED].sign
    secret = (await again.mint(sign(claims))).json["token"]
    for changed in ({"sub": "other"}, {"exp": int(claims["exp"]) + 1}, {"user_login": "other"}):  # type: ignore[call-overload]
        await reused(again, sign({**claims, **changed}))
    assert (await again.upload(secret, wheel())).status == 200


async def test_never_wider_than_the_first(again: Room) -> None:
    token = again.identity_token()
    assert (await again.mint(token)).json["scope"]["projects"] == ["widget"]
    await again.publisher("later")
    await again.publisher("acme-*")
    await again.publisher("*", reads=True)
    answer = await again.mint(token)
    assert (answer.json["scope"]["projects"], answer.json["scope"]["reads"]) == (["widget"], [])
    refused(await again.upload(answer.json["token"], wheel("later")), "not-allowed")
    # A pending publisher that came later is not used up, and no project is made.
    assert [event.project for event in await again.events("project-created")] == ["widget"]
    assert (await again.mint(again.identity_token())).json["scope"]["projects"] == ["acme-*", "later", "widget"]


async def test_narrower_where_trust_was_taken_back(again: Room) -> None:
    gadget = await again.publisher("gadget")
    token = again.identity_token()
    assert (await again.mint(token)).json["scope"]["projects"] == ["gadget", "widget"]
    await again.world.index.trust.remove_publisher(again.slug, gadget, OPERATOR)
    assert (await again.mint(token)).json["scope"]["projects"] == ["widget"]
    # What came back is another publisher.
    await again.publisher("gadget")
    assert (await again.mint(token)).json["scope"]["projects"] == ["widget"]
    for each in await again.publishers():
        if each.project == "widget":
            await again.world.index.trust.remove_publisher(again.slug, each.id, OPERATOR)
    assert "Nothing is left" in await reused(again, token)


async def test_what_was_for_one_file_stays_for_one_file(again: Room) -> None:
    single = {"extra": {"features": ["single-use-token"]}}
    token = again.identity_token()
    secret = (await again.mint(token, **single)).json["token"]
    assert (await again.upload(secret, wheel())).status == 200
    for more in ({}, single):
        answer = await again.mint(token, **more)
        assert answer.json["scope"]["single-use"] is True
        refused(await again.upload(answer.json["token"], wheel(version="2.0")), "credential-refused")
        # The file that consumed it may be repeated.
        assert (await again.upload(answer.json["token"], wheel())).status == 200


async def test_from_many_files_to_one_and_not_back(again: Room) -> None:
    token = again.identity_token()
    await again.mint(token)
    answer = await again.mint(token, extra={"features": ["single-use-token"]})
    assert answer.json["scope"]["single-use"] is True
    assert (await again.mint(token)).json["scope"]["single-use"] is True


async def test_at_the_same_time(again: Room) -> None:
    """All of them go through the ledger one by one: the first, ten repetitions, and one credential that lives."""
    token = again.identity_token()
    answers = await asyncio.gather(*(again.mint(token) for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {200: 11, 422: 9}
    secrets = [answer.json["token"] for answer in answers if answer.status == 200]
    statuses = [(await again.upload(secret, wheel())).status for secret in secrets]
    assert sorted(statuses) == [200] + [403] * 10
    assert {event.facts["repetition"] for event in await again.events("mint", "reminted")} == set(range(1, 11))


async def test_a_refused_repetition_changes_nothing(again: Room) -> None:
    token = again.identity_token()
    secret = (await again.mint(token)).json["token"]
    change = again.world.index.trust.change_issuer
    await change(again.slug, "gitlab", lambda issuer: replace(issuer, enabled=False), OPERATOR)
    refused(await again.mint(token), "not-enabled", token)
    await change(again.slug, "gitlab", lambda issuer: replace(issuer, enabled=True), OPERATOR)
    assert (await again.upload(secret, wheel())).status == 200


async def test_in_the_same_registry_only(room: Room) -> None:
    """With a fixed audience one token fits the exchanges of two registries."""
    other = await open_room(room.world, f"{room.slug}-other")
    for each in (room, other):
        change = room.world.index.trust.change_issuer
        await change(each.slug, "gitlab", lambda it: replace(it, remint=True, audience="shared"), OPERATOR)
        await each.publisher("widget")
    token = room.identity_token(audience="shared")
    secret = (await room.mint(token)).json["token"]
    await reused(other, token)
    assert (await room.upload(secret, wheel())).status == 200
    assert (await room.mint(token)).status == 200


async def union(world: World) -> None:
    for slug in ("acme", "other"):
        await world.registry(slug)
        await world.issuer(slug, remint=True)
        await world.publisher("widget", slug)


async def test_a_credential_for_several_registries_is_not_repeated(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    async with running_world(tmp_path, signers, host_mint="union") as world:
        await union(world)
        token = world.identity_token()
        assert (await world.mint(token)).json["scope"]["registries"] == ["acme", "other"]
        refused(await world.mint(token), "invalid-reuse-token", token)


async def test_by_the_host_wide_exchange(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme")
        await world.issuer(remint=True)
        await world.publisher("widget")
        token = world.identity_token()
        assert (await world.mint(token)).status == 200
        answer = await world.mint(token)
        assert answer.json["scope"]["registries"] == ["acme"]
        assert (await world.upload(answer.json["token"], wheel())).status == 200


async def test_two_servers_on_one_ledger(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as one, running_world(tmp_path, signers) as two:
        # Both draw the same numbers; the second begins where the first never comes.
        for _ in range(1000):
            two.index.entropy.draw(32)
        await one.registry("acme")
        await one.issuer(remint=True)
        await one.publisher("widget")
        token = one.identity_token()
        answers = await asyncio.gather(*(world.mint(token) for _ in range(8) for world in (one, two)))
        assert Counter(answer.status for answer in answers) == {200: 11, 422: 5}
        secrets = [answer.json["token"] for answer in answers if answer.status == 200]
        assert len(set(secrets)) == 11
        statuses = [(await one.upload(secret, wheel())).status for secret in secrets]
        assert sorted(statuses) == [200] + [403] * 10
