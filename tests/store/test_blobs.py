"""Conformance: what `service.ports.Blobs` guarantees; and the order of the file store's system calls."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines import OTHER_PROCESS

from mintmark.service.ports import BlobReader, Blobs
from mintmark.store.blobs_dir import CHUNK_BYTES, DirectoryBlobs

IMPLEMENTATIONS: Mapping[str, Callable[[Path], Blobs]] = {"directory": DirectoryBlobs}
CONTENT = b"content" * 100_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return IMPLEMENTATIONS[request.param](tmp_path)


def keep(blobs: Blobs, content: bytes = CONTENT) -> str:
    spool = blobs.spool()
    try:
        for start in range(0, len(content), 100_001):
            spool.write(content[start : start + 100_001])
        sha256 = hashlib.sha256(content).hexdigest()
        spool.keep(sha256)
        return sha256
    finally:
        spool.discard()


async def read(reader: BlobReader | None, start: int = 0, count: int | None = None) -> bytes:
    assert reader is not None
    try:
        wanted = reader.size_bytes - start if count is None else count
        return b"".join([chunk async for chunk in reader.chunks(start, wanted)])
    finally:
        reader.close()


def holds(blobs: Blobs, sha256: str = SHA256) -> bool:
    reader = blobs.open(sha256)
    if reader is not None:
        reader.close()
    return reader is not None


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


# -- the port ---------------------------------------------------------------------------------------------------------


async def test_what_was_kept_is_there(blobs: Blobs) -> None:
    assert not holds(blobs)
    assert keep(blobs) == SHA256
    assert await read(blobs.open(SHA256)) == CONTENT


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_sizes_around_a_chunk(blobs: Blobs, size: int) -> None:
    content = os.urandom(size)
    reader = blobs.open(keep(blobs, content))
    assert reader is not None
    assert reader.size_bytes == size
    assert await read(reader) == content


@pytest.mark.parametrize(("start", "count"), [(0, 0), (5, 10), (CHUNK_BYTES - 1, 2), (699_999, 1), (3, 690_000)])
async def test_parts(blobs: Blobs, start: int, count: int) -> None:
    assert await read(blobs.open(keep(blobs)), start, count) == CONTENT[start : start + count]


async def test_more_than_there_is_fails_rather_than_ends(blobs: Blobs) -> None:
    with pytest.raises(OSError, match="shorter"):
        await read(blobs.open(keep(blobs)), 0, len(CONTENT) + 1)


async def test_keeping_twice_changes_nothing(blobs: Blobs) -> None:
    keep(blobs)
    first = blobs.open(SHA256)
    keep(blobs)
    # Who reads meanwhile reads on.
    assert await read(first) == CONTENT
    assert await read(blobs.open(SHA256)) == CONTENT


async def test_what_was_discarded_is_nowhere(blobs: Blobs, tmp_path: Path) -> None:
    spool = blobs.spool()
    spool.write(CONTENT)
    spool.discard()
    spool.discard()
    assert not holds(blobs)
    assert names(tmp_path) == set()


async def test_discarding_after_keeping_keeps(blobs: Blobs, tmp_path: Path) -> None:
    spool = blobs.spool()
    spool.write(CONTENT)
    spool.keep(SHA256)
    spool.discard()
    spool.discard()
    assert await read(blobs.open(SHA256)) == CONTENT
    assert names(tmp_path) == {SHA256}


def test_the_bytes_so_far_can_be_read_back_and_written_on(blobs: Blobs) -> None:
    spool = blobs.spool()
    spool.write(b"one")
    file = spool.read_back()
    assert (file.read(), file.seek(1), file.read(1)) == (b"one", 1, b"n")
    assert spool.read_back().read() == b"one"
    spool.discard()


@pytest.mark.parametrize(
    "name",
    ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "../" + "0" * 61, "/" * 64, "0" * 63 + "\0", "٠" * 64],
    ids=["empty", "short", "long", "no-hex", "upper", "parent", "slashes", "nul", "other-digits"],
)
def test_names_that_are_no_digest(blobs: Blobs, tmp_path: Path, name: str) -> None:
    assert blobs.open(name) is None
    spool = blobs.spool()
    with pytest.raises(ValueError, match="no digest"):
        spool.keep(name)
    spool.discard()
    assert names(tmp_path) == set()


def test_a_file_on_its_way_is_gone_after_a_crash_and_only_then(tmp_path: Path) -> None:
    keep(DirectoryBlobs(tmp_path))
    died = subprocess.run([sys.executable, OTHER_PROCESS, "spool", "", tmp_path], check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "incoming").iterdir())) == 1
    first = DirectoryBlobs(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []
    # That of a process that still runs is not touched when another one starts.
    spool = first.spool()
    spool.write(CONTENT[:7])
    second = DirectoryBlobs(tmp_path)
    spool.write(CONTENT[7:])
    spool.keep(SHA256)
    spool.discard()
    assert holds(second)


# -- the file store ---------------------------------------------------------------------------------------------------


def test_the_order_of_write_fsync_rename_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = DirectoryBlobs(tmp_path)
    calls: list[tuple[str, ...]] = []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}"), str(os.fstat(descriptor).st_size)))
        fsync(descriptor)

    def recorded_rename(source: Path, target: Path) -> None:
        calls.append(("rename", str(source), str(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    keep(blobs)
    spooled = calls[0][1]
    folder = tmp_path / "blobs" / SHA256[:2]
    assert [call[:2] for call in calls] == [("fsync", spooled), ("rename", spooled), ("fsync", str(folder))]
    assert Path(spooled).parent == tmp_path / "incoming"
    # Everything was written before it was synced, and it is renamed to its digest.
    assert calls[0][2] == str(len(CONTENT))
    assert calls[1][2] == str(folder / SHA256)


def test_the_folders_are_durable_before_the_first_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    DirectoryBlobs(tmp_path)
    assert synced == [str(tmp_path / "blobs"), str(tmp_path)]
    assert len(list((tmp_path / "blobs").iterdir())) == 256


def test_nobody_else_may_read(tmp_path: Path) -> None:
    keep(DirectoryBlobs(tmp_path))
    modes = {path.stat().st_mode & 0o007 for path in tmp_path.rglob("*")}
    assert modes == {0}


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """A disk on which no file gets larger: the kernel itself refuses (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)


def test_no_space_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    with pytest.raises(OSError, match="large") as refused, file_size_limit(250_000):
        keep(blobs)
    assert refused.value.errno == errno.EFBIG
    assert names(tmp_path) == set()
    keep(blobs)
    assert holds(blobs)


@pytest.mark.parametrize("there", [[], ["ff"], ["00", "83"]])
def test_every_folder_is_made_whatever_is_there(tmp_path: Path, there: list[str]) -> None:
    """A restored index has only the folders that its blobs needed."""
    for name in there:
        (tmp_path / "blobs" / name).mkdir(parents=True)
    DirectoryBlobs(tmp_path)
    assert len(list((tmp_path / "blobs").iterdir())) == 256
