"""Blobs in a directory: `blobs/ab/abcdef…`, written once and never changed.

Owns durability on a file system: the order write, fsync, rename, fsync of the folder. Leaves which digests are wanted
to the ledger; a blob no row names is an orphan that a sweep may remove.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 * 1024
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
        self._path = incoming / secrets.token_hex(16)
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
        target = self._blobs / sha256[:2] / sha256
        os.fsync(self._file.fileno())
        # Replacing an existing blob changes nothing: the name is the content's digest.
        os.rename(self._path, target)
        self._kept = True
        sync_directory(target.parent)
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)


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
        if not (self._blobs / "ff").is_dir():
            for first in _HEX:
                for second in _HEX:
                    (self._blobs / (first + second)).mkdir(mode=0o750, exist_ok=True)
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
            path.unlink()
        # Held as long as this object lives.
        fcntl.flock(lock, fcntl.LOCK_SH)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set(_HEX)
