"""How much one large upload, and one large download, grows the server's memory.

The file is streamed from disk by the client, and discarded by it on the way back; the server's resident memory is read
every 10 ms. Every measure has a fresh server that has done the same with a small file before, so that its modules are
loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from bench import forms, load, seed, server
from bench.figures import Row, Target
from bench.resident import Sampler, high_water_mb, resident_mb
from bench.server import Running
from bench.session import BenchError, Session, settle
from mintmark.assemble import Index

LIMIT_MB = 10.0
JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_SECONDS = 300.0
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class _Transfer:
    base_mb: float
    growth_mb: float
    peak_mb: float
    """Growth by the kernel's high-water mark, which no sampling can miss."""
    seconds: float


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    template = session.folder / "memory"
    secret = seed.create(template, _fill)
    rows = _size(session, template, secret, 200, session.rounds)
    # Making and sending so much takes a while: fewer rounds. The spread is small.
    rows += _size(session, template, secret, 1000, 1 if session.quick else 3)
    return rows + _size(session, template, secret, 2000, 1) if session.huge else rows


async def _fill(index: Index) -> str:
    await seed.registry(index)
    return await seed.token(index)


def _size(session: Session, template: Path, secret: str, megabytes: int, rounds: int) -> list[Row]:
    path = session.folder / f"large-{megabytes}.whl"
    forms.write_large_wheel(path, "large", "1.0", megabytes << 20)
    digests = forms.digests_of(path)
    found = [_both(session, template, secret, path, digests) for _ in range(rounds)]
    path.unlink()
    uploads, downloads = zip(*found, strict=True)
    return [*_rows("upload", megabytes, uploads), *_rows("download", megabytes, downloads)]


def _rows(kind: str, megabytes: int, found: tuple[_Transfer, ...]) -> list[Row]:
    base = statistics.median(each.base_mb for each in found)
    name = f"{kind} of {megabytes} MB"
    peak, seconds = tuple(each.peak_mb for each in found), tuple(each.seconds for each in found)
    return [
        Row(
            f"{name}: memory growth",
            "MB",
            tuple(each.growth_mb for each in found),
            Target(LIMIT_MB, below=True),
            f"from {base:.0f} MB; sampled every 10 ms",
            steady=True,
        ),
        Row(f"{name}: by the high-water mark", "MB", peak, steady=True),
        Row(f"{name}: time", "s", seconds, note=f"{megabytes / statistics.median(seconds):.0f} MB/s"),
    ]


def _both(
    session: Session, template: Path, secret: str, path: Path, digests: dict[str, str]
) -> tuple[_Transfer, _Transfer]:
    home = session.folder / "memory-run"
    shutil.copytree(template, home)
    with server.mintmark(home) as running:
        small = forms.small_form("small", "1.0")
        with _connected(running) as connection:
            connection.sendall(_head(secret, len(small)) + small)
            _expect_200(connection)
        settle()
        upload = _measure_upload(running, secret, path, digests)
    # What the upload needed must not serve the download: another process.
    with server.mintmark(home) as running:
        _download(running, secret, "small")
        settle()
        download = _measure_download(running, secret, path.stat().st_size)
    shutil.rmtree(home)
    return upload, download


def _measure_upload(running: Running, secret: str, path: Path, digests: dict[str, str]) -> _Transfer:
    head, tail = forms.head("large", "1.0", digests), forms.tail()
    base = resident_mb(running.pid)
    with Sampler(running.pid) as sampler, _connected(running) as connection, open(path, "rb") as file:
        started = time.perf_counter()
        size = os.fstat(file.fileno()).st_size
        connection.sendall(_head(secret, len(head) + size + len(tail)) + head)
        connection.sendfile(file)
        connection.sendall(tail)
        _expect_200(connection)
        seconds = time.perf_counter() - started
    return _Transfer(base, sampler.highest_mb - base, high_water_mb(running.pid) - base, seconds)


def _measure_download(running: Running, secret: str, size_bytes: int) -> _Transfer:
    base = resident_mb(running.pid)
    with Sampler(running.pid) as sampler:
        started = time.perf_counter()
        received = _download(running, secret, "large")
        seconds = time.perf_counter() - started
    if received != size_bytes:
        raise BenchError(f"{received} bytes came back of {size_bytes}")
    return _Transfer(base, sampler.highest_mb - base, high_water_mb(running.pid) - base, seconds)


def _download(running: Running, secret: str, project: str) -> int:
    """Read a project's only file and discard it; the number of its bytes."""
    basic = load.basic(secret)
    page_path = f"/{seed.REGISTRY}/simple/{project}/"
    status, page = server.fetch(running.port, page_path, Accept=JSON, Authorization=basic)
    if status != 200:
        raise BenchError(f"the page of {project} was refused: {status}")
    path = urlsplit(urljoin(page_path, json.loads(page)["files"][0]["url"])).path
    with _connected(running) as connection:
        connection.sendall(load.get(path, Authorization=basic, Connection="close"))
        return _discard(connection)


def _discard(connection: socket.socket) -> int:
    piece = bytearray(_PIECE_BYTES)
    start = b""
    while b"\r\n\r\n" not in start:
        received = connection.recv_into(piece)
        start += piece[:received]
        if not received:
            raise BenchError("the answer ended within its head")
    head, _, rest = start.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the download was refused: {head[:300].decode(errors='replace')}")
    count = len(rest)
    while received := connection.recv_into(piece):
        count += received
    return count


def _head(secret: str, length: int) -> bytes:
    basic = load.basic(secret)
    # `post` counts its own body; this one is streamed.
    request = load.post(f"/{seed.REGISTRY}/legacy/", b"", Content_Type=forms.CONTENT_TYPE, Authorization=basic)
    return request.replace(b"Content-Length: 0\r\n", b"Content-Length: %d\r\n" % length)


def _connected(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=_TIMEOUT_SECONDS)


def _expect_200(connection: socket.socket) -> None:
    answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the upload was refused: {answer[:300].decode(errors='replace')}")
