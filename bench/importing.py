"""How fast `mintmark import` brings a folder of small wheels into a fresh index.

Owns the folder and checking that everything is on the pages afterwards. The command is run as an operator runs it, as
a process, and its time is that of the whole command. Nothing is deleted before the end, for the reason that `uploads`
gives.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import forms, seed, server
from bench.figures import Row, Target, take_turns
from bench.session import ROOT, BenchError, Session, settle

PROJECTS, VERSIONS = 200, 10
FILES_PER_SECOND = 200
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class _Run:
    seconds: float
    cpu_seconds: float


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    template, source = session.folder / "importing", session.fresh("wheels")
    seed.create(template, seed.registry)
    projects = PROJECTS // 4 if session.quick else PROJECTS
    count = _write_wheels(source, projects)
    results = take_turns(
        session.rounds,
        {
            "import": _import(session, template, source, projects, count),
            "again": lambda number: _command(session.folder / f"importing-{number}", source, count),
        },
    )
    runs, again = results["import"], results["again"]
    rates = tuple(count / each.seconds for each in runs)
    cpu = statistics.median(each.cpu_seconds for each in runs) / count * 1e6
    return [
        Row(
            f"import of {count:,} wheels, {projects} projects",
            "/s",
            rates,
            Target(FILES_PER_SECOND),
            note=f"{statistics.median(each.seconds for each in runs):.1f} s; {cpu:.0f} us CPU each",
        ),
        Row(
            "the same once more, when all are there",
            "/s",
            tuple(count / each.seconds for each in again),
            note=f"{statistics.median(each.seconds for each in again):.1f} s",
        ),
    ]


def _write_wheels(folder: Path, projects: int) -> int:
    """A flat folder of small wheels; how many."""
    for number in range(projects):
        for minor in range(VERSIONS):
            project, version = f"project-{number}", f"1.{minor}"
            (folder / forms.wheel_name(project, version)).write_bytes(forms.small_wheel(project, version))
    return projects * VERSIONS


def _import(session: Session, template: Path, source: Path, projects: int, count: int) -> Callable[[int], _Run]:
    def once(number: int) -> _Run:
        home = session.folder / f"importing-{number}"
        shutil.copytree(template, home)
        found = _command(home, source, count)
        pages = list((home / "data" / "pages" / seed.REGISTRY / "simple").glob("*/index.json"))
        visible = sum(len(json.loads(page.read_bytes())["files"]) for page in pages)
        if visible != count or len(pages) != projects:
            raise BenchError(f"{count} files of {projects} projects were imported; {len(pages)} pages show {visible}")
        return found

    return once


def _command(home: Path, source: Path, count: int) -> _Run:
    settle()
    command = [*server.mintmark_command(home), "import", seed.REGISTRY, str(source), "--json"]
    output = home / "import.json"
    started, before = time.perf_counter(), os.times()
    with open(output, "wb") as file, open(home / "import.log", "wb") as log:
        done = subprocess.run(command, stdout=file, stderr=log, cwd=ROOT, check=False, timeout=_TIMEOUT_SECONDS)
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        last = (home / "import.log").read_text(errors="replace")[-800:]
        raise BenchError(f"the import ended with exit code {done.returncode}: {last}")
    outcomes = json.loads(output.read_bytes())["outcomes"]
    if outcomes["imported"] + outcomes["there"] != count:
        raise BenchError(f"not all of {count} files came in: {outcomes}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return _Run(seconds, used)
