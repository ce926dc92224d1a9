"""Dependencies are written so that every installer reads the same.

Owns Requires-Dist (dependency specifiers). Leaves resolving to installers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from packaging.requirements import Requirement

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.metadata_fields import CROWDED, VALUES_MAX
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject

REQUIREMENT_MAX_CHARACTERS = 2_000
CHARACTERS_MAX = 250_000
"""Of all dependencies together: reading them takes two microseconds for each. The longest real lists have 50,000."""
REMEMBERED_MAX = 1_000
"""Dependencies whose judgement is kept: a release's wheels all have the same, and many projects have some in common."""

_CODE = "invalid-metadata"

INVALID = Rule(
    "requires-dist",
    Grade.STRICT,
    _CODE,
    "Requires-Dist is a dependency specifier: installers refuse the whole file for one that is not, or ignore it.",
    "Write it like name>=1.0; python_version < '3.12', and build again.",
)
DIRECT = Rule(
    "requires-dist-direct",
    Grade.WARN,
    _CODE,
    "A dependency with a URL of its own is fetched from there and not from an index; PyPI refuses it.",
    "Publish the dependency in this registry and depend on its version.",
)
FINDINGS = (INVALID, DIRECT)


def check(subject: Subject) -> Iterator[Finding]:
    """Each dependency by itself."""
    if subject.fields is None:
        return
    characters = 0
    for value in islice(subject.fields.all("requires-dist"), VALUES_MAX):
        characters += len(value)
        if characters > CHARACTERS_MAX:
            yield CROWDED.found(f"The metadata fields Requires-Dist have more than {CHARACTERS_MAX} characters.")
            return
        kind = _judge(value) if len(value) <= REQUIREMENT_MAX_CHARACTERS else "invalid"
        if kind == "invalid":
            yield INVALID.found(f"The metadata field Requires-Dist is not a dependency: {shown(value)}.")
        elif kind == "direct":
            yield DIRECT.found(f"The metadata field Requires-Dist holds a URL: {shown(value)}.")


@lru_cache(maxsize=REMEMBERED_MAX)
def _judge(text: str) -> str:
    try:
        return "direct" if Requirement(text).url else "fine"
    except (ValueError, RecursionError):
        # InvalidRequirement is a ValueError; nested parentheses exhaust the stack.
        return "invalid"
