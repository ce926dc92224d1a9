"""Walks a zip file forwards, from its first byte to its last, once.

Owns local headers, contents and data descriptors (APPNOTE 4.3), strictly: what is read is what lies there, and the
central directory must say the same afterwards. `zipfile` is not used because it trusts the directory and never sees
what lies between. Leaves the directory to `dist.zip_directory`, names and extra fields to `dist.zip_fields`, and what
the members mean to `core.checks`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import BinaryIO, NoReturn

from mintmark.core.checks.finding import Grade, shown
from mintmark.core.dist import zip_fields
from mintmark.core.dist.faults import Faults
from mintmark.core.dist.limits import GatherLimits, Texts
from mintmark.core.dist.zip_fields import DEFLATED, DESCRIPTOR, SENTINEL_32, STORED, Entry
from mintmark.core.dist.zip_window import CHUNK_BYTES, Window

FINDINGS: Mapping[str, str] = {
    "zip-not-an-archive": "The file does not begin with a member of a zip archive.",
    "zip-prefix-data": "Something lies before the archive; readers that start at the front see another file.",
    "zip-truncated": "The file ends in the middle of the archive.",
    "zip-damaged-content": "The content of a member cannot be decompressed.",
    "zip-size-mismatch": "The content of a member is shorter or longer than its header says.",
    "zip-crc-mismatch": "The check sum of a member's content is wrong.",
    "zip-data-descriptor": "The sizes of a member stand behind its content, where readers that go forwards guess.",
    "zip-descriptor-mismatch": "The sizes behind a member's content differ from the content.",
    "zip-descriptor-stored": "A member is stored without a size before it: where it ends cannot be known.",
    "zip-directory-with-content": "A directory has a content, which readers ignore or trip over.",
}

_LOCAL_SIGNATURE = b"PK\x03\x04"
_END_SIGNATURE = b"PK\x05\x06"
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_TAIL_BYTES = (1 << 16) + 22
"""Where readers look for the end record: a comment may follow it."""
_LOCAL = struct.Struct("<4xHHHHHLLLHH")
_SHORT_DESCRIPTOR = struct.Struct("<LLL")
_LONG_DESCRIPTOR = struct.Struct("<LQQ")
_RAW_DEFLATE = -15
# Contents up to this are decompressed in one call.
_AT_ONCE_BYTES = 1 << 18


class ZipWalk:
    """One walk over the members. `entries` and `unpacked_bytes` grow on the way.

    `wanted` says whether checks read a member's content; those go to `texts`. With `hashes` every file's SHA-256 is
    taken. `WalkEnded` passes through every method.
    """

    def __init__(
        self,
        file: BinaryIO,
        packed_bytes: int,
        limits: GatherLimits,
        faults: Faults,
        wanted: Callable[[str], bool],
        *,
        hashes: bool,
    ) -> None:
        self.window = Window(file)
        self.entries: list[Entry] = []
        self.texts = Texts(limits, faults)
        self.unpacked_bytes = 0
        self.packed_bytes = packed_bytes
        self.limits = limits
        self.faults = faults
        self._wanted = wanted
        self._hashes = hashes
        self._unpacked_max_bytes = limits.unpacked_bytes(packed_bytes)
        self._names: set[str] = set()
        self._names_bytes = 0

    def walk_members(self) -> None:
        """Reads members until something else comes."""
        window = self.window
        window.holds(_LOCAL.size)
        if not window.data.startswith((_LOCAL_SIGNATURE, _END_SIGNATURE)):
            self._end_at_start()
        while window.holds(_LOCAL.size) and window.data.startswith(_LOCAL_SIGNATURE, window.at):
            entry = self._read_header()
            if zip_fields.check_flags(entry, self.faults):
                self._read_content(entry)
            elif entry.flags & DESCRIPTOR:
                self._end_descriptor(entry)
            elif not window.skip(entry.packed_bytes):
                self.end_truncated()

    def end_truncated(self) -> NoReturn:
        """The file is too short."""
        self.faults.end("zip-truncated", "The file ends in the middle of the archive.")

    def count(self, size_bytes: int) -> None:
        """So much came out."""
        self.unpacked_bytes += size_bytes
        if self.unpacked_bytes > self._unpacked_max_bytes:
            self.limits.end_unpacking(self.packed_bytes, self.faults)

    def _end_at_start(self) -> NoReturn:
        if _END_SIGNATURE in self.window.peek(max(0, self.packed_bytes - _TAIL_BYTES), _TAIL_BYTES):
            self.faults.end("zip-prefix-data", "Something lies before the first member of the archive.")
        self.faults.end("zip-not-an-archive", "The file is not a zip archive, or is cut off.")

    # -- headers ------------------------------------------------------------------------------------------------------

    def _read_header(self) -> Entry:
        window = self.window
        data, at = window.data, window.at
        _, flags, method, _, _, crc, packed, unpacked, name_bytes, extra_bytes = _LOCAL.unpack_from(data, at)
        size = _LOCAL.size + name_bytes + extra_bytes
        if len(data) - at < size:
            if not window.holds(size):
                self.end_truncated()
            data, at = window.data, window.at
        start = at + _LOCAL.size
        raw = data[start : start + name_bytes]
        name = zip_fields.decode_name(raw, flags, self.faults)
        entry = Entry(window.position, raw, name, data[at + 6 : at + 26], flags, method, crc, packed, unpacked)
        window.at += size
        if extra_bytes or packed == SENTINEL_32 or unpacked == SENTINEL_32:
            self._read_extra(entry, data[start + name_bytes : start + name_bytes + extra_bytes])
        if data[at + 4] > zip_fields.VERSION_MAX:
            zip_fields.check_version(name, data[at + 4], self.faults)
        entry.content_at = window.position
        self._admit(entry)
        return entry

    def _admit(self, entry: Entry) -> None:
        name = entry.name.removesuffix("/")
        if name in self._names:
            self.faults.add("zip-name-twice", f"The archive holds {shown(name)} more than once.")
        self._names.add(name)
        self._names_bytes += len(entry.raw_name)
        self.entries.append(entry)
        if len(self.entries) > self.limits.members_max or self._names_bytes > self.limits.names_max_bytes:
            self.limits.check_names(len(self.entries), self._names_bytes, self.faults)

    def _read_extra(self, entry: Entry, extra: bytes) -> None:
        field = zip_fields.read_extra(extra, entry.raw_name, entry.name, self.faults)
        needed = SENTINEL_32 in (entry.packed_bytes, entry.unpacked_bytes)
        if entry.packed_bytes == entry.unpacked_bytes == SENTINEL_32 and field is not None and len(field) == 16:
            entry.unpacked_bytes, entry.packed_bytes = struct.unpack("<QQ", field)
        elif needed or field not in (None, struct.pack("<QQ", entry.unpacked_bytes, entry.packed_bytes)):
            zip_fields.note_zip64_mismatch(entry.name, self.faults)
        entry.zip64 = field is not None

    # -- contents -----------------------------------------------------------------------------------------------------

    def _read_content(self, entry: Entry) -> None:
        if entry.flags & DESCRIPTOR:
            self._read_streamed(entry)
        elif entry.packed_bytes > _AT_ONCE_BYTES or entry.unpacked_bytes > _AT_ONCE_BYTES:
            self._read_long(entry)
        else:
            self._read_short(entry)
        if entry.unpacked_bytes and entry.is_directory:
            self.faults.add("zip-directory-with-content", f"The directory {shown(entry.name)} has a content.")

    def _read_short(self, entry: Entry) -> None:
        window = self.window
        size = entry.packed_bytes
        if len(window.data) - window.at < size and not window.holds(size):
            self.end_truncated()
        content = window.data[window.at : window.at + size]
        window.at += size
        if entry.method == DEFLATED:
            inflate = zlib.decompressobj(_RAW_DEFLATE)
            try:
                # One byte more than stated, so that too much is noticed.
                content = inflate.decompress(content, entry.unpacked_bytes + 1)
            except zlib.error:
                self._end_damaged(entry)
            self.count(len(content))
            if not inflate.eof or inflate.unused_data:
                self._note_size(entry)
                return
        else:
            self.count(size)
        if len(content) != entry.unpacked_bytes:
            self._note_size(entry)
            return
        if zlib.crc32(content) != entry.crc:
            self._note_crc(entry)
        if self._hashes:
            entry.sha256 = hashlib.sha256(content).hexdigest()
        if self._wanted(entry.name) and self.texts.wants(entry.name, len(content)):
            self.texts.keep(entry.name, content)

    def _read_long(self, entry: Entry) -> None:
        keeps = self._wanted(entry.name) and self.texts.wants(entry.name, entry.unpacked_bytes)
        sink = _Sink(self, hashes=self._hashes, keeps=keeps)
        left = entry.packed_bytes
        inflate = zlib.decompressobj(_RAW_DEFLATE) if entry.method == DEFLATED else None
        whole = True
        try:
            while left and whole:
                piece = self.window.take(min(left, CHUNK_BYTES))
                if not piece:
                    self.end_truncated()
                left -= len(piece)
                if inflate is None:
                    sink.add(piece)
                else:
                    whole = sink.inflate(inflate, piece, entry.unpacked_bytes) and not (inflate.eof and left)
            if inflate is not None and whole:
                whole = sink.inflate(inflate, b"", entry.unpacked_bytes) and inflate.eof and not inflate.unused_data
        except zlib.error:
            self._end_damaged(entry)
        if not whole or sink.size_bytes != entry.unpacked_bytes:
            self._note_size(entry)
        else:
            if sink.crc != entry.crc:
                self._note_crc(entry)
            sink.finish(entry)
        if not self.window.skip(left):
            self.end_truncated()

    def _read_streamed(self, entry: Entry) -> None:
        """A member whose sizes follow. Where it ends is known from the deflate stream alone."""
        if entry.method == STORED and not entry.is_directory:
            self.faults.end("zip-descriptor-stored", f"{shown(entry.name)} is stored without a size before it.")
        sink = _Sink(self, hashes=self._hashes, keeps=self._wanted(entry.name))
        packed_bytes = 0
        inflate = zlib.decompressobj(_RAW_DEFLATE)
        try:
            while entry.method == DEFLATED and not inflate.eof:
                piece = self.window.take(CHUNK_BYTES)
                sink.inflate(inflate, piece, None)
                if not piece and not inflate.eof:
                    self.end_truncated()
                packed_bytes += len(piece) - len(inflate.unused_data)
        except zlib.error:
            self._end_damaged(entry)
        self.window.at -= len(inflate.unused_data)
        stated = (entry.crc, entry.packed_bytes, entry.unpacked_bytes)
        entry.crc, entry.packed_bytes, entry.unpacked_bytes = sink.crc, packed_bytes, sink.size_bytes
        if stated not in ((0, 0, 0), (entry.crc, entry.packed_bytes, entry.unpacked_bytes)):
            self._note_size(entry)
        self._read_descriptor(entry)
        sink.finish(entry)

    def _read_descriptor(self, entry: Entry) -> None:
        """Its signature may be absent; its sizes have 64 bits where the header has the field for them."""
        form = _LONG_DESCRIPTOR if entry.zip64 else _SHORT_DESCRIPTOR
        if not entry.zip64 and max(entry.packed_bytes, entry.unpacked_bytes) > SENTINEL_32:
            self._end_descriptor(entry)
        expected = form.pack(entry.crc, entry.packed_bytes, entry.unpacked_bytes)
        window = self.window
        window.holds(len(_DESCRIPTOR_SIGNATURE + expected))
        for found in (_DESCRIPTOR_SIGNATURE + expected, expected):
            if window.data.startswith(found, window.at):
                window.at += len(found)
                self.faults.add(
                    "zip-data-descriptor", f"The sizes of {shown(entry.name)} stand behind it.", grade=Grade.STRICT
                )
                return
        self._end_descriptor(entry)

    def _end_descriptor(self, entry: Entry) -> NoReturn:
        self.faults.end(
            "zip-descriptor-mismatch", f"What stands behind the content of {shown(entry.name)} does not fit it."
        )

    def _end_damaged(self, entry: Entry) -> NoReturn:
        # What came out before the damage is not counted: going on would cost time without a bound.
        self.faults.end("zip-damaged-content", f"The content of {shown(entry.name)} is damaged.")

    def _note_size(self, entry: Entry) -> None:
        self.faults.add("zip-size-mismatch", f"The content of {shown(entry.name)} has another size than stated.")

    def _note_crc(self, entry: Entry) -> None:
        self.faults.add("zip-crc-mismatch", f"The check sum of {shown(entry.name)} is wrong.")


class _Sink:
    """Where a long content goes: counted, summed, perhaps kept."""

    def __init__(self, walk: ZipWalk, *, hashes: bool, keeps: bool) -> None:
        self._walk = walk
        self._kept: list[bytes] | None = [] if keeps else None
        self._sha256 = hashlib.sha256() if hashes else None
        self.size_bytes = 0
        self.crc = 0

    def add(self, content: bytes) -> None:
        walk = self._walk
        self.size_bytes += len(content)
        walk.count(len(content))
        self.crc = zlib.crc32(content, self.crc)
        if self._sha256 is not None:
            self._sha256.update(content)
        if self._kept is not None:
            self._kept.append(content)
            # Only where the size is not known before: the texts have bounds.
            if self.size_bytes > walk.limits.texts_max_bytes:
                self._kept = None

    def inflate(self, inflate: zlib._Decompress, piece: bytes, stated_bytes: int | None) -> bool:
        """Adds what comes out of a piece; False as soon as it is more than stated. With no piece: what is left."""
        while True:
            content = inflate.decompress(piece, CHUNK_BYTES)
            piece = inflate.unconsumed_tail
            self.add(content)
            if stated_bytes is not None and self.size_bytes > stated_bytes:
                return False
            if inflate.eof or not (piece or content):
                return True
            if not piece and len(content) < CHUNK_BYTES:
                return True

    def finish(self, entry: Entry) -> None:
        """The content is what its header said."""
        if self._sha256 is not None:
            entry.sha256 = self._sha256.hexdigest()
        texts = self._walk.texts
        if self._kept is not None and texts.wants(entry.name, self.size_bytes):
            texts.keep(entry.name, b"".join(self._kept))
