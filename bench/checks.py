"""What checking a wheel costs: gathering its facts in one pass, then every check over them.

Owns calling both as an upload does, in this process, over files that are in the page cache and have nothing wrong with
them. CPU time is measured, so that the figures are nearly the same on a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import forms
from bench.figures import Row, Target, shown, take_turns
from bench.session import BenchError, Session
from mintmark.core.checks.examine import examine
from mintmark.core.dist.filename import parse_filename
from mintmark.core.dist.gather import gather
from mintmark.core.policy import Policy

MEMBERS, LARGE_MB = 10_000, 200
LIMIT_SECONDS = 1.0
# The clock of CPU time is read rarely enough to cost nothing.
REPEATS = 200


@dataclass(frozen=True)
class _Cost:
    """CPU seconds of one file."""

    gathering: float
    examining: float

    @property
    def both(self) -> float:
        return self.gathering + self.examining


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    folder = session.fresh("checks")
    small, many, large = (folder / forms.wheel_name(name, "1.0") for name in ("small", "many", "large"))
    small.write_bytes(forms.small_wheel("small", "1.0"))
    forms.write_many_membered_wheel(many, "many", "1.0", MEMBERS)
    forms.write_large_wheel(large, "large", "1.0", LARGE_MB << 20)
    results = take_turns(
        session.rounds, {"many": _check(many), "small": _check(small, repeats=REPEATS), "large": _check(large)}
    )
    both = {name: tuple(each.both for each in found) for name, found in results.items()}
    of_many = f"{many.stat().st_size / 1e6:.1f} MB, {_parts(results['many'], 's', 1)}"
    return [
        Row(
            f"checking a wheel of {MEMBERS:,} members: CPU",
            "s",
            both["many"],
            Target(LIMIT_SECONDS, below=True),
            of_many,
            steady=True,
        ),
        Row(
            f"checking a wheel of {small.stat().st_size:,} bytes: CPU",
            "us",
            tuple(each * 1e6 for each in both["small"]),
            note=_parts(results["small"], "us", 1e6),
            steady=True,
        ),
        Row(
            f"checking a wheel of {LARGE_MB} MB: CPU",
            "s",
            both["large"],
            note=f"one member, {_parts(results['large'], 's', 1)}",
            steady=True,
        ),
    ]


def _parts(found: list[_Cost], unit: str, factor: float) -> str:
    gathering, examining = (
        statistics.median(each) * factor
        for each in ([cost.gathering for cost in found], [cost.examining for cost in found])
    )
    return f"gathering {shown(gathering)} {unit}, examining {shown(examining)} {unit}"


def _check(path: Path, *, repeats: int = 1) -> Callable[[int], _Cost]:
    facts, policy = parse_filename(path.name), Policy()
    form = dict(forms.fields(facts.name, str(facts.version)))

    def once(_number: int) -> _Cost:
        with open(path, "rb") as file:
            before = time.process_time()
            for _ in range(repeats):
                archive = gather(file, facts)
            between = time.process_time()
            for _ in range(repeats):
                examined = examine(archive, policy, form)
            after = time.process_time()
        if examined.findings or not archive.complete:
            raise BenchError(f"{path.name} has findings: {[each.sentence for each in examined.findings[:3]]}")
        return _Cost((between - before) / repeats, (after - between) / repeats)

    return once
