"""Durable small uploads beside pypiron, an index in Rust, with the same wheels from the same clients.

Owns pypiron's side of the comparison: filling it through its API, and waiting until what it acknowledged is visible.
Leaves our side and the load to `uploads`. The two promise different things: pypiron answers before the file is durable
and renders its pages later; ours are durable and on their page before the answer.

Nothing is deleted before the end, as in `uploads`. But pypiron deletes its own marks of what is still to be rendered,
which may make files dearer for all later runs; so what making a file costs is measured before each run.
"""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import forms, load, seed, server, uploads
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.server import Running
from bench.session import BenchError, Session, cpu_seconds, creation_us, settle

UPLOAD_PATH = "/legacy/"
JSON = "application/vnd.pypi.simple.v1+json"
# How long pypiron may take until the last upload is on its page.
VISIBLE_SECONDS = 20.0
_POLL_SECONDS = 0.1
_LABELS = {"one": "one process", "two": "two processes on one port", "pypiron": "pypiron"}


@dataclass(frozen=True)
class _Run:
    result: Result
    creation_us: float
    late_seconds: float = 0.0
    """How long after the load the last acknowledged upload was visible."""
    missing: int = 0
    """Acknowledged uploads that its pages do not show even then."""
    all_cpu_us: float = 0.0
    """Processor time for one upload, rendering its page included."""


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    ours, theirs = session.folder / "peers", session.folder / "peers-pypiron"
    secret = seed.create(ours, uploads.fill)
    _fill(theirs)
    count = uploads.WHEELS_PER_SECOND * session.seconds
    to_ours, to_theirs = session.folder / "to-mintmark.requests", session.folder / "to-pypiron.requests"
    uploads.write_uploads(to_ours, secret, count, projects=uploads.PROJECTS)
    uploads.write_uploads(to_theirs, server.PYPIRON_PASSWORD, count, projects=uploads.PROJECTS, to=UPLOAD_PATH)
    results = take_turns(
        session.rounds,
        {
            "one": _upload_to_ours(session, ours, to_ours, count, processes=1),
            "pypiron": _upload_to_pypiron(session, theirs, to_theirs, count),
            "two": _upload_to_ours(session, ours, to_ours, count, processes=2),
        },
    )
    return _rows(results)


def _upload_to_ours(
    session: Session, template: Path, requests: Path, count: int, *, processes: int
) -> Callable[[int], _Run]:
    upload = uploads.upload(session, template, requests, count, processes=processes)

    def once(number: int) -> _Run:
        before = _creation_us(session)
        result = upload(number)
        return _Run(result, before, all_cpu_us=result.cpu_us)

    return once


def _upload_to_pypiron(session: Session, template: Path, requests: Path, count: int) -> Callable[[int], _Run]:
    def once(number: int) -> _Run:
        before = _creation_us(session)
        home = session.folder / f"pypiron-{number}"
        shutil.copytree(template, home)
        with server.pypiron(home) as running:
            settle()
            used = cpu_seconds(running.pid)
            result = uploads.send(session, running, requests, count)
            late, missing = _wait_until_visible(running, uploads.PROJECTS + result.requests)
            used = cpu_seconds(running.pid) - used
        return _Run(result, before, late, missing, used / result.requests * 1e6)

    return once


def _creation_us(session: Session) -> float:
    settle()
    return creation_us(session.fresh(f"creation-{time.monotonic_ns()}"))


def _fill(home: Path) -> None:
    """A pypiron whose projects have a file each, as ours have."""
    home.mkdir()
    with server.pypiron(home) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        headers = {"Content-Type": forms.CONTENT_TYPE, "Authorization": load.basic(server.PYPIRON_PASSWORD)}
        for number in range(uploads.PROJECTS):
            connection.request("POST", UPLOAD_PATH, forms.small_form(f"project-{number}", "1.0"), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise BenchError(f"pypiron refused an upload: {answer.status} {text[:200].decode(errors='replace')}")
        connection.close()
        if _wait_until_visible(running, uploads.PROJECTS)[1]:
            raise BenchError("pypiron does not show all projects it was filled with")


def _wait_until_visible(running: Running, files: int) -> tuple[float, int]:
    """How long it takes until the pages show that many files, and how many they never show."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    while (visible := sum(_files(connection, number) for number in range(uploads.PROJECTS))) < files:
        if time.monotonic() - started > VISIBLE_SECONDS:
            break
        time.sleep(_POLL_SECONDS)
    connection.close()
    return time.monotonic() - started, max(files - visible, 0)


def _files(connection: http.client.HTTPConnection, number: int) -> int:
    connection.request("GET", f"/simple/project-{number}/", headers={"Accept": JSON})
    answer = connection.getresponse()
    body = answer.read()
    return len(json.loads(body)["files"]) if answer.status == 200 else 0


def _rows(results: dict[str, list[_Run]]) -> list[Row]:
    rates = {name: tuple(each.result.rate for each in found) for name, found in results.items()}
    rows = []
    for name, label in _LABELS.items():
        p99 = statistics.median(each.result.p99_ms for each in results[name])
        making = statistics.median(each.creation_us for each in results[name])
        promise = "neither durable nor on its page when answered; " if name == "pypiron" else ""
        note = f"{promise}p99 {p99:.1f} ms; making a file took {making:.0f} us before"
        rows.append(Row(f"uploads, 8 clients: {label}", "/s", rates[name], note=note))
    for name, label in _LABELS.items():
        cpu = tuple(each.all_cpu_us for each in results[name])
        during = statistics.median(each.result.cpu_us for each in results[name])
        note = f"{during:.0f} us until the answer" if name == "pypiron" else ""
        rows.append(Row(f"CPU of one upload: {label}", "us", cpu, note=note, steady=True))
    late = tuple(each.late_seconds for each in results["pypiron"])
    missing = sum(each.missing for each in results["pypiron"])
    note = "ours: when it is answered" + (f"; {missing} acknowledged files were on no page then" if missing else "")
    return [
        *rows,
        Row("pypiron: until the last upload is visible", "s", late, note=note),
        Row("one process / pypiron", "", ratios(rates["one"], rates["pypiron"]), Target(1.0)),
        Row("two processes / pypiron", "", ratios(rates["two"], rates["pypiron"]), Target(1.0)),
    ]
