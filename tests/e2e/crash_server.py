"""The real index as a process of its own that dies at a named step; the script and what drives it.

As a script it imports everything once and then forks a server for each order on its standard input, since starting
Python anew for every crash would take most of the time. A server is assembled as `mintmark serve` does it, with the
system's clock and HTTP keys; only `reached` differs, and kills the process with SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from mintmark.assemble import Index
from mintmark.core.life_cycle import WholeVersion
from mintmark.core.records import OPERATOR
from mintmark.logs import configure
from mintmark.service.steps import Step
from mintmark.settings import Settings
from mintmark.web.server import listening, stopped

START_SECONDS = 30.0
END_SECONDS = 20.0
STUCK = 1000


# -- in the tests' process --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server. `ended` waits for its end."""

    pid: int
    url: str
    _nursery: Nursery

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def stop(self) -> None:
        """Ask it to stop, as an operator does."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.ended() == 0

    def ended(self) -> int:
        """Wait; the exit status, or the negative number of the signal."""
        return int(self._nursery.ask({"wait": self.pid})["status"])


class Nursery:
    """Starts servers. Made by `nursery`."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        self._orders = orders
        self._answers = answers

    def start(self, data_dir: Path, kill_at: Step | None = None) -> Server:
        """A server on a data directory, listening on loopback."""
        server = self.begin(data_dir, kill_at)
        assert server.url, "the server ended; see its standard error"
        return server

    def yank(self, data_dir: Path, project: str, version: str, kill_at: Step) -> Server:
        """An operator's command, beside no server or several; it ends by itself."""
        return self.begin(data_dir, kill_at, yank=[project, version])

    def begin(self, data_dir: Path, kill_at: Step | None, **more: object) -> Server:
        """A server that may have died before it listened; its `url` is "" then."""
        settings = {
            "data_dir": str(data_dir),
            "base_url": "http://localhost",
            "listen": "127.0.0.1:0",
            "mints_per_address_per_minute": 0,
        }
        answer = self.ask({"settings": settings, "kill_at": kill_at, **more})
        return Server(answer["pid"], f"http://127.0.0.1:{answer['port']}" if answer["port"] else "", self)

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        self._orders.write(json.dumps(order).encode() + b"\n")
        self._orders.flush()
        ready, _, _ = select.select([self._answers], [], [], START_SECONDS)
        assert ready, "no answer"
        line = self._answers.readline()
        assert line, "the process that starts servers ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A process that starts servers, and ends those that are left."""
    # Unbuffered: `select` must not miss what a buffer already holds.
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Nursery(process.stdin, process.stdout)
        finally:
            # The end of its orders is the end of its work.
            process.stdin.close()
            process.wait(timeout=START_SECONDS)


def _environment() -> dict[str, str]:
    paths = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


# -- in the servers' process ------------------------------------------------------------------------------------------


async def serve(order: dict[str, Any], listens: int) -> None:
    """One server, until it is told to stop or kills itself. It writes its port to `listens`."""
    settings = msgspec.convert(order["settings"], Settings)

    def reached(step: Step) -> None:
        if step == order["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    index = Index(settings, reached=reached)
    try:
        if "yank" in order:
            project, version = order["yank"]
            await index.life_cycle.yank("acme", project, WholeVersion(version), "broken", OPERATOR)
            return
        async with listening(index.application(), settings) as port:
            os.write(listens, str(port).encode())
            os.close(listens)
            await stopped()
    finally:
        await index.close()


def say(answer: dict[str, int]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def fork(order: dict[str, Any]) -> tuple[int, int]:
    """A new server and its port, 0 if it died before it listened."""
    listened, listens = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(listened)
            asyncio.run(serve(order, listens))
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(listens)
    with open(listened, "rb") as file:
        return pid, int(file.read() or 0)


def end_of(pid: int) -> int:
    """Wait for a server's end. One that does not end is killed, so that no test leaves any behind."""
    for _ in range(int(END_SECONDS / 0.01)):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return STUCK


def main() -> None:
    configure("json")
    left: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            left.discard(order["wait"])
            say({"status": end_of(order["wait"])})
            continue
        pid, port = fork(order)
        left.add(pid)
        say({"pid": pid, "port": port})
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
