"""An identity token is exchanged once: group C of the behavioural cases, concurrency, and what spends nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core import credentials
from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from mintmark.service.ports import Transaction
from mintmark.service.steps import Step
from support.dists import wheel
from support.wire import SIMPLE_JSON, Network, Room, open_room, refused
from support.world import GITHUB, GITLAB, SELF_HOSTED, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUERS = pytest.mark.parametrize("url", [GITHUB, SELF_HOSTED], ids=["G0", "LS0"])
USED = "invalid token: already used"


@ISSUERS
async def test_c01_the_same_token_twice(room: Room, url: str) -> None:
    await room.publisher("widget", url=url)
    token = room.identity_token(url)
    assert (await room.mint(token)).status == 200
    for _ in range(2):
        assert refused(await room.mint(token), "invalid-reuse-token", token).startswith(USED)
    # Another token of the same job is another token.
    assert (await room.mint(room.identity_token(url))).status == 200
    assert len(await room.events("mint", "minted")) == 2


async def test_c01_hint_says_whether_the_job_can_get_another_token(room: Room) -> None:
    for url, hint in ((GITHUB, "Ask for a fresh identity token"), (SELF_HOSTED, "id_tokens")):
        await room.publisher("widget", url=url)
        token = room.identity_token(url)
        await room.mint(token)
        assert hint in refused(await room.mint(token), "invalid-reuse-token", token)


@ISSUERS
async def test_c02_of_concurrent_mints_exactly_one_succeeds(room: Room, url: str) -> None:
    await room.publisher("widget", url=url)
    token = room.identity_token(url)
    answers = await asyncio.gather(*(room.mint(token) for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {200: 1, 422: 19}
    for answer in answers:
        if answer.status == 422:
            refused(answer, "invalid-reuse-token", token)
    assert len(await room.events("mint", "minted")) == 1


async def test_c02_concurrent_mints_of_different_tokens_all_succeed(room: Room) -> None:
    await room.publisher("widget")
    answers = await asyncio.gather(*(room.mint(room.identity_token()) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["token"] for answer in answers}) == 20


@ISSUERS
async def test_c03_a_failed_match_spends_nothing(room: Room, url: str) -> None:
    token = room.identity_token(url)
    for _ in range(2):
        refused(await room.mint(token), "invalid-publisher", token)
    await room.publisher("widget", url=url)
    assert (await room.mint(token)).status == 200
    refused(await room.mint(token), "invalid-reuse-token", token)


async def test_c04_the_record_outlives_the_token(room: Room) -> None:
    await room.publisher("widget")
    now = int(room.clock.now())
    token = room.identity_token(iat=now - 100, exp=now - 20)
    assert (await room.mint(token)).status == 200
    refused(await room.mint(token), "invalid-reuse-token", token)
    room.clock.advance(9.9)
    refused(await room.mint(token), "invalid-reuse-token", token)
    room.clock.advance(1)
    refused(await room.mint(token), "invalid-token", token)


@ISSUERS
async def test_c05_token_without_jti(room: Room, url: str) -> None:
    await room.publisher("widget", url=url)
    token = room.identity_token(url, jti=None)
    assert "(Missing claim 'jti')" in refused(await room.mint(token), "invalid-publisher", token)


async def test_c07_jti_of_two_issuers(room: Room) -> None:
    await room.world.issuer(room.slug, GITLAB)
    for url in (SELF_HOSTED, GITLAB, GITHUB):
        await room.publisher("widget", url=url)
    for url in (SELF_HOSTED, GITLAB, GITHUB):
        assert (await room.mint(room.identity_token(url, jti="the-same"))).status == 200
    token = room.identity_token(GITLAB, jti="the-same")
    refused(await room.mint(token), "invalid-reuse-token", token)


async def test_c08_reused_token_that_matches_a_pending_publisher(room: Room) -> None:
    await room.publisher("widget")
    token = room.identity_token()
    assert (await room.mint(token)).status == 200
    await room.publisher("another")
    refused(await room.mint(token), "invalid-reuse-token", token)
    # The project was not created by a token that was used up.
    page = await room.get("/simple/another/", auth=await room.token())
    assert page.status == 404
    assert (await room.mint(room.identity_token())).json["scope"]["projects"] == ["another", "widget"]


async def test_c09_a_lost_race_leaves_no_credential(room: Room) -> None:
    await room.publisher("widget")
    token = room.identity_token()
    await asyncio.gather(*(room.mint(token) for _ in range(5)))

    def work(tx: Transaction) -> int:
        registry = tx.registries.find(room.slug)
        assert registry is not None
        return len(tx.credentials.of_registry(registry.id, credentials.MINTED))

    assert await room.world.index.ledger.read(work) == 1


async def test_replay_is_refused_across_the_exchanges_of_a_registry(room: Room) -> None:
    """The audiences differ, so no token fits two exchanges; and the record is the issuer's, not the registry's."""
    other = await open_room(room.world, f"{room.slug}-other")
    for each in (room, other):
        await each.publisher("widget")
    assert (await room.mint(room.identity_token(jti="one-job"))).status == 200
    token = other.identity_token(jti="one-job")
    refused(await other.mint(token), "invalid-reuse-token", token)


# -- what spends nothing ----------------------------------------------------------------------------------------------


async def test_unreachable_issuer_spends_nothing(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    network = Network(signers)
    network.cut.add(SELF_HOSTED)
    async with running_world(tmp_path, signers, keys=network) as world:
        await world.registry("acme")
        await world.issuer()
        await world.issuer("acme", GITHUB)
        for url in (SELF_HOSTED, GITHUB):
            await world.publisher("widget", url=url)
        token = world.identity_token()
        answer = await world.mint(token)
        refused(answer, "issuer-unavailable", token)
        assert answer.json["message"] == "Token request failed"
        assert int(answer.headers["Retry-After"]) > 0
        # One issuer's trouble is nobody else's.
        assert (await world.mint(world.identity_token(GITHUB))).status == 200
        network.cut.clear()
        assert (await world.mint(token)).status == 200


async def test_trouble_with_one_registrys_entry_is_not_the_others(
    tmp_path: Path, signers: Mapping[str, Signer]
) -> None:
    """Two registries trust one issuer on conditions of their own; the keys of one of them cannot be fetched."""
    network = Network(signers)
    network.cut_pinned = True
    async with running_world(tmp_path, signers, keys=network) as world:
        for slug, plain_http in (("broken", True), ("sound", False)):
            await world.registry(slug)
            await world.issuer(slug, allow_http=plain_http)
            await world.publisher("widget", slug)
        answer = await world.mint(world.identity_token())
        assert answer.status == 200, answer.body
        assert answer.json["scope"]["registries"] == ["sound"]
        token = world.identity_token(audience="mintmark_localhost_broken")
        refused(await world.mint(token, "/broken/_/oidc/mint-token"), "issuer-unavailable", token)
        await world.index.trust.remove_issuer("sound", "gitlab", OPERATOR)
        token = world.identity_token()
        refused(await world.mint(token), "issuer-unavailable", token)


@pytest.mark.parametrize("step", [Step.MINT_VERIFIED, Step.MINT_RECORDED])
async def test_a_bug_before_the_commit_spends_nothing(
    tmp_path: Path, signers: Mapping[str, Signer], step: Step
) -> None:
    broken = {step}

    def reached(at: Step) -> None:
        if at in broken:
            raise RuntimeError("a bug, for this test")

    async with running_world(tmp_path, signers, reached=reached) as world:
        await world.registry("acme")
        await world.issuer()
        await world.publisher("widget")
        token = world.identity_token()
        answer = await world.mint(token)
        assert "incident" in refused(answer, "internal-error", token)
        assert answer.json["incident"] in answer.json["detail"]
        assert answer.json["message"] == "Token request failed"
        assert "a bug" not in answer.body.decode().replace("This is a bug in Mintmark", "")
        assert "RuntimeError" not in answer.body.decode()
        assert await Room(world, "acme").events("mint", "minted") == []
        broken.clear()
        assert (await world.mint(token)).status == 200


# -- uploads at the same time -----------------------------------------------------------------------------------------


async def test_the_same_file_at_the_same_time(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    answers = await asyncio.gather(*(room.upload(secret, wheel()) for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert await room.names(secret, "widget") == ["widget-1.0-py3-none-any.whl"]


async def test_different_files_of_one_name_at_the_same_time(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    files = [wheel(body=str(number).encode()) for number in range(8)]
    answers = await asyncio.gather(*(room.upload(secret, file) for file in files))
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 7}
    for answer in answers:
        if answer.status == 400:
            refused(answer, "file-exists", secret)
    (kept,) = [file for file, answer in zip(files, answers, strict=True) if answer.status == 200]
    assert (await room.upload(secret, kept)).status == 200


async def test_many_projects_at_the_same_time(room: Room) -> None:
    token = await room.token()
    names = [f"part-{number}" for number in range(8)]
    answers = await asyncio.gather(*(room.upload(token, wheel(name)) for name in names))
    assert {answer.status for answer in answers} == {200}
    page = await room.get("/simple/", auth=token, headers=SIMPLE_JSON)
    assert [project["name"] for project in page.json["projects"]] == names


async def test_single_use_credential_at_the_same_time(room: Room) -> None:
    await room.publisher("widget")
    secret = (await room.mint(room.identity_token(), extra={"features": ["single-use-token"]})).json["token"]
    files = [wheel(version=f"{number}.0") for number in range(8)]
    answers = await asyncio.gather(*(room.upload(secret, file) for file in files))
    assert Counter(answer.status for answer in answers) == {200: 1, 403: 7}
