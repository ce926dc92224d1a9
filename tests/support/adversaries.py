"""Wheels and source distributions, valid and broken, down to the bytes of zip and tar.

Owns writers that write whatever they are told, and hypothesis strategies over them. Leaves one broken archive for each
finding to `support.broken`, and plain valid files for everybody to `support.dists`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

WHEEL_NAME = "widget_lab-1.0-py3-none-any.whl"
SDIST_NAME = "widget_lab-1.0.tar.gz"
INFO = "widget_lab-1.0.dist-info"
TOP = "widget_lab-1.0"
METADATA = b"Metadata-Version: 2.4\nName: Widget-Lab\nVersion: 1.0\n\nA widget.\n"
WHEEL_TEXT = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
MODULE = b"def spin(times: int) -> list[int]:\n    return [turn * turn for turn in range(times)]\n" * 3
ZIP64 = 1

# -- zip ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ZipPart:
    """One member of a zip file. What is not given is right; `local` and `central` replace single fields.

    Their keys: version, flags, method, time, date, crc, packed, unpacked, name, extra; in the directory also made,
    comment, disk, internal, attributes, offset. `descriptor` is "", "signed", "bare" or "long".
    """

    name: bytes
    content: bytes = b""
    method: int = 8
    packed: bytes | None = None
    descriptor: str = ""
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _local(part: ZipPart) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a member, and the right values of its fields."""
    packed = part.packed
    if packed is None:
        packed = deflate(part.content) if part.method == 8 else part.content
    true: dict[str, Any] = {
        "version": 20,
        "flags": (8 if part.descriptor else 0) | (0 if part.name.isascii() else 0x800),
        "method": part.method,
        "time": 0,
        "date": 0x21,
        "crc": zlib.crc32(part.content),
        "packed": len(packed),
        "unpacked": len(part.content),
        "name": part.name,
        "extra": b"",
    }
    hidden = {"crc": 0, "packed": 0, "unpacked": 0} if part.descriptor else {}
    said = {**true, **hidden, **part.local}
    header = struct.pack(
        "<4sHHHHHLLLHH",
        b"PK\3\4",
        *(said[key] for key in ("version", "flags", "method", "time", "date", "crc", "packed", "unpacked")),
        len(said["name"]),
        len(said["extra"]),
    )
    behind = b""
    if part.descriptor:
        form = "<LQQ" if part.descriptor == "long" else "<LLL"
        behind = struct.pack(form, true["crc"], true["packed"], true["unpacked"])
        behind = behind if part.descriptor == "bare" else b"PK\7\x08" + behind
    return b"".join([header, said["name"], said["extra"], packed, behind]), true


def _central(part: ZipPart, true: Mapping[str, Any], offset: int) -> bytes:
    rest = {"made": 0x314, "comment": b"", "disk": 0, "internal": 0, "attributes": 0o100644 << 16, "offset": offset}
    said = {**true, **rest, **part.central}
    header = struct.pack(
        "<4sHHHHHHLLLHHHHHLL",
        b"PK\1\2",
        *(said[key] for key in ("made", "version", "flags", "method", "time", "date", "crc", "packed", "unpacked")),
        *(len(said[key]) for key in ("name", "extra", "comment")),
        *(said[key] for key in ("disk", "internal", "attributes", "offset")),
    )
    return b"".join([header, said["name"], said["extra"], said["comment"]])


def zip_file(
    parts: Sequence[ZipPart],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
    order: Sequence[int] | None = None,
) -> bytes:
    """A zip file. `gap` stands before the directory; `order` says which members it lists; `end` and `end64` replace
    fields of the end records (disk, first_disk, here, total, size, start; record, locator, disks), and with `end64`
    the 64-bit record is written."""
    body = bytearray(prefix)
    entries = []
    for part in parts:
        data, true = _local(part)
        entries.append(_central(part, true, len(body) - len(prefix)))
        body += data
    body += gap
    listed = [entries[number] for number in (range(len(parts)) if order is None else order)]
    directory = b"".join(listed)
    true_end = {"here": len(listed), "total": len(listed), "size": len(directory), "start": len(body) - len(prefix)}
    end_position = len(body) + len(directory) - len(prefix)
    body += directory
    if end64 is not None:
        long = {"disk": 0, "first_disk": 0, "record": 44, "locator": end_position, "disks": 1} | true_end | dict(end64)
        body += struct.pack(
            "<4sQHHLLQQQQ",
            b"PK\6\6",
            long["record"],
            45,
            45,
            *(long[key] for key in ("disk", "first_disk", "here", "total", "size", "start")),
        )
        body += struct.pack("<4sLQL", b"PK\6\7", 0, long["locator"], long["disks"])
    short = {"disk": 0, "first_disk": 0} | true_end | dict(end or {})
    body += struct.pack(
        "<4sHHHHLLH",
        b"PK\5\6",
        *(short[key] for key in ("disk", "first_disk", "here", "total", "size", "start")),
        len(comment),
    )
    return bytes(body) + comment + suffix


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<HH{len(values)}Q", ZIP64, 8 * len(values), *values)


def record_of(files: Mapping[str, bytes], info: str = INFO) -> bytes:
    """A right RECORD for these files and itself."""
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    ]
    return "".join([*lines, f"{info}/RECORD,,\n"]).encode()


def wheel_parts(files: Mapping[str, bytes] | None = None, *, method: int = 8) -> list[ZipPart]:
    """The members of a valid wheel with these files; the first member is `widget_lab/__init__.py` by default."""
    content = dict({"widget_lab/__init__.py": MODULE} if files is None else files)
    content |= {f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": WHEEL_TEXT}
    content[f"{INFO}/RECORD"] = record_of(content)
    return [ZipPart(name.encode("utf-8", "surrogateescape"), data, method) for name, data in content.items()]


def wheel_with(**changes: Any) -> bytes:
    """A wheel whose first member is changed as said."""
    first, *rest = wheel_parts()
    return zip_file([replace(first, **changes), *rest])


# -- tar ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TarPart:
    """One member of a tar file. `fields` replaces bytes of the header at an offset, before its check sum is made."""

    name: bytes
    content: bytes = b""
    kind: bytes = b"0"
    link: bytes = b""
    size: int | None = None
    fields: Mapping[int, bytes] = field(default_factory=dict)
    checksum: bytes | None = None

    def packed(self) -> bytes:
        """Header and content, padded."""
        size = len(self.content) if self.size is None else self.size
        head = bytearray(
            struct.pack(
                "100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x",
                *(self.name, b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8),
                *(self.kind, self.link, b"ustar\00000", b"", b"", b"0000000\0", b"0000000\0", b""),
            )
        )
        for at, value in self.fields.items():
            head[at : at + len(value)] = value
        head[148:156] = b"%06o\0 " % sum(head) if self.checksum is None else self.checksum
        return bytes(head) + self.content + bytes(-len(self.content) % 512)


def pax(kind: bytes = b"x", **records: bytes) -> TarPart:
    """An extended header. A key's dots are written as two underscores here."""
    content = b""
    for key, value in records.items():
        line = b" " + key.replace("__", ".").encode() + b"=" + value + b"\n"
        length = len(line)
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        content += str(length).encode() + line
    return TarPart(b"pax", content, kind)


def tar_file(parts: Sequence[TarPart], *, end: bytes = bytes(1024)) -> bytes:
    return b"".join(part.packed() for part in parts) + end


def sdist_parts(files: Mapping[str, bytes] | None = None) -> list[TarPart]:
    """The members of a valid source distribution; the first member is PKG-INFO."""
    content = {"PKG-INFO": METADATA} | dict({"widget_lab.py": MODULE} if files is None else files)
    return [TarPart(f"{TOP}/{name}".encode("utf-8", "surrogateescape"), data) for name, data in content.items()]


def sdist_file(parts: Sequence[TarPart], *, end: bytes = bytes(1024)) -> bytes:
    return gzip.compress(tar_file(parts, end=end), 6, mtime=0)


def sdist_with(*more: TarPart) -> bytes:
    """A source distribution with further members behind its own."""
    return sdist_file([*sdist_parts(), *more])


# -- strategies -----------------------------------------------------------------------------------------------------

_LETTERS = st.text("abcdefgxyz_0123456789äß語", min_size=1, max_size=12)
_CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=20), st.integers(1, 500)),
)


def trees() -> st.SearchStrategy[dict[str, bytes]]:
    """Files of a package by their paths; no path is the folder of another."""
    paths = st.lists(_LETTERS, min_size=1, max_size=3).map(lambda parts: "widget_lab/" + "/".join(parts) + ".py")
    return st.dictionaries(paths, _CONTENTS, max_size=6)


def wheels() -> st.SearchStrategy[bytes]:
    """Valid wheels named `WHEEL_NAME`, of both methods."""
    return st.builds(
        lambda files, method: zip_file(wheel_parts(files, method=method)), trees(), st.sampled_from([0, 8])
    )


def sdists() -> st.SearchStrategy[bytes]:
    """Valid source distributions named `SDIST_NAME`, with links inside."""
    links = st.lists(
        st.builds(
            lambda name, kind: TarPart(f"{TOP}/links/{name}".encode(), b"", kind, b"../PKG-INFO"),
            _LETTERS,
            st.sampled_from([b"2"]),
        ),
        max_size=2,
        unique_by=lambda part: part.name,
    )
    return st.builds(lambda files, more: sdist_file([*sdist_parts(files), *more]), trees(), links)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few bytes flipped, put in, taken out, or pieces of it copied elsewhere."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 40))
        change = draw(st.sampled_from(["flip", "insert", "delete", "splice"]))
        if change == "flip":
            data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
        elif change == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
        elif change == "delete":
            data = data[:at] + data[at + size :]
        else:
            other = draw(st.integers(0, len(data)))
            data = data[:at] + data[other : other + size] + data[at + draw(st.integers(0, size)) :]
    return data


_FIELDS = ("version", "flags", "method", "time", "date", "crc", "packed", "unpacked")
_WORDS = {
    "crc": 0xFFFFFFFF,
    "packed": 0xFFFFFFFF,
    "unpacked": 0xFFFFFFFF,
    "offset": 0xFFFFFFFF,
    "attributes": 0xFFFFFFFF,
}


@st.composite
def odd_wheels(draw: st.DrawFn) -> bytes:
    """Wheels with single fields, names and extra fields replaced: a few are still valid, most are not."""
    parts = wheel_parts()
    number = draw(st.integers(0, len(parts) - 1))
    local: dict[str, Any] = {}
    central: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 2))):
        value: Any
        key = draw(st.sampled_from([*_FIELDS, "name", "extra", "comment", "disk", "attributes", "offset", "made"]))
        if key in {"name", "extra", "comment"}:
            value = draw(st.one_of(st.binary(max_size=24), st.just(zip64_extra(1, 2)), st.just(parts[0].name)))
        else:
            top = _WORDS.get(key, 0xFFFF)
            value = draw(st.one_of(st.integers(0, top), st.sampled_from([0, 1, 8, 20, 45, 0x800, top])))
        for fields in draw(st.sampled_from([(local,), (central,), (local, central)])):
            fields[key] = value
    parts[number] = replace(
        parts[number], local=local, central=central, descriptor=draw(st.sampled_from(["", "", "signed", "bare"]))
    )
    return zip_file(parts, order=draw(st.permutations(range(len(parts)))))


@st.composite
def odd_sdists(draw: st.DrawFn) -> bytes:
    """Source distributions with bytes of one header replaced and its check sum right, or an extended header."""
    parts = sdist_parts()
    fields = {
        draw(st.sampled_from([0, 100, 124, 136, 156, 157, 257, 329, 345])): draw(st.binary(min_size=1, max_size=3))
    }
    kind = draw(st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"V"]))
    name = draw(
        st.sampled_from([b"x", f"{TOP}/x".encode(), f"{TOP}/x/".encode(), f"{TOP}/PKG-INFO".encode(), b"", b"a\nb"])
    )
    odd = TarPart(name, b"", kind, b"PKG-INFO", fields=draw(st.sampled_from([fields, {}])))
    keys = st.sampled_from(["path", "size", "linkpath", "comment", "GNU__sparse__major"])
    extension = pax(draw(st.sampled_from([b"x", b"g"])), **{draw(keys): draw(st.binary(max_size=5))})
    more = draw(st.sampled_from([[odd], [extension, odd], [odd, extension], [extension, extension, odd]]))
    at = draw(st.integers(0, len(parts)))
    return sdist_file([*parts[:at], *more, *parts[at:]], end=bytes(draw(st.sampled_from([1024, 512, 0, 10240]))))
