"""A folder of distribution files as the source of an import: flat or nested, whoever wrote it.

Owns finding the files and reading them without ever leaving the folder. Leaves what a file's name means to
`core.dist.filename`, and judging it to the import.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mintmark.core.dist.filename import parse_filename
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.import_choice import Choice, foreign_kind
from mintmark.core.import_listing import TIMES
from mintmark.service.import_source import Offer, Offers, Sink

CHUNK_BYTES = 256 * 1024
FILES_MAX = 2_000_000
"""Distribution files of one folder. Their names are held in memory."""
DEPTH_MAX = 64
"""Of folders in folders. Package repositories have a handful."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class _Found:
    """What a walk found: the offers of each project, and how many other files by their kind."""

    projects: dict[str, list[Offer]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    count: int = 0


class FolderSource:
    """See `service.import_source.ImportSource`."""

    def __init__(self, path: Path) -> None:
        # Symbolic links of the folder itself are the operator's own; only those inside of it are not followed out.
        self._root = Path(os.path.realpath(path))
        if not self._root.is_dir():
            raise Misconfigured("SOURCE", f"{path} is no folder.", "Name a folder, or the URL of a simple API.")
        self._label = str(path)

    @property
    def label(self) -> str:
        return self._label

    async def projects(self, choice: Choice) -> AsyncIterator[Offers]:
        found = await asyncio.to_thread(self._walk)
        for sentence in found.failures:
            yield Offers("", failure=sentence)
        if found.skipped:
            yield Offers("", skipped=dict(found.skipped))
        for name in sorted(found.projects):
            # The same name in two folders: the path decides which one is first, not the file system.
            yield Offers(name, tuple(sorted(found.projects[name], key=lambda offer: (offer.filename, offer.place))))

    async def fetch(self, offer: Offer, sink: Sink) -> None:
        reading = asyncio.get_running_loop().run_in_executor(None, self._read, offer, sink)
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            # The thread still uses the sink.
            await asyncio.wait([reading])
            raise

    async def close(self) -> None:
        pass

    def _read(self, offer: Offer, sink: Sink) -> None:
        with _reading(offer):
            file = self._open(offer)
        with file:
            while True:
                with _reading(offer):
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    return
                # Outside of it: trouble of our own disk is none of the folder.
                sink.write(chunk)

    def _open(self, offer: Offer) -> BinaryIO:
        file = os.fdopen(os.open(offer.address, _FLAGS), "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise Rejected("invalid-distribution", f"{offer.place} is no regular file any more.", hint="Import again.")
        return file

    # -- walking ------------------------------------------------------------------------------------------------------

    def _walk(self) -> _Found:
        found = _Found()
        waiting = [(self._root, 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                found.failures.append(f"The folder {_shown(folder, self._root)} cannot be read: {error.strerror}.")
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if depth >= DEPTH_MAX:
                        found.failures.append(f"Folders are nested deeper than {DEPTH_MAX} below {self._label}.")
                        continue
                    waiting.append((folder / entry.name, depth + 1))
                else:
                    self._take(found, folder / entry.name)
        return found

    def _take(self, found: _Found, path: Path) -> None:
        name = path.name
        if kind := foreign_kind(name):
            found.skipped[kind] += 1
            return
        real = path
        if path.is_symlink():
            real = Path(os.path.realpath(path))
            # Never out of the folder: what is elsewhere was not offered, whoever put the link there.
            if not real.is_relative_to(self._root):
                found.skipped["link out of the folder"] += 1
                return
        try:
            state = os.stat(real, follow_symlinks=False)
        except OSError:
            found.skipped["broken link" if real is not path else "unreadable file"] += 1
            return
        if not stat.S_ISREG(state.st_mode):
            found.skipped["no regular file"] += 1
            return
        found.count += 1
        if found.count > FILES_MAX:
            raise Rejected(
                "invalid-import", f"The folder holds more than {FILES_MAX} files.", hint="Import it in several parts."
            )
        seconds = state.st_mtime_ns // 1_000_000_000
        # Some file systems hold times that no page can show.
        is_known = seconds < TIMES.stop
        offer = Offer(
            filename=name,
            place=_shown(path, self._root),
            address=str(real),
            size_bytes=state.st_size,
            uploaded_at=max(0, seconds) if is_known else None,
            upload_microseconds=state.st_mtime_ns // 1_000 % 1_000_000 if is_known else 0,
        )
        found.projects.setdefault(_group(name), []).append(offer)


@contextmanager
def _reading(offer: Offer) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Rejected("not-found", f"{offer.place} is gone.", hint="Import again.") from None
    except OSError as error:
        raise Rejected(
            "invalid-import",
            f"{offer.place} cannot be read: {error.strerror}.",
            hint="Run as a user who may read it.",
            private=str(error),
        ) from None


def _shown(path: Path, root: Path) -> str:
    """A path for people, relative to the folder, whatever bytes it has."""
    text = str(path.relative_to(root))
    return text if text.isprintable() else ascii(text)


def _group(name: str) -> str:
    """Which project's files this one comes with; a name that says nothing is refused later, in the group of ""."""
    try:
        return parse_filename(name, legacy=True).name
    except Rejected:
        return ""
