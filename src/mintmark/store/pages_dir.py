"""Rendered pages in a directory: `pages/REGISTRY/simple/PROJECT/index.json`, ready for a front server.

Owns atomic replacement, removal, and the memory cache in front of them. Pages can be rendered again at any time, so
they are renamed into place and never synced; `pages_home` throws those of an earlier boot away. A cached page is
checked against the file at each request (`os.stat` takes two microseconds), so that another process's page is seen at
once. Large pages lie there compressed as well (`index.json.gz`); small ones are compressed when they are read, since a
file costs an upload more than its compression costs a reader. Pages derived on demand lie below the project's folder,
named by the number of changes that they show.
"""

from __future__ import annotations

import fcntl
import gzip
import math
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mintmark.core import simple
from mintmark.service.ports import Page
from mintmark.store.blobs_dir import sync_directory
from mintmark.store.pages_home import boot_id, open_home

# Bounds the memory of cached pages, compressed forms included.
CACHE_MAX_BYTES = 64 * 1024 * 1024
# Favours the time of the first reader after a change over the last few percent of size.
GZIP_LEVEL = 6
# What fits into one packet arrives no sooner when it is smaller.
GZIP_MIN_BYTES = 1_400
# From here on compressing takes longer than writing a file does (about 0.2 ms), which is no work for the event loop.
GZIP_STORED_MIN_BYTES = 16 * 1024
GZIP_SUFFIX = ".gz"
# The folder of what was derived from a project's page.
DERIVED = "derived"
# How many changes the page in this folder shows: a number of fixed width.
MARK = ".changes"
MARK_BYTES = 20
# What a crash leaves of a page that was being written.
LEFTOVER = ".*~"


class DirectoryPages:
    """See `service.ports.Pages`. Names are normal forms that hold no path separator; the caller guarantees it."""

    def __init__(self, directory: Path, boot: str | None = None) -> None:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        boot = boot_id() if boot is None else boot
        self._pages, self._epoch = open_home(directory, f"{boot}/{simple.RENDERING}")
        # Nobody would know which pages a power failure damaged.
        self._sync = not boot
        self._cache: OrderedDict[str, tuple[tuple[int, int, int], Page]] = OrderedDict()
        self._cached_bytes = 0

    def epoch(self) -> int:
        return self._epoch

    def find(self, registry: str, project: str, form: str) -> Page | None:
        return self._at(f"{self._pages}/{registry}/simple/{project + '/' if project else ''}index.{form}")

    def _at(self, path: str) -> Page | None:
        try:
            state = os.stat(path)
        except OSError:
            # A name that no folder can have is the name of no page; and a page that cannot be read is rendered again.
            return None
        stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
        cached = self._cache.get(path)
        if cached is not None and cached[0] == stamp:
            self._cache.move_to_end(path)
            return cached[1]
        return self._load(path)

    def replace(self, registry: str, project: str, changes: int, forms: Mapping[str, bytes]) -> None:
        # Texts instead of paths: every upload comes along here, and paths would be a tenth of the work.
        folder = f"{self._pages}/{registry}/simple{'/' + project if project else ''}"
        try:
            mark = _own(folder)
        except FileNotFoundError:
            Path(folder).mkdir(mode=0o750, parents=True, exist_ok=True)
            mark = _own(folder)
        try:
            if _number(os.pread(mark, MARK_BYTES, 0)) > changes:
                return
            for form, body in forms.items():
                _write_both(f"{folder}/index.{form}", body, sync=self._sync)
            if self._sync:
                # Else the old page might come back, whose dirty mark is gone by then.
                sync_directory(Path(folder))
            os.pwrite(mark, str(changes).rjust(MARK_BYTES).encode(), 0)
            # Nobody asks for them any more, since their names hold a lower number of changes.
            _empty(f"{folder}/{DERIVED}")
        finally:
            os.close(mark)

    def derived(self, registry: str, project: str, changes: int, form: str) -> Page | None:
        return self._at(str(self._derived(registry, project, changes, form)))

    def derive(self, registry: str, project: str, changes: int, form: str, body: bytes) -> Page:
        with suppress(OSError):
            self._keep(registry, project, changes, form, body)
        return self.derived(registry, project, changes, form) or _page(body, _compressed(body))

    def _keep(self, registry: str, project: str, changes: int, form: str, body: bytes) -> None:
        if self.changes(registry, project) != changes:
            return
        mark = _own(self._folder(registry, project))
        try:
            # Once more, now that nobody else may change it.
            if _number(os.pread(mark, MARK_BYTES, 0)) != changes:
                return
            path = self._derived(registry, project, changes, form)
            path.parent.mkdir(mode=0o750, exist_ok=True)
            _write(str(path), body, sync=self._sync)
            if len(body) >= GZIP_STORED_MIN_BYTES:
                _write(f"{path}{GZIP_SUFFIX}", _compressed(body) or b"", sync=self._sync)
        finally:
            os.close(mark)

    def _derived(self, registry: str, project: str, changes: int, form: str) -> Path:
        return self._folder(registry, project) / DERIVED / f"{form}.{changes}"

    def stored(self) -> Iterator[tuple[str, str]]:
        for registry in _folders(self._pages):
            for project in _folders(self._pages / registry / "simple"):
                yield registry, project
            yield registry, ""

    def shows(self, registry: str, project: str, forms: Mapping[str, bytes]) -> bool | None:
        folder = self._folder(registry, project)
        found = [_read(folder / f"index.{form}") for form in forms]
        if not any(body is not None for body in found):
            return None
        # A front server may send what lies beside.
        beside = [(body, _read(folder / f"index.{form}{GZIP_SUFFIX}")) for form, body in forms.items()]
        return found == list(forms.values()) and all(data is None or _inflates_to(data, body) for body, data in beside)

    def changes(self, registry: str, project: str) -> int:
        return _number((_read(self._folder(registry, project) / MARK) or b"")[:MARK_BYTES])

    def remove(self, registry: str, project: str, before: float | None = None) -> bool:
        folder = self._folder(registry, project)
        try:
            mark = _own(folder)
        except FileNotFoundError:
            return False
        try:
            if before is not None and os.fstat(mark).st_mtime >= before:
                return False
            for path in (*folder.glob("index.*"), *folder.glob(LEFTOVER)):
                path.unlink(missing_ok=True)
            _empty(f"{folder}/{DERIVED}")
            # Last: whoever waits for it makes another one.
            (folder / MARK).unlink()
        finally:
            os.close(mark)
        # Other folders inside, or a page that came meanwhile, stay.
        for empty in (folder,) if project else (folder, folder.parent):
            with suppress(OSError):
                empty.rmdir()
        return True

    def leftovers(self, before: float, *, remove: bool) -> int:
        found = 0
        for registry, project in self.stored():
            folder = self._folder(registry, project)
            left = [*folder.glob(LEFTOVER), *(folder / DERIVED).glob(LEFTOVER)]
            old = [path for path in left if _modified_at(path) < before]
            found += len(old)
            if old and remove:
                mark = _own(folder)
                try:
                    for path in old:
                        path.unlink(missing_ok=True)
                finally:
                    os.close(mark)
        return found

    def _folder(self, registry: str, project: str) -> Path:
        root = self._pages / registry / "simple"
        return root / project if project else root

    def _load(self, path: str) -> Page | None:
        try:
            with open(path, "rb") as file:
                state = os.fstat(file.fileno())
                body = file.read()
        except OSError:
            return None
        if not body or b"\0" in body:
            # What a power failure may leave of a file that was not synced; no page holds this. Absent pages are
            # rendered again.
            return None
        page = _page(body, _stored(path + GZIP_SUFFIX, body) or _compressed(body))
        self._remember(path, (state.st_mtime_ns, state.st_ino, state.st_size), page)
        return page

    def _remember(self, path: str, stamp: tuple[int, int, int], page: Page) -> None:
        former = self._cache.pop(path, None)
        if former is not None:
            self._cached_bytes -= _size(former[1])
        self._cache[path] = (stamp, page)
        self._cached_bytes += _size(page)
        while self._cached_bytes > CACHE_MAX_BYTES and len(self._cache) > 1:
            _, (_, oldest) = self._cache.popitem(last=False)
            self._cached_bytes -= _size(oldest)


def _own(folder: Path | str) -> int:
    """A descriptor of the folder's mark, held against other threads and processes until it is closed.

    The mark is overwritten in place, never replaced; it goes only with its pages, and then whoever waited for it takes
    the next one.
    """
    while True:
        mark = os.open(f"{folder}/{MARK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(mark, fcntl.LOCK_EX)
            if os.fstat(mark).st_nlink:
                return mark
        except BaseException:
            os.close(mark)
            raise
        os.close(mark)


def _folders(path: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _read(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None


def _modified_at(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return math.inf


def _number(mark: bytes) -> int:
    try:
        return int(mark)
    except ValueError:
        # New, or half written by a crash: then the page is replaced.
        return -1


def _size(page: Page) -> int:
    return len(page.body) + len(page.gzip or b"")


def _page(body: bytes, compressed: bytes | None) -> Page:
    return Page(body, compressed, simple.validator(body))


def _compressed(body: bytes) -> bytes | None:
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if len(body) >= GZIP_MIN_BYTES else None


def _stored(path: str, body: bytes) -> bytes | None:
    """The compressed form beside a page, if it is there and is this very page's: they are replaced one by one."""
    if len(body) < GZIP_STORED_MIN_BYTES:
        return None
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    return data if _inflates_to(data, body) else None


def _inflates_to(data: bytes, body: bytes) -> bool:
    inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return inflating.decompress(data, len(body) + 1) == body and inflating.eof
    except zlib.error:
        return False


def _write_both(path: str, body: bytes, *, sync: bool) -> None:
    _write(path, body, sync=sync)
    beside = path + GZIP_SUFFIX
    if len(body) >= GZIP_STORED_MIN_BYTES:
        _write(beside, _compressed(body) or b"", sync=sync)
    else:
        # A front server would go on serving what the page was when it was long.
        with suppress(FileNotFoundError):
            os.unlink(beside)


def _empty(folder: str) -> None:
    """Remove a folder of files, if it is there."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            os.unlink(entry)
        Path(folder).rmdir()


def _write(path: str, body: bytes, *, sync: bool) -> None:
    # One name, since the folder is held: what a crash leaves behind is overwritten by the next page.
    folder, _, name = path.rpartition("/")
    fresh = f"{folder}/.{name}~"
    try:
        with open(fresh, "wb", buffering=0) as file:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
            if sync:
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        # On a full disk the half of a page takes space from the whole of another.
        Path(fresh).unlink(missing_ok=True)
        raise
