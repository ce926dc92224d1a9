"""Walks a `.tar.gz` forwards, once, in constant memory.

Owns the formats (gzip, RFC 1952; ustar and pax, POSIX.1-2017 `pax`; GNU long names), strictly: where two readers
could see different members, the archive is refused. The standard library's `tarfile` and `gzip` are not used because
data that an uploader chooses can make them slow without a bound (long names read whole, headers searched by a
regular expression in quadratic time, gzip headers read byte by byte). Leaves what the members mean to
`dist.archive` and `core.checks`.

Damage is reported as `ValueError`, `EOFError` or `zlib.error`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

T = TypeVar("T")

EXTENSION_MAX_BYTES = 1 << 20
"""Of one extended header: a long name, or the pax records of a member."""
GZIP_MEMBERS_MAX = 1_000
"""A gzip file may be a concatenation; a long one is only made to cost time."""

_BLOCK = 512
_CHUNK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK)
_GZIP_WBITS = 31
_REGULAR = b"0\x007"
_WITHOUT_CONTENT = b"123456"
_PAX = b"xX"
_EXTENSIONS = _PAX + b"gLK"


class BoundsError(Exception):
    """More came out of the archive than the reader wants to see."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member. `name` has no trailing slash; `kind` is the type flag, `0` for all ways to say regular file."""

    name: str
    kind: str
    size_bytes: int

    @property
    def is_file(self) -> bool:
        return self.kind == "0"


class Unpacked:
    """The decompressed bytes of a gzip file, from the front, at most `limit_bytes` of them."""

    def __init__(self, file: BinaryIO, *, limit_bytes: int) -> None:
        self._file = file
        self._left_bytes = limit_bytes
        self._zlib = zlib.decompressobj(_GZIP_WBITS)
        self._members = 1
        self._buffer = b""
        self._at = 0
        self.position = 0

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes; `EOFError` if there are fewer. The caller bounds `size`."""
        while len(self._buffer) - self._at < size:
            if not self._fill():
                raise EOFError("the archive ends in the middle of a member")
        data = self._buffer[self._at : self._at + size]
        self._at += size
        self.position += size
        return data

    def skip(self, size: int) -> None:
        """Goes `size` bytes forward; `EOFError` if there are fewer."""
        self.position += size
        while (held := len(self._buffer) - self._at) < size:
            size -= held
            self._at = len(self._buffer)
            if not self._fill():
                raise EOFError("the archive ends in the middle of a member")
        self._at += size

    def at_end(self) -> bool:
        """Whether nothing is left; the check sums have been compared then."""
        return self._at == len(self._buffer) and not self._fill()

    def only_zeros_follow(self) -> bool:
        """Reads the rest and says whether all of it is padding."""
        while not self.at_end():
            if self._buffer.count(0, self._at) != len(self._buffer) - self._at:
                return False
            self._at = len(self._buffer)
        return True

    def _fill(self) -> bool:
        """Adds at least one byte to the buffer; False at the end of the file."""
        while True:
            if self._zlib.eof:
                data = self._zlib.unused_data or self._file.read(_CHUNK_BYTES)
                if not data:
                    return False
                self._members += 1
                if self._members > GZIP_MEMBERS_MAX:
                    raise ValueError("too many gzip members")
                self._zlib = zlib.decompressobj(_GZIP_WBITS)
            else:
                data = self._zlib.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            output = self._zlib.decompress(data, _CHUNK_BYTES)
            if output:
                self._left_bytes -= len(output)
                if self._left_bytes < 0:
                    raise BoundsError
                self._buffer = self._buffer[self._at :] + output
                self._at = 0
                return True
            if not data and not self._zlib.eof:
                raise EOFError("the compressed data ends early")


def iterate_members(stream: Unpacked) -> Iterator[TarMember]:
    """The members in order. While one is current its content is next in `stream`; what is not taken is skipped.

    Extended headers are bounded by `EXTENSION_MAX_BYTES` each, everything together by the limit of `stream`.
    """
    extension = _Extension()
    while not stream.at_end():
        block = stream.take(_BLOCK)
        if block == _ZEROS:
            if not stream.only_zeros_follow():
                raise ValueError("data after the end of the archive")
            break
        kind, size_bytes = _parse_header(block)
        if kind in _EXTENSIONS:
            extension.read(kind, _take_extension(stream, size_bytes))
            continue
        member = _member(
            _name(block) if extension.path is None else extension.path,
            kind,
            size_bytes if extension.size_bytes is None else extension.size_bytes,
        )
        extension = _Extension()
        end = stream.position + _padded(member.size_bytes)
        yield member
        stream.skip(end - stream.position)
    if extension.path is not None or extension.size_bytes is not None:
        raise ValueError("the archive ends after an extended header")


class _Extension:
    """What the extended headers before a member say about it."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.size_bytes: int | None = None

    def read(self, kind: bytes, content: bytes) -> None:
        if kind == b"g":
            # git writes its commit there; renaming or resizing what follows is understood by few readers.
            if _parse_pax(content).keys() & {b"path", b"size"}:
                raise ValueError("a global pax header changes the members after it")
        elif kind == b"L":
            self.path = _once(self.path, _text(content.rstrip(b"\0")))
        elif kind in _PAX:
            records = _parse_pax(content)
            if (path := records.get(b"path")) is not None:
                self.path = _once(self.path, _text(path))
            if (size := records.get(b"size")) is not None:
                self.size_bytes = _once(self.size_bytes, _decimal(size))


def _member(name: str, kind: bytes, size_bytes: int) -> TarMember:
    if kind == b"\0" and name.endswith("/"):
        kind = b"5"
    if kind in _WITHOUT_CONTENT:
        # Readers disagree on whether such a size means that content follows.
        if size_bytes:
            raise ValueError("a member that has no content states a size")
    elif kind not in _REGULAR:
        raise ValueError(f"a member of the unusual kind {kind!r}")
    return TarMember(name.rstrip("/"), "0" if kind in _REGULAR else kind.decode("ascii"), size_bytes)


def _parse_header(block: bytes) -> tuple[bytes, int]:
    """Type flag and size of a header block, its check sum compared."""
    if _octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * 0x20:
        raise ValueError("the check sum of a header is wrong")
    return block[156:157], _octal(block[124:136])


def _name(block: bytes) -> str:
    """The name in the header itself, with the prefix of ustar."""
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    return _text(prefix + b"/" + name if prefix else name)


def _octal(field: bytes) -> int:
    if field[0] & 0x80:
        # GNU's binary form for sizes beyond 8 GiB; a negative number has the top bits set and is refused below.
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if value >> 63:
            raise ValueError("a number is out of range")
        return value
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise ValueError("a number is not octal")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise ValueError("a number is not decimal")
    return int(text)


def _text(name: bytes) -> str:
    if b"\0" in name:
        raise ValueError("a name holds a NUL, at which some readers stop")
    return name.decode("utf-8", "surrogateescape")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK) * _BLOCK


def _take_extension(stream: Unpacked, size_bytes: int) -> bytes:
    if size_bytes > EXTENSION_MAX_BYTES:
        raise ValueError("an extended header is too large")
    content = stream.take(size_bytes)
    stream.skip(_padded(size_bytes) - size_bytes)
    return content


def _parse_pax(content: bytes) -> dict[bytes, bytes]:
    """The records `{length} {key}={value}\\n` of an extended header."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        end = at + _decimal(content[at:space]) if space > 0 else 0
        key, equals, value = content[space + 1 : end].partition(b"=")
        if end <= space or end > len(content) or not equals or not value.endswith(b"\n"):
            raise ValueError("a pax record is malformed")
        if key in records or key.startswith(b"GNU.sparse."):
            raise ValueError("a pax record is doubled or describes a sparse file")
        records[key] = value[:-1]
        at = end
    return records


def _once(old: T | None, new: T) -> T:
    if old is not None:
        raise ValueError("two extended headers disagree over one member")
    return new
