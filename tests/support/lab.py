"""`mintmark lab up` as a process of its own, and what it leaves behind in its temporary folder: nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, AnyStr

from mintmark.lab.home import read
from mintmark.lab.remote import Remote
from support.signals import as_at_a_terminal

START_SECONDS = 60.0
END_SECONDS = 30.0
MINTMARK = (sys.executable, "-m", "mintmark")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What a process sees: nothing of this machine's CI system and proxies, and a temporary folder of its own."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", **more}


def eventually(what: Callable[[], object], seconds: float = END_SECONDS) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to be in time"
        select.select([], [], [], 0.02)


def line_of(stream: IO[AnyStr]) -> AnyStr:
    """The next line of a process, of which none is read yet; not waited for longer than a start may take."""
    readable, _, _ = select.select([stream], [], [], START_SECONDS)
    assert readable, "it said nothing in time"
    return stream.readline()


@dataclass
class LabProcess:
    """A lab in a process group of its own, as a terminal would have it."""

    process: subprocess.Popen[bytes]
    folder: Path
    errors: IO[bytes]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return Path(self.facts["directory"])

    @property
    def remote(self) -> Remote:
        lab = read(self.directory)
        assert lab is not None
        return Remote(lab)

    def line(self) -> str:
        """The next line of its standard output; empty when it has ended."""
        assert self.process.stdout is not None
        return line_of(self.process.stdout).decode()

    def said(self) -> str:
        """What is on its standard error by now."""
        self.errors.seek(0)
        return self.errors.read().decode()

    def signal_group(self, number: signal.Signals) -> None:
        """As a terminal does for Ctrl-C."""
        os.killpg(self.process.pid, number)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process.stdin is not None
        return self.process.wait(END_SECONDS)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of ours beside it."""
        return mintmark(self.folder, *words, **more)


def mintmark(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(
        [*MINTMARK, *words],
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def starting(folder: Path, *words: str, **more: str) -> Iterator[LabProcess]:
    """`mintmark lab up --json ...`, not yet ready. It is gone afterwards, whatever happens."""
    with (folder.parent / f"{folder.name}-{time.monotonic_ns()}.err").open("w+b") as errors:
        process = subprocess.Popen(
            [*MINTMARK, "lab", "up", "--json", *words],
            cwd=folder,
            env=environment(folder, **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            preexec_fn=as_at_a_terminal,
        )
        try:
            yield LabProcess(process, folder, errors)
        finally:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
            process.wait(END_SECONDS)


@contextmanager
def lab_up(folder: Path, *words: str, **more: str) -> Iterator[LabProcess]:
    """The same, ready."""
    with starting(folder, *words, **more) as lab:
        line = lab.line()
        assert line, lab.said()
        lab.facts = json.loads(line)
        yield lab
