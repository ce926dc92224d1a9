"""The disk's own rate of making small files durable: write, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path


def rate(folder: Path, *, size_bytes: int, threads: int, seconds: float) -> float:
    """Files a second; each thread has a folder of its own."""
    counts = [0] * threads
    data = os.urandom(size_bytes)
    ready = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        own = folder / str(number)
        own.mkdir(parents=True, exist_ok=True)
        ready.wait()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            _durable(own, f"file-{counts[number]}", data)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - started)


def _durable(folder: Path, name: str, data: bytes) -> None:
    fresh = os.open(folder / f".{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.write(fresh, data)
        os.fsync(fresh)
    finally:
        os.close(fresh)
    os.rename(folder / f".{name}", folder / name)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
