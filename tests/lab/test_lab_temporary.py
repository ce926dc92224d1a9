"""The temporary directories of labs: held while one lives, found, and swept when it was killed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mintmark.core.errors import Misconfigured
from mintmark.lab.home import Lab, announce, read
from mintmark.lab.locate import locate
from mintmark.lab.temporary import LabDirectory, running, sweep_dead

NOW = 2e9


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reached(directory: Path) -> Lab:
    lab = Lab(
        "https://localhost:1",
        "s",
        directory / "ca.pem",
        "https://localhost:2",
        "http://127.0.0.1:3",
        {"": "a"},
        os.getpid(),
    )
    announce(directory, lab)
    return lab


def test_a_lab_is_found_while_it_lives_and_leaves_nothing(temporary_folder: Path) -> None:
    with LabDirectory(temporary_folder) as home:
        assert running(temporary_folder) == [home.path]
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
        assert sweep_dead(NOW, temporary_folder) == []
        (home.path / "data").mkdir()
        (home.path / "data" / "file").write_text("something")
    assert running(temporary_folder) == []
    assert list(temporary_folder.iterdir()) == []


def test_what_a_killed_lab_left_is_swept(temporary_folder: Path) -> None:
    script = (
        "import os, pathlib, signal; from mintmark.lab.temporary import LabDirectory; "
        f"LabDirectory(pathlib.Path({str(temporary_folder)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    (left,) = temporary_folder.iterdir()
    with LabDirectory(temporary_folder) as home:
        assert running(temporary_folder) == [home.path]
        assert sweep_dead(NOW, temporary_folder) == [left]
        assert list(temporary_folder.iterdir()) == [home.path]


def test_what_is_not_ours_stays(temporary_folder: Path) -> None:
    elsewhere = temporary_folder / "elsewhere"
    elsewhere.mkdir()
    (temporary_folder / "mintmark-lab-link").symlink_to(elsewhere)
    (temporary_folder / "mintmark-lab-file").write_text("")
    unborn = temporary_folder / "mintmark-new-a1b2c3d4"
    unborn.mkdir()
    for name in ("mintmark-new-website", "mintmark-new-a1b2c3d5", "mintmark-lab-notes", "mintmark-lab-a1b2c3d4"):
        theirs = temporary_folder / name
        theirs.mkdir()
        (theirs / "work.txt").write_text("mine")
        os.utime(theirs, (1, 1))
    assert running(temporary_folder) == []
    os.utime(unborn, (NOW - 10, NOW - 10))
    assert sweep_dead(NOW, temporary_folder) == []
    os.utime(unborn, (1, 1))
    assert sweep_dead(NOW, temporary_folder) == [unborn]
    assert elsewhere.is_dir()
    assert len(list(temporary_folder.glob("*/work.txt"))) == 4


def test_no_permission(temporary_folder: Path) -> None:
    missing = temporary_folder / "missing"
    with pytest.raises(Misconfigured) as refused:
        LabDirectory(missing)
    assert "TMPDIR" in refused.value.cure
    assert running(missing) == []


def test_which_lab_is_meant(temporary_folder: Path) -> None:
    with pytest.raises(Misconfigured, match="No lab runs"):
        locate(None, None, {}, temporary_folder)
    with LabDirectory(temporary_folder) as one, LabDirectory(temporary_folder) as two:
        first, second = reached(one.path), reached(two.path)
        assert read(one.path) == first
        with pytest.raises(Misconfigured, match="2 labs run") as refused:
            locate(None, None, {}, temporary_folder)
        assert "--lab" in refused.value.cure
        assert locate(str(one.path), None, {"MINTMARK_LAB": str(two.path)}, temporary_folder).lab == first
        assert locate(None, None, {"MINTMARK_LAB": str(two.path)}, temporary_folder).lab == second
        assert locate(None, str(one.path / "mintmark.toml"), {}, temporary_folder).lab == first
        beside = {"MINTMARK_CONFIG": str(two.path / "mintmark.toml")}
        assert locate(None, None, beside, temporary_folder).directory == two.path
        gone = two.path
    with LabDirectory(temporary_folder) as three:
        lab = reached(three.path)
        assert locate(None, None, {}, temporary_folder).lab == lab
        # A settings file of something else does not hide the only lab.
        elsewhere = {"MINTMARK_CONFIG": str(temporary_folder / "mintmark.toml")}
        assert locate(None, None, elsewhere, temporary_folder).lab == lab
        with pytest.raises(Misconfigured, match="MINTMARK_LAB names"):
            locate(None, None, {"MINTMARK_LAB": str(gone)}, temporary_folder)


def test_a_folder_of_serve_dev_comes_before_running_labs(temporary_folder: Path) -> None:
    dev = temporary_folder / "mintmark-dev"
    dev.mkdir()
    lab = reached(dev)
    with LabDirectory(temporary_folder) as other:
        reached(other.path)
        assert locate(None, None, {}, temporary_folder).lab == lab


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"control_url": 1}', '{"audiences": 3}', "nonsense"])
def test_a_broken_file_is_no_lab(temporary_folder: Path, text: str) -> None:
    (temporary_folder / "lab.json").write_text(text)
    assert read(temporary_folder) is None


@pytest.mark.parametrize("name", ["control_url", "base_url", "proxy"])
@pytest.mark.parametrize("url", ["https://lab.example:1", "https://localhost.evil.example", "http://[", "localhost:1"])
def test_a_lab_is_on_this_machine(temporary_folder: Path, name: str, url: str) -> None:
    reached(temporary_folder)
    path = temporary_folder / "lab.json"
    assert read(temporary_folder) is not None
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: url}))
    assert read(temporary_folder) is None
