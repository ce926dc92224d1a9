"""`mintmark serve` as a real process, started and stopped the way an operator does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

STOP_SECONDS = 60
TIMEOUT_SECONDS = 60


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def mintmark(
    *arguments: str, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    environment = {"PATH": os.environ["PATH"], **(variables or {})}
    return subprocess.run(
        [sys.executable, "-m", "mintmark", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


@dataclass
class Server:
    """A running server. `log` is what it wrote to standard error until it was ready."""

    process: subprocess.Popen[str]
    folder: Path
    port: int
    log: str = field(default="")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; its exit code and everything else it wrote."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, rest

    @property
    def ca(self) -> Path:
        return self.folder / "dev" / "tls" / "ca.pem"

    def fetch(self, path: str, value: object | None = None) -> tuple[int, bytes]:
        """One request over TLS with the development CA, past every proxy; with a JSON body when there is a value."""
        context = ssl.create_default_context(cafile=self.ca)
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        data = None if value is None else json.dumps(value).encode()
        try:
            with opener.open(Request(f"https://localhost:{self.port}{path}", data), timeout=TIMEOUT_SECONDS) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command beside it."""
        config = str(self.folder / "dev" / "mintmark.toml")
        return mintmark(*arguments, folder=self.folder, variables={"MINTMARK_CONFIG": config, **variables})


@contextmanager
def serving(folder: Path, *arguments: str, port: int, ready: str) -> Iterator[Server]:
    """Start it, wait until it says that it is ready, and never leave it behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mintmark", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server(process, folder, port)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            server.log += line
            if ready in line:
                break
        else:
            raise AssertionError(f"it ended with {process.wait()}: {server.log}")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=STOP_SECONDS)


def developing(folder: Path, port: int) -> Iterator[Server]:
    """`serve --dev` below a folder."""
    arguments = ("serve", "--dev", "--dir", "dev", "--port", str(port))
    with serving(folder, *arguments, port=port, ready="Ctrl-C stops it.") as server:
        yield server
