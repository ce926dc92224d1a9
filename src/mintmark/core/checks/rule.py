"""What a check can find, as a table.

Owns the form of its rows. A finding is made only from a row, so that `docs/checks.md`, which is derived from all rows,
names everything that can be found. Leaves what follows from a finding to `checks.finding`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mintmark.core.checks.finding import Finding, Grade


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a check looks for. `meaning` says what it is and why it matters, `cure` what helps."""

    id: str
    grade: Grade
    code: str
    meaning: str
    cure: str

    def found(self, sentence: str, *, cure: str = "") -> Finding:
        """A finding of this rule; `cure` where this case has a better one."""
        return Finding(self.id, self.code, sentence, cure or self.cure, self.grade)
