"""Servers as an operator runs them: `mintmark serve`, `nginx` and `pypiron`, processes of their own on loopback.

Owns starting them, waiting until they answer, and stopping them by their process id. Leaves their data to `seed`.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.session import ROOT, SERVER_CORE, BenchError, find, on_core
from mintmark import settings as settings_module
from mintmark.settings import Settings

AUDIENCE = "mintmark_bench"
START_SECONDS = 30.0
STOP_SECONDS = 30.0
HEALTH = "/-/health"
PYPIRON_PASSWORD = "bench"
_PYPIRON = {
    # The user of our own API tokens, so that both servers get the same requests.
    "PYPIRON_ADMIN_USER": "__token__",
    "PYPIRON_ADMIN_PASS": PYPIRON_PASSWORD,
    "PYPIRON_UPLOADER_USER": "uploader",
    "PYPIRON_UPLOADER_PASS": "uploader",
}

_NGINX = """
worker_processes 1;
daemon off;
__USER__
pid __HOME__/nginx.pid;
error_log __HOME__/nginx.err;
events { worker_connections 256; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; gzip_static on; open_file_cache off;
  client_body_temp_path __HOME__/t1; proxy_temp_path __HOME__/t2; fastcgi_temp_path __HOME__/t3;
  uwsgi_temp_path __HOME__/t4; scgi_temp_path __HOME__/t5;
  types { text/html html; application/vnd.pypi.simple.v1+json json; }
  map $http_accept $idx { default index.html; "~pypi.simple.v1\\+json" index.json; }
  server { listen 127.0.0.1:__PORT__;
    location = /-/health { return 200 "ok"; }
    location / { root __SITE__; try_files $uri$idx =404; } }
}
"""


@dataclass(frozen=True)
class Running:
    """A server that answers. `pid` is the process that does the work; `others` share it."""

    url: str
    port: int
    pid: int
    others: tuple[int, ...] = ()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_file(home: Path) -> Path:
    """Write the settings of an index whose everything is below `home`; the folder can be copied as a whole."""
    port = free_port()
    path = home / "mintmark.toml"
    path.write_text(
        f'data_dir = "data"\nbase_url = "http://127.0.0.1:{port}"\nlisten = "127.0.0.1:{port}"\n'
        f'audience = "{AUDIENCE}"\nmints_per_address_per_minute = 0\nmints_per_issuer_per_minute = 0\n'
        'failed_credentials_per_address_per_minute = 0\nlog_format = "json"\nfile_limit_bytes = 2147483648\n'
    )
    return path


def settings_of(home: Path) -> Settings:
    """The settings of an index below `home`, read as the command line reads them."""
    return settings_module.load(home / "mintmark.toml", {})


@contextmanager
def mintmark(home: Path, *, pinned: bool = False, processes: int = 1) -> Iterator[Running]:
    """`mintmark serve` over the index below `home`, its logs in files; several processes share the port."""
    port = int(settings_of(home).listen.rpartition(":")[2])
    command = [*mintmark_command(home), "serve", *(["--reuse-port"] if processes > 1 else [])]
    with ExitStack() as stack:
        pids = [
            stack.enter_context(_process(command, home / f"serve-{number}.log", port, pinned=pinned))
            for number in range(processes)
        ]
        _wait_for_listeners(port, processes)
        yield Running(f"http://127.0.0.1:{port}", port, pids[0], tuple(pids[1:]))


def mintmark_command(home: Path) -> list[str]:
    """The command line of the index below `home`, up to the command."""
    return [sys.executable, "-m", "mintmark", "--config", str(home / "mintmark.toml")]


@contextmanager
def nginx(home: Path, site: Path, *, pinned: bool = False) -> Iterator[Running]:
    """One nginx worker over the files below `site`: sendfile, no open_file_cache, no access log."""
    port = free_port()
    # A master that is root would give its worker another user, who may not read our folders.
    user = "user root;" if os.geteuid() == 0 else ""
    text = _NGINX
    for name, value in (("HOME", home), ("SITE", site), ("PORT", port), ("USER", user)):
        text = text.replace(f"__{name}__", str(value))
    (home / "nginx.conf").write_text(text)
    command = [find("nginx") or "nginx", "-c", str(home / "nginx.conf"), "-e", str(home / "nginx.err")]
    with _process(command, home / "nginx.log", port, pinned=pinned) as pid:
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        yield Running(f"http://127.0.0.1:{port}", port, int(workers[0]))


@contextmanager
def pypiron(home: Path) -> Iterator[Running]:
    """`pypiron serve` over the folder below `home`. Uploads go to /legacy/ with `PYPIRON_PASSWORD`."""
    port = free_port()
    command = [find("pypiron") or "pypiron", "serve", "--data-dir", str(home / "data")]
    command += ["--bind-addr", f"127.0.0.1:{port}"]
    environment = {**os.environ, **_PYPIRON}
    with _process(command, home / "pypiron.log", port, health="/simple/", environment=environment) as pid:
        yield Running(f"http://127.0.0.1:{port}", port, pid)


@contextmanager
def _process(
    command: Sequence[str],
    log: Path,
    port: int,
    *,
    pinned: bool = False,
    health: str = HEALTH,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    with open(log, "ab") as output, on_core(SERVER_CORE if pinned else None):
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
    try:
        wait_until_healthy(port, process, path=health)
        yield process.pid
    except BenchError as error:
        raise BenchError(f"{error}{_why(log, started=process.poll() is None)}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _why(log: Path, *, started: bool) -> str:
    """What a server's log says about a failure: its refusals, or, when it did not start, its last words."""
    lines = log.read_text(errors="replace").splitlines()
    if started:
        lines = [line for line in lines if '"minted"' not in line and '"uploaded"' not in line]
    return "".join(f"\n  {log.parent.name}/{log.name}: {line[:300]}" for line in lines[-3:])


def _wait_for_listeners(port: int, count: int) -> None:
    """Wait until each of the processes that share a port listens: any of them may have answered for the others."""
    until = time.monotonic() + START_SECONDS
    while (listening := _listeners(port)) < count:
        if time.monotonic() > until:
            raise BenchError(f"of {count} processes {listening} listen after {START_SECONDS:g} s")
        time.sleep(0.02)


def _listeners(port: int) -> int:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # 0A is LISTEN.
    return sum(fields[3] == "0A" and fields[1].endswith(f":{port:04X}") for fields in lines)


def wait_until_healthy(port: int, process: subprocess.Popen[bytes], *, path: str = HEALTH, pause: float = 0.02) -> None:
    """Wait for the first answer. Raises `BenchError` when the server stops instead, or takes too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise BenchError(f"the server stopped with exit code {process.returncode}")
        try:
            if fetch(port, path)[0] == 200:
                return
        except OSError:
            time.sleep(pause)
    raise BenchError(f"the server did not answer within {START_SECONDS:g} s")


def fetch(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of one GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def child(module: str, **arguments: object) -> dict[str, float]:
    """Run a module of this package in a process of its own; what it prints as JSON. Raises `BenchError`."""
    command = [sys.executable, "-m", module, json.dumps(arguments, default=str)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    if done.returncode:
        raise BenchError(f"{module} failed: {done.stderr[-800:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
