"""The read side against HTTP (RFC 9110 and 9111): validators, ranges, caching, HEAD. Named by the sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import pytest
import pytest_asyncio

from mintmark.web.app import build
from support.dists import sdist, wheel
from support.wire import SIMPLE_JSON, Room, answer_of, head, raw, refused
from support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def shop(public_room: Room) -> Room:
    """A public registry with a wheel and a source distribution of one release."""
    token = await public_room.token()
    for each in (wheel(), sdist()):
        assert (await public_room.upload(token, each)).status == 200
    return public_room


async def details(room: Room) -> Any:
    return (await room.get("/simple/widget/", headers=SIMPLE_JSON)).json


async def shown(room: Room) -> Mapping[str, str]:
    """The URLs of one of everything that can be cached."""
    file = next(file for file in (await details(room))["files"] if file["core-metadata"])
    url = urlsplit(urljoin(f"http://host/{room.slug}/simple/widget/", file["url"])).path
    base = f"/{room.slug}"
    return {
        "list": f"{base}/simple/", "page": f"{base}/simple/widget/", "project": f"{base}/pypi/widget/json",
        "release": f"{base}/pypi/widget/1.0/json", "file": url, "metadata": f"{url}.metadata",
    }  # fmt: skip


async def test_9110_13_validators(shop: Room) -> None:
    for what, path in (await shown(shop)).items():
        whole = await shop.world.get(path)
        etag = whole.headers["ETag"]
        for value in (etag, f"W/{etag}", f'"a", {etag}', "*"):
            answer = await shop.world.get(path, headers={"If-None-Match": value})
            assert (answer.status, answer.body) == (304, b""), what
            # Section 15.4.5: what a 200 would have had.
            for name in ("ETag", "Cache-Control", *(("Vary",) if what not in {"file", "metadata"} else ())):
                assert answer.headers[name] == whole.headers[name]
            # pip merges the headers of a 304 into the page it has: the right type, or none.
            assert answer.headers.get("Content-Type", whole.headers["Content-Type"]) == whole.headers["Content-Type"]
        for value, status in (('"a"', 412), (f"W/{etag}", 412), (etag, 200), ("*", 200), (f'"a", {etag}', 200)):
            answer = await shop.world.get(path, headers={"If-Match": value})
            assert answer.status == status, (what, value)
        # Section 13.2.2: If-Match comes first.
        answer = await shop.world.get(path, headers={"If-Match": '"a"', "If-None-Match": etag})
        refused(answer, "precondition-failed")


async def test_9110_13_dates_say_nothing_without_last_modified(shop: Room) -> None:
    for path in (await shown(shop)).values():
        answer = await shop.world.get(path, headers={"If-Modified-Since": "Fri, 31 Dec 9999 23:59:59 GMT"})
        assert (answer.status, "Last-Modified" in answer.headers) == (200, False)
        answer = await shop.world.get(path, headers={"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"})
        assert answer.status == 200


async def test_9110_14_ranges(shop: Room) -> None:
    places = await shown(shop)
    for what in ("file", "metadata"):
        whole = await shop.world.get(places[what])
        etag, size = whole.headers["ETag"], len(whole.body)
        assert whole.headers["Accept-Ranges"] == "bytes"
        for condition, status in ((None, 206), (etag, 206), ('"a"', 200), (f"W/{etag}", 200),
                                  ("Fri, 31 Dec 9999 23:59:59 GMT", 200)):  # fmt: skip
            more = {"If-Range": condition} if condition else {}
            answer = await shop.world.get(places[what], headers={"Range": "bytes=2-5", **more})
            assert (answer.status, answer.body) == (status, whole.body[2:6] if status == 206 else whole.body)
            assert ("Content-Range" in answer.headers) == (status == 206)
        # Section 13.2.2: If-None-Match comes before Range.
        answer = await shop.world.get(places[what], headers={"Range": "bytes=2-5", "If-None-Match": etag})
        assert answer.status == 304
        outside = await shop.world.get(places[what], headers={"Range": f"bytes={size}-"})
        refused(outside, "range-not-satisfiable")
        assert outside.headers["Content-Range"] == f"bytes */{size}"


async def test_9111_caching(shop: Room) -> None:
    places = await shown(shop)
    for private, scope in ((False, "public"), (True, "private")):
        await shop.change(private=private)
        token = await shop.token(name=f"reader-{scope}", upload=False)
        for what, path in places.items():
            answer = await shop.world.get(path, auth=token)
            immutable = what in {"file", "metadata"}
            wanted = f"{scope}, max-age=31536000, immutable" if immutable else ("private, " * private) + "no-cache"
            assert answer.headers["Cache-Control"] == wanted
            vary = {"list": "Accept, Accept-Encoding", "page": "Accept, Accept-Encoding"}
            assert answer.headers.get("Vary") == (None if immutable else vary.get(what, "Accept-Encoding"))


GETS = sorted(
    {
        route.resource.canonical
        for route in build(cast("Any", None), cast("Any", None)).router.routes()
        if route.method == "GET" and route.resource is not None
    }
)


@pytest.mark.parametrize("template", GETS)
async def test_9110_9_every_get_has_its_head(house: World, public_room: Room, template: str) -> None:
    """Section 9.3.2: the same status and headers without a body, also where there is nothing."""
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    file = (await details(public_room))["files"][0]
    values = {
        "registry": public_room.slug, "project": "widget", "version": "1.0", "filename": file["filename"],
        "sha256": file["hashes"]["sha256"], "prefix": file["hashes"]["sha256"][:2],
    }  # fmt: skip
    for path in (template.format(**values), template.format(**{**values, "project": "nobody", "filename": "none"})):
        whole = await house.get(path)
        only = await house.request("HEAD", path)
        assert (only.status, only.body) == (whole.status, b"")
        for name in ("Content-Type", "ETag", "Cache-Control", "Vary", "Location"):
            assert only.headers.get(name) == whole.headers.get(name), name
        # May be left out, must not be wrong. The metrics count this request as well.
        if template != "/-/metrics":
            assert only.headers.get("Content-Length") in {None, whole.headers["Content-Length"]}


async def test_9110_15_what_is_no_http_is_refused_like_everything_else(house: World) -> None:
    """The parser below the application answers; the same body, and nothing of what it read."""
    secret = "mnt_" + "s" * 40
    for data in (
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Basic " + secret.encode() + b"\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        answer = answer_of(await raw(house, data))
        refused(answer, "invalid-request", secret)
        assert answer.headers["Server"] == "Mintmark"
    request = head(house, "GET", "/open/simple/", "Expect: miracles")
    refused(answer_of(await raw(house, request)), "invalid-request")
