"""An organisation that signs its own identity tokens: from `idp init` to a published file, as it says itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mintmark.store.keys_http import HttpKeys
from support.clock import FrozenClock
from support.dists import wheel
from support.server import mintmark
from support.world import HOST_AUDIENCE, World, running_world

SUBJECT = "release:acme-widget"


@dataclass
class Organisation:
    """An index, and the machine of somebody who holds the signing key."""

    world: World
    folder: Path

    async def run(self, *words: str) -> str:
        """A command that succeeds."""
        variables = {"MINTMARK_CONFIG": str(self.folder / "mintmark.toml")}
        done = await asyncio.to_thread(mintmark, *words, folder=self.folder, variables=variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def token(self, *more: str, folder: str = "idp", subject: str = SUBJECT, audience: str = "") -> str:
        words = ("--subject", subject, "--audience", audience or HOST_AUDIENCE)
        return (await self.run("idp", "sign", folder, *words, *more)).strip()

    async def apply(self) -> None:
        """Publish the key set that is current, and apply the trust file."""
        (self.folder / "jwks.json").write_text(await self.run("idp", "keys", "idp"))
        await self.run("apply", "--yes", "trust.toml")


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Organisation]:
    """An index that trusts the organisation by the lines that `idp init` printed."""
    clock = FrozenClock(time.time())
    keys = HttpKeys(clock)
    try:
        async with running_world(tmp_path, {}, clock=clock, keys=keys) as world:
            values = {"data_dir": "data", "base_url": world.index.settings.base_url, "audience": HOST_AUDIENCE}
            lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
            (tmp_path / "mintmark.toml").write_text("\n".join(lines) + "\n")
            started = Organisation(world, tmp_path)
            printed = await started.run("idp", "init", "idp", "--issuer", "https://identity.acme.example")
            trust = printed[printed.index("[registry") : printed.index("\nThen:")]
            (tmp_path / "trust.toml").write_text("[registry.acme]\n\n" + trust)
            await started.apply()
            yield started
    finally:
        await keys.close()


async def test_mint_and_upload(acme: Organisation) -> None:
    token = await acme.token("--claim", "commit=4f2a")
    minted = await acme.world.mint(token)
    assert minted.status == 200, minted.body
    done = await acme.world.upload(minted.json["token"], wheel("acme-widget"))
    assert done.status == 200, done.body
    assert (await acme.world.mint(token)).code == "invalid-reuse-token"


async def test_what_the_index_refuses(acme: Organisation) -> None:
    assert (await acme.world.mint(await acme.token(subject="release:other"))).code == "invalid-publisher"
    assert (await acme.world.mint(await acme.token(audience="mintmark_elsewhere"))).code == "invalid-token"
    # Somebody else who says to be the same issuer.
    await acme.run("idp", "init", "forger", "--issuer", "https://identity.acme.example")
    assert (await acme.world.mint(await acme.token(folder="forger"))).code == "invalid-token"
    late = await acme.token("--lifetime", "1m")
    acme.world.clock.advance(120)
    assert (await acme.world.mint(late)).code == "invalid-token"


async def test_rotation_without_a_gap(acme: Organisation) -> None:
    await acme.run("idp", "rotate", "idp", "--begin", "1h")
    await acme.apply()
    assert (await acme.world.mint(await acme.token())).status == 200, "still the old key, the new one is known"
    waiting = await acme.token()
    # In an emergency: at once, and nothing that was signed before counts any more.
    await acme.run("idp", "rotate", "idp", "--keep", "none")
    fresh = await acme.token()
    assert (await acme.world.mint(fresh)).code == "invalid-token", "the index does not know the new key yet"
    await acme.apply()
    assert (await acme.world.mint(fresh)).status == 200
    assert (await acme.world.mint(waiting)).code == "invalid-token"
