"""Gathers all facts about a distribution file in one pass over its bytes.

Owns which walker reads which file, which contents are kept for the checks, and files that are two archives at once.
Leaves the formats to `dist.zip_stream`, `dist.zip_directory` and `dist.tar_stream`, the bounds to `dist.limits`, and
judging the facts to `core.checks`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO

from mintmark.core.dist.facts import Archive
from mintmark.core.dist.faults import Faults
from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.limits import GatherLimits
from mintmark.core.dist.tar_members import TarWalk
from mintmark.core.dist.tar_stream import is_header
from mintmark.core.dist.zip_members import walk_zip
from mintmark.core.dist.zip_stream import ZipWalk

FINDINGS: Mapping[str, str] = {
    "polyglot-tar": "The zip file is a tar file as well; some readers would unpack other files than others.",
    "polyglot-zip": "The source distribution is a zip file as well; some readers would unpack other files than others.",
}

_TAR_BLOCK = 512
_TAIL_BYTES = (1 << 16) + 22
"""Where readers of zip files look for the end record: a comment may follow it."""
_ENDS_MAX = 64
"""End records that are looked at. Compressed data of this size holds one by chance in 65,000 files."""
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_WHEEL_TEXTS = frozenset({"METADATA", "WHEEL", "RECORD", "entry_points.txt"})
_DEFAULT = GatherLimits()


def gather(file: BinaryIO, facts: FilenameFacts, limits: GatherLimits = _DEFAULT) -> Archive:
    """The facts of a wheel or a source distribution.

    `file` is seekable and positioned anywhere; it stays open. Whatever its bytes are, the answer is an `Archive` whose
    findings (`invalid-distribution`) say what is wrong with it. Only an `OSError` of the storage below passes through.
    """
    faults = Faults()
    packed_bytes = file.seek(0, 2)
    file.seek(0)
    if facts.kind == "wheel" or facts.filename.endswith(".zip"):
        return _gather_zip(file, facts, limits, faults, packed_bytes)
    _refuse_zip_in_tail(file, packed_bytes, faults)
    file.seek(0)
    walk = TarWalk(file, packed_bytes, limits, faults, _is_sdist_text)
    complete = walk.walk()
    return Archive(
        facts,
        tuple(walk.members),
        walk.texts.kept,
        faults.findings(),
        packed_bytes,
        walk.unpacked_bytes,
        complete,
    )


def _gather_zip(
    file: BinaryIO, facts: FilenameFacts, limits: GatherLimits, faults: Faults, packed_bytes: int
) -> Archive:
    is_wheel = facts.kind == "wheel"
    # RECORD has the digests of a wheel's files; nothing has those of a source distribution's.
    wanted = _is_wheel_text if is_wheel else _is_sdist_text
    found = walk_zip(ZipWalk(file, packed_bytes, limits, faults, wanted, hashes=is_wheel))
    file.seek(0)
    if is_header(file.read(_TAR_BLOCK)):
        faults.add("polyglot-tar", "The file is a zip and a tar archive at once.")
    return Archive(
        facts, found.members, found.texts, faults.findings(), packed_bytes, found.unpacked_bytes, found.complete
    )


def _is_wheel_text(name: str) -> bool:
    directory, _, rest = name.partition("/")
    return rest in _WHEEL_TEXTS and directory.endswith(".dist-info")


def _is_sdist_text(name: str) -> bool:
    return name.endswith("/PKG-INFO") and name.count("/") == 1


def _refuse_zip_in_tail(file: BinaryIO, packed_bytes: int, faults: Faults) -> None:
    """A reader of zip files starts at the end and accepts anything in front."""
    start = max(0, packed_bytes - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(_TAIL_BYTES)
    at = tail.find(_END_SIGNATURE)
    for _ in range(_ENDS_MAX):
        if at < 0:
            return
        if _is_end(file, start, tail, at):
            break
        at = tail.find(_END_SIGNATURE, at + 1)
    faults.add("polyglot-zip", "The file is a gzip and a zip archive at once.")


def _is_end(file: BinaryIO, start: int, tail: bytes, at: int) -> bool:
    """Whether a reader would follow this end record to a directory."""
    if tail.startswith(_LOCATOR_SIGNATURE, max(0, at - _LOCATOR_BYTES)):
        return True
    if len(tail) < at + 20:
        return False
    size, offset = struct.unpack_from("<LL", tail, at + 12)
    if not size:
        return True
    for position in (start + at - size, offset):
        if position >= 0:
            file.seek(position)
            if file.read(len(_CENTRAL_SIGNATURE)) == _CENTRAL_SIGNATURE:
                return True
    return False
