"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.session import creation_us, find

PACKAGES = (
    "mintmark",
    "aiohttp",
    "uvloop",
    "joserfc",
    "cryptography",
    "sqlalchemy",
    "msgspec",
    "multipart",
    "structlog",
)

_WATCHED_SECONDS = 1.0
BUSY_PERCENT = 10.0


def facts(folder: Path) -> dict[str, object]:
    """Everything that may explain a figure."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "wrk": _tool("wrk", "-v"),
        "nginx": _tool("nginx", "-v"),
        "pypiron": _tool("pypiron", "--version"),
        "file_system": _file_system(folder),
        "file_creation_us": round(creation_us(folder), 1),
        "busy_before_percent": round(_busy_percent(), 1),
        "load_average": [round(each, 2) for each in os.getloadavg()],
    }


def is_busy(machine: dict[str, object]) -> bool:
    """Whether other processes took so much of it that rates mean little. A server that answers in 20 microseconds
    suffers more from waiting for its core than one that takes 80, so that even ratios are wrong then."""
    busy = machine["busy_before_percent"]
    return isinstance(busy, float) and busy > BUSY_PERCENT


def headline(machine: dict[str, object]) -> str:
    """The facts in two lines for people."""
    return (
        f"{machine['cores']} cores of {machine['processor']}, kernel {machine['kernel']}, Python {machine['python']}, "
        f"SQLite {machine['sqlite']}\n{machine['file_system']}, making a file takes {machine['file_creation_us']} us "
        f"(15 is quiet); others keep it {machine['busy_before_percent']}% busy"
    )


def _busy_percent() -> float:
    """How busy all cores are while the benches do nothing yet: what others take away."""

    def ticks() -> tuple[int, int]:
        fields = [int(each) for each in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(_WATCHED_SECONDS)
    total_after, idle_after = ticks()
    return 100 * (1 - (idle_after - idle) / max(total_after - total, 1))


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _tool(name: str, argument: str) -> str | None:
    path = find(name)
    if path is None:
        return None
    done = subprocess.run([path, argument], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).partition("\n")[0].strip()


def _file_system(path: Path) -> str:
    """Type and device of the file system that holds a path: the longest mount point that is a parent of it."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind = line.split()[:3]
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, f"{kind} on {device}")
    return best[1]
