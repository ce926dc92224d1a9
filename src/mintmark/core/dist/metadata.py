"""What the metadata file of a distribution says: the few fields that the index itself relies on.

Owns their validity (core metadata specification, versions 1.0 to 2.5). Leaves the form of the file to
`dist.full_metadata`, comparing it with the file name and the form to `checks.agreement`, and all other fields to
`core.checks`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from mintmark.core.dist.full_metadata import Fields

METADATA_VERSIONS = frozenset({"1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5"})
"""2.0 was never accepted as a standard and no current tool writes it."""
REQUIRES_PYTHON_MAX_CHARACTERS = 1_000
VERSION_MAX_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """The metadata inside a distribution. Made only by `CoreFields.complete`.

    `name` is spelled as the project spells it; `requires_python` is a valid specifier set in one printable ASCII
    line, or None.
    """

    name: str
    version: Version
    requires_python: str | None = None


@dataclass(frozen=True, slots=True)
class CoreFields:
    """What the index relies on, each as far as it is valid. Made only by `read_core`.

    `core.checks` says what is wrong with the others.
    """

    name: str | None = None
    version: Version | None = None
    requires_python: str | None = None

    def complete(self) -> CoreMetadata | None:
        """The metadata; None without a valid name and version."""
        if self.name is None or self.version is None:
            return None
        return CoreMetadata(self.name, self.version, self.requires_python)


def read_core(fields: Fields) -> CoreFields:
    """Read and judge them, once."""
    return CoreFields(
        read_name(fields.one("name")),
        read_version(fields.one("version")),
        _read_requires_python(fields.one("requires-python")),
    )


def read_name(text: str | None) -> str | None:
    """A project's name as it is spelled; None for what is none."""
    with suppress(InvalidName):
        canonicalize_name(text or "", validate=True)
        return text
    return None


def read_version(text: str | None) -> Version | None:
    """A version (PEP 440); None for what is none."""
    # InvalidVersion is a ValueError, and so is a number with too many digits.
    with suppress(ValueError):
        return Version(text) if text and len(text) <= VERSION_MAX_CHARACTERS else None
    return None


def _read_requires_python(text: str | None) -> str | None:
    """A set of version specifiers in one printable ASCII line; None for what is none.

    Nothing else ever reaches a page. A folded header keeps its line break, and `===` accepts any character.
    """
    line = " ".join((text or "").split())
    if line and line.isascii() and line.isprintable() and len(line) <= REQUIRES_PYTHON_MAX_CHARACTERS:
        with suppress(InvalidSpecifier):
            SpecifierSet(line)
            return line
    return None
