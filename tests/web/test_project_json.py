"""The JSON documents about projects on the wire: what they say, who may read them, when they are made."""

from __future__ import annotations

import gzip
from urllib.parse import urlsplit

import pytest

from support.dists import sdist, wheel
from support.wire import Room, answer_of, head, raw, refused
from support.world import Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def document(room: Room, path: str = "widget/json", **headers: str) -> Answer:
    return await room.get(f"/pypi/{path}", headers=headers)


async def test_a_project_and_its_releases(public_room: Room) -> None:
    token = await public_room.token()
    files = [wheel(), sdist(), wheel(version="2.0rc1"), wheel(version="1.5")]
    for each in files:
        assert (await public_room.upload(token, each)).status == 200
    answer = await document(public_room)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    found = answer.json
    assert (found["info"]["name"], found["info"]["version"], found["info"]["summary"]) == ("widget", "1.5", "A test")
    assert sorted(found["releases"]) == ["1.0", "1.5", "2.0rc1"]
    assert found["last_serial"] == 4
    by_name = {entry["filename"]: entry for entries in found["releases"].values() for entry in entries}
    for name, data in files:
        entry = by_name[name]
        assert entry["size"] == len(data)
        # Absolute, below the configured URL, and it leads to the file.
        base = public_room.world.index.settings.base_url
        assert entry["url"].startswith(f"{base}/{public_room.slug}/files/")
        download = await public_room.world.get(urlsplit(entry["url"]).path)
        assert (download.status, download.body) == (200, data)
    for wanted in ("1.0", "1", "1.0.0"):
        one = (await document(public_room, f"widget/{wanted}/json")).json
        assert (one["info"]["version"], "releases" in one) == ("1.0", False)
        assert [entry["filename"] for entry in one["urls"]] == [wheel()[0], sdist()[0]]
    page = await public_room.world.get(urlsplit(found["info"]["package_url"]).path)
    assert page.status == 200
    release = await public_room.world.get(urlsplit(found["info"]["release_url"]).path)
    assert release.json["info"]["version"] == "1.5"


async def test_what_is_not_there(public_room: Room, house: World) -> None:
    assert (await public_room.upload(await public_room.token(), wheel())).status == 200
    for path in ("nothing/json", "widget/2.0/json", "widget/latest/json", "widget/%2e%2e/json", "-/json",
                 "%00/json", "widget/%00/json", "a%2fb/json", "widget/" + "1" * 300 + "/json", "widget/" + "0." * 100
                 + "/json", "widget/" + "9" * 5000 + "/json"):  # fmt: skip
        refused(await public_room.get(f"/pypi/{path}"), "not-found")
    for path in ("/pypi/widget/json", "/nowhere/pypi/widget/json"):
        refused(await house.get(path), "not-found")


async def test_redirects_to_the_normal_name(public_room: Room) -> None:
    for path, target in (
        ("Wid.Get/json", "wid-get/json"),
        ("Wid_Get/1.0/json", "wid-get/1.0/json"),
        ("Wid_Get/1%2F..%2F0/json", "wid-get/1%2F..%2F0/json"),
    ):
        answer = answer_of(
            await raw(public_room.world, head(public_room.world, "GET", f"/{public_room.slug}/pypi/{path}"))
        )
        assert (answer.status, answer.headers["Location"]) == (301, f"/{public_room.slug}/pypi/{target}")


async def test_private_documents_follow_the_rules_of_private_pages(room: Room) -> None:
    token = await room.token()
    assert (await room.upload(token, wheel())).status == 200
    refused(await room.get("/pypi/widget/json"), "credential-required")
    refused(await room.get("/pypi/nothing/json"), "credential-required")
    refused(await room.get("/pypi/widget/json", auth="nonsense"), "credential-invalid")
    narrow = await room.token(name="narrow", upload=False, projects=("gadget",))
    refused(await room.get("/pypi/widget/json", auth=narrow), "not-found")
    answer = await room.get("/pypi/widget/json", auth=token)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "private, no-cache")
    refused(await room.get("/pypi/nothing/json", auth=token), "not-found")


async def test_validators_codings_and_head(public_room: Room) -> None:
    token = await public_room.token()
    for number in range(1, 6):
        assert (await public_room.upload(token, wheel(version=f"{number}.0"))).status == 200
    whole = await document(public_room, **{"Accept-Encoding": "identity"})
    etag = whole.headers["ETag"]
    assert (whole.headers["Vary"], whole.headers["Cache-Control"]) == ("Accept-Encoding", "no-cache")
    again = await document(public_room, **{"If-None-Match": etag, "Accept-Encoding": "identity"})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    refused(await document(public_room, **{"If-Match": '"other"'}), "precondition-failed")
    path = f"/{public_room.slug}/pypi/widget/json"
    answer = answer_of(await raw(public_room.world, head(public_room.world, "GET", path, "Accept-Encoding: gzip")))
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == whole.body
    assert answer.headers["ETag"] != etag
    only = await public_room.world.request("HEAD", path, headers={"Accept-Encoding": "identity"})
    assert (only.status, only.headers["ETag"], only.headers["Content-Length"]) == (200, etag, str(len(whole.body)))
    # Whatever they accept: there is one form.
    assert (await document(public_room, Accept="text/html")).status == 200


async def test_a_document_is_made_once_and_anew_after_a_change(public_room: Room) -> None:
    token = await public_room.token()
    assert (await public_room.upload(token, wheel())).status == 200
    kept = public_room.world.index.directory_path / "pages" / public_room.slug / "simple/widget/derived"
    assert not kept.exists()
    first = await document(public_room)
    assert (await document(public_room, "widget/1.0.0/json")).status == 200
    assert (await document(public_room, "widget/1/json")).status == 200
    made = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(made) == 2
    assert (await document(public_room)).headers["ETag"] == first.headers["ETag"]
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == made
    assert (await public_room.upload(token, wheel(version="2.0"))).status == 200
    assert not kept.exists()
    second = await document(public_room)
    assert (second.json["info"]["version"], second.json["last_serial"]) == ("2.0", 2)


async def test_files_that_readers_do_not_get_are_in_no_document(public_room: Room) -> None:
    token = await public_room.token()
    for each in (wheel(), wheel(version="2.0")):
        assert (await public_room.upload(token, each)).status == 200
    public_room.execute("UPDATE files SET state = 'deleted'")
    public_room.execute("UPDATE projects SET changes = changes + 1")
    refused(await document(public_room), "not-found")
    public_room.execute("UPDATE files SET state = 'yanked', yanked_reason = 'broken'")
    public_room.execute("UPDATE projects SET changes = changes + 1")
    info = (await document(public_room)).json["info"]
    assert (info["version"], info["yanked"], info["yanked_reason"]) == ("2.0", True, "broken")
    public_room.execute("UPDATE projects SET status = 'quarantined', changes = changes + 1")
    refused(await document(public_room), "not-found")
    refused(await document(public_room, "widget/1.0/json"), "not-found")


async def test_damage_is_no_bug(public_room: Room) -> None:
    """A blob that rotted, or is gone: not the reader's fault and not for ever."""
    token = await public_room.token()
    for name, data in (wheel("rotten"), sdist("rotting"), wheel("gone")):
        assert (await public_room.upload(token, (name, data))).status == 200
    blobs = public_room.world.index.directory_path / "blobs"
    for project, name in (("rotten", wheel("rotten")[0]), ("rotting", sdist("rotting")[0]), ("gone", wheel("gone")[0])):
        page = await public_room.get(f"/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        (entry,) = page.json["files"]
        assert entry["filename"] == name
        (place,) = blobs.rglob(entry["hashes"]["sha256"])
        kept = place.read_bytes()
        place.chmod(0o600)
        if project == "gone":
            place.unlink()
        else:
            place.write_bytes(kept[:20] + bytes(len(kept) - 20))
        refused(await document(public_room, f"{project}/json"), "unavailable")
        place.write_bytes(kept)
        assert (await document(public_room, f"{project}/json")).status == 200
