"""Small uploads, durable and visible, against the disk's own rate of making small files durable.

Nothing is deleted before the end: ext4 looks for a free inode among those that were freed in the last minutes, which
would make every later run slower than the one before.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bench import disk, forms, load, seed, server
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.server import Running
from bench.session import BenchError, Session, settle
from mintmark.assemble import Index

CLIENTS = 8
PROJECTS = 500
UPLOAD_PATH = f"/{seed.REGISTRY}/legacy/"
# More than any run uses up. The same wheel twice would be answered without any work, so running out is an error.
WHEELS_PER_SECOND = 3000


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    template = session.folder / "uploads"
    secret = seed.create(template, fill)
    count = WHEELS_PER_SECOND * session.seconds
    known, new = session.folder / "known.requests", session.folder / "new.requests"
    write_uploads(known, secret, count, projects=PROJECTS)
    write_uploads(new, secret, count, projects=count)
    size = len(forms.small_wheel("project-1", "1.1"))
    folder = session.fresh("disk")
    results = take_turns(
        session.rounds,
        {
            "uploads": upload(session, template, known, count),
            "one": _disk(session, folder, size, 1),
            "eight": _disk(session, folder, size, CLIENTS),
            "new": upload(session, template, new, count),
        },
    )
    rates = {name: tuple(each.rate for each in found) for name, found in results.items()}
    return [
        row_of(f"uploads of {size} bytes, 8 clients, 500 projects", results["uploads"]),
        row_of("the same, each the first of a new project", results["new"]),
        Row("disk alone, one thread", "/s", rates["one"], note="write, fsync, rename, fsync of the folder"),
        Row("disk alone, 8 threads", "/s", rates["eight"]),
        Row("uploads / disk with one thread", "", ratios(rates["uploads"], rates["one"]), Target(0.2)),
        Row("uploads / disk with 8 threads", "", ratios(rates["uploads"], rates["eight"])),
        Row("first uploads / disk with one thread", "", ratios(rates["new"], rates["one"])),
    ]


def row_of(measure: str, found: list[Result]) -> Row:
    """The rate of some runs."""
    cpu = statistics.median(each.cpu_us for each in found)
    p99 = statistics.median(each.p99_ms for each in found)
    return Row(measure, "/s", tuple(each.rate for each in found), note=f"{cpu:.0f} us CPU each, p99 {p99:.1f} ms")


async def fill(index: Index) -> str:
    """A private registry whose projects have a file each; returns a token."""
    await seed.pages(index, seed.REGISTRY, private=True, projects=PROJECTS, files=1)
    return await seed.token(index)


def write_uploads(path: Path, secret: str, count: int, *, projects: int, to: str = UPLOAD_PATH) -> None:
    """Upload requests of as many different wheels, in turns over the projects; made on every core."""
    request = partial(_request, to, load.basic(secret), projects)
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        load.write_requests(path, pool.imap(request, range(count), chunksize=100))


def _request(to: str, basic: str, projects: int, number: int) -> bytes:
    # The projects that exist have the version 1.0; new projects are those beyond them.
    first = 0 if projects == PROJECTS else PROJECTS
    body = forms.small_form(f"project-{first + number % projects}", f"1.{1 + number // projects}")
    return load.post(to, body, Content_Type=forms.CONTENT_TYPE, Authorization=basic)


def upload(
    session: Session, template: Path, requests: Path, count: int, *, processes: int = 1
) -> Callable[[int], Result]:
    """Each run has a fresh copy of the index, so that pages are as long in the last run as in the first."""

    def once(number: int) -> Result:
        home = session.folder / f"{requests.stem}-{processes}-{number}"
        shutil.copytree(template, home)
        with server.mintmark(home, processes=processes) as running:
            settle()
            result = send(session, running, requests, count)
            _check_visible(home / "data" / "pages" / seed.REGISTRY / "simple", result.requests)
        return result

    return once


def send(session: Session, target: Running, requests: Path, count: int) -> Result:
    """Upload the wheels, of which there are `count`, for as long as a run takes."""
    result = load.run(
        target.url,
        requests,
        session.seconds,
        connections=CLIENTS,
        server_pid=target.pid,
        others=target.others,
        again=False,
    )
    if result.requests + CLIENTS >= count:
        raise BenchError("all wheels were used up: raise WHEELS_PER_SECOND")
    return result


def _check_visible(simple: Path, acknowledged: int) -> None:
    visible = sum(len(json.loads(page.read_bytes())["files"]) for page in simple.glob("*/index.json"))
    # Each of the projects had a file before.
    if visible - PROJECTS < acknowledged:
        raise BenchError(f"{acknowledged} uploads were acknowledged, but pages show {visible - PROJECTS} new files")


def _disk(session: Session, folder: Path, size: int, threads: int) -> Callable[[int], Result]:
    def once(number: int) -> Result:
        settle()
        found = disk.rate(folder / f"{threads}-{number}", size_bytes=size, threads=threads, seconds=session.seconds)
        return Result(0, found, 0.0, 0.0)

    return once
