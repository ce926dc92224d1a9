"""The parts that a local header and the central directory of a zip have in common.

Owns one entry's facts, names, flags and extra fields (APPNOTE 4.4 and 4.5), strictly: what readers understand
differently is a finding. Leaves walking to `dist.zip_stream` and `dist.zip_directory`.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from mintmark.core.checks.finding import Grade, shown
from mintmark.core.dist.faults import Faults

STORED = 0
DEFLATED = 8
ENCRYPTED = 0x1 | 0x40 | 0x2000
DESCRIPTOR = 0x8
UTF_8 = 0x800
_LEVEL = 0x6
"""How hard deflate tried."""
_USUAL = DESCRIPTOR | UTF_8 | _LEVEL
VERSION_MAX = 63
"""6.3, the last that Python's `zipfile` knows."""
SENTINEL_32 = 0xFFFFFFFF
ZIP64 = 0x0001
UNICODE_PATH = 0x7075
UNIX_MODE = 0x756E
_PLAIN_FORMS = (0, stat.S_IFREG, stat.S_IFDIR)

FINDINGS: Mapping[str, str] = {
    "zip-encrypted": "A member is encrypted; nobody could install it.",
    "zip-method": "A member is compressed with something else than deflate, which installers need not know.",
    "zip-flags": "A member has flags whose meaning is reserved or is not known to installers.",
    "zip-version": "A member asks for a newer format of zip than installers know.",
    "zip-name-empty": "A member has no name.",
    "zip-name-control": "A name holds control characters; some readers stop at them, and terminals obey them.",
    "zip-name-not-unicode": "A name is not UTF-8, so that each reader guesses another one.",
    "zip-name-flag": "A name holds characters outside of ASCII without the flag for UTF-8: readers differ about it.",
    "zip-name-twice": "The archive holds two members with one name; which one is installed depends on the reader.",
    "zip-extra-malformed": "An extra field is cut off or overlaps the next one.",
    "zip-extra-twice": "A header has two extra fields of one kind; readers take one or the other.",
    "zip-unicode-path": "A member has a second name that differs from the first; readers take one or the other.",
    "zip-unix-mode": "An extra field makes a link or device of a member that is a file for most readers.",
    "zip64-mismatch": "The 64-bit sizes of a member are missing, needless or different from the real ones.",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIELD = struct.Struct("<HH")


@dataclass(slots=True)
class Entry:
    """One member as its local header and its content say it. `fields` are the bytes from flags to sizes there."""

    offset: int
    raw_name: bytes
    name: str
    fields: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    unpacked_bytes: int
    zip64: bool = False
    content_at: int = 0
    sha256: str = ""

    @property
    def is_directory(self) -> bool:
        return self.raw_name.endswith(b"/")


def decode_name(raw: bytes, flags: int, faults: Faults) -> str:
    """The name; bytes that are not UTF-8 as surrogates."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "surrogateescape")
        faults.add("zip-name-not-unicode", f"The name {shown(name)} is not UTF-8.")
        return name
    if raw.isascii() and name.isprintable() and name:
        return name
    if not name:
        faults.add("zip-name-empty", "The archive holds a member without a name.")
    if _CONTROL.search(name):
        faults.add("zip-name-control", f"The name {shown(name)} holds control characters.")
    if not raw.isascii() and not flags & UTF_8:
        faults.add("zip-name-flag", f"The name {shown(name)} is not marked as UTF-8.", grade=Grade.STRICT)
    return name


def check_version(name: str, version: int, faults: Faults) -> None:
    """`zipfile` refuses the whole archive for this, other readers do not."""
    if version > VERSION_MAX:
        faults.add("zip-version", f"{shown(name)} needs version {version / 10} of the zip format.")


def check_flags(entry: Entry, faults: Faults) -> bool:
    """Whether the content can be read."""
    unusual = entry.flags & ~_USUAL
    if not unusual and entry.method in (DEFLATED, STORED):
        return True
    name = shown(entry.name)
    if unusual & ENCRYPTED:
        faults.add("zip-encrypted", f"{name} is encrypted.")
    elif unusual:
        faults.add("zip-flags", f"{name} has the unusual flags {unusual:#06x}.")
    if entry.method not in (DEFLATED, STORED):
        faults.add("zip-method", f"{name} is compressed with method {entry.method} instead of deflate.")
        return False
    return not unusual & ENCRYPTED


def read_extra(extra: bytes, raw_name: bytes, name: str, faults: Faults) -> bytes | None:
    """Checks the extra fields of a header; the content of the one for ZIP64, if there is one."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        kind, size = _FIELD.unpack_from(extra, at) if len(extra) - at >= _FIELD.size else (0, len(extra))
        at += _FIELD.size
        if at + size > len(extra):
            faults.add("zip-extra-malformed", f"The extra fields of {shown(name)} are malformed.")
            break
        if kind in fields:
            faults.add("zip-extra-twice", f"{shown(name)} has the extra field {kind:#06x} twice.")
        fields.setdefault(kind, extra[at : at + size])
        at += size
    path = fields.get(UNICODE_PATH)
    # One byte of version and the check sum of the other name come first.
    if path is not None and path[5:] != raw_name:
        faults.add(
            "zip-unicode-path", f"{shown(name)} has a second name, {shown(path[5:].decode('utf-8', 'replace'))}."
        )
    # A check sum comes first.
    mode = int.from_bytes(fields.get(UNIX_MODE, b"")[4:6], "little")
    if stat.S_IFMT(mode) not in _PLAIN_FORMS:
        faults.add("zip-unix-mode", f"{shown(name)} is a link or device by one of its extra fields.")
    return fields.get(ZIP64)


def note_zip64_mismatch(name: str, faults: Faults) -> None:
    """The 64-bit field of a header does not say what it should."""
    faults.add("zip64-mismatch", f"The 64-bit sizes of {shown(name)} do not fit the file.")
