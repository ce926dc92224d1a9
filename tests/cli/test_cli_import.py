"""`mintmark import` as people and scripts use it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mintmark.cli.import_ import _size
from support.command import Shell
from support.dists import sdist, wheel
from support.server import TIMEOUT_SECONDS


def folder(shell: Shell, *files: tuple[str, bytes], name: str = "in") -> str:
    made = shell.folder / name
    made.mkdir(exist_ok=True)
    for filename, data in files:
        (made / filename).write_bytes(data)
    return str(made)


@contextmanager
def index(files: dict[str, bytes], authorization: str = "") -> Iterator[str]:
    """A plain index in a thread; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = [name for name in files if name.partition("-")[0] == self.path.strip("/").rpartition("/")[2]]
            body = (
                files.get(self.path.rpartition("/")[2])
                or "".join(
                    f'<a href="/files/{name}#sha256={hashlib.sha256(files[name]).hexdigest()}">x</a>' for name in names
                ).encode()
            )
            allowed = not authorization or self.headers.get("Authorization") == authorization
            self.send_response(200 if allowed and body else 404 if allowed else 401)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


def test_a_folder(acme: Shell) -> None:
    source = folder(acme, wheel(), sdist(), ("notes.txt", b""))
    done = acme.ok("import", "acme", source)
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows[:3] == [["WHAT", "FILES"], ["imported", "2"], ["skipped (.txt)", "1"]]
    assert "kB came into acme." in done.out
    assert acme.ok("import", "acme", source).out.splitlines()[1] == "already there\t2"
    (event,) = [e for e in acme.ok("audit", "acme", "--json").json if e["action"] == "import"]
    assert (event["by"]["kind"], event["project"]) == ("operator", "widget")
    assert event["facts"]["files"] == 2


def test_what_did_not_come_in_is_named(acme: Shell) -> None:
    acme.ok("import", "acme", folder(acme, wheel()))
    source = folder(acme, wheel(body=b"# other"), ("broken-1.0.tar.gz", b"no"), name="second")
    done = acme("import", "acme", source)
    assert done.code == 1
    assert "conflict (file-exists): widget-1.0-py3-none-any.whl: The registry has" in done.err
    assert "refused (invalid-distribution): broken-1.0.tar.gz: " in done.err
    assert done.out.splitlines()[1:] == ["conflict\t1", "refused\t1"]


def test_for_machines(acme: Shell) -> None:
    source = folder(acme, wheel(), ("broken-1.0.tar.gz", b"no"))
    done = acme("import", "acme", source, "--json")
    assert done.code == 1
    told = done.json
    assert (told["complete"], told["stopped"], told["pages-behind"]) == (False, False, "")
    assert told["outcomes"]["imported"] == told["outcomes"]["refused"] == 1
    assert told["imported-bytes"] == len(wheel()[1])
    by_name = {file["filename"]: file for file in told["files"]}
    assert by_name["broken-1.0.tar.gz"]["code"] == "invalid-distribution"
    imported = by_name[wheel()[0]]
    assert imported["sha256"] == hashlib.sha256(wheel()[1]).hexdigest()
    assert (imported["what"], imported["project"], imported["place"]) == ("imported", "widget", wheel()[0])


def test_choosing(acme: Shell) -> None:
    source = folder(acme, wheel(), wheel("gadget"), wheel("gadget", "2.0"), wheel("Other".lower()))
    assert acme.ok("import", "acme", source, "--project", "Gad*".lower(), "--dry-run").out.splitlines()[1:] == [
        "would be imported\t2"
    ]
    pins = str(acme.write("pins.txt", "gadget==1.0\nwidget==9.0\n"))
    done = acme("import", "acme", source, "--requirements", pins, "--project", "Other")
    assert done.code == 1
    assert done.out.splitlines()[1:3] == ["imported\t2", "not in the source\t1"]
    assert "not in the source: widget==9.0: The source has no file of widget==9.0." in done.err


def test_nothing_to_import(acme: Shell) -> None:
    assert acme.ok("import", "acme", folder(acme)).out == "There is nothing to import.\n"


def test_another_index(acme: Shell) -> None:
    with index(dict([wheel(), sdist()]), "Basic am86czNjcmV0") as url:
        refused = acme("import", "acme", url, "--project", "widget")
        assert refused.code == 1
        assert "MINTMARK_IMPORT_PASSWORD" in refused.err
        acme.variables["MINTMARK_IMPORT_PASSWORD"] = "s3cret"
        done = acme.ok("import", "acme", url.replace("://", "://jo@"), "--project", "Widget")
        assert done.out.splitlines()[1] == "imported\t2"
        assert "s3cret" not in done.out + done.err + acme.ok("audit", "--json").out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing", "in"], 2, "no registry 'nothing'"),
        (["acme", "no-such-folder"], 78, "is no folder"),
        (["acme", "http://index.example.com/simple/"], 78, "not encrypted"),
        (["acme", "ftp://index.example.com/simple/"], 78, "no URL of a simple API"),
        (["acme", "in", "--project", "a b"], 2, "not a project name"),
        (["acme", "in", "--project", "A*"], 2, "not a pattern"),
        (["acme", "in", "--requirements", "bad.txt"], 2, "Line 1"),
        (["acme", "in", "--requirements", "binary.txt"], 2, "not UTF-8"),
        (["acme", "in", "--jobs", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_cannot_be_done(
    acme: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(acme.folder)
    acme.variables["MINTMARK_DATA_DIR"] = str(acme.folder / "data")
    folder(acme)
    acme.write("bad.txt", "widget>=1\n")
    (acme.folder / "binary.txt").write_bytes(b"\xff\xfe")
    done = acme("import", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_ctrl_c_stops_and_the_next_run_goes_on(acme: Shell) -> None:
    """The source holds one file back until the command was told to stop."""
    asked, go_on = threading.Event(), threading.Event()

    class Slow(dict[str, bytes]):
        def get(self, name: str, default: object = None) -> bytes | None:  # type: ignore[override]
            if name == wheel("widget", "2.0")[0] and not go_on.is_set():
                asked.set()
                go_on.wait(TIMEOUT_SECONDS)
            return super().get(name)

    with index(Slow([wheel(), wheel("widget", "2.0")])) as url:
        command = [sys.executable, "-m", "mintmark", "import", "acme", url, "--project", "widget", "--jobs", "1"]
        environment = {"PATH": os.environ["PATH"], "MINTMARK_CONFIG": str(acme.config)}
        process = subprocess.Popen(
            command, cwd=acme.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert asked.wait(TIMEOUT_SECONDS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        go_on.set()
        assert (process.returncode, out.splitlines()[1]) == (130, "imported\t1"), err
        assert "The same command goes on from here." in err
        done = acme("import", "acme", url, "--project", "widget", "--json")
    assert (done.json["outcomes"]["there"], done.json["outcomes"]["imported"]) == (1, 1)


def test_sizes_for_people() -> None:
    sizes = [_size(number) for number in (0, 999, 1000, 2_500_000, 3 * 10**9, 4 * 10**15)]
    assert sizes == ["0 bytes", "999 bytes", "1.0 kB", "2.5 MB", "3.0 GB", "4000.0 TB"]
