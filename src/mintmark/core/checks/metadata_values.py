"""The fields that people read: summary, addresses, links, licenses, import names.

Owns their validity. What `packaging.metadata` knows is asked of it, one value at a time and of bounded length. Leaves
the fields the index relies on to `checks.metadata_fields`, dependencies to `checks.requirements`, the description to
`checks.description` and the files of a license to `checks.license_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import urlsplit

from packaging.licenses import canonicalize_license_expression
from packaging.metadata import InvalidMetadata, Metadata, RawMetadata

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.metadata_fields import VALUES_MAX
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.full_metadata import FIELDS, Fields
from mintmark.core.dist.metadata import read_name

SUMMARY_MAX_CHARACTERS = 512
LABEL_MAX_CHARACTERS = 32
URL_MAX_CHARACTERS = 2_048
LICENSE_MAX_CHARACTERS = 1_000
IMPORT_NAME_MAX_CHARACTERS = 1_000

_CODE = "invalid-metadata"

SUMMARY = Rule(
    "metadata-summary",
    Grade.STRICT,
    _CODE,
    f"Summary is one line of at most {SUMMARY_MAX_CHARACTERS} characters; longer texts are the description.",
    "Shorten the project's short description to one line.",
)
EMAIL = Rule(
    "metadata-email",
    Grade.WARN,
    _CODE,
    "Author-Email and Maintainer-Email hold e-mail addresses.",
    "Write them like Name <name@example.com>.",
)
URL = Rule(
    "metadata-url",
    Grade.STRICT,
    _CODE,
    f"Links begin with http:// or https://, and each link of a project has its own label of at most "
    f"{LABEL_MAX_CHARACTERS} characters: pages show them.",
    "Write links in full, such as https://example.com/, with short labels.",
)
LICENSE = Rule(
    "metadata-license",
    Grade.STRICT,
    _CODE,
    "License-Expression is an SPDX expression of known licenses.",
    "Write it like MIT or Apache-2.0 OR BSD-3-Clause; see the SPDX list of licenses.",
)
LICENSE_TWICE = Rule(
    "metadata-license-twice",
    Grade.STRICT,
    _CODE,
    "A project has a License-Expression or the older License, not both, which could contradict each other.",
    "Keep the License-Expression alone.",
)
DYNAMIC = Rule(
    "metadata-dynamic",
    Grade.STRICT,
    _CODE,
    "Dynamic names fields of the metadata other than Name, Version and Metadata-Version, which never change.",
    "Correct the project's dynamic fields.",
)
EXTRA = Rule(
    "metadata-extra",
    Grade.STRICT,
    _CODE,
    "The name of an extra is written like that of a project; installers cannot select another one.",
    "Extras start and end with a letter or digit and hold only letters, digits, '.', '-' and '_'.",
)
IMPORT_NAME = Rule(
    "metadata-import-name",
    Grade.STRICT,
    _CODE,
    "Import-Name and Import-Namespace are names that Python can import.",
    "Write them like package.module, with ; private after those that are not for others.",
)
FINDINGS = (SUMMARY, EMAIL, URL, LICENSE, LICENSE_TWICE, DYNAMIC, EXTRA, IMPORT_NAME)

_FIXED = frozenset({"name", "version", "metadata-version"})
# What `packaging` raises, or its means to parse, when somebody nests or repeats things to that end.
_INVALID = (ValueError, SyntaxError, RecursionError, MemoryError, OverflowError)
_IMPORTS: dict[str, Callable[[str], RawMetadata]] = {
    "import-name": lambda value: {"import_names": [value]},
    "import-namespace": lambda value: {"import_namespaces": [value]},
}


def check(subject: Subject) -> Iterator[Finding]:
    """One field after another."""
    fields = subject.fields
    if fields is None:
        return
    yield from _summary(fields)
    yield from _emails(fields)
    yield from _urls(fields)
    yield from _license(fields)
    yield from _names(fields)


def _summary(fields: Fields) -> Iterator[Finding]:
    text = fields.one("summary") or ""
    if len(text) > SUMMARY_MAX_CHARACTERS:
        yield SUMMARY.found(f"The metadata field Summary has {len(text)} characters.")
    elif len(text.splitlines()) > 1:
        yield SUMMARY.found("The metadata field Summary has several lines.")


def _emails(fields: Fields) -> Iterator[Finding]:
    for field in ("author-email", "maintainer-email"):
        value = fields.one(field)
        if value is not None and not any(map(_is_address, value.split())):
            yield EMAIL.found(f"The metadata field {field.title()} holds no e-mail address: {shown(value)}.")


def _is_address(word: str) -> bool:
    name, _, host = word.strip("<>,;\"'()").rpartition("@")
    return bool(name) and bool(host) and "@" not in name


def _urls(fields: Fields) -> Iterator[Finding]:
    for field in ("home-page", "download-url"):
        value = fields.one(field)
        if value is not None and not is_link(value):
            yield URL.found(f"The metadata field {field.title()} is not a link: {shown(value)}.")
    labels: set[str] = set()
    for value in islice(fields.all("project-url"), VALUES_MAX):
        label, _, url = (part.strip() for part in value.partition(","))
        if not is_link(url):
            yield URL.found(f"The metadata field Project-Url does not hold a label and a link: {shown(value)}.")
        elif not label or len(label) > LABEL_MAX_CHARACTERS:
            yield URL.found(f"A link of the project has no label, or a long one: {shown(label)}.")
        elif label in labels:
            yield URL.found(f"Two links of the project have the label {shown(label)}.")
        labels.add(label)


def is_link(text: str) -> bool:
    """Whether a text can be a link on a page: an absolute URL of the web, and nothing else."""
    if len(text) > URL_MAX_CHARACTERS or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _license(fields: Fields) -> Iterator[Finding]:
    expression = fields.one("license-expression")
    if expression is None:
        return
    if len(expression) > LICENSE_MAX_CHARACTERS:
        yield LICENSE.found(f"The metadata field License-Expression has {len(expression)} characters.")
    else:
        try:
            canonicalize_license_expression(expression)
        except _INVALID:
            yield LICENSE.found(f"The metadata field License-Expression is not an expression: {shown(expression)}.")
    if fields.one("license") is not None:
        yield LICENSE_TWICE.found("The metadata has the fields License and License-Expression.")


def _names(fields: Fields) -> Iterator[Finding]:
    for value in islice(fields.all("dynamic"), VALUES_MAX):
        if value.lower() not in FIELDS or value.lower() in _FIXED:
            yield DYNAMIC.found(f"The metadata field Dynamic names {shown(value)}.")
    for value in islice(fields.all("provides-extra"), VALUES_MAX):
        if read_name(value) is None:
            yield EXTRA.found(f"The metadata field Provides-Extra is not the name of an extra: {shown(value)}.")
    for field, raw in _IMPORTS.items():
        for value in islice(fields.all(field), VALUES_MAX):
            if len(value) > IMPORT_NAME_MAX_CHARACTERS or not _is_import_name(raw(value)):
                yield IMPORT_NAME.found(f"The metadata field {field.title()} is not a name: {shown(value)}.")


def _is_import_name(raw: RawMetadata) -> bool:
    metadata = Metadata.from_raw(raw, validate=False)
    try:
        return bool(metadata.import_names or metadata.import_namespaces)
    except InvalidMetadata:
        return False
