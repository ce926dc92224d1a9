"""The stem `{name}-{version}`, by which a distribution names its own directories.

Owns its normal spelling and recognising the others. Leaves which directories there have to be to `dist.archive` and
`checks.layout`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.version import Version

from mintmark.core.dist.filename import FilenameFacts

STEM_MAX_CHARACTERS = 500
"""A longer directory name belongs to nothing: file names end at 255."""


def normal_stem(facts: FilenameFacts) -> str:
    """`{name}-{version}` in the spelling of the standards."""
    return f"{facts.name.replace('-', '_')}-{facts.version}"


def belongs(stem: str, facts: FilenameFacts) -> bool:
    """Whether `stem` is `{name}-{version}` of the file in any spelling."""
    if stem == normal_stem(facts):
        return True
    if len(stem) > STEM_MAX_CHARACTERS:
        return False
    # Linear: an archive may have a hundred thousand directories of many dashes each.
    found = _name_pattern(facts.name).match(stem)
    return found is not None and _is_version(stem[found.end() :], facts.version)


@lru_cache(maxsize=100)
def _name_pattern(name: str) -> re.Pattern[str]:
    """The spellings of a normal name, and the dash before the version, which may hold a dash itself."""
    return re.compile("[-_.]+".join(map(re.escape, name.split("-"))) + "-", re.ASCII | re.IGNORECASE)


def _is_version(text: str, version: Version) -> bool:
    try:
        # InvalidVersion is a ValueError, and so is a number with too many digits.
        return Version(text) == version
    except ValueError:
        return False
