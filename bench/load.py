"""The load generator: wrk with prepared requests.

Owns the file of requests, the Lua script that sends them one after the other over kept-alive connections, and reading
wrk's result. wrk costs about 3 microseconds a request, so that it never is what limits a Python server.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.session import LOAD_CORE, BenchError, cpu_seconds, find, on_core

# Requests stand in the file as their length in decimal, a line feed, and their bytes.
_SCRIPT = """
local requests, at, again = {}, 0, __AGAIN__
local file = assert(io.open("__FILE__", "rb"))
while true do
  local length = file:read("*n")
  if not length then break end
  file:read(1)
  requests[#requests + 1] = file:read(length)
end
file:close()
request = function()
  at = at + 1
  if at > #requests then at = again and 1 or #requests end
  return requests[at]
end
done = function(summary, latency)
  local e = summary.errors
  local form = 'RESULT {"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p99": %d}\\n'
  io.write(form:format(summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Result:
    """One run under load."""

    requests: int
    rate: float
    """Answers a second."""
    p99_ms: float
    cpu_us: float
    """Processor time of the server for one request, in microseconds."""


def write_requests(path: Path, requests: Iterable[bytes]) -> int:
    """Write a file of requests; returns how many."""
    count = 0
    with open(path, "wb") as file:
        for request in requests:
            file.write(b"%d\n" % len(request) + request)
            count += 1
    return count


def get(path: str, **headers: str) -> bytes:
    """A GET request for a server on loopback."""
    return _head("GET", path, headers) + b"\r\n"


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A POST request for a server on loopback."""
    return _head("POST", path, headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def basic(secret: str) -> str:
    """The Authorization header of a credential."""
    return "Basic " + base64.b64encode(f"__token__:{secret}".encode()).decode()


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: mintmark-bench"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n"


def run(
    url: str,
    requests: Path,
    seconds: int,
    *,
    connections: int = 8,
    server_pid: int,
    others: Sequence[int] = (),
    again: bool,
    pinned: bool = False,
) -> Result:
    """Send the file's requests for some seconds; `again` and again, or else each once. `others` are further processes
    of the server.

    Raises `BenchError` when anything but success was answered, or requests that must be sent once ran out.
    """
    script = requests.with_suffix(".lua")
    script.write_text(_SCRIPT.replace("__FILE__", str(requests)).replace("__AGAIN__", "true" if again else "false"))
    command = [find("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script)]
    before = cpu_seconds(server_pid, *others)
    with on_core(LOAD_CORE if pinned else None):
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False, timeout=seconds + 60)
    used = cpu_seconds(server_pid, *others) - before
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode or line is None:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout)[-500:]}")
    result = json.loads(line.removeprefix("RESULT "))
    count = result["requests"]
    if result["refused"] or result["broken"] or not count:
        raise BenchError(
            f"of {count} requests {result['refused']} were refused and {result['broken']} broke ({requests.name})"
        )
    return Result(count, count / result["microseconds"] * 1e6, result["p99"] / 1000, used / count * 1e6)
