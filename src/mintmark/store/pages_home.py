"""The folder of rendered pages, as long as it can be believed.

Owns throwing pages away that a power failure may have left damaged or old: pages are never synced, since they can be
made again, so those of an earlier boot of the machine are not trusted. Leaves the pages themselves to `pages_dir` and
rendering them anew to `service.renderer`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from mintmark.core.errors import Misconfigured

EPOCH = ".epoch"
_LOCK = "pages.lock"
_FORMER = "pages.former-"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EPOCH_BITS = 62
# What the kernel says of a folder that cannot be moved: something is mounted on it, or it is a container image's.
_FIXED = frozenset({errno.EBUSY, errno.EXDEV})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A file system has it in its root; nobody but the system may remove it.
_LOST = "lost+found"


def boot_id() -> str:
    """What is another text after every start of the machine; "" where the system does not say."""
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def open_home(directory: Path, boot: str) -> tuple[Path, int]:
    """The folder of pages below the data directory, and its epoch: another number whenever it was made anew.

    That is whenever `boot`, one line, is another text than when it was made. Where it does not tell boots apart, pages
    must be synced as they are written. Raises `Misconfigured`.
    """
    try:
        return _open_home(directory, boot)
    except OSError as error:
        raise Misconfigured(
            "data_dir",
            f"The folder of rendered pages in {directory} cannot be used: {error.strerror}.",
            "Run as the user it belongs to, on a disk with free space.",
        ) from error


def _open_home(directory: Path, boot: str) -> tuple[Path, int]:
    pages = directory / "pages"
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _give(directory / _LOCK, directory)
        # Several processes start at once, and commands run beside a server.
        fcntl.flock(lock, fcntl.LOCK_EX)
        epoch = _epoch(pages, boot)
        if epoch is None:
            epoch = secrets.randbits(_EPOCH_BITS)
            _clear(pages, directory / f"{_FORMER}{epoch:x}")
            _make(pages, directory, f"{boot} {epoch}")
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


def _clear(pages: Path, former: Path) -> None:
    """Move the pages away, or remove them at once where their folder has to stay."""
    if not os.path.lexists(pages):
        return
    # Beside a link there may be another disk.
    if not pages.is_symlink():
        try:
            os.rename(pages, former)
        except OSError as error:
            if error.errno not in _FIXED:
                raise
        else:
            return
    # First the epoch: half a folder is never taken for a whole one.
    for entry in sorted(pages.iterdir(), key=lambda entry: entry.name != EPOCH):
        if entry.name == _LOST:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _make(pages: Path, directory: Path, epoch: str) -> None:
    try:
        pages.mkdir(mode=0o750, exist_ok=True)
        (pages / EPOCH).write_text(epoch, encoding="ascii")
        for made in (pages, pages / EPOCH):
            _give(made, directory)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # Readers can be served without any page on the disk. Whoever starts next finds no epoch and does this again.
        with suppress(OSError):
            (pages / EPOCH).unlink()


def _give(path: Path, directory: Path) -> None:
    """What root makes with a command belongs to whom the index belongs, or a server could not start beside it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
