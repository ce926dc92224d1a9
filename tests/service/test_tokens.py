"""API tokens: created once, told once, ended at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mintmark.assemble import Index
from mintmark.core import credentials
from mintmark.core.errors import Rejected
from mintmark.core.records import OPERATOR, Credential
from mintmark.core.trust import Host, parse_registry
from mintmark.service.tokens import NAME_MAX_CHARACTERS, Tokens
from mintmark.settings import Settings
from support.clock import FrozenClock, SeededEntropy
from support.dists import wheel
from support.world import World

HOST = Host("localhost", "mintmark_localhost")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    settings = msgspec.convert({"data_dir": str(tmp_path / "data"), "base_url": "http://localhost:1"}, Settings)
    opened = Index(settings, clock=FrozenClock(), entropy=SeededEntropy())
    try:
        for slug, entry in (("acme", {}), ("other", {}), ("strict", {"trusted-publishing-only": True})):
            await opened.trust.add_registry(parse_registry(slug, entry, HOST), OPERATOR)
        yield opened
    finally:
        await opened.close()


async def create(tokens: Tokens, slug: str = "acme", **changes: Any) -> tuple[str, Credential]:
    wanted: dict[str, Any] = {
        "name": "jo",
        "projects": ["*"],
        "can_upload": True,
        "can_read": True,
        "lifetime_seconds": 60,
    }
    wanted |= changes
    return await tokens.create(slug, wanted.pop("name"), wanted.pop("projects"), principal=OPERATOR, **wanted)


async def test_a_token_is_told_once_and_stored_as_its_digest(index: Index) -> None:
    secret, stored = await create(index.tokens, name="laptop-of-jo", projects=["acme-*", "widget"])
    assert credentials.digest(secret) == stored.digest
    assert (stored.kind, stored.name, stored.projects) == (credentials.API, "laptop-of-jo", ("acme-*", "widget"))
    assert (stored.can_upload, stored.can_read, stored.single_use, stored.ended_at) == (True, True, False, None)
    assert (stored.created_at, stored.expires_at) == (int(index.clock.now()), int(index.clock.now()) + 60)
    assert await index.tokens.every("acme") == [stored]
    assert await index.tokens.every("other") == []
    data = b"".join(path.read_bytes() for path in index.directory_path.rglob("*") if path.is_file())
    assert secret.encode() not in data
    assert secret[10:50].encode() not in data


async def test_every_token_is_another_one(index: Index) -> None:
    secrets = {(await create(index.tokens))[0] for _ in range(5)}
    assert len(secrets) == 5
    assert [token.id for token in await index.tokens.every("acme")] == sorted(
        token.id for token in await index.tokens.every("acme")
    )


@pytest.mark.parametrize(("upload", "read"), [(True, False), (False, True)])
async def test_rights_are_what_was_asked_for(index: Index, upload: bool, read: bool) -> None:
    _, stored = await create(index.tokens, can_upload=upload, can_read=read)
    assert (stored.can_upload, stored.can_read) == (upload, read)


async def test_a_token_without_an_end(index: Index) -> None:
    assert (await create(index.tokens, lifetime_seconds=None))[1].expires_at is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": ""}, "laptop-of-jo"),
        ({"name": "  "}, "laptop-of-jo"),
        ({"name": "a\nb"}, "laptop-of-jo"),
        ({"name": "a\x1b[31m"}, "laptop-of-jo"),
        ({"name": "\ud800"}, "laptop-of-jo"),
        ({"name": "x" * (NAME_MAX_CHARACTERS + 1)}, "laptop-of-jo"),
        ({"can_upload": False, "can_read": False}, "Allow one"),
        ({"projects": []}, "'*' means all"),
        ({"projects": ["Acme"]}, "normalised"),
        ({"projects": ["*", ""]}, "normalised"),
        ({"lifetime_seconds": 0}, "later end"),
        ({"lifetime_seconds": -5}, "later end"),
        ({"slug": "nothing"}, "There are: acme, other, strict."),
        ({"slug": "strict"}, "only reads"),
    ],
    ids=repr,
)
async def test_refusals_say_what_helps(index: Index, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Rejected) as caught:
        await create(index.tokens, **changes)
    assert caught.value.code.name == "invalid-trust"
    assert word in caught.value.hint
    assert await index.ledger.read(lambda tx: [e.action for e in tx.audit.latest(None, 9)]) == ["registry-add"] * 3


async def test_a_registry_without_api_uploads_still_has_readers(index: Index) -> None:
    assert (await create(index.tokens, slug="strict", can_upload=False))[1].can_read


async def test_revoking(index: Index) -> None:
    _, stored = await create(index.tokens)
    former = await index.tokens.revoke("acme", stored.id, OPERATOR)
    assert former == stored
    (ended,) = await index.tokens.every("acme")
    assert ended.ended_at == int(index.clock.now())
    # A second time: nothing happens, and whoever asked can tell.
    assert isinstance(index.clock, FrozenClock)
    index.clock.advance(100)
    assert (await index.tokens.revoke("acme", stored.id, OPERATOR)).ended_at == ended.ended_at
    assert await index.tokens.every("acme") == [ended]
    actions = await index.ledger.read(lambda tx: [event.action for event in tx.audit.latest(None, 2)])
    assert actions == ["token-revoke", "token-create"]


async def test_revoking_what_is_not_there(index: Index) -> None:
    _, stored = await create(index.tokens, slug="other")
    for slug, number in (("acme", stored.id), ("acme", 999), ("acme", -1)):
        with pytest.raises(Rejected, match=f"acme has no token {number}") as caught:
            await index.tokens.revoke(slug, number, OPERATOR)
        assert "mintmark token list acme" in caught.value.hint
    with pytest.raises(Rejected, match="no registry"):
        await index.tokens.revoke("nothing", stored.id, OPERATOR)
    assert (await index.tokens.every("other"))[0].ended_at is None


async def test_no_event_holds_a_secret(index: Index) -> None:
    secret, stored = await create(index.tokens)
    await index.tokens.revoke("acme", stored.id, OPERATOR)
    events = await index.ledger.read(lambda tx: tx.audit.latest(None, 100))
    assert secret not in repr(events)
    assert stored.digest.hex() not in repr(events)


async def test_a_token_works_until_it_ends(world: World) -> None:
    secret = await world.token(lifetime_seconds=60)
    assert (await world.upload(secret, wheel())).status == 200
    assert (await world.get("/acme/simple/widget/", auth=secret)).status == 200
    world.clock.advance(60)
    assert (await world.get("/acme/simple/widget/", auth=secret)).status == 401
    assert (await world.upload(secret, wheel(version="2.0"))).status == 403


async def test_a_revoked_token_is_refused_on_the_next_request(world: World) -> None:
    secret = await world.token()
    assert (await world.get("/acme/simple/", auth=secret)).status == 200
    beside = Index(world.index.settings, clock=world.clock)
    try:
        (stored,) = await beside.tokens.every("acme")
        await beside.tokens.revoke("acme", stored.id, OPERATOR)
    finally:
        await beside.close()
    assert (await world.get("/acme/simple/", auth=secret)).status == 401
