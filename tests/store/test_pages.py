"""Conformance: what `service.ports.Pages` guarantees."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from engines import OTHER_PROCESS
from other_process import page_body

from mintmark.service.ports import Pages
from mintmark.store import pages_dir
from mintmark.store.pages_dir import DirectoryPages

IMPLEMENTATIONS: Mapping[str, Callable[[Path], Pages]] = {"directory": DirectoryPages}
ROUNDS = 150


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Pages]:
    return lambda: IMPLEMENTATIONS[request.param](tmp_path)


def forms(number: int) -> dict[str, bytes]:
    return {"json": page_body(number), "html": b"<" + page_body(number)}


def body(pages: Pages, project: str = "widget", form: str = "json") -> bytes | None:
    page = pages.find("acme", project, form)
    return page.body if page else None


# -- the port ---------------------------------------------------------------------------------------------------------


def test_a_page_in_all_its_forms(make: Callable[[], Pages]) -> None:
    pages = make()
    assert pages.find("acme", "widget", "json") is None
    pages.replace("acme", "widget", 1, forms(1))
    found = {form: pages.find("acme", "widget", form) for form in ("json", "html")}
    for form, page in found.items():
        assert page is not None
        assert page.body == forms(1)[form]
        assert gzip.decompress(page.gzip or b"") == page.body
        assert page == pages.find("acme", "widget", form)
    assert len({page.etag for page in found.values() if page}) == 2
    pages.replace("acme", "widget", 2, forms(2))
    changed = pages.find("acme", "widget", "json")
    assert changed is not None
    assert changed.etag not in {page.etag for page in found.values() if page}
    # The same bytes have the same validator, wherever they were rendered.
    pages.replace("acme", "widget", 3, forms(1))
    again, elsewhere = pages.find("acme", "widget", "json"), make().find("acme", "widget", "json")
    assert again == found["json"] == elsewhere


def test_pages_are_apart(make: Callable[[], Pages]) -> None:
    pages = make()
    places = [("acme", ""), ("acme", "widget"), ("acme", "simple"), ("other", "widget"), ("acme", "index-json")]
    for number, (registry, project) in enumerate(places):
        pages.replace(registry, project, 1, forms(number))
    for number, (registry, project) in enumerate(places):
        page = pages.find(registry, project, "json")
        assert page is not None
        assert page.body == page_body(number)
    assert pages.find("other", "", "json") is None


def test_a_page_is_never_replaced_by_an_older_one(make: Callable[[], Pages]) -> None:
    pages = make()
    pages.replace("acme", "widget", 7, forms(7))
    pages.replace("acme", "widget", 6, forms(6))
    make().replace("acme", "widget", 5, forms(5))
    assert body(pages) == page_body(7)
    # The same count again: what a crash left half done is done again.
    pages.replace("acme", "widget", 7, forms(8))
    assert body(pages) == page_body(8)


def test_another_instances_page_is_seen_at_once(make: Callable[[], Pages]) -> None:
    one, other = make(), make()
    for number in range(50):
        (one if number % 2 else other).replace("acme", "widget", number, forms(number))
        assert body(one) == body(other) == page_body(number)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 255, "a/b", "index.json"])
def test_names_that_have_no_page(make: Callable[[], Pages], name: str) -> None:
    pages = make()
    pages.replace("acme", "a", 1, forms(1))
    pages.replace("acme", "", 1, forms(1))
    assert pages.find("acme", name, "json") is None


def test_readers_see_whole_pages_and_never_an_older_one(make: Callable[[], Pages]) -> None:
    make().replace("acme", "widget", 0, forms(0))
    problems: list[str] = []
    done = threading.Event()

    def reader() -> None:
        pages, newest = make(), 0
        while not done.is_set():
            seen = body(pages)
            number = int(seen[:8]) if seen else -1
            if seen != page_body(number) or number < newest:
                problems.append(f"{number} after {newest}")
            newest = number

    def writer(first: int) -> None:
        pages = make()
        for number in range(first, ROUNDS, 2):
            pages.replace("acme", "widget", number, forms(number))

    readers = [threading.Thread(target=reader) for _ in range(2)]
    writers = [threading.Thread(target=writer, args=(first,)) for first in (1, 2)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert body(make()) == page_body(ROUNDS - 1)


def test_two_processes_replace_one_page(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 0, {"json": page_body(0), "html": page_body(0)})
    writers = [
        subprocess.Popen(
            [sys.executable, OTHER_PROCESS, "pages", "", tmp_path, str(first), str(ROUNDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (1, 2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    newest = 0
    while any(writer.poll() is None for writer in writers):
        seen = body(pages)
        assert seen is not None
        assert seen == page_body(int(seen[:8]))
        assert int(seen[:8]) >= newest
        newest = int(seen[:8])
    for writer in writers:
        with writer:
            assert writer.wait(timeout=30) == 0
    assert body(pages) == body(pages, form="html") == page_body(2 * ROUNDS)


# -- the directory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"\0" * 40_000, b"begin" + b"\0" * 4096, b"begin" + b"\0" * 4096 + b"end"])
def test_what_a_power_failure_left_of_a_page_is_absent(tmp_path: Path, damage: bytes) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 3, forms(3))
    place = tmp_path / "pages/acme/simple/widget/index.json"
    place.write_bytes(damage)
    assert body(pages) is None
    pages.replace("acme", "widget", 3, forms(3))
    assert body(pages) == page_body(3)


@pytest.mark.parametrize("mark", [b"", b"\0\0\0", b"garbage"])
def test_a_lost_mark_keeps_nothing_from_being_rendered(tmp_path: Path, mark: bytes) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 3, forms(3))
    (tmp_path / "pages/acme/simple/widget/.changes").write_bytes(mark)
    pages.replace("acme", "widget", 4, forms(4))
    pages.replace("acme", "widget", 3, forms(3))
    assert body(pages) == page_body(4)


def test_what_a_crash_left_beside_a_page_does_not_pile_up(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    folder = tmp_path / "pages/acme/simple/widget"
    folder.mkdir(parents=True)
    (folder / ".index.json~").write_bytes(b"half")
    pages.replace("acme", "widget", 1, forms(1))
    assert {path.name for path in folder.iterdir()} == {
        "index.json", "index.json.gz", "index.html", "index.html.gz", ".changes",
    }  # fmt: skip


def test_what_cannot_be_written_leaves_the_page_alone(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 1, forms(1))
    folder = tmp_path / "pages/acme/simple/widget"
    (folder / ".index.json~").mkdir()
    with pytest.raises(OSError, match="directory"):
        pages.replace("acme", "widget", 2, forms(2))
    assert body(pages) == page_body(1)
    (folder / ".index.json~").rmdir()
    pages.replace("acme", "widget", 2, forms(2))
    assert body(pages) == page_body(2)


@pytest.mark.parametrize(("boot", "synced"), [("one", False), ("", True)])
def test_pages_are_synced_only_where_nobody_knows_of_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, synced: bool
) -> None:
    pages = DirectoryPages(tmp_path, boot)
    seen: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        seen.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path / "pages"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    pages.replace("acme", "widget", 1, forms(1))
    # At last the folder: its names must not be the old ones again after a power failure.
    assert (len(seen), seen[-1:]) == ((5, ["acme/simple/widget"]) if synced else (0, []))


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_dir, "CACHE_MAX_BYTES", 100_000)
    pages = DirectoryPages(tmp_path)
    for number in range(10):
        pages.replace("acme", f"p{number}", 1, forms(number))
    for _ in range(2):
        for number in range(10):
            assert body(pages, f"p{number}") == page_body(number)
    assert pages._cached_bytes <= 100_000
    assert pages._cached_bytes == sum(len(page.body) + len(page.gzip or b"") for _, page in pages._cache.values())


# -- compressed pages ------------------------------------------------------------------------------------------------


def size_of(count: int) -> bytes:
    return b"<" + b"x" * (count - 1)


@pytest.mark.parametrize("count", [1, pages_dir.GZIP_MIN_BYTES - 1])
def test_what_fits_into_a_packet_is_not_compressed(tmp_path: Path, count: int) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 1, {"json": size_of(count)})
    page = pages.find("acme", "widget", "json")
    assert page is not None
    assert page.gzip is None


@pytest.mark.parametrize(
    ("count", "stored"),
    [(pages_dir.GZIP_MIN_BYTES, False), (pages_dir.GZIP_STORED_MIN_BYTES - 1, False),
     (pages_dir.GZIP_STORED_MIN_BYTES, True), (300_000, True)],
)  # fmt: skip
def test_large_pages_are_compressed_when_they_are_written(tmp_path: Path, count: int, stored: bool) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 1, {"json": size_of(count)})
    beside = tmp_path / "pages/acme/simple/widget/index.json.gz"
    assert beside.exists() == stored
    page = pages.find("acme", "widget", "json")
    assert page is not None
    assert gzip.decompress(page.gzip or b"") == size_of(count)
    assert not stored or beside.read_bytes() == page.gzip


def test_a_page_that_became_small_leaves_no_compressed_one(tmp_path: Path) -> None:
    """A front server would go on serving it."""
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 1, {"json": size_of(50_000)})
    pages.replace("acme", "widget", 2, {"json": size_of(2_000)})
    assert not (tmp_path / "pages/acme/simple/widget/index.json.gz").exists()
    page = pages.find("acme", "widget", "json")
    assert page is not None
    assert gzip.decompress(page.gzip or b"") == size_of(2_000)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 100, b"\x1f\x8b", gzip.compress(b"<" + page_body(7)), gzip.compress(page_body(1))[:-20],
     gzip.compress(page_body(1) + b"more"), gzip.compress(page_body(1)[:-1])],
    ids=["empty", "zeros", "begin", "another", "cut", "longer", "shorter"],
)  # fmt: skip
def test_a_compressed_page_of_another_age_is_never_served(tmp_path: Path, damage: bytes) -> None:
    """A crash between the two, or a reader between the two."""
    DirectoryPages(tmp_path).replace("acme", "widget", 1, forms(1))
    beside = tmp_path / "pages/acme/simple/widget/index.json.gz"
    assert beside.exists()
    beside.write_bytes(damage)
    page = DirectoryPages(tmp_path).find("acme", "widget", "json")
    assert page is not None
    assert (page.body, gzip.decompress(page.gzip or b"")) == (page_body(1), page_body(1))


def test_both_codings_of_a_page_are_one_page_whoever_writes(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 0, forms(0))
    done = threading.Event()
    problems: list[int] = []

    def reader() -> None:
        while not done.is_set():
            # A fresh instance has nothing in memory.
            page = DirectoryPages(tmp_path).find("acme", "widget", "json")
            if page is None or gzip.decompress(page.gzip or b"") != page.body:
                problems.append(1)

    readers = [threading.Thread(target=reader) for _ in range(2)]
    for thread in readers:
        thread.start()
    for number in range(1, 60):
        pages.replace("acme", "widget", number, forms(number))
    done.set()
    for thread in readers:
        thread.join()
    assert problems == []


# -- derived pages ---------------------------------------------------------------------------------------------------


def test_a_derived_page_is_kept_until_the_page_is_replaced(make: Callable[[], Pages]) -> None:
    pages = make()
    pages.replace("acme", "widget", 4, forms(4))
    assert pages.derived("acme", "widget", 4, "pypi-1") is None
    made = pages.derive("acme", "widget", 4, "pypi-1", page_body(4))
    assert made.body == page_body(4)
    assert gzip.decompress(made.gzip or b"") == made.body
    assert pages.derived("acme", "widget", 4, "pypi-1") == made == make().derived("acme", "widget", 4, "pypi-1")
    for changes, form in ((3, "pypi-1"), (5, "pypi-1"), (4, "pypi-2")):
        assert pages.derived("acme", "widget", changes, form) is None
    pages.replace("acme", "widget", 5, forms(5))
    assert pages.derived("acme", "widget", 4, "pypi-1") is None
    # Nor again, by whoever was slow.
    late = pages.derive("acme", "widget", 4, "pypi-1", page_body(4))
    assert late == made
    assert pages.derived("acme", "widget", 4, "pypi-1") is None
    assert body(pages) == page_body(5)


def test_a_derived_page_without_a_page_is_made_and_not_kept(make: Callable[[], Pages]) -> None:
    pages = make()
    assert pages.derive("acme", "widget", 1, "pypi-1", b"{}").body == b"{}"
    assert pages.derived("acme", "widget", 1, "pypi-1") is None
    assert body(pages) is None


def test_derived_pages_do_not_pile_up(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    for number in range(1, 4):
        pages.replace("acme", "widget", number, forms(number))
        pages.derive("acme", "widget", number, "pypi-1", page_body(number))
        pages.derive("acme", "widget", number, "pypi-2", b"{}")
    folder = tmp_path / "pages/acme/simple/widget"
    assert {path.name for path in (folder / "derived").iterdir()} == {"pypi-1.3", "pypi-1.3.gz", "pypi-2.3"}
    pages.replace("acme", "widget", 4, forms(4))
    assert not (folder / "derived").exists()
    pages.derive("acme", "widget", 4, "pypi-1", b"{}")
    assert pages.remove("acme", "widget")
    assert not folder.exists()


def test_a_derived_page_that_cannot_be_kept_is_served_all_the_same(tmp_path: Path) -> None:
    pages = DirectoryPages(tmp_path)
    pages.replace("acme", "widget", 1, forms(1))
    (tmp_path / "pages/acme/simple/widget/derived").write_bytes(b"in the way")
    assert pages.derive("acme", "widget", 1, "pypi-1", b"{}").body == b"{}"
    assert pages.derived("acme", "widget", 1, "pypi-1") is None
