"""Project pages of one process against one nginx worker with the same bytes, both on one core, wrk on the other."""

from __future__ import annotations

import gzip
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import load, seed, server
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.server import Running
from bench.session import BenchError, Session, settle
from mintmark.assemble import Index

# pip 25's header.
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
PROJECTS = 200
# Makes a page of about 4.5 kB, the median on PyPI.
FILES = 8
CODINGS = ("identity", "gzip")
_LABELS = {"wrk": "wrk at least (nginx, empty answer)", "health": "the server without work (/-/health)"}


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    home, site = session.folder / "pages", session.fresh("site")
    secret, names = seed.create(home, _fill)
    basic = load.basic(secret)
    size = _copy_site(home / "data" / "pages", site, names)
    settle()
    with (
        server.mintmark(home, pinned=True) as ours,
        server.nginx(session.fresh("nginx"), site, pinned=True) as theirs,
    ):
        _compare(ours, theirs, names[0], basic)
        runs: dict[str, Callable[[int], Result]] = {}
        for coding in CODINGS:
            public = _requests(session.folder / f"public-{coding}", seed.REGISTRY, names, coding)
            private = _requests(session.folder / f"private-{coding}", seed.PRIVATE, names, coding, Authorization=basic)
            runs[f"nginx {coding}"] = _load(session, theirs, public)
            runs[f"public {coding}"] = _load(session, ours, public)
            runs[f"private {coding}"] = _load(session, ours, private)
        health = session.folder / "health.requests"
        load.write_requests(health, [load.get(server.HEALTH)])
        runs["wrk"] = _load(session, theirs, health)
        runs["health"] = _load(session, ours, health)
        for each in runs.values():
            each(0)
        results = take_turns(session.rounds, runs)
    return _rows(results, size)


async def _fill(index: Index) -> tuple[str, list[str]]:
    names = await seed.pages(index, seed.REGISTRY, private=False, projects=PROJECTS, files=FILES)
    await seed.pages(index, seed.PRIVATE, private=True, projects=PROJECTS, files=FILES)
    return await seed.token(index, seed.PRIVATE), names


def _copy_site(pages: Path, site: Path, names: list[str]) -> int:
    """The public pages as nginx wants them, compressed ones beside them; the size of one."""
    size = 0
    for name in names:
        target = site / seed.REGISTRY / "simple" / name
        target.mkdir(parents=True)
        body = (pages / seed.REGISTRY / "simple" / name / "index.json").read_bytes()
        (target / "index.json").write_bytes(body)
        (target / "index.json.gz").write_bytes(gzip.compress(body, 6, mtime=0))
        size = len(body)
    return size


def _compare(ours: Running, theirs: Running, name: str, basic: str) -> None:
    """Both serve the same bytes, and the private registry asks for its credential."""
    path = f"/{seed.REGISTRY}/simple/{name}/"
    one, other = (server.fetch(each.port, path, Accept=ACCEPT) for each in (ours, theirs))
    hidden = path.replace(seed.REGISTRY, seed.PRIVATE, 1)
    refused, _ = server.fetch(ours.port, hidden, Accept=ACCEPT)
    allowed, _ = server.fetch(ours.port, hidden, Accept=ACCEPT, Authorization=basic)
    if one != other or one[0] != 200 or refused != 401 or allowed != 200:
        raise BenchError(f"the pages are not the same or not guarded: {one[0]}, {other[0]}, {refused}, {allowed}")


def _requests(path: Path, registry: str, names: list[str], coding: str, **headers: str) -> Path:
    paths = (f"/{registry}/simple/{name}/" for name in names)
    load.write_requests(path, (load.get(each, Accept=ACCEPT, Accept_Encoding=coding, **headers) for each in paths))
    return path


def _load(session: Session, target: Running, requests: Path) -> Callable[[int], Result]:
    return lambda _number: load.run(
        target.url, requests, session.seconds, server_pid=target.pid, again=True, pinned=True
    )


def _rows(results: dict[str, list[Result]], size: int) -> list[Row]:
    rates = {name: [result.rate for result in found] for name, found in results.items()}
    costs = {name: [result.cpu_us for result in found] for name, found in results.items()}
    rows = []
    for name, values in rates.items():
        cpu = statistics.median(costs[name])
        label = _LABELS.get(name, f"{name}, {size} bytes")
        rows.append(Row(label, "/s", tuple(values), note=f"{cpu:.1f} us CPU each"))
    for coding in CODINGS:
        for kind in ("public", "private"):
            ours, theirs = f"{kind} {coding}", f"nginx {coding}"
            rows.append(Row(f"{ours} / nginx", "", ratios(rates[ours], rates[theirs]), Target(0.3)))
            # What the ratio is on a core that nobody else uses: both are limited by nothing but processor time.
            by_cpu = ratios(costs[theirs], costs[ours])
            rows.append(Row(f"{ours} / nginx by CPU time", "", by_cpu, Target(0.3), steady=True))
    return rows
