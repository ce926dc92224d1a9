"""`HttpKeys` against a real issuer on loopback: honest, hostile, slow and absent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import issuer_stub as stubs
import pytest
import pytest_asyncio
import structlog
from issuer_stub import DISCOVERY, IssuerStub, World, key_set, kids, refused, source_of

from mintmark.core.errors import Unavailable
from mintmark.service.ports import KeySource
from mintmark.store.issuer_http import LAB_MARK, LAB_ORGANIZATION, REDIRECTS_MAX


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        yield World(stack)


@pytest_asyncio.fixture
async def issuer(world: World) -> IssuerStub:
    return await world.issuer()


async def test_keys_are_fetched_once(world: World, issuer: IssuerStub) -> None:
    keys = world.keys()
    with structlog.testing.capture_logs() as logs:
        first = await keys.current(source_of(issuer))
    assert kids(first) == ["one"]
    assert [(entry["event"], entry["issuer"], entry["keys"]) for entry in logs] == [("key-set-swapped", issuer.url, 1)]
    world.clock.seconds += 86_400
    assert await keys.current(source_of(issuer)) is first
    assert issuer.asked == {DISCOVERY: 1, "/jwks": 1}


async def test_fifty_callers_share_one_fetch(world: World, issuer: IssuerStub) -> None:
    keys = world.keys()
    found = await asyncio.gather(*(keys.current(source_of(issuer)) for _ in range(50)))
    assert len(set(map(id, found))) == 1
    world.clock.seconds += 60
    issuer.serve_keys(key_set("two"))
    newer = await asyncio.gather(*(keys.newer(source_of(issuer), found[0]) for _ in range(50)))
    assert {tuple(kids(one)) for one in newer} == {("two",)}
    assert issuer.fetches == 2


async def test_unknown_kid_and_rotation_under_the_same_kid(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    first = await keys.current(source)
    issuer.serve_keys(key_set("one"))
    assert await keys.newer(source, first) is first, "the cooldown holds"
    world.clock.seconds += 60
    second = await keys.newer(source, first)
    assert second is not first
    assert kids(second) == ["one"]
    assert second.keys[0].key.as_dict() != first.keys[0].key.as_dict()
    assert await keys.newer(source, first) is second, "known already"
    assert issuer.fetches == 2
    world.clock.seconds += 60
    assert await keys.newer(source, second) is second, "the same document is the same set"
    assert issuer.fetches == 3


async def test_the_cooldown_counts_failures(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    issuer.serve_keys(b"{")
    for _ in range(5):
        assert "not strict JSON" in await refused(keys, source)
    assert issuer.fetches == 1
    world.clock.seconds += 59
    with pytest.raises(Unavailable) as caught:
        await keys.current(source)
    assert caught.value.retry_after_seconds == 1
    assert issuer.fetches == 1
    world.clock.seconds += 1
    issuer.serve_keys(key_set("two"))
    assert kids(await keys.current(source)) == ["two"]


@pytest.mark.parametrize("document", [b"", b"{", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
async def test_a_failing_fetch_keeps_good_keys(world: World, issuer: IssuerStub, document: bytes) -> None:
    keys, source = world.keys(), source_of(issuer)
    first = await keys.current(source)
    issuer.serve_keys(document)
    world.clock.seconds += 60
    with structlog.testing.capture_logs() as logs:
        assert await keys.newer(source, first) is first
    assert [entry["event"] for entry in logs] == ["key-fetch-failed"]
    assert await keys.current(source) is first
    assert issuer.fetches == 2


async def test_keys_older_than_the_limit_are_not_used(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    first = await keys.current(source)
    issuer.answers.clear()
    world.clock.seconds += 86_400
    assert await keys.current(source) is first
    world.clock.seconds += 1
    assert "404" in await refused(keys, source)
    assert issuer.fetches == 2
    issuer.describe()
    issuer.serve_keys(key_set("two"))
    world.clock.seconds -= 10 * 86_400
    assert kids(await keys.current(source)) == ["two"], "a clock set back neither keeps keys nor blocks fetches"


async def test_keys_epoch_forces_one_fetch(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    await keys.current(source)
    issuer.serve_keys(key_set("two"))
    refreshed = replace(source, keys_epoch=1)
    await asyncio.gather(*(keys.current(refreshed) for _ in range(10)))
    assert kids(await keys.current(source)) == kids(await keys.current(refreshed)) == ["two"]
    assert issuer.fetches == 2, "once, also when another trust entry still has the old epoch"
    issuer.answers.clear()
    assert kids(await keys.current(replace(source, keys_epoch=2))) == ["two"], "a refresh that fails removes nothing"


async def test_purge_epoch_drops_the_keys_at_once(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    first = await keys.current(source)
    good = issuer.answers["/jwks"]
    issuer.answers["/jwks"] = b"{}"
    purged = replace(source, purge_epoch=1)
    await refused(keys, purged)
    await refused(keys, source)
    assert issuer.fetches == 2
    issuer.answers["/jwks"] = good
    world.clock.seconds += 60
    second = await keys.current(purged)
    assert kids(second) == ["one"]
    assert second is not first


async def test_purge_does_not_take_the_answer_of_an_older_fetch(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    good, asked = issuer.answers["/jwks"], asyncio.Event()
    issuer.answers["/jwks"] = stubs.hanging(asked)
    waiting = asyncio.create_task(keys.current(source))
    await asked.wait()
    issuer.answers["/jwks"] = good
    assert kids(await keys.current(replace(source, purge_epoch=1))) == ["one"]
    assert kids(await waiting) == ["one"]
    assert issuer.fetches == 2


async def test_static_keys_are_never_fetched(world: World, issuer: IssuerStub) -> None:
    keys = world.keys()
    source = replace(source_of(issuer), jwks=key_set("pinned").decode())
    found = await keys.current(source)
    assert kids(found) == ["pinned"]
    assert await keys.newer(source, found) is found
    keys.watch([source])
    await keys.refresh_due()
    assert not issuer.asked
    for bad in ("[]", "{", '{"keys": []}', "\ud800"):
        assert "static key set" in await refused(keys, replace(source, jwks=bad))


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
async def test_nobody_waits_for_a_hanging_issuer(world: World, issuer: IssuerStub, path: str) -> None:
    keys = world.keys(wait_seconds=0.05)
    issuer.answers[path] = stubs.hang
    begun = time.monotonic()
    assert "no answer within" in await refused(keys, source_of(issuer))
    assert time.monotonic() - begun < 1.0
    issuer.answers[path] = stubs.drip
    assert "too long" in await refused(world.keys(fetch_timeout_seconds=0.1), source_of(issuer))


async def test_a_hanging_issuer_slows_no_other(world: World, issuer: IssuerStub) -> None:
    keys, hanging = world.keys(), [await world.issuer() for _ in range(10)]
    for stub in hanging:
        stub.answers[DISCOVERY] = stubs.hang
    waiting = [asyncio.create_task(keys.current(source_of(stub))) for stub in hanging]
    assert kids(await keys.current(source_of(issuer))) == ["one"]
    assert not any(task.done() for task in waiting)
    await keys.close()
    assert all(isinstance(end, Unavailable) for end in await asyncio.gather(*waiting, return_exceptions=True))
    with pytest.raises(Unavailable):
        await keys.current(KeySource("https://never.example"))


async def test_a_fetch_goes_on_after_its_callers_left(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(wait_seconds=0.05), source_of(issuer)
    go, good = asyncio.Event(), issuer.answers["/jwks"]
    assert isinstance(good, bytes)
    issuer.answers["/jwks"] = stubs.held_back(good, go)
    await refused(keys, source)
    caller = asyncio.create_task(keys.current(source))
    await asyncio.sleep(0)
    caller.cancel()
    go.set()
    for _ in range(100):
        with contextlib.suppress(Unavailable):
            assert kids(await keys.current(source)) == ["one"]
            break
    else:
        pytest.fail("the fetch ended with its caller")
    assert issuer.fetches == 1


async def test_watched_sources_are_refreshed_when_due(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    keys.watch([source, replace(source, keys_epoch=3)])
    await keys.refresh_due()
    fetches = issuer.fetches
    first = await keys.current(source)
    issuer.serve_keys(key_set("two"))
    world.clock.seconds += 899
    await keys.refresh_due()
    assert issuer.fetches == fetches
    world.clock.seconds += 1
    await keys.refresh_due()
    assert issuer.fetches == fetches + 1
    assert kids(await keys.current(source)) == ["two"]
    assert kids(await keys.newer(source, first)) == ["two"]


async def test_a_failed_refresh_is_repeated_after_the_cooldown(world: World, issuer: IssuerStub) -> None:
    keys, source = world.keys(), source_of(issuer)
    good = issuer.answers.pop("/jwks")
    keys.watch([source])
    await keys.refresh_due()
    issuer.answers["/jwks"] = good
    await keys.refresh_due()
    assert issuer.fetches == 1
    world.clock.seconds += 60
    await keys.refresh_due()
    assert issuer.fetches == 2
    assert kids(await keys.current(source)) == ["one"]


async def test_a_hanging_source_does_not_delay_the_refresh_of_others(world: World, issuer: IssuerStub) -> None:
    keys, other = world.keys(wait_seconds=0.05), await world.issuer()
    issuer.answers[DISCOVERY] = stubs.hang
    keys.watch([source_of(issuer), source_of(other)])
    begun = time.monotonic()
    await keys.refresh_due()
    assert time.monotonic() - begun < 1.0
    assert other.fetches == 1


async def test_the_timer_fetches_at_once_and_for_a_new_list(world: World, issuer: IssuerStub) -> None:
    keys, other = world.keys(), await world.issuer()
    keys.watch([source_of(issuer)])
    await keys.start()
    for stub in (issuer, other):
        keys.watch([source_of(stub)])
        for _ in range(200):
            if stub.asked["/jwks"]:
                break
            await asyncio.sleep(0.01)
        assert stub.fetches == 1


async def test_a_dropped_source_is_cancelled_and_forgotten(world: World, issuer: IssuerStub) -> None:
    keys, source, asked, gone = world.keys(), source_of(issuer), asyncio.Event(), asyncio.Event()
    issuer.answers[DISCOVERY] = stubs.hanging(asked, gone)
    keys.watch([source])
    waiting = asyncio.create_task(keys.current(source))
    await asked.wait()
    keys.watch([])
    await gone.wait()
    with pytest.raises(Unavailable):
        await waiting


@pytest.mark.parametrize(("changes", "reason"), stubs.BAD_DISCOVERY)
async def test_bad_discovery(world: World, issuer: IssuerStub, changes: dict[str, object], reason: str) -> None:
    issuer.describe(**changes)
    assert reason in await refused(world.keys(), source_of(issuer))
    assert issuer.asked == {DISCOVERY: 1}
    if LAB_MARK in changes:
        assert kids(await world.keys(accept_lab=True).current(source_of(issuer))) == ["one"], "the lab trusts the lab"


@pytest.mark.parametrize(("path", "body", "reason"), stubs.BAD_BODIES, ids=stubs.short_id)
async def test_bad_bodies(world: World, issuer: IssuerStub, path: str, body: bytes, reason: str) -> None:
    issuer.answers[path] = body
    assert reason in await refused(world.keys(), source_of(issuer))


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
@pytest.mark.parametrize(("answer", "reason"), stubs.BAD_ANSWERS)
async def test_bad_answers(world: World, issuer: IssuerStub, path: str, answer: stubs.Handler, reason: str) -> None:
    issuer.answers[path] = answer
    assert reason in await refused(world.keys(), source_of(issuer))


async def test_an_issuer_that_speaks_no_http_or_is_gone(world: World, issuer: IssuerStub) -> None:
    server = await asyncio.start_server(stubs.babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = replace(source_of(issuer), url=f"http://127.0.0.1:{port}")
    assert "ESMTP" not in await refused(world.keys(), source)
    server.close()
    assert "Cannot connect" in await refused(world.keys(), source)


async def test_redirects_within_the_origin_are_followed(world: World, issuer: IssuerStub) -> None:
    good = issuer.answers["/jwks"]
    issuer.answers["/jwks"], issuer.answers["/a"] = stubs.redirect("a?b=c"), stubs.redirect(issuer.url + "/b/")
    issuer.answers["/b/"] = good
    assert kids(await world.keys().current(source_of(issuer))) == ["one"]
    assert REDIRECTS_MAX == 3
    issuer.answers["/b/"], issuer.answers["/c"] = stubs.redirect("/c"), stubs.redirect("/d")
    issuer.answers["/d"] = good
    assert "too often" in await refused(world.keys(), source_of(issuer))


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
async def test_redirects_to_elsewhere_are_refused(world: World, issuer: IssuerStub, path: str) -> None:
    other = await world.issuer()
    port = issuer.url.rpartition(":")[2]
    places = {
        other.url + path: "another origin",
        f"//127.0.0.2:{port}/": "another origin",
        f"http://localhost:{port}/": "another origin",
        f"https://127.0.0.1:{port}/": "another origin",
        "http://169.254.169.254/": "not on the public internet",
        "file:///etc/passwd": "not https",
        "http://[": "no URL",
        "http://127.0.0.1:x/": "no URL",
    }
    for place, reason in places.items():
        issuer.answers[path] = stubs.redirect(place)
        assert reason in await refused(world.keys(), source_of(issuer))
    assert not other.asked


async def test_loopback_and_http_are_refused_without_leave(world: World, issuer: IssuerStub) -> None:
    port = issuer.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "2130706433", "0x7f.1", "[::]")
    for networks in ((), ("10.0.0.0/8",)):
        for host in hosts:
            await refused(world.keys(), KeySource(f"http://{host}:{port}", networks=networks, allow_http=True))
    assert "cannot be read" in await refused(world.keys(), replace(source_of(issuer), networks=("lan",)))
    assert "not https" in await refused(world.keys(), replace(source_of(issuer), allow_http=False))
    assert not issuer.asked


async def test_names_are_resolved_and_may_be_allowed(world: World) -> None:
    issuer = await world.issuer("localhost")
    assert kids(await world.keys().current(source_of(issuer))) == ["one"]
    # Another host than the issuer's, on the issuer's port.
    issuer.describe(jwks_uri=issuer.url.replace("localhost", "127.0.0.1") + "/jwks")
    assert kids(await world.keys().current(source_of(issuer))) == ["one"]


async def test_one_trailing_slash_of_the_issuer_is_removed(world: World, issuer: IssuerStub) -> None:
    source = replace(source_of(issuer), url=issuer.url + "/")
    assert "another issuer" in await refused(world.keys(), source)
    issuer.describe(issuer=issuer.url + "/")
    assert kids(await world.keys().current(source)) == ["one"]
    for bad in ("/?a=b", "/#a"):
        assert "query or a fragment" in await refused(world.keys(), replace(source, url=issuer.url + bad))


async def test_tls_trusts_the_given_authority_only(world: World) -> None:
    ca_pem, tls = stubs.authority("Acme")
    other_pem, _ = stubs.authority("Acme")
    lab_pem, lab_tls = stubs.authority(LAB_ORGANIZATION)
    async with stubs.running_issuer(tls, "localhost") as issuer, stubs.running_issuer(lab_tls, "localhost") as lab:
        keys, source = world.keys(), KeySource(issuer.url, ca_pem=ca_pem, networks=stubs.LOOPBACK)
        assert kids(await keys.current(source)) == ["one"]
        for pem, reason in ((other_pem, "certificate"), ("", "certificate"), ("x", "cannot be read")):
            assert reason in (await refused(keys, replace(source, ca_pem=pem))).lower()
        # The certificate names localhost: the name in the URL is verified, not the address it resolves to.
        wrong = replace(source, url=issuer.url.replace("localhost", "127.0.0.1"))
        assert "certificate" in (await refused(keys, wrong)).lower()
        marked = KeySource(lab.url, ca_pem=other_pem + lab_pem, networks=stubs.LOOPBACK)
        assert "Mintmark's lab" in await refused(keys, marked)
        assert not lab.asked
        assert kids(await world.keys(accept_lab=True).current(marked)) == ["one"]


async def test_proxies_are_used_only_when_given(
    world: World, issuer: IssuerStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await world.issuer()
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    await world.keys().current(source_of(issuer))
    assert not proxy.asked
    # The proxy resolves the name, which here exists nowhere else; addresses in URLs are still checked.
    proxy.describe(issuer="http://issuer.invalid", jwks_uri="http://issuer.invalid/jwks")
    keys = world.keys(proxy=proxy.url)
    assert kids(await keys.current(KeySource("http://issuer.invalid", allow_http=True))) == ["one"]
    assert "not on the public internet" in await refused(keys, KeySource("http://10.0.0.1", allow_http=True))
    assert proxy.asked == {DISCOVERY: 1, "/jwks": 1}
