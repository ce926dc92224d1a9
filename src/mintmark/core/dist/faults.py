"""Collects what is wrong with an archive while somebody walks it.

Owns how many faults of one kind are kept, their code and their usual cure, and the exception that ends a walk. Leaves
the faults themselves, with their names and sentences, to the walkers.
"""

from __future__ import annotations

from typing import NoReturn

from mintmark.core.checks.finding import SHOWN_MAX, Finding, Grade

REBUILD = "Build the file again with a current build backend and upload it unchanged."
SHRINK = "Leave large data out of the distribution and let the program fetch it."


class WalkEnded(Exception):
    """The rest of the archive cannot be read. The faults say why."""


class Faults:
    """The faults of one archive, in the order in which they were met."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: dict[str, int] = {}

    def add(self, check: str, sentence: str, cure: str = REBUILD, grade: Grade = Grade.REFUSE) -> None:
        """One more fault. Of one kind only the first `SHOWN_MAX` are kept: a hostile archive has a million."""
        count = self._counts[check] = self._counts.get(check, 0) + 1
        if count <= SHOWN_MAX:
            self._found.append(Finding(check, "invalid-distribution", sentence, cure, grade))

    def end(self, check: str, sentence: str, cure: str = REBUILD) -> NoReturn:
        """A fault after which nothing can be read."""
        self.add(check, sentence, cure)
        raise WalkEnded

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return tuple(self._found)
