"""What the name of a distribution file says: kind, project, version, tags.

Owns the grammar of file names, as strict as the uploads of today's build backends allow (PEP 625 for source
distributions, PEP 427 and 503 for wheels): one release, one spelling. Where a registry allows it, also the spellings of
older tools. Leaves to `checks.agreement` whether the form
and the metadata say the same, and to a policy which platform tags are welcome.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NoReturn

from packaging.utils import InvalidName, InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName

FILENAME_MAX_BYTES = 255
"""The longest name that every common file system stores."""
TAGS_MAX = 512
"""Compressed tag sets multiply: a name of 255 characters can stand for 60,000 tags. Real wheels stay below 100."""

_LEGACY = " Or ask the operator for legacy-names = true."
_REBUILD = "Build it with a current build backend and do not rename it."
_FOREIGN_ENDINGS = (".zip", ".egg", ".exe", ".msi", ".rpm", ".deb", ".tar.bz2", ".tar.xz", ".tgz", ".tar")


# Versions have `!` and `+`. The rest means something to shells, URLs or pages.
_ODD = re.compile(r"[^A-Za-z0-9_.+!-]")


@dataclass(frozen=True, slots=True)
class FilenameFacts:
    """What a valid file name says. Made only by `parse_filename`.

    `tags` are the wheel's expanded tags such as `py3-none-any`, sorted; empty for a source distribution.
    """

    filename: str
    kind: Literal["wheel", "sdist"]
    name: ProjectName
    version: Version
    tags: tuple[str, ...] = ()


def parse_filename(filename: str, *, legacy: bool = False) -> FilenameFacts:
    """The facts of a file name.

    Raises `Rejected` (`invalid-filename`) for anything but `{name}-{version}.tar.gz` and
    `{name}-{version}[-{build}]-{python}-{abi}-{platform}.whl` with the name normalised (and `_` for `-`) and the
    version in the canonical form of PEP 440. Local versions are allowed.

    With `legacy` names and versions may have any spelling, and a source distribution may be a `.zip`. Where name and
    version can be told apart in several ways, the version is what follows the last dash that has one after it.
    """
    _check_characters(filename)
    if filename.endswith(".whl"):
        return _parse_wheel(filename, legacy=legacy)
    if not filename.endswith((".tar.gz", ".zip") if legacy else ".tar.gz"):
        _refuse_ending(filename)
    return _parse_legacy_sdist(filename) if legacy else _parse_sdist(filename)


def _refuse(detail: str, hint: str) -> NoReturn:
    raise Rejected("invalid-filename", detail, hint=hint)


def _refuse_ending(filename: str) -> NoReturn:
    lowered = filename.lower()
    if lowered.endswith((".whl", ".tar.gz")):
        _refuse(f"The file name {filename!r} has its ending in capitals.", _REBUILD)
    for ending in _FOREIGN_ENDINGS:
        if lowered.endswith(ending):
            _refuse(
                f"Files ending in {ending} are not accepted: {filename!r}.",
                "Build a wheel (.whl) or a source distribution (.tar.gz), for instance with: python -m build"
                + ("." + _LEGACY if ending == ".zip" else ""),
            )
    _refuse(
        f"{filename!r} is neither a wheel nor a source distribution.",
        "Upload files ending in .whl or .tar.gz, for instance those that python -m build makes.",
    )


def _check_characters(filename: str) -> None:
    if not filename:
        _refuse("The file has no name.", "Send the file's name with its content.")
    if not filename.isascii():
        _refuse("The file name holds characters outside of ASCII.", _REBUILD)
    if len(filename) > FILENAME_MAX_BYTES:
        _refuse(
            f"The file name is longer than {FILENAME_MAX_BYTES} characters: {filename[:60] + '...'!r}.",
            "Shorten the project's name or the version.",
        )
    # Invariant: a name that passes never leaves its directory and never breaks a header line or a log line.
    if "/" in filename or "\\" in filename:
        _refuse(f"The file name {filename!r} holds a path.", "Send the bare name of the file, without directories.")
    if not filename.isprintable():
        _refuse(f"The file name {filename!r} holds control characters.", _REBUILD)
    if _ODD.search(filename):
        _refuse(f"The file name {filename!r} holds characters that no build tool writes.", _REBUILD)


def _project_name(text: str, filename: str) -> ProjectName:
    try:
        return ProjectName(str(canonicalize_name(text, validate=True)))
    except InvalidName:
        _refuse(f"{text!r} in the file name {filename!r} is not a project name.", _REBUILD)


def _parse_wheel(filename: str, *, legacy: bool) -> FilenameFacts:
    """PEP 427 and the binary distribution format: `packaging` parses, then the spelling must be the canonical one."""
    parts = filename.removesuffix(".whl").split("-")
    count = 1
    for part in parts[-3:]:
        count *= part.count(".") + 1
    if count > TAGS_MAX:
        _refuse(
            f"The wheel's name stands for {count} tags, more than {TAGS_MAX}.",
            "Name fewer tags, or build several wheels.",
        )
    try:
        _, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        reason = str(error).partition(": ")[0]
        _refuse(f"The wheel's file name {filename!r} is not valid: {reason}.", _REBUILD)
    name = _project_name(parts[0], filename)
    if not legacy:
        _check_spelling(filename, "-".join([name.replace("-", "_"), str(version), *parts[2:]]) + ".whl")
    return FilenameFacts(filename, "wheel", name, version, tuple(sorted(map(str, tags))))


def _parse_sdist(filename: str) -> FilenameFacts:
    """PEP 625: exactly one dash, which the canonical version cannot contain."""
    name_part, dash, version_part = filename.removesuffix(".tar.gz").rpartition("-")
    if not dash:
        _refuse(
            f"The file name {filename!r} lacks the version of the source distribution.",
            "It must be {name}-{version}.tar.gz. " + _REBUILD,
        )
    try:
        version = Version(version_part)
    except ValueError:
        is_legacy = _split_legacy(filename.removesuffix(".tar.gz")) is not None
        _refuse(
            f"{version_part!r} in the file name {filename!r} is not a version.",
            _REBUILD + (_LEGACY if is_legacy else ""),
        )
    name = _project_name(name_part, filename)
    _check_spelling(filename, f"{name.replace('-', '_')}-{version}.tar.gz")
    return FilenameFacts(filename, "sdist", name, version)


def _parse_legacy_sdist(filename: str) -> FilenameFacts:
    """`{name}-{version}` as setup.py wrote it: the name with dashes, the version perhaps with one."""
    found = _split_legacy(filename.removesuffix(".zip" if filename.endswith(".zip") else ".tar.gz"))
    if found is None:
        _refuse(
            f"The file name {filename!r} does not end in the version of a source distribution.",
            "It must be {name}-{version}.tar.gz with a version in the form of PEP 440. " + _REBUILD,
        )
    name, version = found
    return FilenameFacts(filename, "sdist", _project_name(name, filename), version)


def _split_legacy(stem: str) -> tuple[str, Version] | None:
    at = stem.rfind("-")
    while at > 0:
        with suppress(ValueError):
            return stem[:at], Version(stem[at + 1 :])
        at = stem.rfind("-", 0, at)
    return None


def _check_spelling(filename: str, expected: str) -> None:
    # One release, one spelling: otherwise two names of the same file could hold different content.
    if filename != expected:
        _refuse(
            f"The file name {filename!r} is not in the normal form.",
            f"It must be {expected!r}: build it again with a current build backend.{_LEGACY}",
        )
