"""Compares a zip's central directory and its end with what lies in the file.

Owns central headers, both ZIP64 records and the end record (APPNOTE 4.3.12 to 4.3.16), strictly: the directory must
describe exactly the members that were walked, stand right behind them, and end where the file ends. Leaves the
members to `dist.zip_stream` and names and extra fields to `dist.zip_fields`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from mintmark.core.checks.finding import Grade, shown
from mintmark.core.dist import zip_fields
from mintmark.core.dist.zip_fields import SENTINEL_32, Entry
from mintmark.core.dist.zip_stream import ZipWalk

FINDINGS: Mapping[str, str] = {
    "zip-unknown-record": "Between the records of the archive lies something that is none of them.",
    "zip-directory-mismatch": "The directory says something else about a member than the member's own header.",
    "zip-directory-missing": "A member is not in the directory; readers that use the directory do not see it.",
    "zip-member-missing": "The directory names a member where none lies.",
    "zip-directory-twice": "The directory names one member twice.",
    "zip-directory-too-large": "The directory is larger than that of any real package.",
    "zip-multi-disk": "The archive says that it continues in another file.",
    "zip-comment": "The archive or a member has a comment: nobody shows it, and it can hide another archive.",
    "zip-second-end": "The archive's comment holds the end of another archive; readers take one or the other.",
    "zip-end-mismatch": "The end of the archive says something else about the directory than what lies there.",
    "zip64-extensible-data": "The ZIP64 end record holds more than the standard's fields.",
    "zip-trailing-data": "Something follows the end of the archive.",
}

_CENTRAL_SIGNATURE = b"PK\x01\x02"
_HEADER_SIGNATURES = (b"PK\x03\x04", _CENTRAL_SIGNATURE)
_END64_SIGNATURE = b"PK\x06\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END_SIGNATURE = b"PK\x05\x06"
_CENTRAL = struct.Struct("<8xHH4xLLLHHHHHLL")
_END64 = struct.Struct("<4xQHHLLQQQQ")
_LOCATOR = struct.Struct("<4xLQL")
_END = struct.Struct("<4xHHHHLLH")
_END64_PLAIN_BYTES = 44
_SENTINEL_16 = 0xFFFF


class DirectoryWalk:
    """Goes on where a walk over the members ended. `attributes` has each entry's external attributes, by offset."""

    def __init__(self, walk: ZipWalk) -> None:
        self._walk = walk
        self._window = walk.window
        self._faults = walk.faults
        self._start = walk.window.position
        self._end = self._start
        self._count = 0
        self._last = b""
        self._by_offset: dict[int, Entry] | None = None
        self.attributes: dict[int, int] = {}

    def walk_directory(self) -> None:
        """Reads everything to the end of the file."""
        window = self._window
        limits = self._walk.limits
        while window.holds(_CENTRAL.size) and window.data.startswith(_CENTRAL_SIGNATURE, window.at):
            self._read_entry()
            size = window.position - self._start
            if size > limits.directory_max_bytes:
                self._faults.end(
                    "zip-directory-too-large", f"The directory is larger than {limits.directory_max_bytes} bytes."
                )
        self._end = window.position
        self._read_end()
        for entry in self._walk.entries if len(self.attributes) < len(self._walk.entries) else ():
            if entry.offset not in self.attributes:
                self._faults.add("zip-directory-missing", f"{shown(entry.name)} is not in the archive's directory.")

    # -- entries ------------------------------------------------------------------------------------------------------

    def _read_entry(self) -> None:
        window = self._window
        values = _CENTRAL.unpack_from(window.data, window.at)
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = values[5:]
        size = _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
        if len(window.data) - window.at < size and not window.holds(size):
            self._walk.end_truncated()
        data, at = window.data, window.at
        middle = at + _CENTRAL.size + name_bytes
        raw = data[middle - name_bytes : middle]
        window.at = at + size
        self._last = data[window.at - _LOCATOR.size : window.at]
        field = None
        if extra_bytes:
            name = raw.decode("utf-8", "surrogateescape")
            field = zip_fields.read_extra(data[middle : middle + extra_bytes], raw, name, self._faults)
        # In the 64-bit field the offset is the last value; whether all values are right is compared later.
        entry = self._entry_at(int.from_bytes(field[-8:], "little") if field and offset == SENTINEL_32 else offset)
        self._count += 1
        if entry is None:
            name = raw.decode("utf-8", "surrogateescape")
            self._faults.add("zip-member-missing", f"The directory names {shown(name)} where no member lies.")
            return
        if entry.offset in self.attributes:
            self._faults.add("zip-directory-twice", f"The directory names {shown(entry.name)} twice.")
        self.attributes[entry.offset] = attributes
        if raw != entry.raw_name or field is not None or data[at + 8 : at + 28] != entry.fields:
            self._compare(entry, raw, (*values[:5], offset), field)
        zip_fields.check_version(entry.name, data[at + 6], self._faults)
        if comment_bytes:
            self._faults.add("zip-comment", f"{shown(entry.name)} has a comment.", grade=Grade.STRICT)
        if disk:
            self._faults.add("zip-multi-disk", f"{shown(entry.name)} is said to lie in another file.")

    def _entry_at(self, offset: int) -> Entry | None:
        entries = self._walk.entries
        if self._count < len(entries) and entries[self._count].offset == offset:
            return entries[self._count]
        if self._by_offset is None:
            self._by_offset = {entry.offset: entry for entry in entries}
        return self._by_offset.get(offset)

    def _compare(self, entry: Entry, raw: bytes, values: tuple[int, ...], field: bytes | None) -> None:
        flags, method, crc, packed, unpacked, offset = values
        real = (entry.unpacked_bytes, entry.packed_bytes, entry.offset)
        long = b"".join(
            struct.pack("<Q", value)
            for value, stated in zip(real, (unpacked, packed, offset), strict=True)
            if stated == SENTINEL_32
        )
        # Exactly the values that did not fit, or all of them, as some tools write it.
        if (field or b"") not in (long, struct.pack("<QQ", *real[:2]), struct.pack("<QQQ", *real)):
            zip_fields.note_zip64_mismatch(entry.name, self._faults)
        stated_values = {
            "name": (raw, entry.raw_name),
            "flags": (flags, entry.flags),
            "method": (method, entry.method),
            "check sum": (crc, entry.crc),
            "packed size": (packed, entry.packed_bytes),
            "size": (unpacked, entry.unpacked_bytes),
            "offset": (offset, entry.offset),
        }
        for what, (stated, found) in stated_values.items():
            is_long = field and stated == SENTINEL_32 and what in {"packed size", "size", "offset"}
            if stated != found and not is_long:
                self._faults.add(
                    "zip-directory-mismatch", f"The archive's directory has another {what} for {shown(entry.name)}."
                )

    # -- the end ------------------------------------------------------------------------------------------------------

    def _read_end(self) -> None:
        window = self._window
        window.holds(_END64.size)
        is_long = window.data.startswith(_END64_SIGNATURE, window.at)
        if is_long:
            self._read_end64()
        elif self._last.startswith(_LOCATOR_SIGNATURE):
            # Readers look for the locator at this distance from the end and would believe it.
            self._note_end("locator")
        cut_off = not window.holds(_CENTRAL.size) and window.data.startswith(_HEADER_SIGNATURES, window.at)
        if cut_off or not window.holds(_END.size):
            self._walk.end_truncated()
        if not window.data.startswith(_END_SIGNATURE, window.at):
            self._faults.end("zip-unknown-record", f"At byte {window.position} lies something unknown.")
        disk, first_disk, here, total, size, start, comment_bytes = _END.unpack_from(window.data, window.at)
        window.at += _END.size
        if {disk, first_disk} - ({0, _SENTINEL_16} if is_long else {0}):
            self._faults.add("zip-multi-disk", "The archive is said to be one of several files.")
        for what, stated, found, sentinel in (
            ("number of members", here, self._count, _SENTINEL_16),
            ("number of members", total, self._count, _SENTINEL_16),
            ("size", size, self._end - self._start, SENTINEL_32),
            ("offset", start, self._start, SENTINEL_32),
        ):
            if stated != found and not (is_long and stated == sentinel):
                self._note_end(what)
        self._read_comment(comment_bytes)

    def _read_comment(self, comment_bytes: int) -> None:
        window = self._window
        if not window.holds(comment_bytes):
            self._walk.end_truncated()
        if comment_bytes:
            self._faults.add("zip-comment", "The archive has a comment.", grade=Grade.STRICT)
        if _END_SIGNATURE in window.data[window.at : window.at + comment_bytes]:
            self._faults.add("zip-second-end", "The archive's comment holds the end of another archive.")
        window.at += comment_bytes
        if window.holds(1):
            self._faults.add("zip-trailing-data", "Something follows the end of the archive.")

    def _read_end64(self) -> None:
        window = self._window
        position = window.position
        if not window.holds(_END64.size + _LOCATOR.size):
            self._walk.end_truncated()
        size, _, _, disk, first_disk, here, total, directory_bytes, start = _END64.unpack_from(window.data, window.at)
        if size != _END64_PLAIN_BYTES:
            self._faults.end("zip64-extensible-data", "The ZIP64 end record holds extensible data.")
        window.at += _END64.size
        if not window.data.startswith(_LOCATOR_SIGNATURE, window.at):
            self._faults.end("zip-unknown-record", f"At byte {window.position} lies something unknown.")
        end_disk, end_position, disks = _LOCATOR.unpack_from(window.data, window.at)
        window.at += _LOCATOR.size
        if disk or first_disk or end_disk or disks > 1:
            self._faults.add("zip-multi-disk", "The archive is said to be one of several files.")
        for what, stated, found in (
            ("number of members", here, self._count),
            ("number of members", total, self._count),
            ("size", directory_bytes, self._end - self._start),
            ("offset", start, self._start),
            ("position of its ZIP64 record", end_position, position),
        ):
            if stated != found:
                self._note_end(what)

    def _note_end(self, what: str) -> None:
        self._faults.add("zip-end-mismatch", f"The end of the archive has another {what} of the directory.")
