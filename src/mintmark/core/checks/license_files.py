"""The license files that the metadata names are in the file.

Owns License-File (core metadata 2.4). Leaves what they say to lawyers, and License-Expression to
`checks.metadata_values`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.metadata_fields import VALUES_MAX
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject

_CODE = "invalid-metadata"

PATH = Rule(
    "license-file-path",
    Grade.STRICT,
    _CODE,
    "License-File is a path inside the distribution, with '/' between its parts, without '..' or patterns.",
    "Correct the project's license-files.",
)
MISSING = Rule(
    "license-file-missing",
    Grade.STRICT,
    _CODE,
    "Every License-File exists: in a wheel below .dist-info/licenses, in a source distribution below its top "
    "directory.",
    "Build again with a current build backend, which includes the files.",
)
OLD = Rule(
    "license-file-old",
    Grade.WARN,
    _CODE,
    "The same where the metadata is older than 2.4, when no place was agreed on.",
    "Build again with a current build backend.",
)
FINDINGS = (PATH, MISSING, OLD)

_SINCE = (2, 4)


def check(subject: Subject) -> Iterator[Finding]:
    """Every path, then its file."""
    values = subject.fields.all("license-file") if subject.fields else ()
    if not values:
        return
    is_new = subject.metadata_version >= _SINCE
    places = [subject.home + "/"]
    if subject.is_wheel:
        places = [f"{subject.home}/licenses/"] if is_new else [f"{subject.home}/licenses/", f"{subject.home}/"]
    there = {member.name for member in subject.archive.members if member.kind != "directory"}
    for value in islice(dict.fromkeys(values), VALUES_MAX):
        if not _is_path(value):
            yield (PATH if is_new else OLD).found(f"The metadata field License-File is not a path: {shown(value)}.")
        elif not any(place + value in there for place in places):
            rule = MISSING if is_new else OLD
            yield rule.found(
                f"The metadata names the license file {shown(value)}, but {shown(places[0] + value)} does not exist."
            )


def _is_path(text: str) -> bool:
    parts = text.split("/")
    return text.isprintable() and not any(sign in text for sign in "\\*?:") and not {"", ".", ".."} & set(parts)
