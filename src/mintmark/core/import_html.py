"""The links of an HTML page of another index.

Owns taking a page apart with the standard library's parser, within bounds. Leaves what the links mean to
`core.import_listing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

TEXT_MAX_CHARACTERS = 1_000
"""Of one link; what is longer names no file."""
PIECE_CHARACTERS = 64 * 1024
"""Fed to the parser at once."""
UNFINISHED_MAX_CHARACTERS = 1 << 20
"""Of a tag or comment that does not end: the parser would look through it again for every piece."""
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{1,30})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Anchor:
    """One link: its target as written, its attributes, its text."""

    href: str
    attributes: Mapping[str, str]
    """An attribute without a value has ""."""
    text: str


@dataclass(slots=True)
class Document:
    """What a page says. `truncated` when it could not be read to its end."""

    anchors: list[Anchor] = field(default_factory=list)
    base: str = ""
    version: str = ""
    status: str = ""
    status_reason: str = ""
    truncated: bool = False


class _Reader(HTMLParser):
    def __init__(self, anchors_max: int) -> None:
        super().__init__(convert_charrefs=True)
        self._anchors_max = anchors_max
        self.document = Document()
        self._open: tuple[str, Mapping[str, str]] | None = None
        self._text: list[str] = []
        self._length = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Of an attribute that comes twice the first counts, as in browsers.
        values = {name: value or "" for name, value in reversed(attrs)}
        if tag == "a":
            self._finish()
            if "href" in values:
                self._open = (values["href"], values)
        elif tag == "base" and not self.document.base:
            self.document.base = values.get("href", "")
        elif tag == "meta":
            name = values.get("name", "").lower()
            if name == "pypi:repository-version":
                self.document.version = values.get("content", "").strip()
            elif name == "pypi:project-status":
                self.document.status = values.get("content", "").strip()
            elif name == "pypi:project-status-reason":
                self.document.status_reason = values.get("content", "").strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._finish()

    def handle_data(self, data: str) -> None:
        if self._open is not None and self._length < TEXT_MAX_CHARACTERS:
            piece = data[: TEXT_MAX_CHARACTERS - self._length]
            self._text.append(piece)
            self._length += len(piece)

    def unfinished_characters(self) -> int:
        return len(self.rawdata)

    def finish(self) -> Document:
        self._finish()
        return self.document

    def _finish(self) -> None:
        if self._open is not None:
            if len(self.document.anchors) < self._anchors_max:
                self.document.anchors.append(Anchor(*self._open, "".join(self._text)))
            else:
                self.document.truncated = True
        self._open, self._text, self._length = None, [], 0


def read_html(body: bytes, anchors_max: int) -> Document:
    """The links of a page, whatever the bytes are; `truncated` if there are more than so many."""
    text = _decode(body)
    reader = _Reader(anchors_max)
    try:
        for start in range(0, len(text), PIECE_CHARACTERS):
            reader.feed(text[start : start + PIECE_CHARACTERS])
            if reader.document.truncated or reader.unfinished_characters() > UNFINISHED_MAX_CHARACTERS:
                reader.document.truncated = True
                return reader.finish()
        if reader.unfinished_characters() < PIECE_CHARACTERS:
            reader.close()
    except AssertionError:
        # What the parser of some versions of Python says of a declaration like `<![?`.
        reader.document.truncated = True
    return reader.finish()


def _decode(body: bytes) -> str:
    found = _CHARSET.search(body[:4096])
    try:
        return body.decode(found[1].decode("ascii") if found else "utf-8", "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")
