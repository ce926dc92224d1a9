"""What the metadata file of a distribution says: the few fields that the index itself relies on.

Owns their validity (core metadata specification, versions 1.0 to 2.5). Leaves the form of the file to
`dist.full_metadata`, comparing it with the file name and the form to `checks.agreement`, and all other fields to
`core.checks`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from mintmark.core.dist.full_metadata import Fields, parse_fields
from mintmark.core.errors import Rejected

METADATA_VERSIONS = frozenset({"1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5"})
"""2.0 was never accepted as a standard and no current tool writes it."""
REQUIRES_PYTHON_MAX_CHARACTERS = 1_000
SUMMARY_MAX_CHARACTERS = 512
"""For display; longer ones are cut, not refused."""
VERSION_MAX_CHARACTERS = 1_000

_OURS = ("metadata-version", "name", "version", "requires-python", "summary")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """The metadata inside a distribution. Made only by `parse_metadata` and `read_core`.

    `name` is spelled as the project spells it; `requires_python` is a valid specifier set in one printable ASCII
    line, or None; `summary` is one line without control characters, possibly empty.
    """

    name: str
    version: Version
    metadata_version: str
    requires_python: str | None = None
    summary: str = ""


def read_core(fields: Fields) -> CoreMetadata | None:
    """What the index relies on, as far as it is valid; None without a valid name and version.

    `metadata_version` is whatever the file says, `requires_python` None when it is not valid. `core.checks` says what
    is wrong.
    """
    name, version = read_name(fields.one("name")), read_version(fields.one("version"))
    if name is None or version is None:
        return None
    return CoreMetadata(
        name=name,
        version=version,
        metadata_version=(fields.one("metadata-version") or "")[:20],
        requires_python=read_requires_python(fields.one("requires-python")),
        summary=_summary(fields.one("summary")),
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


def read_requires_python(text: str | None) -> str | None:
    """A set of version specifiers in one printable ASCII line; None for what is none.

    Nothing else ever reaches a page. A folded header keeps its line break, and `===` accepts any character.
    """
    line = " ".join((text or "").split())
    if line and line.isascii() and line.isprintable() and len(line) <= REQUIRES_PYTHON_MAX_CHARACTERS:
        with suppress(InvalidSpecifier):
            SpecifierSet(line)
            return line
    return None


def parse_metadata(data: bytes) -> CoreMetadata:
    """The fields of METADATA or PKG-INFO. Raises `Rejected` (`invalid-metadata`), whatever the bytes are."""
    fields = parse_fields(data)
    for field in _OURS:
        if field in fields.undecodable or len(fields.values.get(field, ())) > 1:
            _refuse(
                f"The metadata field {field.title()} is given more than once or is not UTF-8.",
                "Correct the project's metadata so that the field appears once, and build again.",
            )
    value = {field: fields.values.get(field, ("",))[0] for field in _OURS}
    return CoreMetadata(
        name=_name(value["name"]),
        version=_version(value["version"]),
        metadata_version=_metadata_version(value["metadata-version"]),
        requires_python=_requires_python(value["requires-python"]),
        summary=_summary(value["summary"]),
    )


def _refuse(detail: str, hint: str) -> NoReturn:
    raise Rejected("invalid-metadata", detail, hint=hint)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "...")


def _name(text: str) -> str:
    cure = "Names start and end with a letter or digit and hold only letters, digits, '.', '-' and '_'."
    if not text:
        _refuse("The metadata lacks a Name.", cure)
    name = read_name(text)
    if name is None:
        _refuse(f"The metadata field Name is not a project name: {_shown(text)}.", cure)
    return name


def _version(text: str) -> Version:
    cure = "Use a version in the form of PEP 440, such as 1.2.3, and build again."
    if not text:
        _refuse("The metadata lacks a Version.", cure)
    version = read_version(text)
    if version is None:
        _refuse(f"The metadata field Version is not a version: {_shown(text)}.", cure)
    return version


def _metadata_version(text: str) -> str:
    cure = "Build with a backend that writes one of " + ", ".join(sorted(METADATA_VERSIONS)) + "."
    if not text:
        _refuse("The metadata lacks a Metadata-Version.", cure)
    if text not in METADATA_VERSIONS:
        _refuse(f"The metadata field Metadata-Version is {_shown(text)}, which this index does not know.", cure)
    return text


def _requires_python(text: str) -> str | None:
    valid = read_requires_python(text)
    if text.strip() and valid is None:
        _refuse(
            f"The metadata field Requires-Python is not a set of version specifiers: {_shown(text)}.",
            "Write it like >=3.11 or >=3.9,!=3.9.1, and build again.",
        )
    return valid


def _summary(value: str | None) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", value or "").split())[:SUMMARY_MAX_CHARACTERS].rstrip()
