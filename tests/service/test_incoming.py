"""A file on its way in whose request ends while a thread is still at work on it."""

from __future__ import annotations

import hashlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mintmark.core.errors import Rejected
from mintmark.service.incoming import MEMORY_MAX_BYTES, Incoming, Keeper
from mintmark.store.blobs_dir import DirectoryBlobs, DirectorySpool

SMALL, LARGE = b"small", b"large" * MEMORY_MAX_BYTES
LIMIT_BYTES = 10 * len(LARGE)
WAIT_SECONDS = 20


class Stopped(DirectorySpool):
    """The real spool, stopped before its first writing or before it is kept."""

    def __init__(self, blobs: Path, incoming: Path, at: str) -> None:
        super().__init__(blobs, incoming)
        self._at = at
        self.begun, self.go = threading.Event(), threading.Event()

    @property
    def is_open(self) -> bool:
        return not self._file.closed

    def write(self, chunk: bytes) -> None:
        self._stop("write")
        super().write(chunk)

    def keep(self, sha256: str) -> None:
        self._stop("keep")
        super().keep(sha256)

    def _stop(self, at: str) -> None:
        if at == self._at:
            self.begun.set()
            assert self.go.wait(WAIT_SECONDS)


class Watched(DirectoryBlobs):
    """The real blobs with stopped spools."""

    def __init__(self, directory: Path, at: str) -> None:
        super().__init__(directory)
        self.directory = directory
        self._at = at
        self.spools = queue.SimpleQueue[Stopped]()

    def spool(self) -> Stopped:
        made = Stopped(self.directory / "blobs", self.directory / "incoming", self._at)
        self.spools.put(made)
        return made


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("at", ["write", "keep"])
def test_what_a_thread_works_on_is_not_taken_away_from_it(tmp_path: Path, at: str, content: bytes) -> None:
    """Its file would be closed under it, and the number of the open file be another upload's by then."""
    blobs = Watched(tmp_path, at)
    incoming = Incoming(blobs, LIMIT_BYTES, md5=False)

    def work() -> None:
        incoming.write(content)
        incoming.keep()

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        spool = blobs.spools.get(timeout=WAIT_SECONDS)
        assert spool.begun.wait(WAIT_SECONDS)
        incoming.discard()
        assert spool.is_open
        spool.go.set()
        trouble = working.exception(WAIT_SECONDS)
    # What was being kept is kept, like the blob of any upload that ends before its commit; nothing else is left.
    assert not spool.is_open
    assert list((tmp_path / "incoming").iterdir()) == []
    kept = blobs.open(hashlib.sha256(content).hexdigest())
    if kept is not None:
        kept.close()
    finished = at == "keep" or content is SMALL
    assert (kept is not None, trouble is None) == (finished, finished)


async def test_what_was_discarded_before_its_turn_is_not_kept(tmp_path: Path) -> None:
    incoming = Incoming(DirectoryBlobs(tmp_path), LIMIT_BYTES, md5=False)
    incoming.write(SMALL)
    incoming.discard()
    with ThreadPoolExecutor(1) as thread, pytest.raises(RuntimeError, match="discarded"):
        await Keeper(thread).keep(incoming)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_discarding_may_be_repeated(tmp_path: Path) -> None:
    incoming = Incoming(DirectoryBlobs(tmp_path), LIMIT_BYTES, md5=False)
    incoming.write(LARGE)
    incoming.keep()
    for _ in range(2):
        incoming.discard()
    with pytest.raises(Rejected, match="larger"):
        Incoming(DirectoryBlobs(tmp_path), 1, md5=False).write(SMALL)
