"""The bytes of one file on its way in: hashed and stored as they come, then made a durable blob.

Owns hashing, the size limit, where the bytes wait, and keeping several small files in one trip to a thread. Leaves
what the bytes mean to `service.upload`.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

from mintmark.core.checks.digests import Digests
from mintmark.core.errors import Rejected
from mintmark.service.grouping import Group, Outcome
from mintmark.service.ports import Blobs, Spool

T = TypeVar("T")
# Files up to this size wait in memory. Larger ones go to the disk as they come, so memory stays constant.
MEMORY_MAX_BYTES = 256 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Incoming:
    """Hashes and stores the bytes of one file as they come. Used from one thread at a time, but for `discard`.

    A small file stays in memory until it is kept: what is refused then never touches the disk.
    """

    def __init__(self, blobs: Blobs, limit_bytes: int, *, md5: bool) -> None:
        self._blobs = blobs
        self._limit_bytes = limit_bytes
        self._spool: Spool | None = None
        # A request that ends does not end the thread that works for it, whose open file must not be taken from it.
        self._turn = threading.Lock()
        self._unwanted = False
        self._memory = b""
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._blake2 = hashlib.blake2b(digest_size=32)
        # Only to be compared with what an old client sends; never trusted.
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    @property
    def is_small(self) -> bool:
        """Whether all of it is in memory: then checking it takes less than handing it to a thread."""
        return self._spool is None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Rejected` when they are too many or do not fit on the disk."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise Rejected("too-large", f"The file is larger than {self._limit_bytes} bytes.")
        self._sha256.update(chunk)
        self._blake2.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)
        if self._spool is None and self.size_bytes <= MEMORY_MAX_BYTES:
            self._memory += chunk
            return
        with self._working():
            self._store(chunk)

    def read_back(self) -> BinaryIO:
        """The bytes so far, seekable, valid until `discard`."""
        return io.BytesIO(self._memory) if self._spool is None else self._spool.read_back()

    def keep(self) -> None:
        """Make the file a durable blob. Raises `Rejected` when there is no space."""
        with self._working():
            if self._spool is None:
                self._store(b"")
            assert self._spool is not None
            with_space(self._spool.keep, self._sha256.hexdigest())

    def digests(self) -> Digests:
        """Digests of what was taken so far."""
        md5 = self._md5.hexdigest() if self._md5 is not None else None
        return Digests(self._sha256.hexdigest(), self._blake2.hexdigest(), md5, self.size_bytes)

    def discard(self) -> None:
        """Forget what was taken, unless it was kept. If a thread is at work on it, that thread does it at its end."""
        self._unwanted = True
        if self._turn.acquire(blocking=False):
            try:
                if self._spool is not None:
                    self._spool.discard()
            finally:
                self._turn.release()

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            with self._turn:
                if self._unwanted:
                    raise RuntimeError("the file was discarded")
                yield
        finally:
            # Only now, since `discard` may have come until the turn ended.
            if self._unwanted:
                self.discard()

    def _store(self, chunk: bytes) -> None:
        if self._spool is None:
            self._spool = with_space(self._blobs.spool)
            if self._memory:
                with_space(self._spool.write, self._memory)
                self._memory = b""
        if chunk:
            with_space(self._spool.write, chunk)


class Keeper:
    """Makes files durable: large ones each in a thread, the small ones that wait at the same moment in one."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._small: Group[Incoming] = Group(self._keep_small)

    async def keep(self, incoming: Incoming) -> None:
        """See `Incoming.keep`."""
        if incoming.is_small:
            await self._small.run(incoming)
        else:
            await asyncio.get_running_loop().run_in_executor(self._executor, incoming.keep)

    async def _keep_small(self, files: Sequence[Incoming]) -> Sequence[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, _keep_each, files)


def _keep_each(files: Sequence[Incoming]) -> list[Outcome]:
    outcomes = []
    for file in files:
        try:
            file.keep()
            outcomes.append(Outcome())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for this file
            outcomes.append(Outcome(error=error))
    return outcomes


def with_space(action: Callable[..., T], *arguments: object) -> T:
    """Run a storage action; a full disk becomes `Rejected("storage-full")`."""
    try:
        return action(*arguments)
    except OSError as error:
        if error.errno in _FULL:
            raise Rejected(
                "storage-full", "The index has no space for this file; nothing of it was kept.", private=str(error)
            ) from error
        raise
