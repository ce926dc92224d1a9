"""Limits by the minute, with a clock that stands still."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core import credentials
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import PROBLEM, PYTP, Room, open_room, refused
from support.world import GITHUB, SELF_HOSTED, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = credentials.compose(credentials.MINTED, b"\3" * 32)


async def start_of_a_minute(world: World) -> None:
    world.clock.advance(60 - world.clock.now() % 60)


async def test_mints_of_one_address(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, mints_per_address_per_minute=5) as world:
        room = await open_room(world, "acme")
        await room.publisher("widget")
        await start_of_a_minute(world)
        # Whatever becomes of them, and burning as well: each is a try.
        assert (await room.mint(room.identity_token())).status == 200
        refused(await room.mint("x"), "invalid-payload")
        refused(await room.mint(room.identity_token(project_path="x/y")), "invalid-publisher")
        for _ in range(2):
            assert (await world.request("POST", "/_/oidc/burn-token", json={"token": "x"})).status == 202
        token = room.identity_token()
        for number in range(3):
            answer = await room.mint(token, headers={"Accept": PYTP if number else "*/*"})
            refused(answer, "rate-limited", token)
            assert answer.headers["Content-Type"] == (PROBLEM if number else "application/json")
            assert answer.json["message"] == "Token request failed"
            assert 1 <= int(answer.headers["Retry-After"]) <= 61
        refused(await world.request("POST", "/_/oidc/burn-token", json={"token": "x"}), "rate-limited")
        # Discovery and uploads are not counted.
        assert (await world.get("/.well-known/pytp?discover=%2Facme%2Flegacy%2F")).status == 200
        assert (await world.get("/acme/_/oidc/audience")).status == 200
        # After the time that was said, the same token works: nothing of it was spent.
        world.clock.advance(int(answer.headers["Retry-After"]))
        assert (await room.mint(token)).status == 200


async def test_window(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, mints_per_address_per_minute=1) as world:
        await start_of_a_minute(world)
        for _ in range(3):
            refused(await world.mint("x"), "invalid-payload")
            world.clock.advance(59.5)
            refused(await world.mint("x"), "rate-limited")
            world.clock.advance(0.5)


async def test_mints_for_one_issuer(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, mints_per_issuer_per_minute=2) as world:
        room = await open_room(world, "acme")
        for url in (SELF_HOSTED, GITHUB):
            await room.publisher("widget", url=url)
        await start_of_a_minute(world)
        # What somebody else forged in its name is not the issuer's.
        forger = Signer("RS256", world.signers[SELF_HOSTED].kid)
        for _ in range(5):
            token = forger.sign(world.claims(SELF_HOSTED, room.audience))
            refused(await room.mint(token), "invalid-token", token)
        for _ in range(2):
            assert (await room.mint(room.identity_token())).status == 200
        token = room.identity_token()
        answer = await room.mint(token)
        assert "issuer" in refused(answer, "rate-limited", token)
        # One issuer never slows another.
        assert (await room.mint(room.identity_token(GITHUB))).status == 200
        world.clock.advance(int(answer.headers["Retry-After"]))
        assert (await room.mint(token)).status == 200


async def test_wrong_credentials_of_one_address(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, failed_credentials_per_address_per_minute=4) as world:
        room = await open_room(world, "acme")
        token = await room.token()
        await start_of_a_minute(world)
        # No credential is no wrong one: every client begins without.
        for _ in range(6):
            refused(await room.get("/simple/"), "credential-required")
            refused(await room.get("/simple/", auth=""), "credential-required")
            refused(await room.upload(None, wheel()), "credential-required")
            assert (await room.get("/simple/", auth=token)).status == 200
        for _ in range(2):
            refused(await room.get("/simple/", auth=UNKNOWN), "credential-invalid", UNKNOWN)
            refused(await room.upload(UNKNOWN, wheel()), "credential-refused", UNKNOWN)
        answer = await room.get("/simple/", auth=UNKNOWN)
        assert "wrong credentials" in refused(answer, "rate-limited", UNKNOWN)
        # The right one is not told from a wrong one meanwhile.
        for secret in (UNKNOWN, token):
            for refusal in (await room.get("/simple/", auth=secret), await room.upload(secret, wheel())):
                assert refusal.body == answer.body
        world.clock.advance(int(answer.headers["Retry-After"]))
        assert (await room.get("/simple/", auth=token)).status == 200
        assert (await room.upload(token, wheel())).status == 200


async def test_expired_and_burned_credentials_count(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, failed_credentials_per_address_per_minute=2) as world:
        room = await open_room(world, "acme")
        await room.publisher("widget")
        secret = await room.credential()
        await start_of_a_minute(world)
        await world.request("POST", "/_/oidc/burn-token", json={"token": secret})
        for _ in range(2):
            refused(await room.upload(secret, wheel()), "credential-refused", secret)
        refused(await room.upload(secret, wheel()), "rate-limited", secret)


async def test_public_pages_are_not_limited(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, failed_credentials_per_address_per_minute=1) as world:
        await world.registry("open", private=False)
        for _ in range(5):
            assert (await world.get("/open/simple/", auth=UNKNOWN)).status == 200


async def test_no_limits(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """0 switches each of them off: the worlds of the other tests."""
    async with running_world(tmp_path, signers) as world:
        room = Room(world, "acme")
        await world.registry("acme")
        for _ in range(100):
            refused(await world.mint("x"), "invalid-payload")
        for _ in range(100):
            refused(await room.get("/simple/", auth=UNKNOWN), "credential-invalid")
