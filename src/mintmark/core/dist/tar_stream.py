"""Walks a `.tar.gz` forwards, once, in constant memory.

Owns the formats (gzip, RFC 1952; ustar and pax, POSIX.1-2017 `pax`; GNU long names), strictly: where two readers
could see different members, the archive is refused. The standard library's `tarfile` and `gzip` are not used because
data that an uploader chooses can make them slow without a bound (long names read whole, headers searched by a
regular expression in quadratic time, gzip headers read byte by byte). Leaves the members' facts to `dist.tar_members`,
and what they mean to `dist.archive` and `core.checks`.

Damage is reported as `TarFault`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from mintmark.core.checks.finding import shown

T = TypeVar("T")

EXTENSION_MAX_BYTES = 1 << 20
"""Of one extended header: a long name, or the pax records of a member."""
GZIP_MEMBERS_MAX = 1_000
"""A gzip file may be a concatenation; a long one is only made to cost time."""

FINDINGS: Mapping[str, str] = {
    "gzip-not-an-archive": "The file is not compressed with gzip.",
    "gzip-damaged": "The compressed data is damaged, or its check sum is wrong.",
    "gzip-truncated": "The compressed data ends early.",
    "gzip-trailing-data": "Something that is not gzip follows the compressed data.",
    "gzip-too-many-parts": "The file is put together from more gzip files than any tool would use.",
    "tar-truncated": "The archive ends in the middle of a member.",
    "tar-trailing-data": "Something follows the end of the archive, where only some readers look.",
    "tar-checksum": "The check sum of a header is wrong: the archive is damaged or no tar file.",
    "tar-number": "A size in a header is not a number, or out of range.",
    "tar-name-nul": "A name holds a NUL, at which some readers stop.",
    "tar-prefix": "A name continues where the header's format has no names; some readers see a longer name.",
    "tar-unusual-member": "A member is of a kind that installers do not know, such as a part of another archive.",
    "tar-sparse": "A member is sparse: readers disagree about its content, and it can be huge.",
    "tar-size-without-content": "A directory or link states a size; readers disagree whether a content follows.",
    "tar-global-header": "A global header renames or resizes all members after it, which few readers understand.",
    "tar-extended-header": "An extended header is malformed, doubled, too large, belongs to no member, or states "
    "another size than the member's own header.",
}

_BLOCK = 512
_CHUNK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK)
_GZIP_WBITS = 31
_GZIP_SIGNATURE = b"\x1f\x8b"
_REGULAR = b"0\x007"
_WITHOUT_CONTENT = b"123456"
_LINKS = b"12"
# Mode, user, group, time, device.
_OTHER_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
# How GNU's binary numbers begin, positive and negative ones.
_BINARY = (0x80, 0xFF)
_PLAIN_NUMBER = re.compile(rb"[0-7]* ?\0")
_PAX = b"x"
# Solaris wrote `X`, which only some readers understand.
_EXTENSIONS = _PAX + b"gLK"


class BoundsError(Exception):
    """More came out of the archive than the reader wants to see."""


class TarFault(ValueError):
    """The archive is damaged or doubtful. `check` is one of `FINDINGS`; the text says what it is, as a sentence."""

    def __init__(self, check: str, sentence: str) -> None:
        super().__init__(sentence)
        self.check = check


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member. `name` has no trailing slash; `kind` is the type flag, `0` for all ways to say regular file;
    `link` is where a link points."""

    name: str
    kind: str
    size_bytes: int
    link: str = ""

    @property
    def is_file(self) -> bool:
        return self.kind == "0"


class Unpacked:
    """The decompressed bytes of a gzip file, from the front, at most `limit_bytes` of them."""

    def __init__(self, file: BinaryIO, *, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self.unpacked_bytes = 0
        self._zlib = zlib.decompressobj(_GZIP_WBITS)
        self._parts = 0
        self._buffer = b""
        self._at = 0
        self.position = 0

    @property
    def parts(self) -> int:
        """Of how many gzip files it was put together, as far as it was read."""
        return self._parts

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes; a fault if there are fewer. The caller bounds `size`."""
        while len(self._buffer) - self._at < size:
            if not self._fill():
                raise TarFault("tar-truncated", "The archive ends in the middle of a member.")
        data = self._buffer[self._at : self._at + size]
        self._at += size
        self.position += size
        return data

    def skip(self, size: int) -> None:
        """Goes `size` bytes forward; a fault if there are fewer."""
        self.position += size
        while (held := len(self._buffer) - self._at) < size:
            size -= held
            self._at = len(self._buffer)
            if not self._fill():
                raise TarFault("tar-truncated", "The archive ends in the middle of a member.")
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
            if self._zlib.eof or not self._parts:
                data = self._zlib.unused_data or self._file.read(_CHUNK_BYTES)
                if not data and self._parts:
                    return False
                self._begin_part(data)
            else:
                data = self._zlib.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            try:
                output = self._zlib.decompress(data, _CHUNK_BYTES)
            except zlib.error:
                raise TarFault("gzip-damaged", "The compressed data is damaged.") from None
            if output:
                self.unpacked_bytes += len(output)
                if self.unpacked_bytes > self._limit_bytes:
                    raise BoundsError
                self._buffer = self._buffer[self._at :] + output
                self._at = 0
                return True
            if not data and not self._zlib.eof:
                raise TarFault("gzip-truncated", "The compressed data ends early.")

    def _begin_part(self, data: bytes) -> None:
        self._parts += 1
        if self._parts > GZIP_MEMBERS_MAX:
            raise TarFault("gzip-too-many-parts", f"The file is put together from more than {GZIP_MEMBERS_MAX} parts.")
        if not data.startswith(_GZIP_SIGNATURE[: len(data) or 1]):
            if self._parts == 1:
                raise TarFault("gzip-not-an-archive", "The file is not compressed with gzip.")
            raise TarFault("gzip-trailing-data", "Something that is not gzip follows the compressed data.")
        self._zlib = zlib.decompressobj(_GZIP_WBITS)


def iterate_members(stream: Unpacked) -> Iterator[TarMember]:
    """The members in order. While one is current its content is next in `stream`; what is not taken is skipped.

    Extended headers are bounded by `EXTENSION_MAX_BYTES` each, everything together by the limit of `stream`.
    """
    extension = _Extension()
    waits = False
    while not stream.at_end():
        block = stream.take(_BLOCK)
        if block == _ZEROS:
            if not stream.only_zeros_follow():
                raise TarFault("tar-trailing-data", "Something follows the end of the archive.")
            break
        kind, size_bytes = _parse_header(block)
        if kind in _EXTENSIONS:
            if kind == b"g" and extension != _Extension():
                # Some readers forget what came before.
                raise TarFault("tar-extended-header", "A global header stands between a header and its member.")
            extension.read(kind, _take_extension(stream, size_bytes))
            waits = True
            continue
        waits = False
        name = _name(block)
        if extension.path is not None:
            if kind == b"\0" and name.endswith("/") != extension.path.endswith("/"):
                raise TarFault("tar-unusual-member", f"{shown(name)} may be a file or a directory.")
            name = extension.path
        if extension.size_bytes not in (None, size_bytes):
            # Only beyond 8 GiB writers cannot help it. Some readers went by the one and some by the other.
            raise TarFault("tar-extended-header", f"An extended header states another size of {shown(name)}.")
        member = _member(
            name,
            kind,
            size_bytes,
            _link(block, kind) if extension.link is None else extension.link,
        )
        extension = _Extension()
        end = stream.position + _padded(member.size_bytes)
        yield member
        stream.skip(end - stream.position)
    if waits:
        raise TarFault("tar-extended-header", "The archive ends after an extended header.")


@dataclass(slots=True)
class _Extension:
    """What the extended headers before a member say about it."""

    path: str | None = None
    size_bytes: int | None = None
    link: str | None = None

    def read(self, kind: bytes, content: bytes) -> None:
        if kind == b"g":
            # git writes its commit there; renaming or resizing what follows is understood by few readers.
            if _parse_pax(content).keys() & {b"path", b"size", b"linkpath"}:
                raise TarFault("tar-global-header", "A global header renames or resizes the members after it.")
        elif kind == b"L":
            self.path = _once(self.path, _text(content.rstrip(b"\0")))
        elif kind == b"K":
            self.link = _once(self.link, _text(content.rstrip(b"\0")))
        elif kind in _PAX:
            records = _parse_pax(content)
            if (path := records.get(b"path")) is not None:
                self.path = _once(self.path, _text(path))
            if (size := records.get(b"size")) is not None:
                self.size_bytes = _once(self.size_bytes, _decimal(size))
            if (link := records.get(b"linkpath")) is not None:
                self.link = _once(self.link, _text(link))


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes would be taken for the header of a tar file's member, by any reader."""
    if len(block) != _BLOCK:
        return False
    try:
        # As Python reads it, which takes more than octal digits for a number.
        stated = int(block[148:156].partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    signed = sum(rest) - 256 * sum(byte > 0x7F for byte in rest)
    return stated in (sum(rest), signed)


def _member(name: str, kind: bytes, size_bytes: int, link: str) -> TarMember:
    if kind == b"\0" and name.endswith("/"):
        kind = b"5"
    elif kind != b"5" and name.endswith("/"):
        raise TarFault("tar-unusual-member", f"{shown(name)} may be a file or a directory.")
    if kind in _WITHOUT_CONTENT:
        # Readers disagree on whether such a size means that content follows.
        if size_bytes:
            raise TarFault("tar-size-without-content", f"{shown(name)} states a size, but has no content.")
    elif kind == b"S":
        raise TarFault("tar-sparse", f"{shown(name)} is sparse.")
    elif kind not in _REGULAR:
        raise TarFault("tar-unusual-member", f"{shown(name)} is of the unusual kind {kind!r}.")
    if kind not in _LINKS:
        link = ""
    return TarMember(name.rstrip("/"), "0" if kind in _REGULAR else kind.decode("ascii"), size_bytes, link)


def _parse_header(block: bytes) -> tuple[bytes, int]:
    """Type flag and size of a header block, its check sum compared."""
    try:
        matches = _octal(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * 0x20
    except TarFault:
        matches = False
    if not matches:
        raise TarFault("tar-checksum", "The check sum of a header is wrong.")
    for start, end in _OTHER_NUMBERS:
        # Python's tarfile refuses the archive if one of them is none. Negative ones are understood.
        if not _PLAIN_NUMBER.match(block, start, end) and block[start] not in _BINARY:
            _octal(block[start:end])
    return block[156:157], _octal(block[124:136])


def _name(block: bytes) -> str:
    """The name in the header itself, with the prefix of ustar."""
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix and block[257:263] != b"ustar\0":
        raise TarFault("tar-prefix", "A name continues in a place that is not for names in this format.")
    return _text(prefix + b"/" + name if prefix else name)


def _link(block: bytes, kind: bytes) -> str:
    return _text(block[157:257].partition(b"\0")[0]) if kind in _LINKS else ""


def _octal(field: bytes) -> int:
    if field[0] & 0x80:
        # GNU's binary form for sizes beyond 8 GiB.
        value = int.from_bytes(field[1:], "big")
        if field[0] != _BINARY[0] or value >> 63:
            raise TarFault("tar-number", "A number in a header is out of range.")
        return value
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise TarFault("tar-number", "A number in a header is not octal.")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise TarFault("tar-number", "A number in an extended header is not decimal.")
    return int(text)


def _text(name: bytes) -> str:
    if b"\0" in name:
        raise TarFault("tar-name-nul", "A name holds a NUL, at which some readers stop.")
    return name.decode("utf-8", "surrogateescape")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK) * _BLOCK


def _take_extension(stream: Unpacked, size_bytes: int) -> bytes:
    if size_bytes > EXTENSION_MAX_BYTES:
        raise TarFault("tar-extended-header", f"An extended header is larger than {EXTENSION_MAX_BYTES} bytes.")
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
        # Python's tarfile stops at an empty key and does not see the records behind it.
        if end <= space or end > len(content) or not key or not equals or not value.endswith(b"\n"):
            raise TarFault("tar-extended-header", "A record of an extended header is malformed.")
        if key.startswith(b"GNU.sparse."):
            raise TarFault("tar-sparse", "A member is sparse.")
        if key in records:
            raise TarFault("tar-extended-header", "A record of an extended header is doubled.")
        records[key] = value[:-1]
        at = end
    return records


def _once(old: T | None, new: T) -> T:
    if old is not None:
        raise TarFault("tar-extended-header", "Two extended headers say something about one member.")
    return new
