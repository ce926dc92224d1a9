"""What the checks look at: one file's facts, the registry's policy, and what the metadata says.

Owns the shape and finding the file's own directory. Everything is gathered and parsed once. Leaves gathering to
`dist.gather`, parsing to `dist.full_metadata` and judging to the other modules of `core.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from packaging.version import Version

from mintmark.core.dist.facts import Archive
from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.full_metadata import Fields, parse_fields
from mintmark.core.dist.metadata import METADATA_VERSIONS
from mintmark.core.policy import Policy

STEM_MAX_CHARACTERS = 500
"""A longer directory name belongs to nothing: file names end at 255."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One file to be examined. Made only by `prepare`."""

    archive: Archive
    policy: Policy
    form: Mapping[str, str] | None
    """The fields of the upload form; None when the file was not uploaded but brought in."""
    home: str
    """The wheel's `.dist-info` directory or the source distribution's top directory; "" when there is none."""
    fields: Fields | None
    """What METADATA or PKG-INFO says."""

    @property
    def filename(self) -> FilenameFacts:
        """What the file name says."""
        return self.archive.filename

    @property
    def is_wheel(self) -> bool:
        """A wheel, not a source distribution."""
        return self.archive.filename.kind == "wheel"

    @property
    def metadata_version(self) -> tuple[int, ...]:
        """The version of the metadata as numbers; the newest when it is none that is known, so nothing is too new."""
        text = self.fields.one("metadata-version") if self.fields else None
        return version_numbers(text if text in METADATA_VERSIONS else max(METADATA_VERSIONS))

    def text(self, name: str) -> bytes | None:
        """The content of a small file in the home directory."""
        return self.archive.texts.get(f"{self.home}/{name}") if self.home else None


def prepare(archive: Archive, policy: Policy, form: Mapping[str, str] | None) -> Subject:
    """Find the home directory and parse the metadata."""
    home = _find_home(archive)
    name = "METADATA" if archive.filename.kind == "wheel" else "PKG-INFO"
    data = archive.texts.get(f"{home}/{name}") if home else None
    return Subject(archive, policy, form, home, parse_fields(data) if data is not None else None)


def version_numbers(text: str) -> tuple[int, ...]:
    """A metadata version, for comparing."""
    return tuple(int(part) for part in text.split("."))


def normal_stem(facts: FilenameFacts) -> str:
    """`{name}-{version}` in the spelling of the standards."""
    return f"{facts.name.replace('-', '_')}-{facts.version}"


def belongs(stem: str, facts: FilenameFacts) -> bool:
    """Whether `stem` is `{name}-{version}` of the file in any spelling."""
    if stem == normal_stem(facts):
        return True
    if len(stem) > STEM_MAX_CHARACTERS:
        return False
    # Linear: an archive may have a hundred thousand directories of many dashes each.
    found = _name_pattern(facts.name).match(stem)
    return found is not None and _is_version(stem[found.end() :], facts.version)


@lru_cache(maxsize=100)
def _name_pattern(name: str) -> re.Pattern[str]:
    """The spellings of a normal name, and the dash before the version, which may hold a dash itself."""
    return re.compile("[-_.]+".join(map(re.escape, name.split("-"))) + "-", re.ASCII | re.IGNORECASE)


def _is_version(text: str, version: Version) -> bool:
    try:
        # InvalidVersion is a ValueError, and so is a number with too many digits.
        return Version(text) == version
    except ValueError:
        return False


def _find_home(archive: Archive) -> str:
    facts = archive.filename
    first = dict.fromkeys(member.name.partition("/")[0] for member in archive.members)
    if facts.kind == "wheel":
        candidates = [name for name in first if name.endswith(".dist-info")]
        belonging = [name for name in candidates if belongs(name.removesuffix(".dist-info"), facts)]
    else:
        candidates = list(first)
        belonging = [name for name in candidates if belongs(name, facts)]
    if belonging:
        return belonging[0]
    return candidates[0] if len(candidates) == 1 else ""
