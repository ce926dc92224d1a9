"""An index of 10,000 projects with 5 files each, against the same server with 100 projects.

Owns what growing costs: starting, memory, project pages, and the list of all projects. The wheels' bytes do not exist;
only pages are read. For the pages each server has one core, wrk the other.
"""

from __future__ import annotations

import gzip
import random
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import load, seed, server
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.pages import ACCEPT
from bench.resident import resident_mb
from bench.server import Running
from bench.session import BenchError, Session, settle
from mintmark.assemble import Index

FEW, MANY, FILES = 100, 10_000, 5
PAGES_READ = 200
START_SECONDS, MEMORY_MB = 1.0, 120.0
HTML = "text/html"
FORMS = {"JSON": (ACCEPT, "index.json"), "HTML": (HTML, "index.html")}
LISTS = tuple((form, coding) for form in FORMS for coding in ("identity", "gzip"))
ROOT = f"/{seed.REGISTRY}/simple/"


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    homes = {count: session.folder / f"scale-{count}" for count in (FEW, MANY)}
    started = time.perf_counter()
    names = {count: seed.create(home, partial(_fill, projects=count)) for count, home in homes.items()}
    seconds = time.perf_counter() - started
    settle()
    # Different pages each time, so that none is in a cache because the run before read it.
    dice = random.Random(1)
    colds = take_turns(
        session.rounds,
        {
            "few": lambda _number: _cold(homes[FEW], dice.sample(names[FEW], FEW)),
            "many": lambda _number: _cold(homes[MANY], dice.sample(names[MANY], PAGES_READ)),
        },
    )
    rows = [
        Row(
            "10,000 projects: start to the first project page",
            "s",
            tuple(each[0] for each in colds["many"]),
            Target(START_SECONDS, below=True),
            note=f"100 projects: {statistics.median(each[0] for each in colds['few']):.2f} s",
        ),
        Row(
            "10,000 projects: memory after 200 pages and the list",
            "MB",
            tuple(each[1] for each in colds["many"]),
            Target(MEMORY_MB, below=True),
            note=f"100 projects: {statistics.median(each[1] for each in colds['few']):.0f} MB",
            steady=True,
        ),
    ]
    rows += _warm(session, homes, names)
    return [*rows, Row("filling both indexes", "s", (seconds,), note="without the wheels")]


async def _fill(index: Index, projects: int) -> list[str]:
    return await seed.pages(index, seed.REGISTRY, private=False, projects=projects, files=FILES)


def _cold(home: Path, names: list[str]) -> tuple[float, float]:
    """Seconds from the start to the first project page, and memory after some more pages and the list."""
    started = time.perf_counter()
    with server.mintmark(home) as running:
        _read(running, f"{ROOT}{names[0]}/")
        seconds = time.perf_counter() - started
        for name in names[1:]:
            _read(running, f"{ROOT}{name}/", Accept_Encoding="gzip")
        for form, coding in LISTS:
            _check_list(running, home, form, coding)
        return seconds, resident_mb(running.pid)


def _check_list(running: Running, home: Path, form: str, coding: str) -> None:
    """A list of projects must be the very bytes that lie rendered on disk; short ones are compressed when read."""
    accept, file = FORMS[form]
    body = _read(running, ROOT, accept, Accept_Encoding=coding)
    folder = home / "data" / "pages" / seed.REGISTRY / "simple"
    stored = folder / (f"{file}.gz" if coding == "gzip" else file)
    if not stored.exists():
        body, stored = gzip.decompress(body), folder / file
    if body != stored.read_bytes():
        raise BenchError(f"the list of projects ({form}, {coding}) is not what was rendered")


def _read(running: Running, path: str, accept: str = ACCEPT, **headers: str) -> bytes:
    status, body = server.fetch(running.port, path, Accept=accept, **headers)
    if status != 200:
        raise BenchError(f"{path} was answered with {status}")
    return body


def _warm(session: Session, homes: dict[int, Path], names: dict[int, list[str]]) -> list[Row]:
    with ExitStack() as stack:
        few, many = (stack.enter_context(server.mintmark(homes[count], pinned=True)) for count in (FEW, MANY))
        runs = {
            "100": _load(session, few, _pages(session, names[FEW])),
            "10,000": _load(session, many, _pages(session, names[MANY])),
        }
        for form, coding in LISTS:
            path = session.folder / f"list-{form}-{coding}.requests"
            load.write_requests(path, [load.get(ROOT, Accept=FORMS[form][0], Accept_Encoding=coding)])
            runs[f"{form} {coding}"] = _load(session, many, path, seconds=1)
        for each in runs.values():
            each(0)
        # Every page has been read by now, unless the run was too short for that.
        memory = resident_mb(many.pid)
        sizes = {
            f"{form} {coding}": len(_read(many, ROOT, FORMS[form][0], Accept_Encoding=coding)) for form, coding in LISTS
        }
        results = take_turns(session.rounds, runs)
    note = "after a run over all of them; pages that were read stay in memory, up to 64 MiB"
    return [*_rows(results, sizes), Row("10,000 projects: memory after that", "MB", (memory,), note=note, steady=True)]


def _pages(session: Session, names: list[str]) -> Path:
    """Every project's page once, in no order."""
    path = session.folder / f"scale-pages-{len(names)}.requests"
    shuffled = random.Random(2).sample(names, len(names))
    load.write_requests(path, (load.get(f"{ROOT}{name}/", Accept=ACCEPT, Accept_Encoding="gzip") for name in shuffled))
    return path


def _load(session: Session, target: Running, requests: Path, seconds: int = 0) -> Callable[[int], Result]:
    return lambda _number: load.run(
        target.url, requests, seconds or session.seconds, server_pid=target.pid, again=True, pinned=True
    )


def _rows(results: dict[str, list[Result]], sizes: dict[str, int]) -> list[Row]:
    rates = {name: tuple(each.rate for each in found) for name, found in results.items()}
    costs = {name: tuple(each.cpu_us for each in found) for name, found in results.items()}
    rows = [
        Row(
            f"project pages of {name} projects",
            "/s",
            rates[name],
            note=f"{statistics.median(costs[name]):.1f} us CPU each",
        )
        for name in ("100", "10,000")
    ]
    rows += [
        Row("pages of 10,000 / of 100", "", ratios(rates["10,000"], rates["100"]), Target(0.8)),
        Row("pages of 10,000 / of 100 by CPU time", "", ratios(costs["100"], costs["10,000"]), steady=True),
    ]
    for name, size in sizes.items():
        rows.append(Row(f"list of 10,000 projects, {name}, {size:,} bytes", "/s", rates[name]))
        rows.append(Row(f"list of 10,000 projects, {name}: CPU", "us", costs[name], steady=True))
    return rows
