"""Readers: identities that install from a private registry without a secret, and upload nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import SIMPLE_JSON, Room, open_room, refused
from support.world import GITLAB, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def filled(room: Room, *names: str) -> Room:
    """Projects to read."""
    for name in names or ("acme-one", "acme-two", "other"):
        assert (await room.upload(await room.token(), wheel(name))).status == 200
    return room


async def file_of(room: Room, name: str, secret: str) -> int:
    """The status of a file of a project, whose page the token of an operator shows."""
    page = await room.get(f"/simple/{name}/", auth=await room.token(), headers=SIMPLE_JSON)
    path = page.json["files"][0]["url"].removeprefix("../..")
    return (await room.get(path, auth=secret)).status


async def test_the_whole_registry(room: Room) -> None:
    await filled(room)
    await room.publisher("*", reads=True)
    answer = await room.mint(room.identity_token())
    assert answer.status == 200
    assert answer.json["scope"] == {
        "registries": [room.slug], "projects": [], "reads": ["*"], "single-use": False,
    }  # fmt: skip
    secret = answer.json["token"]
    listed = await room.get("/simple/", auth=secret, headers=SIMPLE_JSON)
    assert [each["name"] for each in listed.json["projects"]] == ["acme-one", "acme-two", "other"]
    for name in ("acme-one", "other"):
        assert (await room.get(f"/simple/{name}/", auth=secret)).status == 200
        assert await file_of(room, name, secret) == 200
    (event,) = await room.events("mint", "minted")
    assert (event.facts["projects"], event.facts["reads"]) == ([], ["*"])


@pytest.mark.parametrize("name", ["acme-one", "acme-new", "other"])
async def test_never_uploads(room: Room, name: str) -> None:
    await filled(room, "acme-one")
    await room.publisher("*", reads=True)
    secret = await room.credential()
    refused(await room.upload(secret, wheel(name, "2.0")), "not-allowed", secret)


async def test_some_projects(room: Room) -> None:
    await filled(room)
    await room.publisher("acme-*", reads=True)
    secret = await room.credential()
    for name, seen in (("acme-one", True), ("acme-two", True), ("other", False)):
        assert (await room.get(f"/simple/{name}/", auth=secret)).status == (200 if seen else 404)
        assert await file_of(room, name, secret) == (200 if seen else 404)
    refused(await room.get("/simple/", auth=secret), "not-found", secret)


async def test_a_single_project_is_read_by_its_name_and_never_created(room: Room) -> None:
    await room.publisher("Acme.One", reads=True)
    (reader,) = await room.publishers()
    assert (reader.project, reader.is_pending) == ("acme-one", False)
    secret = await room.credential()
    refused(await room.get("/simple/acme-one/", auth=secret), "not-found", secret)
    assert await room.events("project-created") == []
    await filled(room)
    assert (await room.get("/simple/acme-one/", auth=secret)).status == 200
    refused(await room.get("/simple/acme-two/", auth=secret), "not-found", secret)


async def test_one_mint_grants_both(room: Room) -> None:
    await filled(room)
    await room.publisher("widget")
    await room.publisher("acme-*", reads=True)
    answer = await room.mint(room.identity_token())
    assert answer.json["scope"]["projects"] == ["widget"]
    assert answer.json["scope"]["reads"] == ["acme-*"]
    secret = answer.json["token"]
    assert (await room.upload(secret, wheel("widget"))).status == 200
    for name in ("widget", "acme-one"):
        assert (await room.get(f"/simple/{name}/", auth=secret)).status == 200
    refused(await room.get("/simple/other/", auth=secret), "not-found", secret)
    # What is read is no way to upload.
    detail = refused(await room.upload(secret, wheel("acme-one", "2.0")), "not-allowed", secret)
    assert detail.endswith("It covers: widget.")


async def test_the_same_identity_and_project_twice(room: Room) -> None:
    """To read and to upload are two entries, of which one can go."""
    await filled(room)
    uploads = await room.publisher("acme-one")
    reads = await room.publisher("acme-one", reads=True)
    secret = await room.credential()
    assert (await room.upload(secret, wheel("acme-one", "2.0"))).status == 200
    await room.world.index.trust.remove_publisher(room.slug, uploads, OPERATOR)
    refused(await room.upload(secret, wheel("acme-one", "3.0")), "not-allowed", secret)
    assert (await room.get("/simple/acme-one/", auth=secret)).status == 200
    await room.world.index.trust.remove_publisher(room.slug, reads, OPERATOR)
    refused(await room.get("/simple/acme-one/", auth=secret), "not-found", secret)


async def test_identity_and_constraints_are_judged_as_of_any_publisher(room: Room) -> None:
    await room.publisher("*", reads=True, ref="refs/heads/main", environment="ci")
    for config, ref in (({}, "refs/heads/main"), ({"environment": "ci"}, "refs/heads/other")):
        token = room.identity_token(config=config, ref=ref)
        refused(await room.mint(token), "invalid-publisher", token)
    token = room.identity_token(config={"environment": "ci"}, ref="refs/heads/main")
    assert (await room.mint(token)).status == 200


async def test_it_learns_ids_too(room: Room) -> None:
    await room.publisher("*", reads=True)
    assert (await room.mint(room.identity_token(project_id="1", job_project_id="1"))).status == 200
    token = room.identity_token(project_id="2", job_project_id="2")
    refused(await room.mint(token), "invalid-publisher", token)


async def test_an_issuers_patterns_are_about_publishing(room: Room) -> None:
    await filled(room)
    await room.world.issuer(room.slug, GITLAB, projects=["team-*"])
    await room.publisher("*", url=GITLAB, reads=True)
    secret = await room.credential(GITLAB)
    assert (await room.get("/simple/acme-one/", auth=secret)).status == 200


async def test_a_registry_that_publishers_read_is_not_for_readers_of_some_projects(room: Room) -> None:
    await filled(room)
    await room.change(publishers_read=True)
    await room.publisher("acme-*", reads=True)
    secret = await room.credential()
    refused(await room.get("/simple/other/", auth=secret), "not-found", secret)
    refused(await room.get("/simple/", auth=secret), "not-found", secret)


async def test_what_ends_it_at_once(room: Room) -> None:
    await filled(room)
    number = await room.publisher("*", reads=True)
    secret = await room.credential()
    assert (await room.get("/simple/other/", auth=secret)).status == 200
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=False), OPERATOR)
    refused(await room.get("/simple/other/", auth=secret), "not-found", secret)
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=True), OPERATOR)
    assert (await room.get("/simple/other/", auth=secret)).status == 200
    await room.world.index.trust.remove_publisher(room.slug, number, OPERATOR)
    refused(await room.get("/simple/other/", auth=secret), "not-found", secret)
    room.clock.advance(901)
    refused(await room.get("/simple/other/", auth=secret), "credential-invalid", secret)


async def test_another_registry_is_not_read(room: Room) -> None:
    other = await filled(await open_room(room.world, f"{room.slug}-other"))
    await room.publisher("*", reads=True)
    secret = await room.credential()
    refused(await other.get("/simple/other/", auth=secret), "not-found", secret)
    refused(await other.get("/simple/", auth=secret), "not-found", secret)


async def test_the_host_wide_exchange(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """Reading several registries is no reason to be asked which; publishing decides, and nothing is read elsewhere."""
    async with running_world(tmp_path, signers) as world:
        for slug in ("acme", "other"):
            await world.registry(slug)
            await world.issuer(slug)
            assert (await world.upload(await world.token(slug), wheel("gadget"), slug)).status == 200
        await world.publisher("*", "acme", reads=True)
        answer = await world.mint(world.identity_token())
        assert answer.json["scope"]["registries"] == ["acme"]
        await world.publisher("*", "other", reads=True)
        token = world.identity_token()
        refused(await world.mint(token), "ambiguous-registry", token)
        await world.publisher("gadget", "acme")
        answer = await world.mint(world.identity_token())
        assert answer.json["scope"] == {
            "registries": ["acme"], "projects": ["gadget"], "reads": ["*"], "single-use": False,
        }  # fmt: skip
        secret = answer.json["token"]
        assert (await world.get("/acme/simple/gadget/", auth=secret)).status == 200
        refused(await world.get("/other/simple/gadget/", auth=secret), "not-found", secret)


async def test_a_pending_publisher_beside_a_reader_elsewhere(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """The host-wide exchange creates nothing where something else matched as well."""
    async with running_world(tmp_path, signers) as world:
        for slug in ("acme", "other"):
            await world.registry(slug)
            await world.issuer(slug)
        await world.publisher("*", "acme", reads=True)
        await world.publisher("new", "other")
        answer = await world.mint(world.identity_token())
        assert (answer.json["scope"]["registries"], answer.json["scope"]["projects"]) == (["acme"], [])
        assert await Room(world, "other").events("project-created") == []
