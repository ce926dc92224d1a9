"""What the kernel sees of an upload: durable first, then the ledger's commit, then the answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from real.production import running_server
from real.tools import need
from support.dists import wheel

pytestmark = pytest.mark.real


def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    strace = need("strace")["strace"]
    trace = tmp_path / "trace"
    calls = "fsync,fdatasync,rename,renameat,renameat2,openat,write,pwrite64,sendto,writev"
    prefix = [strace, "-f", "-y", "-s", "40", "-o", str(trace), "-e", f"trace={calls}", "--seccomp-bpf"]
    with running_server(tmp_path, proxied=True, prefix=prefix) as server:
        secret = server.mintmark("token", "create", "acme", "t", "--upload")
        filename, data = wheel("durable")
        (tmp_path / filename).write_bytes(data)
        # Straight to the server's plain port, so that the answer can be read in the trace.
        done = server.run(
            "twine", "upload", "--non-interactive", "--repository-url", f"http://localhost:{server.port}/acme/legacy/",
            str(tmp_path / filename), more={"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": secret},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    incoming = [i for i, line in enumerate(lines) if re.search(r"fsync\(\d+<[^>]*/incoming/", line)]
    renamed = [i for i, line in enumerate(lines) if re.search(r"rename\w*\(.*/incoming/.*/blobs/", line)]
    folders = [i for i, line in enumerate(lines) if re.search(r"fsync\(\d+<[^>]*/blobs/[0-9a-f]{2}>", line)]
    answers = [i for i, line in enumerate(lines) if "HTTP/1.1 200 OK" in line]
    # The file is synced, renamed, and its folder synced.
    assert len(incoming) == len(renamed) == len(folders) == 1
    assert incoming[0] < renamed[0] < folders[0]
    committed = [i for i, line in enumerate(lines) if re.search(r"f(data)?sync\(\d+<[^>]*mintmark\.db-wal", line)]
    after = [i for i in committed if i > folders[-1]]
    assert after, "the ledger was not synced after the blobs"
    assert next(i for i in answers if i > folders[-1]) > after[0]
