"""Project pages and lists on the wire: negotiation, redirects, validators, compression."""

from __future__ import annotations

import gzip
import json

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.records import OPERATOR
from support.dists import sdist, wheel
from support.wire import SIMPLE_JSON, Room, answer_of, head, raw, refused
from support.world import Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_V1 = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"
LATEST = "application/vnd.pypi.simple.latest"
PIP = f"{JSON_V1}, {HTML_V1}; q=0.1, text/html; q=0.01"
UV = f"{JSON_V1}, {HTML_V1};q=0.2, text/html;q=0.01"

CHOICES: list[tuple[str | None, str]] = [
    (None, HTML), ("", HTML), ("*/*", HTML), ("text/*", HTML), ("application/*", JSON_V1), (HTML, HTML),
    (JSON_V1, JSON_V1), (HTML_V1, HTML_V1), (PIP, JSON_V1), (UV, JSON_V1), (f"{LATEST}+json", JSON_V1),
    (f"{LATEST}+html", HTML_V1), (f"{HTML};q=0.5, {JSON_V1};q=0.4", HTML), (f"{HTML};q=0.4, {JSON_V1};q=0.5", JSON_V1),
    (f"{JSON_V1};q=0, */*;q=0.1", HTML), (f"{HTML};q=0, {JSON_V1};q=0, {HTML_V1}", HTML_V1),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML), ("nonsense", HTML),
    (f"{HTML.upper()}", HTML), (f"application/json, {JSON_V1};q=0.1", JSON_V1), ("x" * 5000, HTML),
]  # fmt: skip
NOT_TAKEN = [
    "application/json",
    "application/xml",
    f"{JSON_V1};q=0",
    "*/*;q=0",
    "image/*",
    f"{HTML};q=0.0, {JSON_V1};q=0.0",
]


async def page(room: Room, path: str = "/simple/widget/", **headers: str) -> Answer:
    return await room.get(path, headers=headers)


async def test_negotiation(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    for path in ("/simple/widget/", "/simple/"):
        for accept, content_type in CHOICES:
            answer = await page(public_room, path, **({} if accept is None else {"Accept": accept}))
            assert (answer.status, answer.headers["Content-Type"]) == (200, content_type), accept
            assert {"Accept", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))
            body = answer.body.decode()
            assert body.startswith('{"meta"' if content_type == JSON_V1 else "<!DOCTYPE html>")
        for accept in NOT_TAKEN:
            refused(await page(public_room, path, Accept=accept), "not-acceptable")


async def test_json(public_room: Room) -> None:
    token = await public_room.token()
    for file in (wheel(), sdist()):
        assert (await public_room.upload(token, file)).status == 200
    found = (await page(public_room, Accept=JSON_V1)).json
    assert found["meta"] == {"api-version": "1.4"}
    assert (found["name"], found["versions"]) == ("widget", ["1.0"])
    by_name = {file["filename"]: file for file in found["files"]}
    for name, data in (wheel(), sdist()):
        assert by_name[name]["size"] == len(data)
        assert by_name[name]["requires-python"] == ">=3.8"
        assert by_name[name]["upload-time"].endswith("Z")
        assert by_name[name]["yanked"] is False
    listed = (await page(public_room, "/simple/", Accept=JSON_V1)).json
    assert listed["projects"] == [{"name": "widget"}]


REDIRECTS = {
    "/simple": "/simple/",
    "/simple/widget": "/simple/widget/",
    "/simple/Widget/": "/simple/widget/",
    "/simple/Wid.Get_x--y": "/simple/wid-get-x-y/",
    "/simple/wid_get/": "/simple/wid-get/",
    "/simple/Wid%2Eget/": "/simple/wid-get/",
    "/simple/NOTHING": "/simple/nothing/",
    "/simple/legacy": "/simple/legacy/",
    "/simple/simple": "/simple/simple/",
}


@pytest.mark.parametrize(("path", "target"), REDIRECTS.items())
async def test_redirects(house: World, path: str, target: str) -> None:
    answer = await house.get("/open" + path)
    assert (answer.status, answer.headers["Location"]) == (301, "/open" + target)
    answer = await house.request("HEAD", "/open" + path)
    assert (answer.status, answer.headers["Location"]) == (301, "/open" + target)


NO_PAGE = [
    "/simple/nothing/", "/simple/-/", "/simple/../", "/simple/%2e%2e/", "/simple/%2E%2E/simple/", "/simple/a%2Fb/",
    "/simple/..%2f..%2fetc/", "/simple/%00/", "/simple/a%00/", "/simple/a%0d%0aX-Evil:%201/", "/simple/%E2%84%AAidget/",
    "/simple/%FF/", "/simple/%ED%A0%80/", "/simple/a%0A", "/simple/%20a/", "/simple//", "/simple/a//", "/simple/a/b/",
    "/simple/" + "a" * 300 + "/", "/simple/" + "a" * 7000 + "/", "/simple/%/", "/simple/a%2/", "//simple/",
    "/./simple/",
    "/simple/index.json", "/simple/.changes/", "/simple/%5c..%5c/",
]  # fmt: skip


@pytest.mark.parametrize("path", NO_PAGE, ids=lambda path: path[:40])
async def test_paths_without_a_page(house: World, path: str) -> None:
    answer = answer_of(await raw(house, head(house, "GET", "/open" + path)))
    if answer.status == 301:
        # A name like any other, which nobody has.
        answer = await house.get(answer.headers["Location"])
    assert answer.status == 404, answer
    assert "X-Evil" not in answer.headers


async def test_query_strings_change_nothing(house: World) -> None:
    plain = await house.get("/open/simple/")
    for query in ("?x", "?x=%00", "?%FF=%FF", "?" + "a" * 4000, "?discover=x&&=;"):
        answer = answer_of(await raw(house, head(house, "GET", "/open/simple/" + query)))
        assert (answer.status, answer.body) == (200, plain.body)


async def test_validators(public_room: Room) -> None:
    token = await public_room.token()
    assert (await public_room.upload(token, wheel())).status == 200
    for accept in (JSON_V1, HTML, HTML_V1):
        whole = await page(public_room, Accept=accept)
        etag = whole.headers["ETag"]
        assert whole.headers["Cache-Control"] == "no-cache"
        for header in (etag, f"W/{etag}", f'"x", {etag}', f'{etag},W/"y"', "*", f" {etag} "):
            answer = await page(public_room, Accept=accept, **{"If-None-Match": header})
            assert (answer.status, answer.body) == (304, b""), header
            # pip merges these into the page it has; another Content-Type would make it see no versions.
            for name in ("Content-Type", "ETag", "Vary", "Cache-Control"):
                assert answer.headers[name] == whole.headers[name]
        for header in ('"x"', "", etag.strip('"'), etag[:-1], "\xff"):
            assert (await page(public_room, Accept=accept, **{"If-None-Match": header})).status == 200
    assert (await page(public_room, Accept=JSON_V1)).headers["ETag"] != (await page(public_room)).headers["ETag"]
    before = (await page(public_room)).headers["ETag"]
    assert (await public_room.upload(token, sdist())).status == 200
    answer = await page(public_room, **{"If-None-Match": before})
    assert answer.status == 200
    assert answer.headers["ETag"] != before


ENCODINGS = [
    ("gzip", True), ("gzip, deflate", True), ("deflate, gzip;q=0.5", True), ("GZIP", True),
    ("br, gzip;q=1.0", True), ("x-gzip", True), ("", False), ("identity", False), ("deflate, br", False),
    ("gzip;q=0", False), ("deflate\r\nAccept-Encoding: gzip", True),
    ("gzip;q=0.0, identity", False), ("gzip; q=0.000", False), ("not-gzip", False), ("*", False), ("*;q=0", False),
    ("*;q=0.1, gzip;q=0", False),
]  # fmt: skip


async def test_compression(public_room: Room) -> None:
    token = await public_room.token()
    for number in range(5):
        assert (await public_room.upload(token, wheel(version=f"{number}.0"))).status == 200
    path = f"/{public_room.slug}/simple/widget/"
    plain = await raw(public_room.world, head(public_room.world, "GET", path))
    for encodings, compressed in ENCODINGS:
        request = head(public_room.world, "GET", path, f"Accept-Encoding: {encodings}")
        answer = answer_of(await raw(public_room.world, request))
        assert (answer.headers.get("Content-Encoding") == "gzip") == compressed, encodings
        body = gzip.decompress(answer.body) if compressed else answer.body
        assert body == answer_of(plain).body
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        # Two codings are two representations.
        assert (answer.headers["ETag"] != answer_of(plain).headers["ETag"]) == compressed


async def test_what_fits_into_a_packet_is_not_compressed(house: World) -> None:
    plain = answer_of(await raw(house, head(house, "GET", "/open/simple/")))
    answer = answer_of(await raw(house, head(house, "GET", "/open/simple/", "Accept-Encoding: gzip")))
    assert "Content-Encoding" not in answer.headers
    assert (answer.body, answer.headers["ETag"]) == (plain.body, plain.headers["ETag"])


async def test_head(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    for path in ("/simple/", "/simple/widget/"):
        whole = await page(public_room, path, **SIMPLE_JSON)
        answer = await public_room.world.request("HEAD", f"/{public_room.slug}{path}", headers=SIMPLE_JSON)
        assert (answer.status, answer.body) == (200, b"")
        for name in ("Content-Type", "ETag", "Content-Length"):
            assert answer.headers[name] == whole.headers[name]
    answer = await public_room.world.request("HEAD", f"/{public_room.slug}/simple/nothing/")
    assert (answer.status, answer.body) == (404, b"")


async def test_other_methods(house: World) -> None:
    for path in ("/open/simple/", "/open/simple/widget/"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await house.request(method, path)
            refused(answer, "method-not-allowed")
            assert answer.headers["Allow"] == "GET, HEAD"


async def test_pages_are_relative_and_escape_what_they_show(public_room: Room) -> None:
    token = await public_room.token()
    assert (await public_room.upload(token, wheel(requires_python=">=3.8,<4"))).status == 200
    html = (await page(public_room)).body.decode()
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in html
    assert 'href="../../files/' in html
    assert "localhost" not in html
    found = json.loads((await page(public_room, Accept=JSON_V1)).body)
    assert found["files"][0]["url"].startswith("../../files/")


async def test_registries_show_only_their_own(public_room: Room, room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel("mine"))).status == 200
    token = await room.token()
    assert (await room.upload(token, wheel("theirs"))).status == 200
    listed = await room.get("/simple/", auth=token, headers=SIMPLE_JSON)
    assert [project["name"] for project in listed.json["projects"]] == ["theirs"]
    refused(await room.get("/simple/mine/", auth=token), "not-found")
    refused(await public_room.get("/simple/theirs/"), "not-found")


async def test_changes_of_a_registry_are_effective_on_the_next_request(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    assert (await page(public_room)).status == 200
    await public_room.change(private=True)
    refused(await page(public_room), "credential-required")
    await public_room.change(private=False, enabled=False)
    refused(await page(public_room), "not-found")
    await public_room.change(enabled=True)
    assert (await page(public_room)).status == 200


async def test_a_registry_that_was_removed_and_made_again_is_empty(public_room: Room) -> None:
    """Pages lie in folders named like the registry; nobody may see those of the former one."""
    world, slug = public_room.world, f"{public_room.slug}-again"
    await world.registry(slug, private=False)
    assert (await world.get(f"/{slug}/simple/")).status == 200
    await world.index.trust.remove_registry(slug, OPERATOR)
    refused(await world.get(f"/{slug}/simple/"), "not-found")
    await world.registry(slug, private=False)
    answer = await world.get(f"/{slug}/simple/", headers=SIMPLE_JSON)
    assert answer.json["projects"] == []
    with pytest.raises(Rejected, match="already"):
        await world.registry(slug)
