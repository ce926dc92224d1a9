"""The folder of rendered pages, as long as it can be believed.

Owns throwing pages away that a power failure may have left damaged or old: pages are never synced, since they can be
made again, so those of an earlier boot of the machine are not trusted. Leaves the pages themselves to `pages_dir` and
rendering them anew to `service.renderer`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

EPOCH = ".epoch"
_LOCK = "pages.lock"
_FORMER = "pages.former-"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EPOCH_BITS = 62


def boot_id() -> str:
    """What is another text after every start of the machine; "" where the system does not say."""
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def open_home(directory: Path, boot: str) -> tuple[Path, int]:
    """The folder of pages below the data directory, and its epoch: another number whenever it was made anew.

    Without a boot's id the pages that are there are kept, and must be synced as they are written.
    """
    pages = directory / "pages"
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Several processes start at once, and commands run beside a server.
        fcntl.flock(lock, fcntl.LOCK_EX)
        epoch = _epoch(pages, boot)
        if epoch is None:
            epoch = secrets.randbits(_EPOCH_BITS)
            if pages.exists():
                pages.rename(directory / f"{_FORMER}{epoch:x}")
            pages.mkdir(mode=0o750)
            (pages / EPOCH).write_text(f"{boot} {epoch}", encoding="ascii")
        former = list(directory.glob(f"{_FORMER}*"))
    finally:
        os.close(lock)
    if former:
        # Many files; nobody has to wait for it, and what is left when the process ends goes the next time.
        threading.Thread(target=_remove, args=(former,), name="pages-former", daemon=True).start()
    return pages, epoch


def _epoch(pages: Path, boot: str) -> int | None:
    try:
        written, _, number = (pages / EPOCH).read_text(encoding="ascii").rpartition(" ")
        return int(number) if written == boot else None
    except (OSError, ValueError):
        # Absent, or damaged by the very power failure that this is about.
        return None


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
