"""The lines of a METADATA, PKG-INFO or WHEEL file as fields, each as often as it stands there.

Owns the form of these files (RFC 822 as the standard library's `email` reads it), in linear time. `email` and
`packaging.metadata.parse_email` are not used because an uploader chooses the bytes: a megabyte of different field names
keeps them busy for many minutes. Leaves what a field means, and whether it is valid, to `core.checks` and
`dist.metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

FIELDS: Mapping[str, str] = {
    "metadata-version": "1.0",
    "name": "1.0",
    "version": "1.0",
    "platform": "1.0",
    "summary": "1.0",
    "description": "1.0",
    "keywords": "1.0",
    "home-page": "1.0",
    "author": "1.0",
    "author-email": "1.0",
    "license": "1.0",
    "supported-platform": "1.1",
    "download-url": "1.1",
    "classifier": "1.1",
    "requires": "1.1",
    "provides": "1.1",
    "obsoletes": "1.1",
    "maintainer": "1.2",
    "maintainer-email": "1.2",
    "requires-dist": "1.2",
    "provides-dist": "1.2",
    "obsoletes-dist": "1.2",
    "requires-python": "1.2",
    "requires-external": "1.2",
    "project-url": "1.2",
    "description-content-type": "2.1",
    "provides-extra": "2.1",
    "dynamic": "2.2",
    "license-expression": "2.4",
    "license-file": "2.4",
    "import-name": "2.5",
    "import-namespace": "2.5",
}
"""Every field of the core metadata, with the version of the metadata that brought it."""
REPEATABLE = frozenset(
    {
        "platform",
        "supported-platform",
        "classifier",
        "requires",
        "provides",
        "obsoletes",
        "requires-dist",
        "provides-dist",
        "obsoletes-dist",
        "requires-external",
        "project-url",
        "provides-extra",
        "dynamic",
        "license-file",
        "import-name",
        "import-namespace",
    }
)

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|\Z)")
_HEADER = re.compile(rb"([\x21-\x39\x3b-\x7e]*):[ \t]*(.*)", re.DOTALL)
# Before metadata 2.1 the description was a field, its lines set off by these: the second is older than the first.
_HANGING = re.compile(r"\n(?:       \||        )")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one file, by their names in lower case. Made only by `parse_fields`.

    A folded value keeps its line breaks, as `\\n`. What is not UTF-8 is in `undecodable` instead.
    """

    values: Mapping[str, tuple[str, ...]]
    undecodable: frozenset[str]
    body: bytes
    """All that follows the fields."""
    torn: bool = False
    """The fields end at a line that is neither a field nor empty: what was meant as a field may be in the body."""

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a field, but for those that say nothing: setuptools once wrote UNKNOWN."""
        return tuple(value for value in self.values.get(name, ()) if value not in {"", "UNKNOWN"})

    def one(self, name: str) -> str | None:
        """The value of a field that stands there once; None when it is absent, empty or doubled."""
        values = self.values.get(name, ())
        return values[0] if len(values) == 1 and values[0] not in {"", "UNKNOWN"} else None

    def description(self) -> str | None:
        """The description, from the body or the field; None when there is none or it is not UTF-8."""
        try:
            text = self.body.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if text.strip():
            return text
        field = self.one("description")
        return _HANGING.sub("\n", field) if field else None


def parse_fields(data: bytes) -> Fields:
    """The fields of a file, whatever its bytes are. Linear in their number."""
    values: dict[str, list[list[bytes]]] = {}
    current: list[bytes] | None = None
    torn, at = False, 0
    for found in _LINE.finditer(data):
        line = found[1]
        start, at = at, found.end()
        if not line:
            break
        if line[0] in b" \t":
            if current is not None:
                current.append(line)
            continue
        header = _HEADER.match(line)
        if header is None:
            if line.startswith(b"From "):
                # The first line of a message in a mailbox; `email` passes over it as well.
                current = None
                continue
            torn, at = True, start
            break
        current = [header[2]]
        if header[1]:
            values.setdefault(header[1].decode("ascii").lower(), []).append(current)
    undecodable: set[str] = set()
    decoded: dict[str, tuple[str, ...]] = {}
    for name, parts in values.items():
        try:
            decoded[name] = tuple(b"\n".join(lines).decode("utf-8").strip(" \t\n") for lines in parts)
        except UnicodeDecodeError:
            undecodable.add(name)
    return Fields(decoded, frozenset(undecodable), data[at:], torn)
