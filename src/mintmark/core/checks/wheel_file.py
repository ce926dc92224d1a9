"""The file WHEEL says how to install the wheel, and says the same tags as the file name.

Owns the fields of WHEEL (binary distribution format, version 1). Leaves whether the file is there to `checks.layout`
and which platforms are welcome to `checks.platform_tags`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.tags import parse_tag

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.filename import TAGS_MAX
from mintmark.core.dist.full_metadata import parse_fields

_CODE = "invalid-distribution"
_RETAG = "Change tags with: python -m wheel tags"

VERSION = Rule(
    "wheel-version",
    Grade.STRICT,
    _CODE,
    "WHEEL states Wheel-Version 1.x: installers refuse any other, and a wheel that does not say.",
    "Build the wheel again with a current build backend.",
)
TAGS = Rule(
    "wheel-tags",
    Grade.WARN,
    _CODE,
    "WHEEL states the same tags as the file name. They differ where a wheel was renamed; installers go by the name.",
    _RETAG,
)
BUILD = Rule(
    "wheel-build",
    Grade.WARN,
    _CODE,
    "WHEEL states the same build number as the file name. They differ where a wheel was renamed.",
    _RETAG,
)
FINDINGS = (VERSION, TAGS, BUILD)

_VERSION_1 = re.compile(r"1\.[0-9]{1,4}\Z")


def check(subject: Subject) -> Iterator[Finding]:
    """The fields of WHEEL."""
    data = subject.text("WHEEL") if subject.is_wheel else None
    if data is None:
        return
    fields = parse_fields(data)
    version = fields.one("wheel-version") or ""
    if not _VERSION_1.match(version):
        said = f"says Wheel-Version {shown(version)}" if version else "lacks a Wheel-Version"
        yield VERSION.found(f"The wheel's file WHEEL {said}.")
    tags = _expand(fields.all("tag"))
    if tags != set(subject.filename.tags):
        said = ", ".join(sorted(tags)[:3]) + (", ..." if len(tags) > 3 else "") if tags else "none"
        yield TAGS.found(f"The tags in WHEEL are not those of the file name: {shown(said)}.")
    parts = subject.filename.filename.split("-")
    build = parts[2] if len(parts) == 6 else ""
    if (fields.one("build") or "") != build:
        said, named = shown(fields.one("build") or "none"), shown(build or "none")
        yield BUILD.found(f"The build number in WHEEL is {said}, in the file name {named}.")


def _expand(values: tuple[str, ...]) -> set[str]:
    """The tags of all lines, at most one more than a file name may stand for; malformed ones as they are."""
    tags: set[str] = set()
    for value in values:
        count = 1
        for part in value.split("-"):
            count *= part.count(".") + 1
        try:
            tags |= {str(tag) for tag in parse_tag(value)} if count <= TAGS_MAX else {value}
        except ValueError:
            tags.add(value)
        if len(tags) > TAGS_MAX:
            break
    return tags
