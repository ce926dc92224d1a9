"""The part of a file that a `Range` header asks for.

Owns RFC 9110, sections 14.1.2 and 14.2, for one range of bytes, which is all that pip and uv ask for. Leaves
`If-Range`, status codes and sending to `web`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Longer numbers are no offsets of any file; without a bound `int` gets slow and then refuses.
_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A satisfiable range: `data[start:stop]` of a file of `size` bytes, never empty."""

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes it is."""
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        """The value of `Content-Range` in a 206 (section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """A well-formed range that lies outside of the file: 416."""

    size: int

    @property
    def content_range(self) -> str:
        """The value of `Content-Range` in a 416 (section 14.4)."""
        return f"bytes */{self.size}"


def parse_range(header: str | None, size: int) -> ByteRange | Unsatisfiable | None:
    """The range asked for of a file of `size` bytes; None means to send all of it.

    A server may ignore the header (section 14.2), and this does so for malformed ones, other units and several
    ranges at once.
    """
    if header is None:
        return None
    unit, equals, spec = header.partition("=")
    match = _SPEC.match(spec.strip(" \t"))
    # Range units are compared without regard to case (section 14.1).
    if not equals or unit.strip(" \t").lower() != "bytes" or match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return Unsatisfiable(size)
    return ByteRange(start, min(int(last) + 1, size) if last else size, size)


def _suffix(digits: str, size: int) -> ByteRange | Unsatisfiable | None:
    """The last `digits` bytes."""
    if not digits:
        return None
    length = int(digits)
    if length == 0:
        return Unsatisfiable(size)
    if size == 0:
        # Satisfiable by section 14.1.2, but `Content-Range` cannot express an empty range: send the empty whole.
        return None
    return ByteRange(max(size - length, 0), size, size)
