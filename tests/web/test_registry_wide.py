"""Registry-wide publishers: one identity for all projects that fit a pattern, those that exist and new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy
from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import Room, refused
from support.world import GITLAB, SELF_HOSTED, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_existing_projects_and_new_ones(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel("acme-old"))).status == 200
    await room.publisher("acme-*")
    answer = await room.mint(room.identity_token())
    assert (answer.status, answer.json["scope"]["projects"]) == (200, ["acme-*"])
    secret = answer.json["token"]
    for name in ("acme-old", "acme-new", "acme-new-too"):
        assert (await room.upload(secret, wheel(name, "2.0"))).status == 200
        assert (await room.get(f"/simple/{name}/", auth=secret)).status == 200
    for name in ("acme", "acmex", "other", "not-acme-old"):
        detail = refused(await room.upload(secret, wheel(name)), "not-allowed", secret)
        assert detail.endswith("It covers: acme-*.")
        refused(await room.get(f"/simple/{name}/", auth=secret), "not-found", secret)
    # The list of projects is not of these projects.
    refused(await room.get("/simple/", auth=secret), "not-found", secret)


async def test_it_is_no_pending_publisher(room: Room) -> None:
    await room.publisher("acme-*", project_id="11")
    (publisher,) = await room.publishers()
    assert (publisher.is_pending, publisher.project_id, publisher.expires_at) == (False, None, None)
    room.clock.advance(365 * 86_400)
    await room.world.index.sweep()
    assert len(await room.publishers()) == 1
    # Minting alone creates nothing.
    token = room.identity_token(project_id="11", job_project_id="11")
    assert (await room.mint(token)).status == 200
    assert await room.events("project-created") == []


async def test_beside_publishers_of_single_projects(room: Room) -> None:
    await room.publisher("acme-*")
    await room.publisher("widget")
    await room.publisher("acme-one", ref="refs/heads/release")
    answer = await room.mint(room.identity_token())
    assert answer.json["scope"]["projects"] == ["acme-*", "widget"]
    secret = answer.json["token"]
    for name in ("acme-one", "acme-two", "widget"):
        assert (await room.upload(secret, wheel(name))).status == 200
    assert "It covers: acme-*, widget." in refused(await room.upload(secret, wheel("x")), "not-allowed", secret)


async def test_a_pending_publisher_of_a_project_that_it_made_came_too_late(room: Room) -> None:
    await room.publisher("acme-*")
    secret = await room.credential()
    await room.publisher("acme-one", environment="release")
    assert (await room.upload(secret, wheel("acme-one"))).status == 200
    answer = await room.mint(room.identity_token(config={"environment": "release"}))
    assert answer.json["scope"]["projects"] == ["acme-*"]
    assert [each.project for each in await room.publishers()] == ["acme-*"]


async def test_within_its_issuers_patterns(room: Room) -> None:
    await room.world.issuer(room.slug, GITLAB, projects=["acme-lib-*", "acme-tool"])
    for pattern in ("acme-*", "*", "acme-lib*", "*-lib-*"):
        with pytest.raises(Rejected, match="is trusted for acme-lib"):
            await room.publisher(pattern, url=GITLAB)
    await room.publisher("acme-lib-*", url=GITLAB)
    secret = await room.credential(GITLAB)
    assert (await room.upload(secret, wheel("acme-lib-one"))).status == 200
    # Trust that was taken back counts at once, for credentials that are out, too.
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab-com", lambda issuer: replace(issuer, projects=("acme-lib-b*",)), OPERATOR)
    refused(await room.upload(secret, wheel("acme-lib-one", "2.0")), "not-allowed", secret)
    refused(await room.get("/simple/acme-lib-one/", auth=secret), "not-found", secret)
    assert (await room.upload(secret, wheel("acme-lib-bar"))).status == 200
    token = room.identity_token(GITLAB)
    refused(await room.mint(token), "invalid-publisher", token)


async def test_within_its_registrys_policy(room: Room) -> None:
    await room.change(policy=Policy(projects=("acme-*",)))
    with pytest.raises(Rejected, match="is for acme-"):
        await room.publisher("*")
    await room.publisher("acme-*")
    secret = await room.credential()
    assert (await room.upload(secret, wheel("acme-one"))).status == 200
    await room.change(policy=Policy(projects=("acme-one",)))
    refused(await room.upload(secret, wheel("acme-two")), "policy-refused", secret)
    with pytest.raises(Rejected, match="is for acme-"):
        await room.world.index.trust.change_registry(
            room.slug, lambda it: replace(it, policy=Policy(projects=("acme-b*",))), OPERATOR
        )


async def test_names_that_people_confuse_are_refused_for_new_projects(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel("acme-tool"))).status == 200
    await room.publisher("acme-*")
    secret = await room.credential()
    refused(await room.upload(secret, wheel("acme-t00l")), "policy-refused", secret)


@pytest.mark.parametrize("status", ["archived", "quarantined"])
async def test_closed_projects_take_nothing(room: Room, status: str) -> None:
    await room.publisher("acme-*")
    secret = await room.credential()
    for name in ("acme-one", "acme-two"):
        assert (await room.upload(secret, wheel(name))).status == 200
    room.set_status("acme-one", status)
    assert f"is {status}" in refused(await room.upload(secret, wheel("acme-one", "2.0")), "not-allowed", secret)
    assert (await room.upload(secret, wheel("acme-two", "2.0"))).status == 200


async def test_constraints_hold_for_each_project(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel("acme-old"))).status == 200
    await room.publisher("acme-*", allow="create-only")
    secret = await room.credential()
    assert (await room.upload(secret, wheel("acme-new", "1.0"))).status == 200
    for name in ("acme-old", "acme-new"):
        detail = refused(await room.upload(secret, wheel(name, "2.0")), "not-allowed", secret)
        assert "may only create" in detail


async def test_one_that_never_creates_a_project(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel("acme-old"))).status == 200
    await room.publisher("acme-*", allow="upload-only", tag="v{version}")
    secret = await room.credential(ref="refs/tags/v2.0")
    assert (await room.upload(secret, wheel("acme-old", "2.0"))).status == 200
    assert "only from the tag" in refused(await room.upload(secret, wheel("acme-old", "3.0")), "not-allowed", secret)
    assert "never creates" in refused(await room.upload(secret, wheel("acme-new", "2.0")), "not-allowed", secret)


async def test_what_ends_it_at_once(room: Room) -> None:
    number = await room.publisher("acme-*")
    secret = await room.credential()
    assert (await room.upload(secret, wheel("acme-one"))).status == 200
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=False), OPERATOR)
    detail = refused(await room.upload(secret, wheel("acme-one", "2.0")), "not-allowed", secret)
    assert detail.endswith("Its publisher is gone or switched off.")
    refused(await room.get("/simple/acme-one/", auth=secret), "not-found", secret)
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=True), OPERATOR)
    assert (await room.upload(secret, wheel("acme-one", "2.0"))).status == 200
    await room.world.index.trust.remove_publisher(room.slug, number, OPERATOR)
    refused(await room.upload(secret, wheel("acme-one", "3.0")), "not-allowed", secret)
    await room.publisher("acme-*")
    refused(await room.upload(secret, wheel("acme-one", "3.0")), "not-allowed", secret)


async def test_it_reaches_no_other_registry(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, host_mint="union") as world:
        for slug in ("acme", "other", "third"):
            await world.registry(slug)
            await world.issuer(slug)
        await world.publisher("a-*", "acme")
        await world.publisher("b-*", "other")
        answer = await world.mint(world.identity_token(SELF_HOSTED))
        assert answer.json["scope"]["projects"] == ["a-*", "b-*"]
        secret = answer.json["token"]
        assert (await world.upload(secret, wheel("a-one"), "acme")).status == 200
        assert (await world.upload(secret, wheel("b-one"), "other")).status == 200
        for slug, name in (("acme", "b-one"), ("other", "a-one"), ("third", "a-one")):
            refused(await world.upload(secret, wheel(name), slug), "not-allowed", secret)
            refused(await world.get(f"/{slug}/simple/{name}/", auth=secret), "not-found", secret)


async def test_a_registry_that_publishers_read(room: Room) -> None:
    await room.change(publishers_read=True)
    assert (await room.upload(await room.token(), wheel("other"))).status == 200
    number = await room.publisher("acme-*")
    secret = await room.credential()
    assert (await room.get("/simple/other/", auth=secret)).status == 200
    assert (await room.get("/simple/", auth=secret)).status == 200
    await room.world.index.trust.remove_publisher(room.slug, number, OPERATOR)
    refused(await room.get("/simple/other/", auth=secret), "not-found", secret)
