"""Bringing another index in: what is kept, what is compared, what is not fetched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mintmark.core.errors import Unavailable
from mintmark.core.import_choice import Choice, parse_requirements
from mintmark.service import importing
from mintmark.store import import_http
from mintmark.store.import_http import HttpSource
from support.clock import START
from support.dists import sdist, wheel
from support.importing import Target, page, put, serve, sha, source_of, target_in
from support.other_index import OtherIndex, endless, failing, other_index
from support.world import World


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    async with target_in(tmp_path) as made:
        yield made


# -- another index ----------------------------------------------------------------------------------------------------


async def test_from_another_mintmark(target: Target, world: World) -> None:
    """A private registry of another host: bytes, times, yanks and names are as they were."""
    secret = await world.token()
    for file in (wheel("Foo.Bar".lower().replace(".", "-")), sdist("widget"), wheel("widget", "2.0")):
        assert (await world.upload(secret, file)).status == 200
        world.clock.advance(1000)
    source = HttpSource(f"{world.url.replace('127.0.0.1', 'localhost')}/acme/simple/", password=secret)
    report = await target.run(source)
    assert (dict(report.outcomes), report.complete) == ({"imported": 3}, True)
    assert target.names() == ["foo-bar", "widget"]
    for number, (name, data) in enumerate((wheel("foo-bar"), sdist("widget"), wheel("widget", "2.0"))):
        found = await target.file(name)
        assert found is not None
        assert (found.sha256, found.uploaded_at) == (sha(data), int(START) + 1000 * number)
    source = HttpSource(f"{world.url.replace('127.0.0.1', 'localhost')}/acme/simple/", password=secret)
    assert dict((await target.run(source)).outcomes) == {"there": 3}


@pytest.fixture
async def other(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtherIndex]:
    monkeypatch.setattr(import_http, "BACKOFF_MILLISECONDS", 0)
    async with other_index() as index:
        yield index


async def test_what_is_kept(target: Target, other: OtherIndex) -> None:
    entries = serve(other, "widget", wheel(), sdist(), **{"project-status": {"status": "archived"}})
    entries[0] |= {"upload-time": "2020-02-03T04:05:06.000007Z", "yanked": "leaks"}
    entries[0]["requires-python"] = ">=99"
    page(other, "widget", entries, **{"project-status": {"status": "archived"}})
    assert (await target.run(source_of(other), jobs=1)).complete
    file = await target.file(wheel()[0])
    assert file is not None
    assert (file.uploaded_at, file.upload_microseconds) == (1_580_702_706, 7)
    assert (file.state, file.yanked_reason) == ("yanked", "leaks")
    # The file's own metadata count, not what a page says about it.
    assert file.requires_python == ">=3.8"
    second = await target.file(sdist()[0])
    assert second is not None
    assert (second.uploaded_at, second.state) == (int(START), "visible")
    home = await target.registry()
    project = await target.index.ledger.read(lambda tx: tx.projects.find(home.id, "widget"))
    assert project is not None
    assert (project.status, project.display_name) == ("archived", "widget")
    shown = target.index.pages.find("acme", "widget", "json")
    assert shown is not None
    assert json.loads(shown.body)["project-status"]["status"] == "archived"
    # What came later there still comes, since the project is archived on both sides.
    serve(other, "widget", wheel(), sdist(), wheel("widget", "2.0"), **{"project-status": {"status": "archived"}})
    assert dict((await target.run(source_of(other))).outcomes) == {"there": 2, "imported": 1}


async def test_what_is_there_is_not_fetched_again(target: Target, other: OtherIndex) -> None:
    serve(other, "widget", wheel(), sdist())
    await target.run(source_of(other))
    serve(other, "widget", wheel(), sdist(), wheel("widget", "2.0"))
    other.asked.clear()
    assert dict((await target.run(source_of(other))).outcomes) == {"there": 2, "imported": 1}
    assert [path for path in other.paths() if "files" in path] == ["/files/widget-2.0-py3-none-any.whl"]


async def test_a_stated_digest_is_believed_about_differences(target: Target, other: OtherIndex) -> None:
    serve(other, "widget", wheel())
    await target.run(source_of(other))
    serve(other, "widget", wheel(body=b"# other"))
    other.asked.clear()
    assert dict((await target.run(source_of(other))).outcomes) == {"conflict": 1}
    assert not [path for path in other.paths() if "files" in path]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
async def test_a_file_that_is_not_what_was_stated(target: Target, other: OtherIndex, algorithm: str) -> None:
    entries = serve(other, "widget", wheel())
    wrong = hashlib.new(algorithm, b"something else").hexdigest()
    entries[0]["hashes"] = {algorithm: wrong}
    page(other, "widget", entries)
    report = await target.run(source_of(other))
    assert dict(report.outcomes) == {"refused": 1}
    assert target.told("refused")[0].code == "digest-mismatch"
    assert (target.blobs(), target.names()) == (set(), [])


async def test_a_file_of_another_size(target: Target, other: OtherIndex) -> None:
    entries = serve(other, "widget", wheel())
    entries[0] |= {"size": 5, "hashes": {}}
    page(other, "widget", entries)
    await target.run(source_of(other))
    assert target.told("refused")[0].code == "digest-mismatch"


async def test_without_digests_files_are_compared(target: Target, other: OtherIndex) -> None:
    entries = serve(other, "widget", wheel(), sdist())
    for entry in entries:
        entry["hashes"] = {}
    page(other, "widget", entries)
    assert (await target.run(source_of(other))).outcomes["imported"] == 2
    name, data = sdist(body=b"# other")
    other.page(f"/files/{name}", data)
    entries[1]["size"] = len(data)
    page(other, "widget", entries)
    assert dict((await target.run(source_of(other))).outcomes) == {"there": 1, "conflict": 1}
    assert target.blobs() == {sha(wheel()[1]), sha(sdist()[1])}


async def test_a_file_that_is_only_compared_ends_too(target: Target, other: OtherIndex) -> None:
    (entry,) = serve(other, "widget", wheel())
    assert (await target.run(source_of(other))).outcomes["imported"] == 1
    await target.policy(file_limit_bytes=1 << 20)
    other.answers[f"/files/{wheel()[0]}"] = endless
    page(other, "widget", [{**entry, "hashes": {}, "size": None}])
    assert (await target.run(source_of(other))).outcomes["refused"] == 1
    assert [outcome.code for outcome in target.told("refused")] == ["too-large"]


async def test_too_large_files_are_not_fetched(target: Target, other: OtherIndex) -> None:
    await target.policy(file_limit_bytes=10)
    entries = serve(other, "widget", wheel(), sdist())
    entries[1]["size"] = None
    page(other, "widget", entries)
    report = await target.run(source_of(other))
    assert {outcome.code for outcome in target.told("refused")} == {"too-large"}
    assert report.outcomes["refused"] == 2
    assert [path for path in other.paths() if "files" in path] == [f"/files/{sdist()[0]}"]
    assert target.blobs() == set()


async def test_a_page_with_files_of_another_project(target: Target, other: OtherIndex) -> None:
    serve(other, "widget", wheel(), wheel("gadget"))
    report = await target.run(source_of(other))
    assert (report.outcomes["imported"], report.skipped["file of another project"]) == (1, 1)


async def test_a_project_that_cannot_be_looked_up(target: Target, other: OtherIndex) -> None:
    serve(other, "gadget", wheel("gadget"))
    serve(other, "widget", wheel())
    other.answers["/simple/widget/"] = failing(99, b"")
    report = await target.run(source_of(other))
    assert dict(report.outcomes) == {"imported": 1, "failed": 1}
    assert target.told("failed")[0].project == "widget"
    report = await target.run(source_of(other), Choice(("nothing",)))
    assert dict(report.outcomes) == {"missing": 1}


async def test_a_file_that_fails_is_told_and_comes_next_time(target: Target, other: OtherIndex) -> None:
    serve(other, "widget", wheel(), sdist())
    name, data = sdist()
    other.answers[f"/files/{name}"] = failing(import_http.ATTEMPTS_MAX, data)
    report = await target.run(source_of(other))
    assert (dict(report.outcomes), report.complete) == ({"imported": 1, "failed": 1}, False)
    assert dict((await target.run(source_of(other))).outcomes) == {"there": 1, "imported": 1}


async def test_a_source_that_is_down_is_given_up(
    target: Target, other: OtherIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "FAILURES_IN_A_ROW_MAX", 3)
    monkeypatch.setattr(import_http, "ATTEMPTS_MAX", 1)
    files = [wheel("widget", f"{number}.0") for number in range(9)]
    serve(other, "widget", *files)
    for name, _ in files[1:]:
        other.answers[f"/files/{name}"] = failing(99, b"")
    with pytest.raises(Unavailable, match="failed 3 times in a row"):
        await target.run(source_of(other), jobs=1)
    assert target.page("widget") == [files[0][0]]


async def test_pins(target: Target, other: OtherIndex) -> None:
    serve(other, "widget", wheel(), sdist(), wheel("widget", "2.0"))
    serve(other, "gadget", wheel("gadget"), sdist("gadget"))
    serve(other, "more", wheel("more"))
    lines = [
        "widget==1.0",
        f"gadget==1.0 --hash=sha256:{sha(wheel('gadget')[1])}",
        f"more==1.0 --hash=sha256:{'0' * 64}",
        "widget==3.0",
        "absent==1.0",
    ]
    report = await target.run(source_of(other), Choice(pins=parse_requirements("\n".join(lines))))
    assert sorted(outcome.filename for outcome in target.told("imported")) == [
        "gadget-1.0-py3-none-any.whl",
        "widget-1.0-py3-none-any.whl",
        "widget-1.0.tar.gz",
    ]
    assert [outcome.filename for outcome in target.told("missing")] == ["absent==1.0", "more==1.0", "widget==3.0"]
    assert report.skipped["other digest than pinned"] == 2
    assert not report.complete
    # A digest that is not stated is compared when the file is here.
    entries = serve(other, "more", wheel("more"))
    entries[0]["hashes"] = {}
    page(other, "more", entries)
    report = await target.run(source_of(other), Choice(pins=parse_requirements(lines[2])))
    assert (dict(report.outcomes), report.skipped["other digest than pinned"]) == ({"missing": 1}, 1)
    assert sha(wheel("more")[1]) not in target.blobs()


async def test_a_dry_run_changes_nothing(target: Target, other: OtherIndex, tmp_path: Path) -> None:
    serve(other, "widget", wheel(), sdist())
    report = await target.run(source_of(other), Choice(pins=parse_requirements("widget==1.0")), dry_run=True)
    assert (dict(report.outcomes), report.complete) == ({"wanted": 2}, True)
    assert not [path for path in other.paths() if "files" in path]
    report = await target.run(put(tmp_path / "in", wheel()), dry_run=True)
    assert dict(report.outcomes) == {"wanted": 1}
    assert (target.blobs(), target.names()) == (set(), [])
