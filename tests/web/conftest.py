"""A world for a whole module, where starting one for each of many cases would cost more than the cases."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from mintmark.lab.signer import Signer
from support.wire import Room, open_room
from support.world import GITHUB, GITLAB, SELF_HOSTED, World, running_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, signers: Mapping[str, Signer]) -> AsyncIterator[World]:
    """A running index: `acme` (private) trusts three issuers and has the publisher of `widget` for each of them;
    `open` (public) trusts the self-hosted GitLab for `gadget`; `plain` has no exchange."""
    async with running_world(tmp_path_factory.mktemp("house"), signers) as started:
        await started.registry("acme")
        for url in (SELF_HOSTED, GITHUB, GITLAB):
            await started.issuer("acme", url)
            await started.publisher("widget", url=url)
        await started.registry("open", private=False, host_mint=False)
        await started.issuer("open", SELF_HOSTED)
        await started.publisher("gadget", "open")
        await started.registry("plain")
        yield started


_NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module")
async def room(house: World) -> Room:
    """A private registry for one test."""
    return await open_room(house, f"room-{next(_NUMBERS)}")


@pytest_asyncio.fixture(loop_scope="module")
async def public_room(house: World) -> Room:
    """A public registry for one test."""
    return await open_room(house, f"public-{next(_NUMBERS)}", private=False)
