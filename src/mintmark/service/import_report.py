"""What an import tells: what became of each file, and the numbers of the run.

Owns the shapes and the counting. Leaves printing to the command line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mintmark.core.checks.finding import Finding

COMPLAINTS = ("conflict", "refused", "failed", "missing")
"""Outcomes after which not everything that was asked for is in the registry."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file (or, with what `missing` and `failed` may name, of a whole project).

    `what` is `imported`, `there`, `conflict` (the registry has other bytes under the name), `refused`, `failed` (may
    work next time), `missing` (asked for and not in the source) or `wanted` (would be imported).
    """

    what: str
    filename: str
    project: str
    place: str
    size_bytes: int | None = None
    sha256: str = ""
    code: str = ""
    detail: str = ""
    findings: tuple[Finding, ...] = ()
    """Told, not refused."""


@dataclass(slots=True)
class Report:
    """The numbers of a run: files by what became of them, those skipped by their kind, findings by their check."""

    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    imported_bytes: int = 0
    stopped: bool = False
    pins_found: set[str] = field(default_factory=set)
    """Pinned releases of which at least one file is in the registry."""
    behind: str = ""
    """Why pages are not up to date, as a sentence."""

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is in the registry now."""
        return not self.stopped and not any(self.outcomes[what] for what in COMPLAINTS)


class Progress:
    """What a run tells while it goes. The methods here are for nobody who listens."""

    def found(self, files: int, size_bytes: int) -> None:
        """So many more files will be looked at."""

    def told(self, outcome: Outcome) -> None:
        """A file is done."""

    def tell(self, outcome: Outcome, report: Report) -> None:
        """Count an outcome and tell it."""
        report.outcomes[outcome.what] += 1
        report.findings.update(finding.check for finding in outcome.findings)
        if outcome.what == "imported":
            report.imported_bytes += outcome.size_bytes or 0
        self.told(outcome)
