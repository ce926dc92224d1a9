"""Names that a project had better not have.

Owns comparing them with the standard library's. Leaves names that resemble those of other projects to the upload,
which asks the ledger, and the grammar to `core.names`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject

STANDARD_LIBRARY = Rule(
    "project-standard-library",
    Grade.WARN,
    "invalid-metadata",
    "A project is not named like a module of the standard library: people would install it by mistake, and its own "
    "module of that name would hide or be hidden.",
    "Choose another name unless this is a backport.",
)
FINDINGS = (STANDARD_LIBRARY,)

_MODULES = frozenset(str(canonicalize_name(name)) for name in sys.stdlib_module_names)


def check(subject: Subject) -> Iterator[Finding]:
    """The name of the project."""
    if subject.filename.name in _MODULES:
        yield STANDARD_LIBRARY.found(
            f"The project is named {shown(subject.filename.name)}, like a module of the standard library."
        )
