"""What the metadata file of a distribution says: the few fields that the index itself relies on.

Owns their validity (core metadata specification, versions 1.0 to 2.5). Leaves finding the file to `dist.archive`,
comparing it with the file name and the form to `checks.agreement`, and all other fields to later checks.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from typing import NoReturn

from packaging.metadata import RawMetadata, parse_email
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from mintmark.core.errors import Rejected

METADATA_VERSIONS = frozenset({"1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5"})
"""2.0 was never accepted as a standard and no current tool writes it."""
REQUIRES_PYTHON_MAX_CHARACTERS = 1_000
SUMMARY_MAX_CHARACTERS = 512
"""For display; longer ones are cut, not refused."""

_OURS = ("metadata-version", "name", "version", "requires-python", "summary")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# The end of the headers. A lone "\r" ends a line as well, for the email package.
_BLANK_LINE = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")
# What the email package raises for hostile headers.
_UNREADABLE = (MessageError, ValueError, LookupError, TypeError, AssertionError, RuntimeError)


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """The metadata inside a distribution. Made only by `parse_metadata`.

    `name` is spelled as the project spells it; `requires_python` is a valid specifier set in one printable ASCII
    line, or None; `summary` is one line without control characters, possibly empty.
    """

    name: str
    version: Version
    metadata_version: str
    requires_python: str | None = None
    summary: str = ""


def parse_metadata(data: bytes) -> CoreMetadata:
    """The fields of METADATA or PKG-INFO. Raises `Rejected` (`invalid-metadata`), whatever the bytes are."""
    raw = _read_headers(data)
    return CoreMetadata(
        name=_name(raw.get("name")),
        version=_version(raw.get("version")),
        metadata_version=_metadata_version(raw.get("metadata_version")),
        requires_python=_requires_python(raw.get("requires_python")),
        summary=_summary(raw.get("summary")),
    )


def _refuse(detail: str, hint: str) -> NoReturn:
    raise Rejected("invalid-metadata", detail, hint=hint)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "...")


def _read_headers(data: bytes) -> RawMetadata:
    # The body is the description, which may be long and is none of our fields: parsing it would only cost time.
    end = _BLANK_LINE.search(data)
    try:
        raw, unparsed = parse_email(data[: end.end()] if end else data)
    except _UNREADABLE as error:
        raise Rejected(
            "invalid-metadata",
            "The metadata file cannot be read.",
            hint="Build the file again with a current build backend.",
            private=f"{type(error).__name__}: {error}"[:500],
        ) from None
    for field in _OURS:
        if field in unparsed:
            _refuse(
                f"The metadata field {field.title()} is given more than once or is not UTF-8.",
                "Correct the project's metadata so that the field appears once, and build again.",
            )
    return raw


def _name(value: str | None) -> str:
    name = (value or "").strip(" \t")
    cure = "Names start and end with a letter or digit and hold only letters, digits, '.', '-' and '_'."
    if not name:
        _refuse("The metadata lacks a Name.", cure)
    try:
        canonicalize_name(name, validate=True)
    except InvalidName:
        _refuse(f"The metadata field Name is not a project name: {_shown(name)}.", cure)
    return name


def _version(value: str | None) -> Version:
    text = (value or "").strip(" \t")
    cure = "Use a version in the form of PEP 440, such as 1.2.3, and build again."
    if not text:
        _refuse("The metadata lacks a Version.", cure)
    try:
        return Version(text)
    except ValueError:
        # InvalidVersion is a ValueError, and so is a number with too many digits.
        _refuse(f"The metadata field Version is not a version: {_shown(text)}.", cure)


def _metadata_version(value: str | None) -> str:
    text = (value or "").strip(" \t")
    cure = "Build with a backend that writes one of " + ", ".join(sorted(METADATA_VERSIONS)) + "."
    if not text:
        _refuse("The metadata lacks a Metadata-Version.", cure)
    if text not in METADATA_VERSIONS:
        _refuse(f"The metadata field Metadata-Version is {_shown(text)}, which this index does not know.", cure)
    return text


def _requires_python(value: str | None) -> str | None:
    # A folded header keeps its line break, and "===" accepts any character: neither may reach a page.
    text = " ".join((value or "").split())
    if not text:
        return None
    if text.isascii() and text.isprintable() and len(text) <= REQUIRES_PYTHON_MAX_CHARACTERS:
        with suppress(InvalidSpecifier):
            SpecifierSet(text)
            return text
    _refuse(
        f"The metadata field Requires-Python is not a set of version specifiers: {_shown(text)}.",
        "Write it like >=3.11 or >=3.9,!=3.9.1, and build again.",
    )


def _summary(value: str | None) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", value or "").split())[:SUMMARY_MAX_CHARACTERS].rstrip()
