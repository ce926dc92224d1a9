"""What is known of a distribution file after one pass over its bytes.

Owns the shapes. They are gathered once, with bounds, by `dist.gather`; every check is a pure function over them and
never opens the file again. Leaves judging to `core.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mintmark.core.checks.finding import Finding
from mintmark.core.dist.filename import FilenameFacts


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, in the archive's order.

    `name` is exactly what the archive says, undecodable bytes as surrogates, a directory without its last slash.
    `kind` is `file`, `directory`, `symlink`, `hardlink` or `other` (devices, pipes). `sha256` is that of a wheel's
    file in lower-case hex; source distributions need none and have "".
    """

    name: str
    kind: str
    size_bytes: int
    link: str = ""
    """Where a link points, as the archive says it."""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """The facts of one file.

    `texts` holds the content of the few small files that checks read, by member name: of a wheel everything
    `*.dist-info/{METADATA,WHEEL,RECORD,entry_points.txt}`, of a source distribution `*/PKG-INFO` at the top. Of
    several members with one name it has the first, and none that is too large. `findings` are the faults of the
    archive's structure, found on the way; when the walk could not be finished (`complete` is False) they say why, and
    the rest of the facts is what came before.
    """

    filename: FilenameFacts
    members: tuple[Member, ...]
    texts: Mapping[str, bytes]
    findings: tuple[Finding, ...]
    packed_bytes: int
    unpacked_bytes: int
    complete: bool = True
