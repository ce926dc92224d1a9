"""How much memory a process has: what is resident now, the most there was, and the highest of many samples."""

from __future__ import annotations

import os
import threading
from pathlib import Path

MB = 1_000_000
SAMPLE_SECONDS = 0.01


class Sampler:
    """Reads a process's resident memory while the block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.highest_mb = 0.0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.highest_mb = max(self.highest_mb, resident_mb(self._pid))


def resident_mb(pid: int) -> float:
    """What is resident now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def high_water_mb(pid: int) -> float:
    """The most that ever was, by the kernel's own count."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / MB
