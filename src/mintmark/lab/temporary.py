"""The temporary directories of labs: made, held while the lab lives, found by other commands, removed.

Owns telling a running lab's directory from one that a killed lab left behind: the running one holds a lock, which the
kernel lets go of however the process ends. Leaves what lies inside to `assemble_lab`, and the file by which a lab is
reached to `lab.home`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mintmark.core.errors import Misconfigured

PREFIX = "mintmark-lab-"
# A directory gets its real name once its lock is held, so that no lab in the making is taken for a dead one.
_UNBORN_PREFIX = "mintmark-new-"
UNBORN_MAX_SECONDS = 600.0
LABS_MAX = 1000
_LOCK = "lock"
# As `mkdtemp` makes them: a folder with a name of its own is somebody else's.
_RANDOM = re.compile(r"[a-z0-9_]{8}\Z")


class LabDirectory:
    """A directory of one lab, removed with everything in it at the end."""

    def __init__(self, parent: Path | None = None) -> None:
        unborn: Path | None = None
        try:
            parent = parent or _home_of_labs()
            unborn = Path(tempfile.mkdtemp(prefix=_UNBORN_PREFIX, dir=parent))
            self._descriptor = os.open(unborn / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            path = unborn.with_name(PREFIX + unborn.name.removeprefix(_UNBORN_PREFIX))
            unborn.rename(path)
        except OSError as error:
            if unborn is not None:
                shutil.rmtree(unborn, ignore_errors=True)
            raise Misconfigured(
                "TMPDIR",
                f"No temporary directory can be made{f' in {parent}' if parent else ''}: {error.strerror}.",
                "Set TMPDIR to a folder that you can write to.",
            ) from None
        self.path = path.resolve()

    def remove(self) -> None:
        """Remove everything. May be called twice; what cannot be removed is left for the next lab's start."""
        _remove(self.path)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> LabDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _home_of_labs() -> Path:
    """Where labs are. A TMPDIR that cannot be used is an error, and not another folder, as it is to Python."""
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir())


def running(parent: Path | None = None) -> list[Path]:
    """The directories of this user's running labs."""
    return sorted(path for path in _ours(PREFIX, parent) if _is_held(path))


def sweep_dead(now: float, parent: Path | None = None) -> list[Path]:
    """Remove what killed labs of this user left behind; what was removed."""
    dead = [path for path in _ours(PREFIX, parent) if not _is_held(path)]
    with suppress(OSError):
        dead += [path for path in _ours(_UNBORN_PREFIX, parent) if now - path.stat().st_mtime > UNBORN_MAX_SECONDS]
    for path in dead:
        _remove(path)
    return dead


def _remove(path: Path) -> None:
    """Everything, the lock last: what is left of a directory that could not be removed is known by it."""
    with suppress(OSError), os.scandir(path) as entries:
        for entry in [each for each in entries if each.name != _LOCK]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)
    with suppress(OSError):
        if [each.name for each in path.iterdir()] == [_LOCK]:
            (path / _LOCK).unlink()
        path.rmdir()


def _is_a_labs(path: Path) -> bool:
    """Whether a lab made this directory. Never trust the beginning of its name alone: what is not ours stays."""
    # One that was killed before it had its lock is empty.
    names = {each.name for each in path.iterdir()}
    return not names or (_LOCK in names and stat.S_ISREG((path / _LOCK).lstat().st_mode))


def _ours(prefix: str, parent: Path | None) -> Iterator[Path]:
    """Real directories of this user only: anybody may put something of that name into a shared folder."""
    with suppress(OSError), os.scandir(parent or _home_of_labs()) as entries:
        found = 0
        for entry in entries:
            if not entry.name.startswith(prefix) or not _RANDOM.match(entry.name.removeprefix(prefix)):
                continue
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and _is_a_labs(Path(entry.path)):
                    found += 1
                    yield Path(entry.path).resolve()
            if found == LABS_MAX:
                return


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that nobody who looks takes another one who looks for the lab.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
