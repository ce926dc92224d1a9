"""The data directory: created once, never taken from anything else, private, and open to several processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engines import OTHER_PROCESS, finish

from mintmark.core.errors import Misconfigured
from mintmark.store import data_dir
from mintmark.store.ledger.sqlite import open_ledger


def test_a_new_folder(tmp_path: Path) -> None:
    assert data_dir.prepare(tmp_path / "data") == tmp_path / "data" / "mintmark.db"
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o750
    # Nothing was made in it yet, so it is still a new one.
    assert data_dir.prepare(tmp_path / "data") == tmp_path / "data" / "mintmark.db"


def test_the_new_folder_survives_a_power_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    data_dir.prepare(tmp_path / "data")
    assert synced == [str(tmp_path)]


@pytest.mark.parametrize("name", ["mintmark.lock", "lost+found"])
def test_what_an_empty_folder_may_hold(tmp_path: Path, name: str) -> None:
    """Another process has just begun, or was killed when it had; or the folder is a file system of its own."""
    (tmp_path / name).touch()
    assert data_dir.prepare(tmp_path) == tmp_path / "mintmark.db"


def test_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(Misconfigured, match="holds other files") as refused:
        data_dir.prepare(tmp_path)
    assert (refused.value.setting, bool(refused.value.cure)) == ("data_dir", True)


def test_an_index_with_other_files_beside_it(tmp_path: Path) -> None:
    asyncio.run(open_ledger(data_dir.prepare(tmp_path)).close())
    (tmp_path / "notes.txt").touch()
    assert data_dir.prepare(tmp_path) == tmp_path / "mintmark.db"


def test_a_mistyped_path(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="does not exist"):
        data_dir.prepare(tmp_path / "no" / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(Misconfigured, match="not a folder"):
        data_dir.prepare(tmp_path / "data")
    with pytest.raises(Misconfigured, match="cannot be used"):
        data_dir.prepare(tmp_path / "data" / "below")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be used"):
        data_dir.prepare(tmp_path / ("x" * 300))


def test_a_ledger_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "mintmark.db").mkdir()
    with pytest.raises(Misconfigured, match="cannot be opened"):
        open_ledger(data_dir.prepare(tmp_path))


def test_the_ledger_is_private_from_its_first_byte(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        ledger = open_ledger(data_dir.prepare(tmp_path / "data"))
        try:
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
        finally:
            asyncio.run(ledger.close())
    finally:
        os.umask(former)
    assert modes == dict.fromkeys(["mintmark.db", "mintmark.db-shm", "mintmark.db-wal", "mintmark.lock"], 0o600)


def test_processes_open_a_new_directory_at_once(tmp_path: Path) -> None:
    command = [sys.executable, str(OTHER_PROCESS), "prepare", "", str(tmp_path / "data")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [finish(process) for process in processes] == ["opened\n"] * 3
