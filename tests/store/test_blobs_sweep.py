"""Conformance: what `service.ports.Blobs` and `Pages` guarantee about listing and removing, beside whoever writes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mintmark.service.ports import BlobState
from mintmark.store import blobs_dir
from mintmark.store.blobs_dir import DirectoryBlobs
from mintmark.store.pages_dir import DirectoryPages

NOW = 1_790_000_000.0
OLD, CUT, YOUNG = NOW - 200, NOW - 100, NOW


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path)


def keep(blobs: DirectoryBlobs, content: bytes) -> str:
    spool = blobs.spool()
    try:
        spool.write(content)
        sha256 = hashlib.sha256(content).hexdigest()
        spool.keep(sha256)
        return sha256
    finally:
        spool.discard()


def path_of(folder: Path, sha256: str) -> Path:
    return folder / "blobs" / sha256[:2] / sha256


def aged(folder: Path, blobs: DirectoryBlobs, content: bytes, at: float = OLD) -> BlobState:
    sha256 = keep(blobs, content)
    os.utime(path_of(folder, sha256), (at, at))
    return BlobState(sha256, len(content), at)


def everything(blobs: DirectoryBlobs) -> list[BlobState]:
    return [blob for part in blobs.every() for blob in part]


# -- blobs ------------------------------------------------------------------------------------------------------------


def test_all_blobs_in_the_order_of_their_digests(
    blobs: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_dir, "LISTED_MAX", 2)
    made = [aged(tmp_path, blobs, str(number).encode()) for number in range(700)]
    parts = list(blobs.every())
    assert max(len(part) for part in parts) == 2
    assert [blob for part in parts for blob in part] == sorted(made, key=lambda blob: blob.sha256)
    assert blobs.size(made[699].sha256) == 3
    assert blobs.size("0" * 64) is None
    assert blobs.size("../" + "0" * 61) is None


def test_old_blobs_go_and_young_ones_stay(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    old, young = aged(tmp_path, blobs, b"old"), aged(tmp_path, blobs, b"young", YOUNG)
    gone = BlobState("0" * 64, 1, OLD)
    assert blobs.remove([old, young, gone], CUT) == [old]
    assert everything(blobs) == [young]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_nothing_but_a_blob_is_removed(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    victim = tmp_path / "blobs" / "victim"
    victim.touch()
    os.utime(victim, (OLD, OLD))
    assert blobs.remove([BlobState("../blobs/victim", 0, OLD), BlobState("victim", 0, OLD)], CUT) == []
    assert victim.exists()


def test_an_old_orphan_that_is_kept_again_is_new(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    """Between the look-up of references and the removal: the listed age is not what counts."""
    listed = aged(tmp_path, blobs, b"again")
    keep(blobs, b"again")
    assert blobs.remove([listed], CUT) == []
    assert blobs.size(listed.sha256) == 5


@contextmanager
def held(folder: Path, operation: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


class Watched:
    """Records the system calls that matter and stops in front of one of them, until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: Callable[[str, str], bool]) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        rename = os.rename

        def watched(source: str | Path, target: str | Path) -> None:
            if stop(str(source), str(target)):
                self.reached.set()
                assert self.go_on.wait(20)
            rename(source, target)

        monkeypatch.setattr(os, "rename", watched)


def somebody_waits(folder: Path) -> bool:
    """Whether somebody comes to wait for a lock of the folder, which the kernel lists under the one that is held."""
    place, until = f":{folder.stat().st_ino} ", time.monotonic() + 20
    while time.monotonic() < until:
        if any("-> FLOCK" in line and place in line for line in Path("/proc/locks").read_text().splitlines()):
            return True
    return False


def test_a_removal_never_takes_what_is_kept_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remover has looked at the old file's age and is about to take it; the upload wants to put its own there."""
    remover, uploader = DirectoryBlobs(tmp_path), DirectoryBlobs(tmp_path)
    listed = aged(tmp_path, remover, b"wanted")
    watched = Watched(monkeypatch, lambda source, _: "/blobs/" in source)
    removed: list[Sequence[BlobState] | None] = []
    removing = threading.Thread(target=lambda: removed.append(remover.remove([listed], CUT)))
    keeping = threading.Thread(target=keep, args=(uploader, b"wanted"))
    removing.start()
    assert watched.reached.wait(20)
    keeping.start()
    # The upload cannot put its file there before the removal is over.
    assert somebody_waits(path_of(tmp_path, listed.sha256).parent)
    assert keeping.is_alive()
    watched.go_on.set()
    removing.join(20)
    keeping.join(20)
    assert removed == [[listed]]
    assert uploader.size(listed.sha256) == 6


def test_a_removal_waits_for_whoever_is_keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload holds the folder and is about to rename; the remover sees the new file, and leaves it."""
    remover, uploader = DirectoryBlobs(tmp_path), DirectoryBlobs(tmp_path)
    listed = aged(tmp_path, remover, b"wanted")
    watched = Watched(monkeypatch, lambda _, target: "/blobs/" in target)
    removed: list[Sequence[BlobState] | None] = []
    keeping = threading.Thread(target=keep, args=(uploader, b"wanted"))
    removing = threading.Thread(target=lambda: removed.append(remover.remove([listed], CUT)))
    keeping.start()
    assert watched.reached.wait(20)
    removing.start()
    assert somebody_waits(path_of(tmp_path, listed.sha256).parent)
    assert removing.is_alive()
    watched.go_on.set()
    removing.join(20)
    keeping.join(20)
    assert removed == [[]]
    assert uploader.size(listed.sha256) == 6


def test_nothing_goes_while_somebody_holds_everything(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    old = aged(tmp_path, blobs, b"old")
    with blobs.hold():
        assert DirectoryBlobs(tmp_path).remove([old], CUT) is None
        # Holding keeps nobody from uploading, or from holding too.
        keep(blobs, b"new")
        with DirectoryBlobs(tmp_path).hold():
            pass
        assert blobs.remove([old], CUT) is None
    assert blobs.remove([old], CUT) == [old]


def test_whoever_holds_waits_for_a_removal(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    with held(tmp_path / "blobs", fcntl.LOCK_EX):
        holding = threading.Thread(target=lambda: blobs.hold().__enter__())
        holding.start()
        assert somebody_waits(tmp_path / "blobs")
        assert holding.is_alive()
    holding.join(20)
    assert not holding.is_alive()


def test_strays(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    sha256 = keep(blobs, b"a blob")
    assert list(blobs.strays()) == []
    root = tmp_path / "blobs"
    other = root / ("00" if sha256[:2] != "00" else "01")
    (root / "readme").touch()
    (other / sha256).touch()
    (other / "notes.txt").touch()
    (root / sha256[:2] / (sha256[:2] + "f" * 62)).symlink_to(root / "readme")
    expected = {"blobs/readme", f"blobs/{other.name}/{sha256}", f"blobs/{other.name}/notes.txt"}
    assert set(blobs.strays()) == expected | {f"blobs/{sha256[:2]}/{sha256[:2]}{'f' * 62}"}
    assert [blob.sha256 for blob in everything(blobs)] == [sha256]


def test_files_on_their_way_in_that_nobody_writes_to(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    left = tmp_path / "incoming" / "left"
    left.touch()
    os.utime(left, (OLD, OLD))
    spool = blobs.spool()
    spool.write(b"on its way")
    assert blobs.leftovers(CUT, remove=False) == 1
    assert blobs.leftovers(CUT, remove=True) == 1
    assert not left.exists()
    sha256 = hashlib.sha256(b"on its way").hexdigest()
    spool.keep(sha256)
    spool.discard()
    assert blobs.size(sha256) == 10


def test_what_is_no_file_on_its_way_in_keeps_nothing_from_starting(tmp_path: Path) -> None:
    """A file system's own folder, where `incoming` is a mount point."""
    (tmp_path / "incoming" / "lost+found").mkdir(parents=True)
    (tmp_path / "incoming" / "left").touch()
    again = DirectoryBlobs(tmp_path)
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["lost+found"]
    os.utime(tmp_path / "incoming" / "lost+found", (OLD, OLD))
    assert again.leftovers(CUT, remove=True) == 0


# -- pages ------------------------------------------------------------------------------------------------------------

FORMS = {"json": b"{}", "html": b"<html>"}


@pytest.fixture
def pages(tmp_path: Path) -> DirectoryPages:
    made = DirectoryPages(tmp_path)
    for project in ("widget", "gadget", ""):
        made.replace("acme", project, 3, FORMS)
    return made


def test_what_pages_there_are(pages: DirectoryPages) -> None:
    assert sorted(pages.stored()) == [("acme", ""), ("acme", "gadget"), ("acme", "widget")]
    assert pages.changes("acme", "widget") == 3
    assert pages.changes("acme", "nothing") == -1


def test_whether_a_page_is_what_it_should_be(pages: DirectoryPages, tmp_path: Path) -> None:
    assert pages.shows("acme", "widget", FORMS) is True
    assert pages.shows("acme", "nothing", FORMS) is None
    assert pages.shows("acme", "widget", FORMS | {"html": b"other"}) is False
    (tmp_path / "pages/acme/simple/widget/index.html").unlink()
    assert pages.shows("acme", "widget", FORMS) is False


def test_the_compressed_page_beside_is_looked_at_too(pages: DirectoryPages, tmp_path: Path) -> None:
    long = {form: body * 20_000 for form, body in FORMS.items()}
    pages.replace("acme", "widget", 4, long)
    assert pages.shows("acme", "widget", long) is True
    beside = tmp_path / "pages/acme/simple/widget/index.html.gz"
    beside.write_bytes(beside.read_bytes()[:-1])
    assert pages.shows("acme", "widget", long) is False
    beside.write_bytes((tmp_path / "pages/acme/simple/widget/index.json.gz").read_bytes())
    assert pages.shows("acme", "widget", long) is False


def test_a_removed_page_is_gone_with_its_folder(pages: DirectoryPages, tmp_path: Path) -> None:
    assert pages.remove("acme", "widget")
    assert not (tmp_path / "pages/acme/simple/widget").exists()
    assert pages.find("acme", "widget", "json") is None
    assert not pages.remove("acme", "widget")
    # The list goes, its projects stay.
    assert pages.remove("acme", "")
    assert sorted(pages.stored()) == [("acme", ""), ("acme", "gadget")]
    # A page that was never replaced by an older one may be made anew from any count.
    pages.replace("acme", "widget", 1, FORMS)
    assert pages.changes("acme", "widget") == 1
    for project in ("widget", "gadget", ""):
        pages.remove("acme", project)
    assert not (tmp_path / "pages/acme").exists()


def test_a_page_that_was_replaced_lately_is_not_removed(pages: DirectoryPages, tmp_path: Path) -> None:
    mark = tmp_path / "pages/acme/simple/widget/.changes"
    os.utime(mark, (YOUNG, YOUNG))
    assert not pages.remove("acme", "widget", CUT)
    os.utime(mark, (OLD, OLD))
    assert pages.remove("acme", "widget", CUT)


def test_whoever_waited_for_a_removed_page_makes_another(
    pages: DirectoryPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark was opened before the removal and locked after it: what it holds is no page's mark any more."""
    mark = tmp_path / "pages/acme/simple/widget/.changes"
    opened = threading.Event()
    plain_open = os.open

    def watched(path: str | Path, *more: int, **others: int) -> int:
        descriptor = plain_open(path, *more, **others)
        if Path(path) == mark and threading.current_thread() is replacing:
            opened.set()
        return descriptor

    replacing = threading.Thread(target=pages.replace, args=("acme", "widget", 2, FORMS))
    with open(mark, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(os, "open", watched)
        replacing.start()
        assert opened.wait(20)
        for name in ("index.json", "index.html", ".changes"):
            (mark.parent / name).unlink()
    replacing.join(20)
    assert pages.changes("acme", "widget") == 2
    assert pages.shows("acme", "widget", FORMS) is True


def test_half_written_pages(pages: DirectoryPages, tmp_path: Path) -> None:
    left = tmp_path / "pages/acme/simple/widget/.index.json~"
    left.touch()
    assert pages.leftovers(CUT, remove=True) == 0
    os.utime(left, (OLD, OLD))
    assert pages.leftovers(CUT, remove=False) == 1
    assert pages.leftovers(CUT, remove=True) == 1
    assert not left.exists()
    assert pages.shows("acme", "widget", FORMS) is True
