"""What the checks look at: one file's facts, the registry's policy, and what the metadata says.

Owns the shape and finding the file's own directory. Everything is gathered and parsed once. Leaves gathering to
`dist.gather`, parsing to `dist.full_metadata` and judging to the other modules of `core.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mintmark.core.dist.facts import Archive
from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.full_metadata import Fields, parse_fields
from mintmark.core.dist.metadata import METADATA_VERSIONS, CoreFields, read_core
from mintmark.core.dist.stem import belongs
from mintmark.core.policy import Policy


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
    core: CoreFields
    """What the index relies on of it; empty when there is no such file."""

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
    fields = parse_fields(data) if data is not None else None
    return Subject(archive, policy, form, home, fields, read_core(fields) if fields else CoreFields())


def version_numbers(text: str) -> tuple[int, ...]:
    """A metadata version, for comparing."""
    return tuple(int(part) for part in text.split("."))


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
