"""Blobs in a directory: `blobs/ab/abcdef…`, written once and never changed.

Owns durability on a file system: the order write, fsync, rename, fsync of the folder; and that a blob which is being
kept at this moment is never removed. Leaves which digests are wanted to the ledger, and when to remove the others to
`service.sweep`.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import secrets
import stat
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mintmark.service.ports import BlobState

CHUNK_BYTES = 256 * 1024
# Of a listing: bounds memory and the time of one look-up of references.
LISTED_MAX = 500
_HEX = "0123456789abcdef"


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DirectorySpool:
    """See `service.ports.Spool`."""

    def __init__(self, blobs: Path, incoming: Path) -> None:
        self._blobs = blobs
        self._path = f"{incoming}/{secrets.token_hex(16)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._path, flags, 0o640), "w+b", buffering=0)
        self._kept = False

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            # An unbuffered file may write less than it was given.
            view = view[self._file.write(view) :]

    def read_back(self) -> BinaryIO:
        self._file.seek(0)
        return self._file

    def keep(self, sha256: str) -> None:
        if not _is_digest(sha256):
            raise ValueError(f"{sha256!r} is no digest")
        home = f"{self._blobs}/{sha256[:2]}"
        os.fsync(self._file.fileno())
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Whoever removes an old blob of this name does it before this rename, or sees the new file and leaves it.
            fcntl.flock(folder, fcntl.LOCK_SH)
            # Replacing an existing blob changes nothing: the name is the content's digest.
            os.rename(self._path, f"{home}/{sha256}")
            self._kept = True
            fcntl.flock(folder, fcntl.LOCK_UN)
            os.fsync(folder)
        finally:
            os.close(folder)
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        if not self._kept:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


class DirectoryBlob:
    """See `service.ports.BlobReader`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file: BinaryIO | None = file
        self._file = file
        self.size_bytes = os.fstat(file.fileno()).st_size

    async def chunks(self, start: int, count: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while count > 0:
            chunk = await loop.run_in_executor(None, os.pread, self._file.fileno(), min(count, CHUNK_BYTES), start)
            if not chunk:
                raise OSError("the blob is shorter than it was")
            start += len(chunk)
            count -= len(chunk)
            yield chunk

    def whole(self) -> BinaryIO:
        return self._file

    def close(self) -> None:
        self._file.close()


class DirectoryBlobs:
    """See `service.ports.Blobs`."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs"
        self._incoming = directory / "incoming"
        for folder in (self._blobs, self._incoming):
            folder.mkdir(mode=0o750, exist_ok=True)
        # All folders are made and made durable now, so that an upload syncs exactly one of them.
        # A restored index has only those that its blobs needed.
        missing = {first + second for first in _HEX for second in _HEX} - {path.name for path in self._blobs.iterdir()}
        if missing:
            for name in sorted(missing):
                (self._blobs / name).mkdir(mode=0o750, exist_ok=True)
            for folder in (self._blobs, directory):
                sync_directory(folder)
        self._sweep()

    def spool(self) -> DirectorySpool:
        return DirectorySpool(self._blobs, self._incoming)

    def open(self, sha256: str) -> DirectoryBlob | None:
        if not _is_digest(sha256):
            return None
        try:
            return DirectoryBlob(open(self._blobs / sha256[:2] / sha256, "rb", buffering=0))
        except FileNotFoundError:
            return None

    def every(self) -> Iterator[Sequence[BlobState]]:
        for folder in self._folders():
            names = sorted(name for name in _names(folder) if _is_digest(name) and name.startswith(folder.name))
            for start in range(0, len(names), LISTED_MAX):
                states = [_state(folder / name) for name in names[start : start + LISTED_MAX]]
                yield [state for state in states if state is not None]

    def size(self, sha256: str) -> int | None:
        state = _state(self._blobs / sha256[:2] / sha256) if _is_digest(sha256) else None
        return state.size_bytes if state else None

    def strays(self) -> Iterator[str]:
        for name in sorted(_names(self._blobs)):
            if not _is_folder_name(name) or not _is_plain(self._blobs / name, folder=True):
                yield f"blobs/{name}"
        for folder in self._folders():
            for name in sorted(_names(folder)):
                is_ours = _is_digest(name) and name.startswith(folder.name)
                if not is_ours or not _is_plain(folder / name, folder=False):
                    yield f"blobs/{folder.name}/{name}"

    def remove(self, blobs: Sequence[BlobState], before: float) -> Sequence[BlobState] | None:
        with _locked(self._blobs, fcntl.LOCK_EX | fcntl.LOCK_NB) as ours:
            return [blob for blob in blobs if self._remove(blob, before)] if ours else None

    @contextmanager
    def hold(self) -> Iterator[None]:
        with _locked(self._blobs, fcntl.LOCK_SH):
            yield

    def leftovers(self, before: float, *, remove: bool) -> int:
        # A spool grows until it is kept: what nobody wrote to for so long belongs to a process that died.
        files = (path for path in self._incoming.iterdir() if _is_plain(path, folder=False))
        old = [path for path in files if _modified_at(path) < before]
        for path in old if remove else ():
            path.unlink(missing_ok=True)
        return len(old)

    def _remove(self, blob: BlobState, before: float) -> bool:
        if not _is_digest(blob.sha256):
            return False
        path = self._blobs / blob.sha256[:2] / blob.sha256
        away = self._incoming / secrets.token_hex(16)
        # Invariant: a blob that an upload has just kept, or keeps at this moment, is never removed: `keep` renames a
        # new file into place under a shared lock of the folder, and its age is looked at under the exclusive one.
        with _locked(path.parent, fcntl.LOCK_EX):
            state = _state(path)
            if state is None or state.modified_at >= before:
                return False
            # Giving back the space of a large file takes long; it is done without the lock.
            os.rename(path, away)
        away.unlink(missing_ok=True)
        return True

    def _folders(self) -> Iterator[Path]:
        for name in sorted(filter(_is_folder_name, _names(self._blobs))):
            if _is_plain(self._blobs / name, folder=True):
                yield self._blobs / name

    def _sweep(self) -> None:
        """Remove what a crash left of files on their way in, if no other process has any; then say that we may."""
        lock = os.open(self._incoming, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Others are at work; whoever next starts alone sweeps.
            fcntl.flock(lock, fcntl.LOCK_SH)
            return
        for path in self._incoming.iterdir():
            # A folder there is nobody's of ours: `lost+found`, where something is mounted.
            if _is_plain(path, folder=False):
                path.unlink()
        # Held as long as this object lives.
        fcntl.flock(lock, fcntl.LOCK_SH)


@contextmanager
def _locked(folder: Path, operation: int) -> Iterator[bool]:
    """A lock of a folder, for other threads and processes alike; False when it is taken and we do not wait."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [entry.name for entry in entries]
    return []


def _state(path: Path) -> BlobState | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            return BlobState(path.name, found.st_size, found.st_mtime)
    return None


def _modified_at(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return math.inf


def _is_plain(path: Path, *, folder: bool) -> bool:
    """Whether it is what it should be, and no link to it. What vanished meanwhile was no stray either."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        return stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)
    return True


def _is_folder_name(text: str) -> bool:
    return len(text) == 2 and set(text) <= set(_HEX)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set(_HEX)
