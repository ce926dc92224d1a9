"""The facts of a source distribution's members.

Owns kinds, names and doubles of the members of a `.tar.gz`, the content of PKG-INFO, and turning damage into findings.
Leaves the format to `dist.tar_stream`, and whether links, devices and places are welcome to `core.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

from mintmark.core.checks.finding import Grade, shown
from mintmark.core.dist.facts import Member
from mintmark.core.dist.faults import Faults, WalkEnded
from mintmark.core.dist.limits import GatherLimits, Texts
from mintmark.core.dist.tar_stream import BoundsError, TarFault, Unpacked, iterate_members

FINDINGS: Mapping[str, str] = {
    "gzip-several-parts": "The file is put together from several gzip files; some readers stop after the first.",
    "tar-name-empty": "A member has no name.",
    "tar-name-control": "A name holds control characters; some readers stop at them, and terminals obey them.",
    "tar-name-not-unicode": "A name is not UTF-8, so that each reader guesses another one.",
    "tar-file-twice": "The archive holds a file twice; the second replaces the first when it is unpacked.",
    "tar-name-twice": "Two members have one name, and one would be written through the other or read in its place.",
}

_KINDS = {"0": "file", "1": "hardlink", "2": "symlink", "5": "directory"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class TarWalk:
    """One walk over a source distribution. `members`, `texts` and `unpacked_bytes` grow on the way."""

    def __init__(
        self, file: BinaryIO, packed_bytes: int, limits: GatherLimits, faults: Faults, wanted: Callable[[str], bool]
    ) -> None:
        self._stream = Unpacked(file, limit_bytes=limits.unpacked_bytes(packed_bytes))
        self._packed_bytes = packed_bytes
        self._limits = limits
        self._faults = faults
        self._wanted = wanted
        self._kinds: dict[str, str] = {}
        self._names_bytes = 0
        self.members: list[Member] = []
        self.texts = Texts(limits, faults)

    @property
    def unpacked_bytes(self) -> int:
        return self._stream.unpacked_bytes

    def walk(self) -> bool:
        """Reads everything; False if that was not possible, with the reason among the faults."""
        with suppress(WalkEnded):
            try:
                self._walk_members()
            except TarFault as fault:
                self._faults.end(fault.check, str(fault))
            except BoundsError:
                self._limits.end_unpacking(self._packed_bytes, self._faults)
            if self._stream.parts > 1:
                sentence = f"The file is put together from {self._stream.parts} gzip files."
                self._faults.add("gzip-several-parts", sentence, grade=Grade.STRICT)
            return True
        return False

    def _walk_members(self) -> None:
        stream = self._stream
        for found in iterate_members(stream):
            name = found.name
            kind = _KINDS.get(found.kind, "other")
            wanted = self._wanted(name)
            self._check_name(name, kind, wanted=wanted)
            self.members.append(Member(name, kind, found.size_bytes, found.link))
            self._names_bytes += len(name) + len(found.link)
            self._limits.check_names(len(self.members), self._names_bytes, self._faults)
            if wanted and kind == "file" and self.texts.wants(name, found.size_bytes):
                self.texts.keep(name, stream.take(found.size_bytes))

    def _check_name(self, name: str, kind: str, *, wanted: bool) -> None:
        if not (name.isascii() and name.isprintable() and name):
            self._check_characters(name)
        before = self._kinds.get(name)
        self._kinds[name] = kind
        if before is None or before == kind == "directory":
            return
        if before == kind == "file" and not wanted:
            # All tools that unpack take the last one.
            self._faults.add("tar-file-twice", f"The archive holds the file {shown(name)} twice.", grade=Grade.STRICT)
        else:
            self._faults.add("tar-name-twice", f"The archive holds {shown(name)} more than once.")

    def _check_characters(self, name: str) -> None:
        if not name:
            self._faults.add("tar-name-empty", "The archive holds a member without a name.")
        if _CONTROL.search(name):
            self._faults.add("tar-name-control", f"The name {shown(name)} holds control characters.")
        try:
            name.encode()
        except UnicodeEncodeError:
            self._faults.add("tar-name-not-unicode", f"The name {shown(name)} is not UTF-8.", grade=Grade.STRICT)
