"""A report card: lines with a grade, a sentence and a cure.

Owns the grades and what the lines of a report come to. Leaves what is looked at to `core.issuer_report` and
`service.doctor`, and printing to the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How good it is: as it should be, worth knowing, weaker than it should be, or wrong."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    topic: str
    grade: Grade
    sentence: str
    cure: str = ""

    def facts(self) -> dict[str, str]:
        """The line for machines."""
        return {"topic": self.topic, "grade": str(self.grade), "sentence": self.sentence, "cure": self.cure}


_ORDER = tuple(Grade)


def worst(lines: Sequence[Line]) -> Grade:
    """The worst grade of a report; that of an empty one is good."""
    return max((line.grade for line in lines), key=_ORDER.index, default=Grade.OK)


def ok(topic: str, sentence: str) -> Line:
    """As it should be."""
    return Line(topic, Grade.OK, sentence)


def note(topic: str, sentence: str, cure: str = "") -> Line:
    """Worth knowing; nothing has to be done."""
    return Line(topic, Grade.NOTE, sentence, cure)


def warning(topic: str, sentence: str, cure: str) -> Line:
    """It works, but is weaker than it should be."""
    return Line(topic, Grade.WARNING, sentence, cure)


def bad(topic: str, sentence: str, cure: str) -> Line:
    """It does not work, or must not."""
    return Line(topic, Grade.BAD, sentence, cure)
