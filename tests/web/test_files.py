"""Files and their metadata on the wire: ranges, validators, caching, and that nothing else is ever served."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio

from mintmark.lab.signer import Signer
from support.dists import metadata, sdist, wheel
from support.wire import SIMPLE_JSON, Room, answer_of, head, open_room, raw, refused
from support.world import Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Larger than one piece of sendfile and of a socket's buffer.
FILENAME, DATA = wheel(body=hashlib.shake_128(b"x").digest(3_000_000))
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Shelf:
    """A public registry that holds one file; `path` is the file's."""

    room: Room
    path: str

    async def get(self, suffix: str = "", **headers: str) -> Answer:
        return await self.room.get(self.path + suffix, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(house: World, signers: Mapping[str, Signer]) -> AsyncIterator[Shelf]:
    room = await open_room(house, "shelf", private=False)
    assert (await room.upload(await room.token(), (FILENAME, DATA))).status == 200
    page = await room.get("/simple/widget/", headers=SIMPLE_JSON)
    yield Shelf(room, page.json["files"][0]["url"].removeprefix("../.."))


async def test_whole_file(shelf: Shelf) -> None:
    answer = await shelf.get()
    assert (answer.status, answer.body) == (200, DATA)
    expected = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(DATA)),
        "ETag": f'"{SHA256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "Content-Encoding" not in answer.headers
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    # Files are compressed already: never again.
    assert "Content-Encoding" not in (await shelf.get(**{"Accept-Encoding": "gzip"})).headers


async def test_metadata_beside_the_wheel(shelf: Shelf) -> None:
    page = await shelf.room.get("/simple/widget/", headers=SIMPLE_JSON)
    said = page.json["files"][0]["core-metadata"]["sha256"]
    answer = await shelf.get(".metadata")
    assert answer.body == metadata("widget", "1.0").encode()
    assert hashlib.sha256(answer.body).hexdigest() == said
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["ETag"] == f'"{said}"'
    part = await shelf.get(".metadata", Range="bytes=0-8")
    assert (part.status, part.body) == (206, answer.body[:9])
    refused(await shelf.get(".metadata.metadata"), "not-found")


async def test_sdist_has_no_metadata_file(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), sdist())).status == 200
    page = await public_room.get("/simple/widget/", headers=SIMPLE_JSON)
    (file,) = page.json["files"]
    assert file["core-metadata"] is False
    path = file["url"].removeprefix("../..")
    assert (await public_room.get(path)).body == sdist()[1]
    refused(await public_room.get(path + ".metadata"), "not-found")


LAST = len(DATA) - 1
RANGES = {
    "bytes=0-0": (0, 0), "bytes=0-9": (0, 9), "bytes=5-": (5, LAST),
    "bytes=-10": (LAST - 9, LAST), "bytes=-1": (LAST, LAST),
    f"bytes={LAST}-": (LAST, LAST), f"bytes=100-{10**17}": (100, LAST), f"bytes=-{10**17}": (0, LAST),
    "Bytes = 3-4": (3, 4), "bytes=300000-2000000": (300_000, 2_000_000),
}  # fmt: skip


@pytest.mark.parametrize(("header", "ends"), RANGES.items())
async def test_range(shelf: Shelf, header: str, ends: tuple[int, int]) -> None:
    first, last = ends
    answer = await shelf.get(Range=header)
    assert (answer.status, answer.body) == (206, DATA[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.headers["ETag"] == f'"{SHA256}"'


IGNORED = [
    "bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "0-1", "bytes 0-1", "bytes=0x0-1", "",
    "bytes=1 - 2", "bytes=--1", "bytes=0-" + "9" * 5000, "bytes=\u0661-".encode().decode("latin-1"),
]  # fmt: skip


@pytest.mark.parametrize("header", IGNORED, ids=lambda header: header[:20])
async def test_range_that_means_nothing(shelf: Shelf, header: str) -> None:
    answer = await shelf.get(Range=header)
    assert (answer.status, len(answer.body)) == (200, len(DATA))


@pytest.mark.parametrize("header", [f"bytes={len(DATA)}-", f"bytes={10**17}-", "bytes=-0"])
async def test_range_outside_of_the_file(shelf: Shelf, header: str) -> None:
    answer = await shelf.get(Range=header)
    refused(answer, "range-not-satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


async def test_if_range(shelf: Shelf) -> None:
    etag = f'"{SHA256}"'
    for condition, status in ((etag, 206), (f" {etag} ", 206), ('"x"', 200), (f"W/{etag}", 200), ("*", 200)):
        assert (await shelf.get(Range="bytes=0-9", **{"If-Range": condition})).status == status, condition
    date = "Fri, 20 Nov 2026 10:00:00 GMT"
    assert (await shelf.get(Range="bytes=0-9", **{"If-Range": date})).status == 200
    # A condition that fails makes the whole file of it, even where the range would be refused.
    assert (await shelf.get(Range=f"bytes={len(DATA)}-", **{"If-Range": '"x"'})).status == 200


async def test_if_none_match(shelf: Shelf) -> None:
    whole = await shelf.get()
    for header in (f'"{SHA256}"', f'W/"{SHA256}"', f'"x", "{SHA256}"', "*"):
        answer = await shelf.get(**{"If-None-Match": header, "Range": "bytes=0-1"})
        assert (answer.status, answer.body) == (304, b"")
        for name in ("Content-Type", "ETag", "Cache-Control"):
            assert answer.headers[name] == whole.headers[name]
    assert (await shelf.get(**{"If-None-Match": '"x"'})).status == 200
    # The metadata is another representation.
    assert (await shelf.get(".metadata", **{"If-None-Match": f'"{SHA256}"'})).status == 200


async def test_head(shelf: Shelf) -> None:
    for suffix in ("", ".metadata"):
        whole = await shelf.get(suffix)
        answer = await shelf.room.world.request("HEAD", f"/shelf{shelf.path}{suffix}")
        assert (answer.status, answer.body) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges"):
            assert answer.headers[name] == whole.headers[name]
    # Ranges are for GET only (RFC 9110, section 14.2).
    for header in ("bytes=0-1", f"bytes={len(DATA)}-"):
        answer = await shelf.room.world.request("HEAD", f"/shelf{shelf.path}", headers={"Range": header})
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(DATA)))


async def test_one_connection_serves_many_files(shelf: Shelf) -> None:
    """The kernel sends the body; the next answer must not get into it."""
    ranges = [f"Range: bytes={start}-{start + 99_999}" for start in (0, 500_000)]
    lines = [head(shelf.room.world, "GET", f"/shelf{shelf.path}", field) for field in ranges]
    first, second = (line.replace(b"Connection: close", b"Connection: keep-alive") for line in lines)
    received = await raw(shelf.room.world, first + second + head(shelf.room.world, "HEAD", f"/shelf{shelf.path}"))
    assert received.count(b"HTTP/1.1 206") == 2
    assert received.count(b"HTTP/1.1 200") == 1
    for start in (0, 500_000):
        assert DATA[start : start + 100_000] in received


def variants(path: str) -> dict[str, str]:
    _, _, prefix, sha256, name = path.split("/")
    other = "f" * 64 if not sha256.startswith("f") else "0" * 64
    return {
        "other-hash": f"/files/{other[:2]}/{other}/{name}",
        "other-prefix": f"/files/{'00' if prefix != '00' else '01'}/{sha256}/{name}",
        "other-name": f"/files/{prefix}/{sha256}/gadget-1.0-py3-none-any.whl",
        "capitals": f"/files/{prefix}/{sha256.upper()}/{name}",
        "short-hash": f"/files/{prefix}/{sha256[:63]}/{name}",
        "long-prefix": f"/files/{prefix}{sha256[2]}/{sha256}/{name}",
        "slash-in-name": f"/files/{prefix}/{sha256}/x%2F{name}",
        "dots": f"/files/{prefix}/{sha256}/..%2F{name}",
        "dots-for-hash": f"/files/../../{name}",
        "encoded-dots": f"/files/%2e%2e/%2e%2e/{name}",
        "incoming": "/files/../../incoming/x",
        "ledger": "/files/%2e%2e/%2e%2e/mintmark.db",
        "ledger-2": "/files/ab/..%2f..%2f..%2fmintmark.db/mintmark.db",
        "nul": f"/files/{prefix}/{sha256}/{name}%00",
        "newline": f"/files/{prefix}/{sha256}/{name}%0d%0aX-Evil:%201",
        "not-utf-8": f"/files/{prefix}/{sha256}/%ff%fe",
        "surrogate": f"/files/{prefix}/{sha256}/%ED%A0%80",
        "long-name": f"/files/{prefix}/{sha256}/" + "x" * 4000,
        "deeper": f"/files/{prefix}/{sha256}/{name}/x",
        "slash": f"/files/{prefix}/{sha256}/{name}/",
        "double-slash": f"/files//{prefix}/{sha256}/{name}",
        "folder": f"/files/{prefix}/{sha256}/",
        "no-file": f"/files/{prefix}/{sha256}",
        "root": "/files/",
        "metadata-only": f"/files/{prefix}/{sha256}/.metadata",
    }


async def test_everything_else_is_not_found(shelf: Shelf) -> None:
    for name, path in variants(shelf.path).items():
        answer = answer_of(await raw(shelf.room.world, head(shelf.room.world, "GET", "/shelf" + path)))
        refused(answer, "not-found")
        assert "X-Evil" not in answer.headers, name


async def test_another_registrys_file(shelf: Shelf, public_room: Room) -> None:
    """Neither its name nor its digest helps elsewhere; and no answer tells that the bytes are known."""
    known = await public_room.get(shelf.path)
    unknown = await public_room.get(f"/files/00/{'0' * 64}/{FILENAME}")
    refused(known, "not-found")
    assert (known.body, known.reason) == (unknown.body, unknown.reason)
    same_name, data = wheel()
    assert same_name == FILENAME
    assert (await public_room.upload(await public_room.token(), (same_name, data))).status == 200
    refused(await public_room.get(shelf.path), "not-found")
    own = hashlib.sha256(data).hexdigest()
    assert (await public_room.get(f"/files/{own[:2]}/{own}/{FILENAME}")).body == data
    refused(await shelf.room.get(f"/files/{own[:2]}/{own}/{FILENAME}"), "not-found")


async def test_staged_and_yanked_files(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    page = await public_room.get("/simple/widget/", headers=SIMPLE_JSON)
    path = page.json["files"][0]["url"].removeprefix("../..")
    for state, status in (("staged", 404), ("yanked", 200), ("deleted", 404), ("visible", 200)):
        public_room.execute("UPDATE files SET state = ?", state)
        for suffix in ("", ".metadata"):
            assert (await public_room.get(path + suffix)).status == status


async def test_lost_blob_is_not_found(public_room: Room) -> None:
    assert (await public_room.upload(await public_room.token(), wheel(body=b"lost"))).status == 200
    page = await public_room.get("/simple/widget/", headers=SIMPLE_JSON)
    path = page.json["files"][0]["url"].removeprefix("../..")
    sha256 = path.split("/")[3]
    (public_room.world.index.directory_path / "blobs" / sha256[:2] / sha256).unlink()
    refused(await public_room.get(path), "not-found")
    assert (await public_room.get(path + ".metadata")).status == 200


async def test_other_methods(shelf: Shelf) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = await shelf.room.world.request(method, f"/shelf{shelf.path}")
        refused(answer, "method-not-allowed")
        assert answer.headers["Allow"] == "GET, HEAD"
