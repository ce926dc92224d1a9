"""The facts of a zip file's members, put together from both walks.

Owns the kind of a member (from its name and its external attributes) and where its links point. Leaves whether links
are welcome to `core.checks`.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mintmark.core.checks.finding import shown
from mintmark.core.dist.facts import Member
from mintmark.core.dist.faults import WalkEnded
from mintmark.core.dist.zip_directory import DirectoryWalk
from mintmark.core.dist.zip_fields import DEFLATED, Entry
from mintmark.core.dist.zip_stream import ZipWalk

FINDINGS: Mapping[str, str] = {
    "zip-kind": "A member is a directory by its name and none by its attributes, or the other way round.",
    "zip-link-too-long": "A link points to a longer path than file systems allow.",
}

LINK_MAX_BYTES = 4096
"""Of a link's target: the longest path of common systems."""
LINK_PACKED_MAX_BYTES = 2 * LINK_MAX_BYTES
_RAW_DEFLATE = -15


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk over a zip file found."""

    members: tuple[Member, ...]
    texts: Mapping[str, bytes]
    unpacked_bytes: int
    complete: bool


def walk_zip(walk: ZipWalk) -> Walked:
    """Walks the whole file. What is wrong with it goes to the faults of `walk`."""
    attributes: Mapping[int, int] = {}
    complete = False
    with suppress(WalkEnded):
        walk.walk_members()
        directory = DirectoryWalk(walk)
        attributes = directory.attributes
        directory.walk_directory()
        complete = True
    members = tuple(_members(walk, attributes))
    return Walked(members, walk.texts.kept, walk.unpacked_bytes, complete)


def _members(walk: ZipWalk, attributes: Mapping[int, int]) -> Iterator[Member]:
    for entry in walk.entries:
        # The upper half is the mode of Unix. Installers look at it whatever the making system is said to be.
        form = stat.S_IFMT(attributes.get(entry.offset, 0) >> 16)
        if form in (0, stat.S_IFREG) and not entry.is_directory:
            yield Member(entry.name, "file", entry.unpacked_bytes, "", entry.sha256)
        elif entry.is_directory:
            if form not in (0, stat.S_IFDIR):
                _note_kind(walk, entry)
            yield Member(entry.name[:-1], "directory", entry.unpacked_bytes)
        elif form == stat.S_IFLNK:
            yield Member(entry.name, "symlink", entry.unpacked_bytes, _target(walk, entry), entry.sha256)
        else:
            if form == stat.S_IFDIR:
                _note_kind(walk, entry)
            yield Member(entry.name, "other", entry.unpacked_bytes)


def _note_kind(walk: ZipWalk, entry: Entry) -> None:
    walk.faults.add("zip-kind", f"The name and the attributes of {shown(entry.name)} disagree about what it is.")


def _target(walk: ZipWalk, entry: Entry) -> str:
    """The content of a link. It is read again: that something is a link is known only from the directory."""
    if entry.unpacked_bytes > LINK_MAX_BYTES or entry.packed_bytes > LINK_PACKED_MAX_BYTES:
        walk.faults.add("zip-link-too-long", f"The link {shown(entry.name)} points to an overlong path.")
        return ""
    content = walk.window.peek(entry.content_at, entry.packed_bytes)
    if entry.method == DEFLATED:
        try:
            content = zlib.decompressobj(_RAW_DEFLATE).decompress(content, LINK_MAX_BYTES)
        except zlib.error:
            return ""
    return content.decode("utf-8", "surrogateescape")
