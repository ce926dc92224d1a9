"""What was minted, and what waits, when trust changes or another registry knows the issuer by another table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from mintmark.core.records import OPERATOR, Registry
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import Room, refused
from support.world import SELF_HOSTED, running_world, upload_form

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_ref_is_that_of_the_registry_that_is_published_to(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("aaa")
        await world.issuer("aaa", SELF_HOSTED, "ci", provider="generic")
        await world.registry("bbb")
        await world.issuer("bbb")
        await world.publisher("widget", "bbb", tag="v{version}")
        answer = await world.mint(world.identity_token(ref="refs/tags/v1.0"))
        assert answer.status == 200
        assert (await world.upload(answer.json["token"], wheel("widget", "1.0"), "bbb")).status == 200


async def test_what_waits_unprotected_lapses_when_nobody_uses_it(room: Room) -> None:
    await room.publisher("widget")
    other = await room.publisher("widget", project_path="team/other")
    assert (await room.mint(room.identity_token(project_id="11", job_project_id="11"))).status == 200
    (waiting,) = [each for each in await room.publishers() if each.id == other]
    assert waiting.project_id is not None
    assert waiting.expires_at is not None


async def test_repinning_ends_what_the_former_identity_got(room: Room) -> None:
    number = await room.publisher("widget")
    secret = (await room.mint(room.identity_token(project_id="11", job_project_id="11"))).json["token"]
    await room.world.index.trust.repin_publisher(room.slug, number, "11", "12", OPERATOR)
    refused(await room.upload(secret, wheel("widget", "1.0")), "credential-refused", secret)


async def test_a_policy_that_changes_during_an_upload_holds(room: Room) -> None:
    """The body comes in two parts; between them the registry becomes one for other projects."""
    secret = await room.token()
    form = upload_form(wheel("acme-new", "1.0"))()
    body = await form.as_bytes()

    def narrowed(registry: Registry) -> Registry:
        return replace(registry, policy=replace(registry.policy, projects=("other-*",)))

    async def parts() -> AsyncIterator[bytes]:
        yield body[:-200]
        await room.world.index.trust.change_registry(room.slug, narrowed, OPERATOR)
        yield body[-200:]

    headers = {"Content-Type": form.headers["Content-Type"], "Content-Length": str(len(body))}
    answer = await room.world.request(
        "POST", f"/{room.slug}/legacy/", auth=secret, data=aiohttp.AsyncIterablePayload(parts()), headers=headers
    )
    refused(answer, "policy-refused", secret)
