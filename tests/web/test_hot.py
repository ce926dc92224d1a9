"""The short cut for project pages decides nothing: whatever ends a reader's right ends it on the next request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mintmark.core.records import OPERATOR, Registry
from mintmark.core.trust import Host, parse_registry
from mintmark.service.ports import Transaction
from support.dists import wheel
from support.wire import SIMPLE_JSON, refused
from support.world import Answer, World

PAGE = "/acme/simple/widget/"


async def page(world: World, secret: str | None) -> Answer:
    return await world.get(PAGE, auth=secret, headers=SIMPLE_JSON)


@pytest.fixture
async def seeded(world: World) -> World:
    assert (await world.upload(await world.token(name="seed"), wheel())).status == 200
    return world


async def remembered(world: World, secret: str) -> None:
    """Read until the reader is known."""
    for _ in range(3):
        assert (await page(world, secret)).status == 200


async def test_a_revoked_token_reads_no_more(seeded: World) -> None:
    secret = await seeded.token(name="reader", upload=False)
    await remembered(seeded, secret)
    (token,) = [each for each in await seeded.index.tokens.every("acme") if each.name == "reader"]
    await seeded.index.tokens.revoke("acme", token.id, OPERATOR)
    refused(await page(seeded, secret), "credential-invalid")


async def test_an_expired_token_reads_no_more(seeded: World) -> None:
    secret = await seeded.token(upload=False, lifetime_seconds=100)
    await remembered(seeded, secret)
    seeded.clock.advance(100)
    refused(await page(seeded, secret), "credential-invalid")


async def test_a_detached_publisher_reads_no_more(seeded: World) -> None:
    publisher = await seeded.publisher("widget")
    secret = await seeded.credential()
    await remembered(seeded, secret)
    await seeded.index.trust.remove_publisher("acme", publisher, OPERATOR)
    refused(await page(seeded, secret), "not-found")


async def test_others_are_not_let_through(seeded: World) -> None:
    secret = await seeded.token(upload=False)
    await remembered(seeded, secret)
    refused(await page(seeded, None), "credential-required")
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    refused(await page(seeded, other), "credential-invalid")
    narrow = await seeded.token(upload=False, projects=("gadget",))
    refused(await page(seeded, narrow), "not-found")


async def test_a_public_registry_that_becomes_private_or_disabled(world: World) -> None:
    await world.registry("open", private=False)
    assert (await world.upload(await world.token("open"), wheel(), "open")).status == 200
    path = "/open/simple/widget/"
    host = Host(world.index.settings.host, world.index.settings.host_audience)
    for settings, status in (({"private": True}, 401), ({"private": False}, 200), ({"enabled": False}, 404)):
        if settings.get("private") is not False:
            assert (await world.get(path)).status == 200
        await _change(world, parse_registry("open", {"private": False, **settings}, host))
        assert (await world.get(path)).status == status


async def _change(world: World, wanted: Registry) -> None:
    def work(tx: Transaction) -> None:
        former = tx.registries.find("open")
        assert former is not None
        tx.registries.update(replace(wanted, id=former.id))

    await world.index.ledger.write(work)


async def test_a_new_file_is_on_the_next_page(seeded: World) -> None:
    secret = await seeded.token()
    for number in range(2, 5):
        await remembered(seeded, secret)
        assert (await seeded.upload(secret, wheel(version=f"{number}.0"))).status == 200
        assert len((await page(seeded, secret)).json["files"]) == number


async def test_other_hosts_and_methods_take_the_ordinary_way(seeded: World) -> None:
    secret = await seeded.token()
    await remembered(seeded, secret)
    refused(await seeded.get(PAGE, auth=secret, headers={"Host": "elsewhere.example"}), "misdirected-request")
    assert (await seeded.request("HEAD", PAGE, auth=secret)).status == 200
    refused(await seeded.request("DELETE", PAGE, auth=secret), "method-not-allowed")
    refused(await seeded.get(PAGE, auth=secret, headers={"Accept": "image/png"}), "not-acceptable")
    refused(await seeded.get(PAGE, auth=secret, headers={"If-Match": '"other"'}), "precondition-failed")


async def test_both_codings_have_validators_of_their_own(seeded: World) -> None:
    secret = await seeded.token()
    # What fits into a packet is not compressed.
    for number in range(2, 6):
        assert (await seeded.upload(secret, wheel(version=f"{number}.0"))).status == 200
    plain = await seeded.get(PAGE, auth=secret, headers={"Accept-Encoding": "identity"})
    compressed = await seeded.get(PAGE, auth=secret, headers={"Accept-Encoding": "gzip"})
    assert plain.headers["ETag"] != compressed.headers["ETag"]
    for answer, coding in ((plain, "identity"), (compressed, "gzip")):
        headers = {"Accept-Encoding": coding, "If-None-Match": answer.headers["ETag"]}
        again = await seeded.get(PAGE, auth=secret, headers=headers)
        assert (again.status, again.headers["Content-Type"]) == (304, answer.headers["Content-Type"])
