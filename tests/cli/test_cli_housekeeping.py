"""`sweep`, `fsck`, `backup` and `restore` on the command line: what they say, and their exit codes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mintmark.cli.meter import size
from support.command import Shell, shell_in

CONTENT = b"orphan"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def orphan(shell: Shell) -> Path:
    """An old blob that no file needs."""
    shell.ok("fsck")
    path = shell.folder / "data" / "blobs" / SHA256[:2] / SHA256
    path.write_bytes(CONTENT)
    os.utime(path, (1, 1))
    return path


def test_sweeping(acme: Shell) -> None:
    path = orphan(acme)
    assert acme.ok("sweep", "--dry-run").out.splitlines() == [
        "WHAT\tWOULD GO\tSIZE",
        "blobs without a file\t1\t6 bytes",
    ]
    assert acme.ok("sweep", "--dry-run", "--json").json["blobs"] == 1
    assert path.exists()
    assert acme.ok("sweep").out.splitlines()[1] == "blobs without a file\t1\t6 bytes"
    assert not path.exists()
    assert acme.ok("sweep").out.startswith("There is nothing to sweep. Content that no file needs goes a day after")
    assert acme.ok("sweep", "--json").json["blob-bytes"] == 0


def test_checking(acme: Shell) -> None:
    assert acme.ok("fsck").out == "No fault was found.\n"
    path = orphan(acme)
    done = acme.ok("fsck")
    assert f"note blob-orphan: blobs/{SHA256[:2]}/{SHA256}" in done.out
    assert done.out.endswith("blob-orphan: `mintmark sweep` removes it.\nNo fault was found.\n")
    path.write_bytes(b"other")
    (path.parent / "notes").touch()
    done = acme("fsck")
    assert (done.code, done.err) == (1, "")
    assert "fault blob-digest: " in done.out
    assert "fault stray-file: " in done.out
    assert "\nstray-file: Nothing of Mintmark's has this name: move it away.\n" in done.out
    assert done.out.endswith("2 faults were found.\n")
    done = acme("fsck", "--json")
    assert (done.code, done.json["faults"]) == (1, 2)
    assert {fault["kind"] for fault in done.json["found"]} == {"blob-digest", "stray-file"} == set(done.json["kinds"])
    assert acme("fsck", "--quick").out.endswith("1 fault was found.\n")


def test_there_and_back(acme: Shell, tmp_path: Path) -> None:
    target, other = tmp_path / "backup", tmp_path / "other"
    done = acme.ok("backup", str(target))
    assert done.out.startswith("Backup 20")
    assert done.out.endswith(": 0 projects, 0 files, 0 of them new (0 bytes).\n")
    made = acme.ok("backup", "--verify", "--json", str(target)).json
    assert (made["files"], made["copied-bytes"], made["rows"]["registries"]) == (0, 0, 1)
    other.mkdir()
    elsewhere = shell_in(other)
    done = elsewhere.ok("restore", str(target))
    assert done.out == f"Restored {made['name']} into {other / 'data'}: 0 projects, 0 files.\n"
    assert "revoke API tokens" in done.err
    assert "acme" in elsewhere.ok("registry", "list").out
    assert elsewhere.ok("audit", "--json").json[0]["action"] == "restore"
    assert elsewhere.ok("fsck").out == "No fault was found.\n"
    done = elsewhere("restore", str(target))
    assert (done.code, "is not empty" in done.err, "never overwrites" in done.err) == (2, True, True)


def test_a_backup_of_nothing_and_into_something(shell: Shell, tmp_path: Path) -> None:
    done = shell("backup", str(tmp_path / "backup"))
    assert (done.code, "holds no ledger" in done.err) == (78, True)
    shell.ok("registry", "create", "acme")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = shell("backup", str(tmp_path / "full"))
    assert (done.code, "Refused (invalid-backup)" in done.err) == (2, True)
    done = shell("restore", str(tmp_path / "full"))
    assert (done.code, "holds no backup" in done.err) == (2, True)


@pytest.mark.parametrize("command", ["sweep", "fsck", "backup", "restore"])
def test_help_has_examples(shell: Shell, command: str) -> None:
    text = shell.ok(command, "--help").out
    assert "Example" in text
    assert f" {command} /backup/mintmark" in text or f"  mintmark {command}" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert size(count) == text
