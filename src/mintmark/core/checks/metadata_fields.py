"""The metadata says what the index and installers go by, each thing once and in a form they can read.

Owns Name, Version, Metadata-Version and Requires-Python, and how often fields stand in the file (core metadata
specification, versions 1.0 to 2.5). Leaves the values of other fields to `checks.metadata_values`, dependencies to
`checks.requirements` and whether the metadata fits the file name to `checks.agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject, version_numbers
from mintmark.core.dist.full_metadata import FIELDS, REPEATABLE, Fields
from mintmark.core.dist.metadata import METADATA_VERSIONS, CoreFields

VALUES_MAX = 5_000
"""Of one field. The longest real lists of dependencies have about a thousand."""

_CODE = "invalid-metadata"
_CURRENT = "Build again with a current build backend."

NAME = Rule(
    "metadata-name",
    Grade.REFUSE,
    _CODE,
    "The metadata has one Name, which is a project name: installers compare it with what they asked for.",
    "Names start and end with a letter or digit and hold only letters, digits, '.', '-' and '_'.",
)
VERSION = Rule(
    "metadata-version",
    Grade.REFUSE,
    _CODE,
    "The metadata has one Version, which is a version: installers compare it with what they asked for.",
    "Use a version in the form of PEP 440, such as 1.2.3, and build again.",
)
LOCAL_VERSION = Rule(
    "metadata-local-version",
    Grade.WARN,
    _CODE,
    "A version with a local part such as 1.0+cu118 is meant for builds that others changed; PyPI refuses it.",
    "Nothing needs to be done if that is what the file is.",
)
FORMAT = Rule(
    "metadata-format",
    Grade.STRICT,
    _CODE,
    "Metadata-Version is one that exists, so that readers know what the fields mean. 2.0 was never a standard, though "
    "tools wrote it.",
    "Build with a backend that writes one of " + ", ".join(sorted(METADATA_VERSIONS)) + ".",
)
REQUIRES_PYTHON = Rule(
    "metadata-requires-python",
    Grade.STRICT,
    _CODE,
    "Requires-Python is a set of version specifiers in one line of ASCII. It is part of the page that installers "
    "read; one that is not valid is left out there.",
    "Write it like >=3.11 or >=3.9,!=3.9.1, and build again.",
)
DOUBLED = Rule(
    "metadata-doubled",
    Grade.STRICT,
    _CODE,
    "A field that has one value is there once: of two, every reader takes another.",
    "Correct the project's metadata so that the field appears once, and build again.",
)
ENCODING = Rule(
    "metadata-encoding", Grade.STRICT, _CODE, "The metadata is UTF-8.", "Save the project's metadata as UTF-8."
)
TORN = Rule(
    "metadata-torn",
    Grade.WARN,
    _CODE,
    "Every line before the description is a field or continues one. After any other line readers take the rest for "
    "the description and miss the fields in it.",
    _CURRENT,
)
NEWER_FIELD = Rule(
    "metadata-newer-field",
    Grade.WARN,
    _CODE,
    "A field is not newer than the metadata's version: readers of that version need not know it.",
    _CURRENT,
)
CROWDED = Rule(
    "metadata-crowded",
    Grade.STRICT,
    _CODE,
    f"No field has more than {VALUES_MAX:,} values, and dependencies are not too long together; those after them are "
    "not looked at.",
    "Have fewer of them.",
)
FINDINGS = (
    NAME,
    VERSION,
    LOCAL_VERSION,
    FORMAT,
    REQUIRES_PYTHON,
    DOUBLED,
    ENCODING,
    TORN,
    NEWER_FIELD,
    CROWDED,
)

# setuptools wrote it for three years before there was a standard; half of all files have it.
_AHEAD = frozenset({"license-file"})


def check(subject: Subject) -> Iterator[Finding]:
    """The fields as such, then those the index relies on."""
    fields = subject.fields
    if fields is None:
        return
    yield from _relied_on(fields, subject.core)
    yield from _all(fields, subject.metadata_version)


def _relied_on(fields: Fields, core: CoreFields) -> Iterator[Finding]:
    if core.name is None:
        yield NAME.found(_sentence(fields, "name", "a project name"))
    version = core.version
    if version is None:
        yield VERSION.found(_sentence(fields, "version", "a version"))
    elif version.local is not None:
        yield LOCAL_VERSION.found(f"The version {shown(str(version))} has a local part.")
    if fields.one("metadata-version") not in METADATA_VERSIONS:
        yield FORMAT.found(_sentence(fields, "metadata-version", "a version of the metadata that this index knows"))
    if fields.one("requires-python") is not None and core.requires_python is None:
        yield REQUIRES_PYTHON.found(_sentence(fields, "requires-python", "a set of version specifiers"))


def _sentence(fields: Fields, field: str, what: str) -> str:
    title = field.title()
    values = fields.values.get(field, ())
    if field in fields.undecodable:
        return f"The metadata field {title} is not UTF-8."
    if len(values) > 1:
        return f"The metadata has {len(values)} fields {title}."
    if not values or not values[0]:
        return f"The metadata lacks a {title}."
    return f"The metadata field {title} is not {what}: {shown(values[0])}."


def _all(fields: Fields, metadata_version: tuple[int, ...]) -> Iterator[Finding]:
    for field, values in fields.values.items():
        since = FIELDS.get(field)
        if since is None:
            continue
        if field not in REPEATABLE:
            if len(values) > 1 and field not in {"name", "version"}:
                yield DOUBLED.found(f"The metadata has {len(values)} fields {field.title()}.")
        elif len(values) > VALUES_MAX:
            yield CROWDED.found(f"The metadata has {len(values)} fields {field.title()}.")
        if version_numbers(since) > metadata_version and field not in _AHEAD:
            version = ".".join(map(str, metadata_version))
            yield NEWER_FIELD.found(f"The metadata is of version {version}, but {field.title()} exists since {since}.")
    for field in sorted(fields.undecodable & FIELDS.keys() - {"name", "version"}):
        yield ENCODING.found(f"The metadata field {field.title()} is not UTF-8.")
    if fields.torn:
        yield TORN.found("The metadata has a line that is neither a field nor the continuation of one.")
