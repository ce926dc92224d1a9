"""One run of the benches: its folder, its length, its tools.

Owns the folder on a real disk, settling that disk, and finding the tools. Leaves what is measured to the benches.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bench"
# Where `make bench` installs what Mintmark is compared with.
PEERS = ROOT / "build" / "peers"
SERVER_CORE, LOAD_CORE = 0, 1
CREATIONS = 200


class BenchError(Exception):
    """A bench cannot say anything; the message says why."""


@dataclass(frozen=True)
class Session:
    """What every bench gets."""

    folder: Path
    quick: bool
    huge: bool

    @property
    def rounds(self) -> int:
        """How often everything takes its turn. An odd number, so that the median is a measured value."""
        return 3 if self.quick else 5

    @property
    def seconds(self) -> int:
        """The length of one run under load."""
        return 1 if self.quick else 2

    def fresh(self, name: str) -> Path:
        """A new folder of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


@contextmanager
def opened(*, quick: bool, huge: bool, below: Path = FOLDER) -> Iterator[Session]:
    """A session in a new folder below a given one, removed at the end."""
    below.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=below, ignore_cleanup_errors=True) as folder:
        yield Session(Path(folder), quick, huge)


def missing(tools: Iterable[str]) -> list[str]:
    """Those of the tools that this machine does not have. nginx hides in sbin."""
    return [tool for tool in tools if find(tool) is None]


def find(tool: str) -> str | None:
    """A tool's path."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin:{PEERS / 'bin'}")


def settle() -> None:
    """Let what earlier runs wrote reach the disk, so that the next one does not wait for it."""
    os.sync()
    time.sleep(0.2)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes started inside the block stay on this core, where there are at least two."""
    before = os.sched_getaffinity(0)
    if core is None or len(before) < 2:
        yield
        return
    os.sched_setaffinity(0, {sorted(before)[core]})
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)


def creation_us(folder: Path) -> float:
    """What making an empty file costs in a folder, in microseconds.

    About 15 on a quiet disk. Without a journal, ext4 gives out no inode that was freed in the last minutes and looks at
    each of them first: where many files were deleted, this is ten times as much, and every upload suffers.
    """
    probe = folder / "creation"
    probe.mkdir()
    started = time.perf_counter()
    for number in range(CREATIONS):
        os.close(os.open(probe / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
    return (time.perf_counter() - started) / CREATIONS * 1e6


def cpu_seconds(*pids: int) -> float:
    """Processor time that processes have used so far, together."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
