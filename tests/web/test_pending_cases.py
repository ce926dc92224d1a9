"""Pending publishers create their projects: what applies of group G of the behavioural cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import SIMPLE_JSON, Room, refused
from support.world import GITHUB, HOST_AUDIENCE, SELF_HOSTED, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = 86_400


async def test_g01_first_use_creates_the_project(room: Room) -> None:
    await room.publisher("does-not-exist")
    assert [each.project_id for each in await room.publishers()] == [None]
    answer = await room.mint(room.identity_token())
    assert (answer.status, answer.json["scope"]["projects"]) == (200, ["does-not-exist"])
    (publisher,) = await room.publishers()
    assert publisher.project_id is not None
    assert publisher.expires_at is None
    (created,) = await room.events("project-created")
    assert (created.project, created.facts["by"]) == ("does-not-exist", "pending publisher")
    assert created.principal.kind == "publisher"
    assert (await room.upload(answer.json["token"], wheel("does-not-exist"))).status == 200
    # Created once.
    assert (await room.mint(room.identity_token())).status == 200
    assert len(await room.events("project-created")) == 1


async def test_g02_publishers_waiting_for_one_project_get_it_together(room: Room) -> None:
    """Two CI systems for one new project: whichever comes first, the other one still works.

    Deviation: PyPI deletes the pending publishers of *other users*; here all of them are the operator's.
    """
    await room.publisher("widget", url=SELF_HOSTED)
    await room.publisher("widget", url=GITHUB)
    await room.publisher("widget", url=GITHUB, ref="refs/heads/release")
    for url in (SELF_HOSTED, GITHUB):
        assert (await room.mint(room.identity_token(url))).json["scope"]["projects"] == ["widget"]
    assert len({each.project_id for each in await room.publishers()}) == 1
    assert len(await room.events("project-created")) == 1


async def test_g03_project_that_exists_already(room: Room) -> None:
    await room.publisher("widget")
    assert (await room.upload(await room.token(), wheel())).status == 200
    token = room.identity_token()
    detail = refused(await room.mint(token), "invalid-pending-publisher", token)
    assert detail.startswith("valid token, but project already exists")
    # The entry is gone, and the token was not spent.
    assert await room.publishers() == []
    refused(await room.mint(token), "invalid-publisher", token)
    await room.publisher("widget")
    assert (await room.mint(token)).status == 200


async def test_g03_beside_another_publisher_that_matches(room: Room) -> None:
    await room.publisher("widget")
    await room.publisher("gadget")
    assert (await room.upload(await room.token(), wheel())).status == 200
    answer = await room.mint(room.identity_token())
    assert (answer.status, answer.json["scope"]["projects"]) == (200, ["gadget"])
    assert [each.project for each in await room.publishers()] == ["gadget"]


async def test_g04_a_name_that_the_registry_does_not_hold(room: Room) -> None:
    """Deviation: refused when it is registered, not when it is used; and at the upload, if that changed since."""
    await room.publisher("widget")
    await room.change(policy=Policy(projects=("acme-*",)))
    with pytest.raises(Rejected, match="is for gadget, but the registry"):
        await room.publisher("gadget")
    secret = await room.credential()
    refused(await room.upload(secret, wheel("widget")), "policy-refused", secret)


async def test_g04_a_name_that_people_take_for_another(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel("widget"))).status == 200
    await room.publisher("w1dget")
    secret = await room.credential()
    refused(await room.upload(secret, wheel("w1dget")), "policy-refused", secret)


async def test_g11_registering_what_cannot_be(room: Room) -> None:
    for name in ("wid get", "-widget", "widget!", "", "ẃidget"):
        with pytest.raises(Rejected, match=r"not a project name|lacks project"):
            await room.publisher(name)
    await room.publisher("Wid_get")
    with pytest.raises(Rejected, match="registered already"):
        await room.publisher("wid.get")
    with pytest.raises(Rejected, match="never creates it"):
        await room.publisher("gadget", allow="upload-only")
    # Deviation: for a project that exists it is an ordinary publisher.
    assert (await room.upload(await room.token(), wheel("there"))).status == 200
    await room.publisher("there")
    assert {each.project: each.is_pending for each in await room.publishers()} == {"wid-get": True, "there": False}


async def test_g06_an_identity_that_publishes_another_project_already(room: Room) -> None:
    await room.publisher("first")
    assert (await room.mint(room.identity_token())).status == 200
    await room.publisher("second")
    secret = await room.credential()
    for name in ("first", "second"):
        assert (await room.upload(secret, wheel(name))).status == 200


async def test_g07_upload_under_another_name(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    # Deviation: 403 naming what the credential covers, where PyPI says 400.
    detail = refused(await room.upload(secret, wheel("gadget")), "not-allowed", secret)
    assert detail == "The credential does not cover the project gadget. It covers: widget."
    assert (await room.get("/simple/gadget/", auth=await room.token())).status == 404
    assert (await room.upload(secret, wheel())).status == 200


async def test_g08_pending_publisher_lapses_after_thirty_days(room: Room) -> None:
    await room.publisher("widget")
    room.clock.advance(30 * DAY - 1)
    token = room.identity_token()
    room.clock.advance(1)
    refused(await room.mint(token), "invalid-publisher", token)
    assert await room.events("project-created") == []


async def test_g08_used_in_time_it_stays(room: Room) -> None:
    await room.publisher("widget")
    room.clock.advance(30 * DAY - 1)
    assert (await room.mint(room.identity_token())).status == 200
    room.clock.advance(400 * DAY)
    assert (await room.mint(room.identity_token())).status == 200


async def test_g10_g12_one_identity_many_new_projects(room: Room) -> None:
    names = [f"part-{number:02}" for number in range(10)]
    for name in names:
        await room.publisher(name)
    answer = await room.mint(room.identity_token())
    assert answer.json["scope"]["projects"] == names
    for name in names[:3]:
        assert (await room.upload(answer.json["token"], wheel(name))).status == 200


async def test_created_project_is_not_listed_before_its_first_file(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    token = await room.token()
    assert (await room.get("/simple/", auth=token, headers=SIMPLE_JSON)).json["projects"] == []
    assert (await room.get("/simple/widget/", auth=token)).status == 404
    assert (await room.upload(secret, wheel())).status == 200
    assert (await room.get("/simple/", auth=token, headers=SIMPLE_JSON)).json["projects"] == [{"name": "widget"}]


async def test_host_wide_mint_creates_nothing_beside_another_registry(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    async with running_world(tmp_path, signers) as world:
        for slug in ("acme", "other"):
            await world.registry(slug)
            await world.issuer(slug)
        await world.publisher("widget", "acme")
        assert (await world.mint(world.identity_token())).status == 200
        await world.publisher("gadget", "other")
        answer = await world.mint(world.identity_token(audience=HOST_AUDIENCE))
        scope = {"registries": ["acme"], "projects": ["widget"], "reads": [], "single-use": False}
        assert answer.json["scope"] == scope
        assert [each.project_id for each in await Room(world, "other").publishers()] == [None]
        # In its own registry's exchange it does.
        token = world.identity_token(audience="mintmark_localhost_other")
        answer = await world.mint(token, "/other/_/oidc/mint-token")
        assert answer.json["scope"]["projects"] == ["gadget"]


async def test_two_pending_publishers_in_two_registries_are_ambiguous(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    async with running_world(tmp_path, signers) as world:
        for slug in ("acme", "other"):
            await world.registry(slug)
            await world.issuer(slug)
            await world.publisher("widget", slug)
        token = world.identity_token()
        refused(await world.mint(token), "ambiguous-registry", token)
        assert await Room(world, "acme").events("project-created") == []
