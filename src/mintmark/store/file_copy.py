"""Copies blobs from one folder to another, each once, durably, verified.

Owns how a file is copied: shared by the file system where it can, linked where that is wanted, read and written
otherwise. Leaves which blobs are needed, and what a faulty one means, to `store.backup`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mintmark.core.errors import Rejected
from mintmark.store.blobs_dir import sync_directory

CHUNK_BYTES = 1 << 20
BATCH = 500
# Each waits for its own fsync, which a disk answers together.
COPIERS = 4
# FICLONE of Linux: both files share their blocks until one changes, which blobs never do.
_CLONE = 0x40049409
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CANNOT_SHARE = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})


@dataclass(slots=True)
class Copied:
    """What was done. `faulty` are the digests that were not there, or not what they should be."""

    files: int = 0
    size_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    faulty: list[str] = field(default_factory=list)


class BlobCopy:
    """From one folder of blobs to another."""

    def __init__(self, source: Path, target: Path, *, private: bool, link: bool, verify: bool) -> None:
        self._source = source
        self._target = target
        self._file_mode, self._folder_mode = (0o600, 0o700) if private else (0o640, 0o750)
        self._link = link
        self._verify = verify

    def run(self, blobs: Iterable[tuple[str, int]], progress: Callable[[str, int], None]) -> Copied:
        """Copy what is not there yet, given as digest and size. Raises `Rejected` when the disk is full."""
        done = Copied()
        touched: set[Path] = set()
        rest = iter(blobs)
        with ThreadPoolExecutor(COPIERS, thread_name_prefix="copy") as threads:
            while part := list(islice(rest, BATCH)):
                for (sha256, size_bytes), outcome in zip(part, threads.map(self._one, part), strict=True):
                    done.files += 1
                    done.size_bytes += size_bytes
                    if outcome is None:
                        done.faulty.append(sha256)
                        continue
                    # Also of what was there: who copied it may have been killed before syncing the folder.
                    touched.add(self._target / sha256[:2])
                    if outcome:
                        done.copied += 1
                        done.copied_bytes += size_bytes
                progress("files", len(part))
        for folder in touched:
            sync_directory(folder)
        return done

    def _one(self, blob: tuple[str, int]) -> bool | None:
        """True: copied now. False: was there. None: the source is missing or damaged."""
        sha256, size_bytes = blob
        source, target = self._source / sha256[:2] / sha256, self._target / sha256[:2] / sha256
        if self._is_good(target, sha256, size_bytes):
            return False
        if not self._is_good(source, sha256, size_bytes):
            return None
        target.parent.mkdir(mode=self._folder_mode, exist_ok=True)
        fresh = target.with_name(f".{sha256}~")
        fresh.unlink(missing_ok=True)
        try:
            if self._link:
                os.link(source, fresh)
            else:
                self._copy(source, fresh)
            if not self._is_good(fresh, sha256, size_bytes):
                fresh.unlink()
                return None
            fresh.rename(target)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            if error.errno in _FULL:
                raise Rejected(
                    "storage-full",
                    f"{self._target} has no space left.",
                    hint="Make room and repeat the command: what was copied is kept.",
                    private=str(error),
                ) from error
            raise
        return True

    def _is_good(self, path: Path, sha256: str, size_bytes: int) -> bool:
        if size_of(path) != size_bytes:
            return False
        try:
            return not self._verify or sha256_of(path) == sha256
        except OSError:
            # What cannot be read is as good as gone.
            return False

    def _copy(self, source: Path, fresh: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(source, "rb", buffering=0) as old, open(os.open(fresh, flags, self._file_mode), "wb", 0) as new:
            try:
                fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
            except OSError as error:
                if error.errno not in _CANNOT_SHARE:
                    raise
                while chunk := old.read(CHUNK_BYTES):
                    view = memoryview(chunk)
                    while view:
                        view = view[new.write(view) :]
            os.fsync(new.fileno())


def size_of(path: Path) -> int | None:
    """A file's size, None when there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256_of(path: Path) -> str:
    """A file's digest."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
