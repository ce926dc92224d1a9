"""One broken archive, or several, for every finding about the structure of an archive.

Owns the table. Leaves the writers to `support.adversaries`.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from support.adversaries import (
    INFO,
    MODULE,
    SDIST_NAME,
    TOP,
    WHEEL_NAME,
    TarPart,
    ZipPart,
    deflate,
    pax,
    sdist_file,
    sdist_parts,
    sdist_with,
    tar_file,
    wheel_parts,
    wheel_with,
    zip64_extra,
    zip_file,
)


@dataclass(frozen=True)
class Broken:
    """A file, the finding it must bring about, that finding's grade, and bounds to lower first."""

    check: str
    data: bytes
    grade: str = "REFUSE"
    filename: str = WHEEL_NAME
    limits: Mapping[str, int] = field(default_factory=dict)


WHEEL = zip_file(wheel_parts())
SDIST = sdist_file(sdist_parts())
TAR_FILE = tar_file(sdist_parts())
FIRST, *REST = wheel_parts()
_PACKED = deflate(MODULE)
_LINK = 0o120777 << 16
_FOLDER = 0o040755 << 16


def _both(**fields: object) -> bytes:
    """A wheel whose first member has these fields in both headers."""
    return wheel_with(local=fields, central=fields)


def _sdist(check: str, data: bytes, grade: str = "REFUSE", **limits: int) -> Broken:
    return Broken(check, data, grade, SDIST_NAME, limits)


def _odd(**fields: object) -> bytes:
    """A source distribution with an odd member at its end."""
    return sdist_with(TarPart(f"{TOP}/odd".encode(), **fields))  # type: ignore[arg-type]


def _unix_path(name: bytes) -> bytes:
    return struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(FIRST.name)) + name


def _unix_mode(mode: int) -> bytes:
    """The extra field in which some tools of Unix say what a member is, and where it points."""
    return struct.pack("<HHLHLHH", 0x756E, 14, 0, mode, 0, 0, 0)


def _both_at_once() -> bytes:
    """A valid wheel whose first local header, with its extra field, is the header of a tar file's member as well."""
    before = 30 + len(FIRST.name)
    extra = bytearray(struct.pack("<HH", 0x4141, 600) + bytes(600))
    extra[148 - before : 156 - before] = b" " * 8
    total = sum(wheel_with(local={"extra": bytes(extra)})[:512])
    extra[148 - before : 156 - before] = b"%06o\0 " % total
    return wheel_with(local={"extra": bytes(extra)})


ANY = (
    Broken("archive-too-many-members", WHEEL, limits={"members_max": 3}),
    _sdist("archive-too-many-members", SDIST, members_max=1),
    Broken("archive-too-large", WHEEL, limits={"unpacked_max_bytes": 100}),
    Broken(
        "archive-too-large",
        zip_file(wheel_parts({"a": bytes(300_000)}, method=0)),
        limits={"unpacked_max_bytes": 1 << 18},
    ),
    _sdist("archive-too-large", SDIST, unpacked_max_bytes=1000),
    Broken("archive-bomb", zip_file(wheel_parts({"a": bytes(1 << 20)})), limits={"ratio_from_bytes": 1 << 16}),
    _sdist("archive-bomb", sdist_file(sdist_parts({"a": bytes(1 << 20)})), ratio_from_bytes=1 << 16),
    Broken("archive-names-too-long", WHEEL, limits={"names_max_bytes": 50}),
    _sdist("archive-names-too-long", SDIST, names_max_bytes=30),
    Broken("archive-text-too-large", zip_file([ZipPart(f"{INFO}/WHEEL".encode(), bytes(70_000))])),
    Broken("archive-text-too-large", zip_file([ZipPart(f"{INFO}/METADATA".encode(), bytes(2 << 20))])),
    Broken("archive-text-too-large", WHEEL, limits={"texts_max_bytes": 100}),
    _sdist("archive-text-too-large", sdist_file([TarPart(f"{TOP}/PKG-INFO".encode(), bytes(2 << 20))])),
    Broken("polyglot-tar", _both_at_once()),
    _sdist("polyglot-zip", gzip.compress(tar_file(sdist_parts()), mtime=0) + WHEEL),
    _sdist("polyglot-zip", SDIST + zip_file([])),
    _sdist("polyglot-zip", SDIST[:-8] + zip_file([], end64={}) + SDIST[-8:]),
)

ZIP = (
    Broken("zip-encrypted", _both(flags=1)),
    Broken("zip-encrypted", _both(flags=0x2040)),
    Broken("zip-method", _both(method=12)),
    Broken("zip-method", _both(method=14)),
    Broken("zip-flags", _both(flags=0x20)),
    Broken("zip-version", _both(version=64)),
    Broken("zip-name-empty", wheel_with(name=b"")),
    Broken("zip-name-control", wheel_with(name=b"widget_lab/a\0b.py")),
    Broken("zip-name-control", wheel_with(name=b"widget_lab/\x1b[2J.py")),
    Broken("zip-name-control", wheel_with(name="widget_lab/\x85.py".encode())),
    Broken("zip-name-not-unicode", wheel_with(name=b"widget_lab/\xff.py")),
    Broken("zip-name-flag", _both(name="widget_lab/ä.py".encode()), "STRICT"),
    Broken("zip-name-twice", zip_file([FIRST, FIRST, *REST])),
    Broken("zip-name-twice", zip_file([FIRST, ZipPart(FIRST.name + b"/"), *REST])),
    Broken("zip-extra-malformed", _both(extra=b"UT\x09\x00abc")),
    Broken("zip-extra-malformed", _both(extra=b"\0\0")),
    Broken("zip-extra-twice", _both(extra=b"UT\x01\x00aUT\x01\x00b")),
    Broken("zip-extra-twice", wheel_with(central={"extra": zip64_extra() * 2})),
    Broken("zip-unix-mode", wheel_with(central={"extra": _unix_mode(0o120777)})),
    Broken("zip-unix-mode", _both(extra=_unix_mode(0o060644))),
    Broken("zip-unicode-path", wheel_with(central={"extra": _unix_path(b"other.py")})),
    Broken("zip-unicode-path", wheel_with(local={"extra": _unix_path(b"other.py")})),
    Broken("zip64-mismatch", _both(packed=0xFFFFFFFF, unpacked=0xFFFFFFFF)),
    Broken("zip64-mismatch", wheel_with(local={"extra": zip64_extra(1, 2)})),
    Broken("zip64-mismatch", wheel_with(central={"extra": zip64_extra(1)})),
    Broken("zip64-mismatch", wheel_with(central={"unpacked": 0xFFFFFFFF, "extra": zip64_extra(1)})),
    Broken("zip-not-an-archive", b""),
    Broken("zip-not-an-archive", b"<html>" * 9000),
    Broken("zip-not-an-archive", SDIST),
    Broken("zip-prefix-data", b"#!/bin/sh\n" + WHEEL),
    Broken("zip-prefix-data", zip_file(wheel_parts(), prefix=bytes(70_000))),
    Broken("zip-truncated", WHEEL[:200]),
    Broken("zip-truncated", WHEEL[:-1]),
    Broken("zip-damaged-content", wheel_with(packed=b"\xff" + _PACKED[1:])),
    Broken("zip-damaged-content", zip_file([ZipPart(b"a", bytes(1 << 20), packed=b"\xff" * 100)])),
    Broken("zip-damaged-content", wheel_with(packed=b"\xff" + _PACKED[1:], descriptor="signed")),
    Broken("zip-size-mismatch", _both(unpacked=len(MODULE) - 1)),
    Broken("zip-size-mismatch", _both(unpacked=len(MODULE) + 1)),
    Broken("zip-size-mismatch", wheel_with(packed=_PACKED + b"more")),
    Broken("zip-size-mismatch", wheel_with(packed=_PACKED[:-2])),
    Broken("zip-size-mismatch", zip_file([ZipPart(b"a", bytes(1 << 20), packed=deflate(bytes((1 << 20) + 1)))])),
    Broken(
        "zip-size-mismatch", zip_file([ZipPart(b"a", bytes(1 << 20), packed=deflate(bytes(1 << 20)) + b"+" * 2000)])
    ),
    Broken("zip-size-mismatch", wheel_with(method=0, local={"unpacked": 3})),
    Broken("zip-size-mismatch", wheel_with(descriptor="signed", local={"unpacked": 3})),
    Broken("zip-crc-mismatch", _both(crc=7)),
    Broken("zip-crc-mismatch", zip_file([ZipPart(b"a", bytes(1 << 20), central={"crc": 1}, local={"crc": 1})])),
    Broken("zip-data-descriptor", wheel_with(descriptor="signed"), "STRICT"),
    Broken("zip-data-descriptor", wheel_with(descriptor="bare"), "STRICT"),
    Broken("zip-data-descriptor", wheel_with(descriptor="long", local={"extra": zip64_extra(0, 0)}), "STRICT"),
    Broken("zip-descriptor-mismatch", wheel_with(descriptor="long")),
    Broken("zip-descriptor-mismatch", _both(flags=8)),
    Broken("zip-descriptor-mismatch", _both(flags=9)),
    Broken("zip-descriptor-stored", wheel_with(descriptor="signed", method=0)),
    Broken("zip-directory-with-content", wheel_with(name=b"widget_lab/")),
    Broken("zip-unknown-record", zip_file(wheel_parts(), gap=b"something else, longer than an end record")),
    Broken("zip-unknown-record", zip_file(wheel_parts(), end64={}).replace(b"PK\6\7", b"PK\6\x09")),
    Broken("zip-directory-mismatch", wheel_with(central={"name": b"widget_lab/other.py"})),
    Broken("zip-directory-mismatch", wheel_with(central={"flags": 0x800})),
    Broken("zip-directory-mismatch", wheel_with(central={"method": 0})),
    Broken("zip-directory-mismatch", wheel_with(central={"crc": 1})),
    Broken("zip-directory-mismatch", wheel_with(central={"packed": 1})),
    Broken("zip-directory-mismatch", wheel_with(central={"unpacked": 1})),
    Broken("zip-directory-missing", zip_file(wheel_parts(), order=[1, 2, 3])),
    Broken("zip-member-missing", wheel_with(central={"offset": 5})),
    Broken("zip-directory-twice", zip_file(wheel_parts(), order=[0, 0, 1, 2, 3])),
    Broken("zip-directory-too-large", WHEEL, limits={"directory_max_bytes": 100}),
    Broken("zip-multi-disk", zip_file(wheel_parts(), end={"disk": 1})),
    Broken("zip-multi-disk", zip_file(wheel_parts(), end64={"disks": 2})),
    Broken("zip-multi-disk", wheel_with(central={"disk": 1})),
    Broken("zip-comment", zip_file(wheel_parts(), comment=b"hello"), "STRICT"),
    Broken("zip-comment", wheel_with(central={"comment": b"hello"}), "STRICT"),
    Broken("zip-second-end", zip_file(wheel_parts(), comment=zip_file([]))),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end={"total": 3})),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end={"here": 0xFFFF})),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end={"size": 1})),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end={"start": 1})),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end64={"start": 1})),
    Broken("zip-end-mismatch", zip_file(wheel_parts(), end64={"locator": 1})),
    Broken("zip-end-mismatch", zip_file([*REST, ZipPart(b"a", central={"comment": b"PK\6\7" + bytes(16)})])),
    Broken("zip64-extensible-data", zip_file(wheel_parts(), end64={"record": 50})),
    Broken("zip-trailing-data", WHEEL + b"\n"),
    Broken("zip-trailing-data", WHEEL + WHEEL),
    Broken("zip-kind", wheel_with(central={"attributes": _FOLDER})),
    Broken("zip-kind", wheel_with(name=b"widget_lab/", content=b"", central={"attributes": _LINK})),
    Broken("zip-link-too-long", wheel_with(content=b"a" * 5000, central={"attributes": _LINK})),
)

TAR = (
    _sdist("gzip-not-an-archive", tar_file(sdist_parts())),
    _sdist("gzip-not-an-archive", WHEEL[:-22]),
    _sdist("gzip-damaged", SDIST[:40] + b"\xff\xff\xff" + SDIST[43:]),
    _sdist("gzip-damaged", SDIST[:-8] + bytes(4) + SDIST[-4:]),
    _sdist("gzip-truncated", SDIST[:-1]),
    _sdist("gzip-truncated", b"\x1f"),
    _sdist("gzip-trailing-data", SDIST + b"\n"),
    _sdist("gzip-too-many-parts", gzip.compress(b"", mtime=0) * 1001 + SDIST),
    _sdist("gzip-several-parts", SDIST + gzip.compress(b"", mtime=0), "STRICT"),
    _sdist(
        "gzip-several-parts",
        b"".join(gzip.compress(part, mtime=0) for part in (TAR_FILE[:1024], TAR_FILE[1024:])),
        "STRICT",
    ),
    _sdist("tar-truncated", gzip.compress(tar_file(sdist_parts())[:700], mtime=0)),
    _sdist("tar-trailing-data", sdist_file(sdist_parts(), end=bytes(1024) + b"hello")),
    _sdist("tar-checksum", _odd(checksum=b"0000007\0")),
    _sdist("tar-checksum", gzip.compress(b"no tar file " * 100, mtime=0)),
    _sdist("tar-number", _odd(fields={124: b"00000000009\0"})),
    _sdist("tar-number", _odd(fields={108: b"someone\0"})),
    _sdist("tar-number", _odd(fields={108: b"\x81"})),
    _sdist("tar-number", _odd(fields={124: b"\xff" * 12})),
    _sdist("tar-number", sdist_with(pax(size=b"-1"), TarPart(b"a"))),
    _sdist("tar-name-nul", sdist_with(pax(path=b"a\0b"), TarPart(b"a"))),
    _sdist("tar-prefix", _odd(fields={257: b"ustar  \0", 345: b"prefix"})),
    _sdist("tar-unusual-member", _odd(kind=b"V")),
    _sdist("tar-unusual-member", sdist_with(TarPart(f"{TOP}/odd/".encode()))),
    _sdist("tar-unusual-member", sdist_with(pax(path=b"a/"), TarPart(b"a", kind=b"\0"))),
    _sdist("tar-unusual-member", sdist_with(TarPart(b"", b"10 path=a\n", b"X"), TarPart(b"a"))),
    _sdist("tar-sparse", _odd(kind=b"S")),
    _sdist("tar-sparse", sdist_with(pax(GNU__sparse__major=b"1"), TarPart(b"a"))),
    _sdist("tar-size-without-content", _odd(kind=b"5", size=5)),
    _sdist("tar-global-header", sdist_with(pax(b"g", path=b"a"), TarPart(b"a"))),
    _sdist("tar-global-header", sdist_with(pax(b"g", linkpath=b"a"), TarPart(b"a"))),
    _sdist("tar-extended-header", sdist_with(pax(size=b"512"), TarPart(b"a", bytes(512), size=0))),
    _sdist("tar-extended-header", sdist_with(pax(path=b"a"), pax(b"g", comment=b"b"), TarPart(b"c"))),
    _sdist("tar-extended-header", sdist_with(pax(path=b"a"))),
    _sdist("tar-extended-header", sdist_with(pax(path=b"a"), pax(path=b"b"), TarPart(b"a"))),
    _sdist("tar-extended-header", sdist_with(pax(b"g", comment=b"a"))),
    _sdist("tar-extended-header", sdist_with(TarPart(b"", b"5 =b\n", b"x"), TarPart(b"a"))),
    _sdist("tar-extended-header", sdist_with(TarPart(b"", b"9 a=b\n", b"x"), TarPart(b"a"))),
    _sdist("tar-extended-header", sdist_with(TarPart(b"", b"6 a=b\n" * 2, b"x"), TarPart(b"a"))),
    _sdist("tar-extended-header", sdist_with(TarPart(b"", bytes((1 << 20) + 1), b"L"), TarPart(b"a"))),
    _sdist("tar-name-empty", sdist_with(TarPart(b""))),
    _sdist("tar-name-control", sdist_with(TarPart(f"{TOP}/a\nb".encode()))),
    _sdist("tar-name-not-unicode", sdist_with(TarPart(f"{TOP}/".encode() + b"\xff")), "STRICT"),
    _sdist("tar-file-twice", sdist_with(sdist_parts()[1]), "STRICT"),
    _sdist("tar-name-twice", sdist_with(sdist_parts()[0])),
    _sdist("tar-name-twice", sdist_with(TarPart(sdist_parts()[1].name, kind=b"2", link=b"PKG-INFO"))),
)

BROKEN = (*ANY, *ZIP, *TAR)
