"""The names inside an archive can be unpacked on every system, below the directory they are unpacked in.

Owns the names. Leaves links to `checks.links`, and two members with exactly one name to whoever reads the archive:
what they mean depends on its format.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.facts import Member

COMPONENT_MAX_BYTES = 255
"""The longest name of one file or directory that every common file system stores."""
PATH_MAX_BYTES = 4_096
"""The longest path that Linux opens."""

_CODE = "invalid-distribution"
_RENAME = "Rename or remove the file and build again."

OUTSIDE = Rule(
    "name-outside",
    Grade.REFUSE,
    _CODE,
    "No name leads out of the directory in which the archive is unpacked: by an absolute path, a drive letter or "
    "'..' a file could overwrite any other.",
    _RENAME,
)
CONTROL = Rule(
    "name-control",
    Grade.REFUSE,
    _CODE,
    "No name holds NUL or other control characters: readers stop at them, lists of files break at them.",
    _RENAME,
)
UNDECODABLE = Rule(
    "name-undecodable",
    Grade.STRICT,
    _CODE,
    "Every name is UTF-8: bytes that are not become different names on different systems.",
    "Give the file a name in UTF-8 and build again.",
)
TOO_LONG = Rule(
    "name-too-long",
    Grade.REFUSE,
    _CODE,
    f"No part of a name is longer than {COMPONENT_MAX_BYTES} bytes and no name than {PATH_MAX_BYTES:,}: file systems "
    "cannot store it.",
    "Shorten the name and build again.",
)
UNUSUAL = Rule(
    "name-unusual",
    Grade.STRICT,
    _CODE,
    "Names are written in one way, without empty parts, '.' or backslashes, which systems read differently.",
    "Build the file again with a current build backend.",
)
FILE_AND_DIRECTORY = Rule(
    "name-file-and-directory",
    Grade.REFUSE,
    _CODE,
    "No name is a file and a directory at once: whichever is unpacked last fails or replaces the other.",
    _RENAME,
)
SAME_IGNORING_CASE = Rule(
    "name-same-ignoring-case",
    Grade.WARN,
    _CODE,
    "Two names that differ only in case, or in how an accent is written, are one file on macOS and Windows.",
    "Rename one of them.",
)
WINDOWS = Rule(
    "name-windows",
    Grade.WARN,
    _CODE,
    'Windows cannot store names such as aux.py, names that end in a dot or space, or names with one of <>:"|?*.',
    "Rename the file if it is for Windows as well.",
)
FINDINGS = (
    OUTSIDE,
    CONTROL,
    UNDECODABLE,
    TOO_LONG,
    UNUSUAL,
    FILE_AND_DIRECTORY,
    SAME_IGNORING_CASE,
    WINDOWS,
)

# Most names are plain, and an archive may have a hundred thousand: one look is enough for these.
_PART = r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./]|\Z))[a-z0-9_+-](?:[a-z0-9_+.-]{0,90}[a-z0-9_+-])?"
_PLAIN = re.compile(rf"{_PART}(?:/{_PART}){{0,20}}\Z", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Installers leave out the top directory of a source distribution, and .data/scheme of a wheel.
_DRIVE = {True: re.compile(r"(?:[^/]*\.data/[^/]*/)?[A-Za-z]:"), False: re.compile(r"(?:[^/]*/)?[A-Za-z]:")}
"""By whether it is a wheel."""
_DEVICE = re.compile(
    r"(?:^|/)(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(?:[./]|\Z)", re.IGNORECASE
)
_NOT_ON_WINDOWS = re.compile(r"[<>:\"|?*]|[. ](?:/|\Z)")


def check(subject: Subject) -> Iterator[Finding]:
    """Every name by itself, then all together."""
    members = subject.archive.members
    drive = _DRIVE[subject.is_wheel]
    storable = []
    for member in members:
        name = member.name
        if _PLAIN.match(name):
            storable.append(member)
            continue
        finding = _fault(name, drive)
        if finding is not None:
            yield finding
        if finding is None or finding.grade < Grade.REFUSE:
            storable.append(member)
        if finding is None and (_DEVICE.search(name) or _NOT_ON_WINDOWS.search(name)):
            yield WINDOWS.found(f"Windows cannot store {shown(name)}.")
    yield from _file_and_directory(storable)
    yield from _same_ignoring_case(storable)


def _fault(name: str, drive: re.Pattern[str]) -> Finding | None:
    """The gravest fault of one name."""
    if _CONTROL.search(name):
        return CONTROL.found(f"The archive holds the name {shown(name)} with a control character.")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return UNDECODABLE.found(f"The archive holds the name {shown(name)}, which is not UTF-8.")
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or drive.match(name):
        return OUTSIDE.found(f"The archive holds the name {shown(name)}, which leads out of its directory.")
    if len(encoded) > PATH_MAX_BYTES or (
        len(encoded) > COMPONENT_MAX_BYTES and max(map(len, encoded.split(b"/"))) > COMPONENT_MAX_BYTES
    ):
        return TOO_LONG.found(f"The archive holds a name that is too long: {shown(name)}.")
    if "\\" in name or "" in parts or "." in parts:
        return UNUSUAL.found(f"The archive holds the name {shown(name)} with an empty part, a '.' or a backslash.")
    return None


def _file_and_directory(members: Iterable[Member]) -> Iterator[Finding]:
    """A name that is no directory, and the same name as the beginning of another.

    With the slash as the smallest character what is below a name comes directly after it.
    """
    ordered = sorted((member.name.replace("/", "\0"), member.kind != "directory") for member in members)
    before, is_leaf = "\0", False
    for name, leaf in ordered:
        if name == before:
            if leaf != is_leaf:
                yield _both(name)
        elif is_leaf and name.startswith(before + "\0"):
            yield _both(before)
        before, is_leaf = name, leaf


def _both(name: str) -> Finding:
    return FILE_AND_DIRECTORY.found(f"{shown(name.replace(chr(0), '/'))} is a file and a directory in the archive.")


def _same_ignoring_case(members: Iterable[Member]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for member in members:
        name = member.name
        key = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        other = seen.setdefault(key, name)
        if other != name:
            yield SAME_IGNORING_CASE.found(f"{shown(other)} and {shown(name)} are one file where case does not count.")
