"""Figures: many values of one measure, their median and spread, the verdict, and the table for people.

Owns statistics and printing. Leaves where values come from to the benches.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What a measure should reach: at least the bound, or below it."""

    bound: float
    below: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value < self.bound if self.below else value >= self.bound

    def __str__(self) -> str:
        return f"{'<' if self.below else '>='} {self.bound:g}"


@dataclass(frozen=True)
class Row:
    """One measure: a value of each round, and what is wanted of their median."""

    measure: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None
    note: str = ""
    steady: bool = False
    """Other processes on the machine do not change it much: processor time and memory, not rates."""

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    def verdict(self, *, busy: bool) -> str:
        """`ok`, `short`, nothing where there is no target, or `unsure` when a busy machine decided."""
        if self.target is None:
            return ""
        if busy and not self.steady:
            return "unsure"
        return "ok" if self.target.met(self.median) else "short"

    def as_json(self, *, busy: bool) -> dict[str, object]:
        """Everything about it."""
        return {
            "measure": self.measure,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "target": str(self.target) if self.target else None,
            "verdict": self.verdict(busy=busy) or None,
            "note": self.note,
        }


def take_turns(rounds: int, runs: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """Run everything once, then everything again: A B C, A B C. Each run gets its round's number."""
    results: dict[str, list[T]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            results[name].append(run(number))
    return results


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """The ratio of each pair; the machine's mood is the same for both halves of a pair."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


def shown(value: float) -> str:
    """A number for people: three digits that mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row], *, busy: bool) -> str:
    """Rows for people."""
    head = ("measure", "value", "target", "verdict", "min..max", "")
    cells = [
        (
            row.measure,
            f"{shown(row.median)} {row.unit}".rstrip(),
            str(row.target or ""),
            row.verdict(busy=busy).replace("short", "SHORT"),
            f"{shown(min(row.values))}..{shown(max(row.values))}",
            row.note,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in {1, 4} else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *cells)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
