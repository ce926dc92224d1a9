"""How much of an archive is looked at.

Owns the bounds, each with its reason, and the sentences for those that any archive can exceed. Leaves keeping to them
to the walkers `dist.zip_stream` and `dist.tar_stream`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from mintmark.core.checks.finding import shown
from mintmark.core.dist.faults import REBUILD, SHRINK, Faults

MEMBERS_MAX = 100_000
"""Members of an archive. The largest wheels have about 30,000."""
UNPACKED_MAX_BYTES = 8 << 30
"""Of everything together, after decompression."""
RATIO_MAX = 50
"""How many times larger the content may be than the file, once `RATIO_FROM_BYTES` have come out. PyPI's rule."""
RATIO_FROM_BYTES = 64 << 20
NAMES_MAX_BYTES = 8 << 20
"""Of all names together: they stay in memory, and checks take them apart. The longest real ones have 3 MiB."""
DIRECTORY_MAX_BYTES = 32 << 20
"""Of a zip's central directory."""
TEXTS_MAX_BYTES = 64 << 20
"""Of all contents together that are kept for the checks."""
TEXT_MAX_BYTES: Mapping[str, int] = {
    "METADATA": 1 << 20,
    "PKG-INFO": 1 << 20,
    "WHEEL": 1 << 16,
    "entry_points.txt": 1 << 18,
    "RECORD": 32 << 20,
}
"""Of each content that is kept, by the last part of its name."""

FINDINGS: Mapping[str, str] = {
    "archive-too-many-members": "The archive holds more files than any index or installer should have to look at.",
    "archive-too-large": "What comes out of the archive would fill the disk of whoever unpacks it.",
    "archive-bomb": "The archive is many times larger unpacked than packed, as no package is but a bomb.",
    "archive-names-too-long": "The names of the members need more memory than names of real packages.",
    "archive-text-too-large": "A file that installers read whole, such as METADATA or RECORD, is too large for that.",
}


@dataclass(frozen=True, slots=True)
class GatherLimits:
    """The bounds of one gathering. A caller who knows the registry's policy lowers `unpacked_max_bytes`."""

    members_max: int = MEMBERS_MAX
    unpacked_max_bytes: int = UNPACKED_MAX_BYTES
    ratio_max: int = RATIO_MAX
    ratio_from_bytes: int = RATIO_FROM_BYTES
    names_max_bytes: int = NAMES_MAX_BYTES
    directory_max_bytes: int = DIRECTORY_MAX_BYTES
    texts_max_bytes: int = TEXTS_MAX_BYTES

    def unpacked_bytes(self, packed_bytes: int) -> int:
        """How much may come out of a file of this size."""
        return min(self.unpacked_max_bytes, max(self.ratio_from_bytes, packed_bytes * self.ratio_max))

    def end_unpacking(self, packed_bytes: int, faults: Faults) -> NoReturn:
        """More than that came out."""
        limit_bytes = self.unpacked_bytes(packed_bytes)
        if limit_bytes >= self.unpacked_max_bytes:
            faults.end("archive-too-large", f"More than {limit_bytes} bytes come out of the archive.", SHRINK)
        faults.end(
            "archive-bomb",
            f"More than {limit_bytes} bytes come out of the archive of {packed_bytes}: at most {self.ratio_max} times "
            f"its size may, once it is more than {self.ratio_from_bytes}.",
            SHRINK,
        )

    def check_names(self, members: int, names_bytes: int, faults: Faults) -> None:
        """Ends the walk if there are too many members so far, or their names are too long."""
        if members > self.members_max:
            faults.end(
                "archive-too-many-members",
                f"The archive holds more than {self.members_max} files and directories.",
                "Leave out what is not needed to install or build the package.",
            )
        if names_bytes > self.names_max_bytes:
            faults.end(
                "archive-names-too-long",
                f"The names of the files are longer than {self.names_max_bytes} bytes together.",
                "Shorten the names.",
            )


class Texts:
    """The contents that are kept, within their bounds. The first of several with one name counts."""

    def __init__(self, limits: GatherLimits, faults: Faults) -> None:
        self._left_bytes = limits.texts_max_bytes
        self._faults = faults
        self.kept: dict[str, bytes] = {}

    def wants(self, name: str, size_bytes: int) -> bool:
        """Whether the content of a member that checks read may be kept; a finding if it is too large."""
        limit_bytes = min(TEXT_MAX_BYTES[name.rpartition("/")[2]], self._left_bytes)
        if size_bytes > limit_bytes:
            self._faults.add(
                "archive-text-too-large",
                f"{shown(name)} has {size_bytes} bytes; at most {limit_bytes} are read.",
                "Shorten the project's description." if name.endswith(("METADATA", "PKG-INFO")) else REBUILD,
            )
            return False
        return name not in self.kept

    def keep(self, name: str, content: bytes) -> None:
        """Keeps a content that `wants` allowed."""
        self._left_bytes -= len(content)
        self.kept[name] = content
