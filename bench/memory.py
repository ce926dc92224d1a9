"""How much one large upload grows the server's memory.

The file is streamed from disk by the client; the server's resident memory is read every 10 ms. Every run has a fresh
server that has taken one small upload before, so that its modules are loaded.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import forms, load, seed, server
from bench.figures import Row, Target
from bench.server import Running
from bench.session import BenchError, Session, settle
from mintmark.assemble import Index

SAMPLE_SECONDS = 0.01
LIMIT_MB = 10.0
MB = 1_000_000
_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class _Upload:
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
    return rows + _size(session, template, secret, 1000, 1) if session.huge else rows


async def _fill(index: Index) -> str:
    await seed.registry(index)
    return await seed.token(index)


def _size(session: Session, template: Path, secret: str, megabytes: int, runs: int) -> list[Row]:
    path = session.folder / f"large-{megabytes}.whl"
    forms.write_large_wheel(path, "large", "1.0", megabytes << 20)
    digests = forms.digests_of(path)
    found = [_run(session, template, secret, path, digests) for _ in range(runs)]
    path.unlink()
    base = sorted(each.base_mb for each in found)[len(found) // 2]
    name = f"upload of {megabytes} MB"
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
        Row(f"{name}: by the high-water mark", "MB", peak),
        Row(f"{name}: time", "s", seconds, note=f"{megabytes / sorted(seconds)[len(seconds) // 2]:.0f} MB/s"),
    ]


def _run(session: Session, template: Path, secret: str, path: Path, digests: dict[str, str]) -> _Upload:
    home = session.folder / "memory-run"
    shutil.copytree(template, home)
    with server.mintmark(home) as running:
        small = forms.small_form("small", "1.0")
        with _connected(running) as connection:
            connection.sendall(_head(secret, len(small)) + small)
            _expect_200(connection)
        settle()
        found = _measure(running, secret, path, digests)
    shutil.rmtree(home)
    return found


def _measure(running: Running, secret: str, path: Path, digests: dict[str, str]) -> _Upload:
    head, tail = forms.head("large", "1.0", digests), forms.tail()
    base = _resident_mb(running.pid)
    with _Sampler(running.pid) as sampler, _connected(running) as connection, open(path, "rb") as file:
        started = time.perf_counter()
        size = os.fstat(file.fileno()).st_size
        connection.sendall(_head(secret, len(head) + size + len(tail)) + head)
        connection.sendfile(file)
        connection.sendall(tail)
        _expect_200(connection)
        seconds = time.perf_counter() - started
    return _Upload(base, sampler.highest_mb - base, _high_water_mb(running.pid) - base, seconds)


class _Sampler:
    """Reads a process's resident memory while the block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.highest_mb = 0.0

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.highest_mb = max(self.highest_mb, _resident_mb(self._pid))


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def _high_water_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / MB


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
