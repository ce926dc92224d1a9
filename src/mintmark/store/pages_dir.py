"""Rendered pages in a directory: `pages/REGISTRY/simple/PROJECT/index.json`, ready for a front server.

Owns atomic replacement and the memory cache in front of it. Pages can be rendered again at any time, so they are
renamed into place at once and synced later, in `settle`, before their dirty marks are taken away. A cached page is
checked against the file at each request (`os.stat` takes two microseconds), so that another process's page is seen at
once.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from mintmark.service.ports import Page
from mintmark.store.blobs_dir import sync_directory

# Bounds the memory of cached pages, compressed forms included.
CACHE_MAX_BYTES = 64 * 1024 * 1024
# Favours the time of the first reader after a change over the last few percent of size.
GZIP_LEVEL = 6
# How many changes the page in this folder shows: a number of fixed width.
MARK = ".changes"
MARK_BYTES = 20
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class DirectoryPages:
    """See `service.ports.Pages`. Names are normal forms that hold no path separator; the caller guarantees it."""

    def __init__(self, directory: Path) -> None:
        self._pages = directory / "pages"
        self._pages.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._cache: OrderedDict[str, tuple[tuple[int, int, int], Page]] = OrderedDict()
        self._cached_bytes = 0

    def find(self, registry: str, project: str, form: str) -> Page | None:
        path = f"{self._pages}/{registry}/simple/{project + '/' if project else ''}index.{form}"
        try:
            state = os.stat(path)
        except OSError as error:
            # A name that no folder can have is the name of no page.
            if error.errno in _ABSENT:
                return None
            raise
        stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
        cached = self._cache.get(path)
        if cached is not None and cached[0] == stamp:
            self._cache.move_to_end(path)
            return cached[1]
        return self._load(path)

    def replace(self, registry: str, project: str, changes: int, forms: Mapping[str, bytes]) -> None:
        folder = self._folder(registry, project)
        try:
            mark = os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except FileNotFoundError:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            mark = os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            # Held against other threads and processes; the mark itself is overwritten in place, never replaced.
            fcntl.flock(mark, fcntl.LOCK_EX)
            if _number(os.pread(mark, MARK_BYTES, 0)) > changes:
                return
            for form, body in forms.items():
                _write(folder / f"index.{form}", body)
            os.pwrite(mark, str(changes).rjust(MARK_BYTES).encode(), 0)
        finally:
            os.close(mark)

    def settle(self, pages: Iterable[tuple[str, str]]) -> None:
        # Each folder once: the pages of a registry share their parents.
        folders = {self._folder(registry, project) for registry, project in pages}
        for folder in folders:
            with suppress(FileNotFoundError):
                for path in folder.glob("index.*"):
                    _sync(path)
        for made in folders | {folder.parent for folder in folders} | {folder.parent.parent for folder in folders}:
            if made.is_relative_to(self._pages):
                with suppress(FileNotFoundError):
                    sync_directory(made)

    def _folder(self, registry: str, project: str) -> Path:
        root = self._pages / registry / "simple"
        return root / project if project else root

    def _load(self, path: str) -> Page | None:
        try:
            with open(path, "rb") as file:
                state = os.fstat(file.fileno())
                body = file.read()
        except FileNotFoundError:
            return None
        if not body or b"\0" in body:
            # What a power failure may leave of a file that was not synced; no page holds this. Absent pages are
            # rendered again.
            return None
        page = Page(body, gzip.compress(body, GZIP_LEVEL, mtime=0), hashlib.sha256(body).hexdigest()[:32])
        self._remember(path, (state.st_mtime_ns, state.st_ino, state.st_size), page)
        return page

    def _remember(self, path: str, stamp: tuple[int, int, int], page: Page) -> None:
        former = self._cache.pop(path, None)
        if former is not None:
            self._cached_bytes -= len(former[1].body) + len(former[1].gzip)
        self._cache[path] = (stamp, page)
        self._cached_bytes += len(page.body) + len(page.gzip)
        while self._cached_bytes > CACHE_MAX_BYTES and len(self._cache) > 1:
            _, (_, oldest) = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest.body) + len(oldest.gzip)


def _number(mark: bytes) -> int:
    try:
        return int(mark)
    except ValueError:
        # New, or half written by a crash: then the page is replaced.
        return -1


def _write(path: Path, body: bytes) -> None:
    # One name, since the folder is held: what a crash leaves behind is overwritten by the next page.
    fresh = f"{path.parent}/.{path.name}~"
    try:
        with open(fresh, "wb", buffering=0) as file:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
        os.replace(fresh, path)
    except OSError:
        # On a full disk the half of a page takes space from the whole of another.
        Path(fresh).unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
