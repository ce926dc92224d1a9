"""Backups: dated copies of the ledger over one folder of blobs that they share.

Owns the form of a backup (`snapshots/TIME/mintmark.db` and `manifest.json`, `blobs/ab/abcdef…`), that a backup is whole
or not there, and that nothing is ever overwritten. Blobs never change, so each is copied once; only a sweep removes
any, and it waits. Leaves copying single files to `store.file_copy`, the ledger's file to `store.ledger.snapshot`, and
what a restored ledger must not believe to `service.restore`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mintmark.core.errors import Misconfigured, Rejected
from mintmark.store.blobs_dir import DirectoryBlobs, sync_directory
from mintmark.store.data_dir import LEDGER_NAME, sync_parent
from mintmark.store.file_copy import BlobCopy, Copied, sha256_of, size_of
from mintmark.store.ledger import snapshot

BLOBS, SNAPSHOTS, MANIFEST = "blobs", "snapshots", "manifest.json"
FORMAT = 1
MANIFEST_MAX_BYTES = 1 << 20
# Names of missing blobs in the manifest; the count is exact.
MISSING_NAMED_MAX = 100
# Left free on the target, so that a backup never fills a disk to the last byte.
SPARE_BYTES = 16 * 1024 * 1024
# A data directory that a restore has not finished.
UNFINISHED = "restoring"
UNFINISHED_LEDGER = "restoring.db"
_HARMLESS = frozenset({"lost+found"})
_OWN_OF_RESTORE = frozenset({UNFINISHED, BLOBS, *(f"restoring.{end}" for end in ("db", "db-wal", "db-shm", "lock"))})
_OWN_OF_RESTORE |= {f"{UNFINISHED_LEDGER}-journal"}

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What a backup or a restore did."""

    name: str
    files: int
    copied: int
    copied_bytes: int
    faulty: tuple[str, ...]
    """Digests of files that are missing or damaged where they should be copied from."""
    rows: Mapping[str, int]


def make(
    directory: Path, target: Path, *, version: str, now: float, link: bool, verify: bool, progress: Progress
) -> Made:
    """Back a data directory up into a new or former backup. Raises `Rejected`, `Misconfigured`.

    Invariant: a backup appears under its name when everything in it is durable, and no sooner.
    """
    ledger = directory / LEDGER_NAME
    if not ledger.is_file():
        raise Misconfigured("data_dir", f"{directory} holds no ledger.", "Name the data directory of an index.")
    _prepare_target(directory, target, link)
    with _alone(target), DirectoryBlobs(directory).hold():
        snapshots = target / SNAPSHOTS
        for left in snapshots.glob(".*~"):
            shutil.rmtree(left)
        name = _free_name(snapshots, now)
        fresh = snapshots / f".{name}~"
        fresh.mkdir(mode=0o700)
        try:
            _check_space(target, ledger.stat().st_size, "the ledger")
            # First the ledger, then the blobs that it names: these cannot go away meanwhile.
            with _readable(ledger):
                snapshot.copy(ledger, fresh / LEDGER_NAME)
            copy = BlobCopy(directory / BLOBS, target / BLOBS, private=True, link=link, verify=verify)
            _check_space(target, 0 if link else _missing_bytes(fresh / LEDGER_NAME, target / BLOBS), "the files")
            done = copy.run(snapshot.references(fresh / LEDGER_NAME), progress)
            manifest = _manifest(fresh / LEDGER_NAME, version, now, done)
            _write(fresh / MANIFEST, json.dumps(manifest, indent=2).encode())
            for folder in (fresh, target / BLOBS, target):
                sync_directory(folder)
            sync_parent(target)
            fresh.rename(snapshots / name)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        sync_directory(snapshots)
    return Made(name, done.files, done.copied, done.copied_bytes, tuple(done.faulty), manifest["rows"])


def names(source: Path) -> list[str]:
    """The snapshots of a backup, oldest first. Raises `Rejected` for what is none."""
    with suppress(OSError):
        found = [path.name for path in (source / SNAPSHOTS).iterdir() if (path / MANIFEST).is_file()]
        found = sorted(name for name in found if not name.startswith("."))
        if found:
            return found
    raise Rejected(
        "invalid-backup", f"{source} holds no backup.", hint="Name a folder that `mintmark backup` was given."
    )


def unpack(source: Path, name: str, directory: Path, *, incomplete: bool, progress: Progress) -> Made:
    """Verify a backup and copy it into a new or empty data directory, all but the ledger's final name.

    Returns with the ledger at `directory / UNFINISHED_LEDGER`; `finish` makes it the index's. Raises `Rejected`.
    """
    known = names(source)
    chosen = name or known[-1]
    if chosen not in known:
        raise Rejected(
            "invalid-backup", f"{source} has no backup {chosen!r}.", hint=f"There are: {', '.join(known[-10:])}."
        )
    home = source / SNAPSHOTS / chosen
    manifest = _read_manifest(home)
    _prepare_directory(directory)
    _check_space(directory, int(manifest["ledger"]["size_bytes"]), "the ledger")
    _check_space(directory, _missing_bytes(home / LEDGER_NAME, directory / BLOBS), "the files")
    copy = BlobCopy(source / BLOBS, directory / BLOBS, private=False, link=False, verify=True)
    done = copy.run(snapshot.references(home / LEDGER_NAME), progress)
    if done.faulty and not incomplete:
        raise Rejected(
            "invalid-backup",
            f"{len(done.faulty)} files of the backup are missing or damaged, like {done.faulty[0]}.",
            hint="Take another backup, or add --incomplete: `mintmark fsck` then lists them.",
        )
    for left in directory.glob(f"{UNFINISHED_LEDGER}*"):
        left.unlink()
    snapshot.copy(home / LEDGER_NAME, directory / UNFINISHED_LEDGER)
    return Made(chosen, done.files, done.copied, done.copied_bytes, tuple(done.faulty), manifest["rows"])


def finish(directory: Path) -> None:
    """Make an unpacked directory an index."""
    unfinished = directory / UNFINISHED_LEDGER
    snapshot.settle(unfinished)
    sync_directory(directory / BLOBS)
    unfinished.rename(directory / LEDGER_NAME)
    sync_directory(directory)
    sync_parent(directory)
    for left in (directory / UNFINISHED, unfinished.with_suffix(".lock")):
        left.unlink(missing_ok=True)


# -- the folders ------------------------------------------------------------------------------------------------------


def _prepare_target(directory: Path, target: Path, link: bool) -> None:
    if target.resolve().is_relative_to(directory.resolve()):
        raise Rejected("invalid-backup", f"{target} is inside of the data directory.", hint="Name another folder.")
    with _folder_trouble(target):
        target.mkdir(mode=0o700, exist_ok=True)
        entries = {entry.name for entry in target.iterdir()} - _HARMLESS
        if entries - {BLOBS, SNAPSHOTS} or (entries and SNAPSHOTS not in entries):
            raise Rejected(
                "invalid-backup",
                f"{target} holds something else than backups.",
                hint="Name an empty or new folder, or one that holds backups already.",
            )
        for folder in (target / SNAPSHOTS, target / BLOBS):
            folder.mkdir(mode=0o700, exist_ok=True)
        if link and target.stat().st_dev != (directory / BLOBS).stat().st_dev:
            raise Rejected(
                "invalid-backup", f"{target} is on another file system.", hint="Leave --link out to copy the files."
            )


def _prepare_directory(directory: Path) -> None:
    with _folder_trouble(directory):
        directory.mkdir(mode=0o750, exist_ok=True)
        entries = {entry.name for entry in directory.iterdir()} - _HARMLESS
        # What an interrupted restore left is taken up again.
        if entries and (UNFINISHED not in entries or entries - _OWN_OF_RESTORE):
            raise Rejected(
                "invalid-backup",
                f"The data directory {directory} is not empty.",
                hint="Restoring never overwrites anything: name a new or empty folder in the settings.",
            )
        (directory / UNFINISHED).touch(mode=0o600)
        (directory / BLOBS).mkdir(mode=0o750, exist_ok=True)


@contextmanager
def _folder_trouble(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Rejected(
            "invalid-backup",
            f"{folder} cannot be used: {error.strerror}.",
            hint="Create the folder above it, or run as the user it belongs to.",
        ) from None


@contextmanager
def _readable(ledger: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise Misconfigured(
            "data_dir", f"The ledger {ledger.name} cannot be read: {error}.", "Run `mintmark fsck`."
        ) from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Rejected(
                "invalid-backup", f"Another backup into {target} is running.", hint="Wait until it is done."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _check_space(folder: Path, needed_bytes: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed_bytes and free < needed_bytes + SPARE_BYTES:
        raise Rejected(
            "storage-full",
            f"{folder} has {free:,} bytes left, and {what} need {needed_bytes:,}.",
            hint="Make room, or name a folder on another disk.",
        )


def _missing_bytes(ledger: Path, blobs: Path) -> int:
    needed = snapshot.references(ledger)
    return sum(size for sha256, size in needed if size_of(blobs / sha256[:2] / sha256) != size)


def _free_name(snapshots: Path, now: float) -> str:
    name = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 2
    free = name
    while (snapshots / free).exists():
        free = f"{name}-{number}"
        number += 1
    return free


# -- the manifest -----------------------------------------------------------------------------------------------------


def _manifest(ledger: Path, version: str, now: float, done: Copied) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "mintmark": version,
        "schema": snapshot.revision(ledger),
        "made_at": int(now),
        "ledger": {"sha256": sha256_of(ledger), "size_bytes": ledger.stat().st_size},
        "blobs": {"count": done.files, "size_bytes": done.size_bytes},
        "missing": {"count": len(done.faulty), "sha256": done.faulty[:MISSING_NAMED_MAX]},
        "rows": dict(snapshot.counts(ledger)),
    }


def _read_manifest(home: Path) -> Any:
    """The manifest, once the ledger beside it is what it says."""
    ledger = home / LEDGER_NAME
    try:
        with open(home / MANIFEST, "rb") as file:
            manifest = json.loads(file.read(MANIFEST_MAX_BYTES))
        if manifest["format"] != FORMAT:
            raise Rejected(
                "invalid-backup", f"{home} was made by a newer release.", hint="Restore it with that release."
            )
        wanted = (str(manifest["ledger"]["sha256"]), int(manifest["ledger"]["size_bytes"]), dict(manifest["rows"]))
        if (sha256_of(ledger), ledger.stat().st_size) != wanted[:2]:
            raise Rejected(
                "invalid-backup", f"The ledger in {home} is not the one that was copied.", hint="Take another backup."
            )
    except (OSError, ValueError, LookupError, TypeError):
        raise Rejected("invalid-backup", f"{home} is damaged.", hint="Take another backup.") from None
    return manifest


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
