"""What every server of the lab was asked, and what it answered.

Owns the entries: their form, their bounds, the newest ones in memory and, if wanted, all of them in a file of JSON
lines. Leaves telling what a request was to `lab.watch` and hiding its secrets to `lab.redaction`; what looks like a
credential all the same is hidden here once more.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypedDict

from mintmark.lab.redaction import scrub

if TYPE_CHECKING:
    from typing import Unpack

    from mintmark.service.ports import Clock

ENTRIES_MAX = 10_000
FILE_MAX_BYTES = 10_000_000
PATH_MAX_CHARACTERS = 2000
TEXT_MAX_CHARACTERS = 500
CLAIMS_MAX = 20
# Room for the line that says why there are no more.
_LAST_LINE_MAX_BYTES = 300


class Facts(TypedDict, total=False):
    """What may be written besides the server, the action and the method."""

    host: str
    path: str
    status: int | None
    reason: str
    fault: str | None
    ci: str | None
    user_agent: str
    accept: str
    content_type: str
    credential: str | None
    identity: dict[str, object] | None
    request_bytes: int
    response_bytes: int
    milliseconds: float
    note: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. `status` is None if no answer was sent; `note` then says why."""

    number: int
    at: float
    server: str
    action: str
    method: str
    host: str = ""
    path: str = ""
    status: int | None = None
    reason: str = ""
    fault: str | None = None
    ci: str | None = None
    user_agent: str = ""
    accept: str = ""
    content_type: str = ""
    credential: str | None = None
    """None, or like "basic __token__ sha256:3f2a9c01"."""
    identity: dict[str, object] | None = None
    """The digest and the unverified iss, sub, aud, jti and exp of the identity token that was posted."""
    request_bytes: int = 0
    response_bytes: int = 0
    milliseconds: float = 0.0
    note: str = ""

    def facts(self) -> dict[str, object]:
        """The entry as JSON takes it."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Entry))


class Journal:
    """The newest `entries_max` entries, and a file with all of them up to its bound. Any thread may use it.

    Raises `OSError` where `path` cannot be opened; a file that fails later is left alone and the journal goes on.
    """

    def __init__(
        self,
        clock: Clock,
        path: Path | None = None,
        entries_max: int = ENTRIES_MAX,
        *,
        file_max_bytes: int = FILE_MAX_BYTES,
    ) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=max(1, entries_max))
        self._lock = threading.Lock()
        self._last = 0
        self._file_max_bytes = file_max_bytes
        self._file = None if path is None else _open(path)
        self._file_bytes = 0 if self._file is None else os.fstat(self._file.fileno()).st_size

    @property
    def last(self) -> int:
        """The number of the newest entry ever written; 0 before the first."""
        return self._last

    def write(self, *, server: str, action: str, method: str, **rest: Unpack[Facts]) -> Entry:
        """Add an entry. Texts are cut to their bounds."""
        texts: dict[str, object] = {name: _text(name, value) for name, value in rest.items()}
        with self._lock:
            self._last += 1
            entry = Entry(
                number=self._last,
                at=round(self._clock.now(), 3),
                server=server,
                action=action,
                method=str(_text("method", method)),
                **texts,  # type: ignore[arg-type]
            )
            self._entries.append(entry)
            self._append(entry)
        return entry

    def after(self, number: int = 0, limit: int = 1000) -> list[Entry]:
        """The oldest entries behind this number that are still there."""
        with self._lock:
            if not self._entries or limit < 1:
                return []
            # Numbers in the ring have no gaps.
            start = max(0, number + 1 - self._entries[0].number)
            return list(islice(self._entries, start, start + limit))

    def clear(self) -> None:
        """Forget the entries in memory. The file keeps them, and numbers go on."""
        with self._lock:
            self._entries.clear()

    def close(self) -> None:
        """Close the file. May be called twice; entries are kept in memory only afterwards."""
        with self._lock:
            self._close_file()

    def _append(self, entry: Entry) -> None:
        if self._file is None:
            return
        line = json.dumps(entry.facts()) + "\n"
        full = self._file_bytes + len(line) + _LAST_LINE_MAX_BYTES > self._file_max_bytes
        if full:
            line = json.dumps({"note": f"This file is full: it ends before entry {entry.number}."}) + "\n"
        try:
            self._file.write(line)
        except OSError:
            # A full disk stops the file and not the lab.
            full = True
        self._file_bytes += len(line)
        if full:
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return


def _open(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    # One line at a time, so that a lab that is killed has told everything.
    return os.fdopen(descriptor, "w", encoding="ascii", buffering=1)


def _text(name: str, value: object) -> object:
    """A value with its texts as they may be kept: bounded, without credentials, and fit for every encoder."""
    if isinstance(value, str):
        most = PATH_MAX_CHARACTERS if name == "path" else TEXT_MAX_CHARACTERS
        shown = scrub(value).encode("utf-8", "replace").decode("utf-8")
        return shown if len(shown) <= most else shown[: most - 3] + "..."
    if isinstance(value, dict):
        return {str(_text("", key)): _text("", each) for key, each in islice(value.items(), CLAIMS_MAX)}
    if isinstance(value, list):
        return [_text("", each) for each in value[:CLAIMS_MAX]]
    return value
