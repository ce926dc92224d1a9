"""How long starting takes: importing the command line, and a server up to its first answer. For information."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bench import seed, server
from bench.figures import Row, take_turns
from bench.session import ROOT, Session, settle


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    home = session.folder / "startup"
    seed.create(home, seed.registry)
    settle()
    results = take_turns(
        session.rounds,
        {
            "bare": lambda _number: _python("pass"),
            "import": lambda _number: _python("import mintmark.cli.main"),
            "help": lambda _number: _command("--help"),
            "serve": lambda _number: _serve(home),
            "lab": lambda _number: _lab(),
        },
    )
    added = tuple(ours - bare for ours, bare in zip(results["import"], results["bare"], strict=True))
    return [
        Row("python -c pass", "ms", tuple(results["bare"])),
        Row("import mintmark.cli.main, beyond that", "ms", added),
        Row("mintmark --help", "ms", tuple(results["help"])),
        Row("mintmark serve, to the first answer", "ms", tuple(results["serve"])),
        Row("mintmark lab up, until it is ready", "ms", tuple(results["lab"])),
    ]


def _python(code: str) -> float:
    return _timed([sys.executable, "-c", code])


def _command(argument: str) -> float:
    return _timed([sys.executable, "-m", "mintmark", argument])


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return (time.perf_counter() - started) * 1000


def _serve(home: Path) -> float:
    started = time.perf_counter()
    with server.mintmark(home):
        return (time.perf_counter() - started) * 1000


def _lab() -> float:
    """Until the line that says that it is ready."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mintmark", "lab", "up", "--json", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as lab:
        assert lab.stdout is not None
        assert lab.stdin is not None
        ready = lab.stdout.readline()
        took = (time.perf_counter() - started) * 1000
        lab.stdin.close()
        if not ready:
            raise RuntimeError("the lab did not start")
    return took
