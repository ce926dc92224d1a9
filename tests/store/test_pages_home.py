"""Pages of an earlier boot are not believed; those of this one are kept, by every process."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mintmark.core import simple
from mintmark.core.errors import Misconfigured
from mintmark.store.pages_dir import DirectoryPages
from mintmark.store.pages_home import EPOCH, boot_id, open_home

FORMS = {"json": b"{}", "html": b"<html>"}


def settled() -> None:
    """Wait for what removes former pages."""
    for thread in threading.enumerate():
        if thread.name == "pages-former":
            thread.join(20)


def names(directory: Path) -> set[str]:
    settled()
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("boot", ["one", ""])
def test_pages_of_this_boot_are_kept(tmp_path: Path, boot: str) -> None:
    first = DirectoryPages(tmp_path, boot)
    first.replace("acme", "widget", 1, FORMS)
    second = DirectoryPages(tmp_path, boot)
    assert second.epoch() == first.epoch()
    assert second.find("acme", "widget", "json") is not None


def test_pages_of_another_boot_are_thrown_away(tmp_path: Path) -> None:
    first = DirectoryPages(tmp_path, "one")
    first.replace("acme", "widget", 1, FORMS)
    second = DirectoryPages(tmp_path, "two")
    assert second.epoch() != first.epoch()
    assert second.find("acme", "widget", "json") is None
    assert list(second.stored()) == []
    assert names(tmp_path) == {"pages", "pages.lock"}


@pytest.mark.parametrize("boot", ["one", ""])
def test_pages_that_another_release_rendered_are_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """Else a page would keep its old form until its project changes, and the check would call it wrong."""
    first = DirectoryPages(tmp_path, boot)
    first.replace("acme", "widget", 1, FORMS)
    monkeypatch.setattr(simple, "RENDERING", 1_000_000)
    second = DirectoryPages(tmp_path, boot)
    assert second.epoch() != first.epoch()
    assert second.find("acme", "widget", "json") is None


@pytest.mark.parametrize("damage", ["", "one", "one x", "\0\0\0\0", "\u00e9 1"])
def test_a_damaged_epoch_is_another_one(tmp_path: Path, damage: str) -> None:
    first = DirectoryPages(tmp_path, "one")
    first.replace("acme", "widget", 1, FORMS)
    (tmp_path / "pages" / EPOCH).write_text(damage, encoding="utf-8")
    assert DirectoryPages(tmp_path, "one").find("acme", "widget", "json") is None


def test_pages_of_the_release_before_had_no_epoch(tmp_path: Path) -> None:
    (tmp_path / "pages/acme/simple").mkdir(parents=True)
    (tmp_path / "pages/acme/simple/index.json").write_bytes(b"{}")
    assert DirectoryPages(tmp_path, "one").find("acme", "", "json") is None


def test_what_an_earlier_process_could_not_remove_goes_the_next_time(tmp_path: Path) -> None:
    open_home(tmp_path, "one")
    (tmp_path / "pages.former-1/acme").mkdir(parents=True)
    open_home(tmp_path, "one")
    assert names(tmp_path) == {"pages", "pages.lock"}


@pytest.mark.parametrize("place", ["linked", "mounted"])
def test_a_folder_that_is_somewhere_else_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """An operator may keep pages on another disk; such a folder is emptied instead of moved."""
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "data"
    data.mkdir()
    if place == "linked":
        elsewhere.mkdir()
        (data / "pages").symlink_to(elsewhere)
    else:
        # What the kernel says of a folder on which something is mounted.
        def busy(_source: Path, _target: Path) -> None:
            raise OSError(errno.EBUSY, "Device or resource busy")

        monkeypatch.setattr(os, "rename", busy)
        (data / "pages").mkdir()
    (data / "pages" / "lost+found").mkdir()
    first = DirectoryPages(data, "one")
    first.replace("acme", "widget", 1, FORMS)
    second = DirectoryPages(data, "two")
    assert second.epoch() != first.epoch()
    assert list((data / "pages").rglob("index.*")) == []
    assert names(data) == {"pages", "pages.lock"}
    assert {path.name for path in (data / "pages").iterdir()} == {EPOCH, "lost+found"}
    assert (data / "pages").is_symlink() == (place == "linked")
    assert DirectoryPages(data, "two").epoch() == second.epoch()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something away")
def test_what_root_makes_belongs_to_whom_the_index_belongs(tmp_path: Path) -> None:
    """A command run by root beside the server's user must not keep the server from starting."""
    os.chown(tmp_path, 1234, 1235)
    DirectoryPages(tmp_path, "one")
    for path in (tmp_path / "pages", tmp_path / "pages" / EPOCH, tmp_path / "pages.lock"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_a_full_disk_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """Readers need no pages on the disk. Whoever starts next makes the folder anew."""
    first = DirectoryPages(tmp_path, "one")
    first.replace("acme", "widget", 1, FORMS)
    settled()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow: the kernel refuses, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        second = DirectoryPages(tmp_path, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert second.epoch() != first.epoch()
    assert second.find("acme", "widget", "json") is None
    second.replace("acme", "widget", 1, FORMS)
    third = DirectoryPages(tmp_path, "two")
    assert third.epoch() not in {first.epoch(), second.epoch()}
    assert third.find("acme", "widget", "json") is None
    assert DirectoryPages(tmp_path, "two").epoch() == third.epoch()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "pages.lock").mkdir()
    with pytest.raises(Misconfigured, match="pages"):
        DirectoryPages(tmp_path, "one")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mintmark.store.pages_home import open_home; "
        "print(open_home(Path(sys.argv[1]), 'two')[1])"
    )
    open_home(tmp_path, "one")
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in running}) == 1


def test_without_a_boots_id_the_new_page_survives_and_not_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dirty mark goes soon after `replace`; so the names must be durable by then, not only the contents."""
    pages = DirectoryPages(tmp_path, "")
    pages.replace("acme", "widget", 1, FORMS)
    folder, calls = tmp_path / "pages/acme/simple/widget", list[str]()
    names_of = {folder.stat().st_ino: "folder"}
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(f"fsync {names_of.get(os.fstat(descriptor).st_ino, 'page')}")

    def replaced(source: str, target: str) -> None:
        replace(source, target)
        calls.append("replace")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    pages.replace("acme", "widget", 2, FORMS)
    assert calls == ["fsync page", "replace"] * 2 + ["fsync folder"]
    calls.clear()
    DirectoryPages(tmp_path, "one").replace("acme", "widget", 3, FORMS)
    assert calls == ["replace"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="the id of a boot is Linux's")
def test_the_boot_has_an_id() -> None:
    assert boot_id() == boot_id() != ""
