"""Pages of an earlier boot are not believed; those of this one are kept, by every process."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

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


@pytest.mark.skipif(sys.platform != "linux", reason="the id of a boot is Linux's")
def test_the_boot_has_an_id() -> None:
    assert boot_id() == boot_id() != ""
