"""What a check has to say.

Owns the form of a finding, its grades, and turning findings into one refusal. Leaves the checks themselves to their
own modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from mintmark.core.errors import Rejected

SHOWN_MAX = 20
"""Findings told in one answer. A broken archive of ten thousand files has ten thousand of the same."""


class Grade(IntEnum):
    """What follows from a finding."""

    WARN = 1
    """The file is taken; the answer and the audit log say it."""
    STRICT = 2
    """Refused when somebody uploads it now; taken, with a warning, when an existing index is brought in."""
    REFUSE = 3
    """Refused always: installers would disagree about the file, or it would harm whoever unpacks it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `check` is its stable name in `docs/checks.md`, `code` one of `core.codes`."""

    check: str
    code: str
    sentence: str
    cure: str
    grade: Grade = Grade.REFUSE


def shown(text: str) -> str:
    """Somebody else's text inside a sentence: quoted, ASCII, short."""
    return ascii(text if len(text) <= 100 else text[:100] + "...")


def refusal(findings: Sequence[Finding]) -> Rejected:
    """One refusal that tells all findings; the gravest decides its code, of equally grave ones the first."""
    ordered = sorted(findings, key=lambda finding: -finding.grade)[:SHOWN_MAX]
    more = len(findings) - len(ordered)
    sentences = [finding.sentence for finding in ordered] + ([f"And {more} more findings."] if more else [])
    return Rejected(
        ordered[0].code,
        " ".join(sentences),
        hint=" ".join(dict.fromkeys(_ended(finding.cure) for finding in ordered if finding.cure)),
        members={"findings": [_member(finding) for finding in ordered]},
    )


def those_that_refuse(findings: Iterable[Finding], *, lenient: bool = False) -> list[Finding]:
    """The findings for which a file is not taken. `lenient` is for bringing in what exists elsewhere already."""
    least = Grade.REFUSE if lenient else Grade.STRICT
    return [finding for finding in findings if finding.grade >= least]


def _ended(cure: str) -> str:
    # One that ends in a command has no full stop, and the next one would read on.
    return cure if cure.endswith((".", "!", "?")) else f"{cure} ."


def _member(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "code": finding.code, "detail": finding.sentence, "cure": finding.cure}
