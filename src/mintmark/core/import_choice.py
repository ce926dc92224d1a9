"""Which files of a source are wanted: patterns of project names, and the pins of a requirements file.

Owns reading such a file (what `pip freeze`, pip-compile and uv write), the choice itself, and which kinds of files are
never taken. Leaves what a source has to `core.import_listing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from mintmark.core.checks.finding import shown
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName, matches_pattern, parse_project

REQUIREMENTS_MAX_BYTES = 16 << 20
"""Of a requirements file; one of a large application with all hashes has about 1 MiB."""
PINS_MAX = 100_000

_HASH = re.compile(r"--hash[= ]\s*([A-Za-z0-9]+):([0-9A-Fa-f]+)(?=\s|\Z)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
# A line of these says nothing about what is wanted: where to look, and what to prefer there.
_IGNORED_OPTIONS = (
    "-i ",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f ",
    "--find-links",
    "--trusted-host",
    "--no-binary",
    "--only-binary",
    "--prefer-binary",
    "--pre",
    "--require-hashes",
)
_CURE = "Name pinned releases only, as `pip freeze` writes them: name==version."
# Source distributions of former times are zip files.
_TAKEN_ENDINGS = (".whl", ".tar.gz", ".zip")
_ENDING_MAX_CHARACTERS = 10


def foreign_kind(filename: str) -> str:
    """The kind of a file that no registry takes, such as `.egg` or `other`; "" for wheels and source distributions."""
    if filename.endswith(_TAKEN_ENDINGS):
        return ""
    ending = "." + filename.lower().rpartition(".")[2]
    known = "." in filename and ending.isascii() and ending.isprintable() and len(ending) <= _ENDING_MAX_CHARACTERS
    return ending if known and "/" not in ending else "other"


@dataclass(frozen=True, slots=True)
class Pin:
    """One wanted release. Without digests every file of it is wanted, else those with one of them."""

    name: ProjectName
    version: Version
    sha256: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to bring in. With neither patterns nor pins, everything."""

    patterns: tuple[str, ...] = ()
    pins: Mapping[ProjectName, tuple[Pin, ...]] = field(default_factory=dict)

    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.patterns and not self.pins

    def named(self) -> tuple[ProjectName, ...] | None:
        """The names of all wanted projects, sorted; None when only a list of all projects can tell."""
        if self.everything() or any("*" in pattern for pattern in self.patterns):
            return None
        return tuple(sorted({*self.pins, *map(ProjectName, self.patterns)}))

    def wants(self, name: ProjectName) -> bool:
        """Whether anything of a project is wanted."""
        return self.everything() or name in self.pins or self._matches(name)

    def pin_of(self, name: ProjectName, version: Version) -> Pin | None:
        """The pin a release is wanted for, or None: then it is wanted for its name, or not at all."""
        return next((pin for pin in self.pins.get(name, ()) if pin.version == version), None)

    def wants_release(self, name: ProjectName, version: Version) -> bool:
        """Whether any file of a release is wanted."""
        return self.everything() or self._matches(name) or self.pin_of(name, version) is not None

    def wants_digest(self, name: ProjectName, version: Version, sha256: str) -> bool:
        """Whether a file with this content is wanted, of a release that is."""
        pin = self.pin_of(name, version)
        return pin is None or not pin.sha256 or sha256 in pin.sha256 or self._matches(name)

    def _matches(self, name: ProjectName) -> bool:
        return any(matches_pattern(pattern, name) for pattern in self.patterns)


def parse_requirements(text: str) -> dict[ProjectName, tuple[Pin, ...]]:
    """The pins of a requirements file. Raises `Rejected` for a line that pins nothing, with its number.

    Markers and extras say when a release is installed, not whether it belongs to the application: they are ignored.
    """
    pins: dict[ProjectName, dict[Version, Pin]] = {}
    count = 0
    for number, line in _lines(text):
        if line.startswith("-") and line.startswith(_IGNORED_OPTIONS):
            continue
        pin = _pin(number, line)
        of_project = pins.setdefault(pin.name, {})
        former = of_project.get(pin.version)
        of_project[pin.version] = pin if former is None else _both(former, pin)
        count += 1
        if count > PINS_MAX:
            _refuse(number, f"and those before are more than {PINS_MAX} releases", "Import them in several runs.")
    return {name: tuple(of_project.values()) for name, of_project in pins.items()}


def _both(former: Pin, pin: Pin) -> Pin:
    # The same release for two environments; without digests in one of them, everything of it.
    digests = former.sha256 | pin.sha256 if former.sha256 and pin.sha256 else frozenset()
    return Pin(pin.name, pin.version, digests)


def _lines(text: str) -> Sequence[tuple[int, str]]:
    """Logical lines with the number of their first one, without comments."""
    found: list[tuple[int, str]] = []
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        first = first if parts else number
        # As pip: a comment ends its line even after a backslash, and a comment line inside a continuation is skipped.
        stripped = _COMMENT.sub("", raw).rstrip()
        if stripped.endswith("\\") and not raw.lstrip().startswith("#"):
            parts.append(stripped[:-1])
            continue
        if raw.lstrip().startswith("#") and parts:
            continue
        line = " ".join([*parts, stripped]).strip()
        parts = []
        if line:
            found.append((first, line))
    if line := " ".join(parts).strip():
        found.append((first, line))
    return found


def _pin(number: int, line: str) -> Pin:
    digests = _HASH.findall(line)
    bare = _HASH.sub("", line).strip()
    if bare.startswith("-"):
        _refuse(number, f"is an option that cannot be followed: {shown(bare)}", _CURE)
    try:
        requirement = Requirement(bare)
    except (InvalidRequirement, RecursionError):
        _refuse(number, f"is no requirement: {shown(bare)}", _CURE)
    specifiers = list(requirement.specifier)
    if requirement.url or len(specifiers) != 1 or specifiers[0].operator not in ("==", "==="):
        _refuse(number, f"does not pin a release: {shown(bare)}", _CURE)
    try:
        name, version = parse_project(requirement.name), Version(specifiers[0].version)
    except (InvalidVersion, ValueError, Rejected):
        _refuse(number, f"does not pin one version: {shown(bare)}", _CURE)
    sha256 = frozenset(value.lower() for algorithm, value in digests if algorithm.lower() == "sha256")
    if digests and not sha256:
        _refuse(number, f"has digests, but none of SHA-256: {shown(bare)}", "Write the file with SHA-256 hashes.")
    return Pin(name, version, sha256)


def _refuse(number: int, what: str, cure: str) -> NoReturn:
    raise Rejected("invalid-import", f"Line {number} of the requirements file {what}.", hint=cure)
