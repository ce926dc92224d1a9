"""The pytest plugin, in test runs of their own: isolation, xdist, and what stays behind however a run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.signals import as_at_a_terminal

RUN_SECONDS = 100.0
END_SECONDS = 30.0
POLL_SECONDS = 0.05

ISOLATION = """\
import pytest

@pytest.mark.parametrize("turn", range(2))
def test_alone(mintmark_lab, turn):
    lab = mintmark_lab
    assert lab.journal.entries() == []
    assert lab.remote.faults()["active"] == []
    assert lab.index.files("hello") == {}
    lab.publisher("hello", lab.ci("gitlab"))
    lab.faults.set("mint-500", times=5)
    token = lab.ci("github").token("somebody")
    assert token.count(".") == 2
    print("REGISTRY", lab.index.registry)
"""
# Each waits for the other one, so that two workers have one each.
TWO_WORKERS = """\
import pathlib, time
import pytest

@pytest.mark.parametrize("own, other", [("one", "two"), ("two", "one")])
def test_both(mintmark_lab, own, other):
    told = pathlib.Path("told")
    (told / f"{own}.new").write_text(mintmark_lab.facts["directory"])
    (told / f"{own}.new").rename(told / own)
    until = time.monotonic() + 60
    while not (told / other).exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (told / other).read_text() != mintmark_lab.facts["directory"]
"""
WAITING = """\
import signal

def test_waits(mintmark_lab):
    print(f"LAB {mintmark_lab.remote.lab.process_id}", flush=True)
    signal.pause()
"""
# With -s, what a worker prints does not arrive.
WAITING_IN_A_WORKER = WAITING.replace("flush=True", "flush=True, file=open('told/lab', 'w')")


@dataclass(frozen=True)
class Folder:
    """A folder with tests; `temporary` is where their labs are."""

    path: Path
    temporary: Path

    def start(self, content: str, *options: str, ini: str = "") -> subprocess.Popen[str]:
        (self.path / "test_it.py").write_text(content)
        (self.path / "pytest.ini").write_text(f"[pytest]\nasyncio_default_fixture_loop_scope = function\n{ini}\n")
        command = [sys.executable, "-m", "pytest", "-q", "--basetemp", str(self.path / "base"), *options, "test_it.py"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MINTMARK"))}
        return subprocess.Popen(
            command,
            cwd=self.path,
            env={**environment, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=as_at_a_terminal,
        )

    def run(self, content: str, *options: str, ini: str = "") -> tuple[int, str]:
        with self.start(content, *options, ini=ini) as process:
            said, _ = process.communicate(timeout=RUN_SECONDS)
        return process.returncode, said

    @contextmanager
    def waiting(self) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """A run that waits in its test, and the process of its lab. Nothing of both may be left at the end."""
        with self.start(WAITING, "-s") as process:
            try:
                assert process.stdout is not None
                lab = next(int(line.split()[1]) for line in process.stdout if line.startswith("LAB "))
                yield process, lab
            finally:
                process.kill()
        eventually(lambda: not is_alive(lab))
        self.is_clean()

    def is_clean(self) -> None:
        eventually(lambda: not any(self.temporary.iterdir()))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for name in ("tests", "tests/told", "tmp"):
        (tmp_path / name).mkdir()
    return Folder(tmp_path / "tests", tmp_path / "tmp")


def eventually(holds: object) -> None:
    assert callable(holds)
    until = time.monotonic() + END_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(POLL_SECONDS)


def is_alive(process: int) -> bool:
    """Whether it runs; one that has ended and that nobody has waited for does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_tests_are_alone(folder: Folder) -> None:
    code, said = folder.run(ISOLATION, "-s")
    assert (code, "2 passed" in said) == (0, True), said
    registries = {line.split()[-1] for line in said.splitlines() if "REGISTRY" in line}
    assert len(registries) == 2
    assert list(folder.temporary.iterdir()) == []


def test_every_worker_has_a_lab_of_its_own(folder: Folder) -> None:
    code, said = folder.run(TWO_WORKERS, "-n", "2")
    assert (code, "2 passed" in said) == (0, True), said
    labs = {path.read_text() for path in (folder.path / "told").iterdir()}
    assert len(labs) == 2
    assert not any(Path(lab).exists() for lab in labs)
    folder.is_clean()


def test_the_options_of_the_ini_file(folder: Folder) -> None:
    content = "def test_it(mintmark_lab):\n    assert list(mintmark_lab.played) == ['pkgs']\n"
    code, said = folder.run(content, ini="mintmark_lab_options = --impersonate pkgs.example.com=pkgs")
    assert code == 0, said


def test_a_killed_run_leaves_nothing(folder: Folder) -> None:
    with folder.waiting() as (process, lab):
        assert is_alive(lab)
        assert any(folder.temporary.iterdir())
        process.kill()


def test_killed_workers_leave_nothing(folder: Folder) -> None:
    told = folder.path / "told" / "lab"
    with folder.start(WAITING_IN_A_WORKER, "-n", "1") as process:
        eventually(lambda: told.exists() and told.read_text().endswith("\n"))
        lab = int(told.read_text().split()[1])
        assert is_alive(lab)
        # The workers are of its group, and a closed terminal ends them with it.
        os.killpg(process.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(lab))
    folder.is_clean()


def test_ctrl_c_ends_the_tests_and_then_the_lab(folder: Folder) -> None:
    with folder.waiting() as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=RUN_SECONDS)
        assert process.returncode == pytest.ExitCode.INTERRUPTED, said
        assert "KeyboardInterrupt" in said
        assert "mintmark.lab.remote" not in said
        assert "mintmark/lab/session" not in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--impersonate https://pkgs.example.com", "Refused (invalid-request): 'https://pkgs.example.com' is a URL."),
        ("--imperson pkgs.example.com", "Refused (invalid-request): There is no option '--imperson'."),
    ],
)
def test_a_lab_that_cannot_start_says_why(folder: Folder, options: str, sentence: str) -> None:
    code, said = folder.run(ISOLATION, ini=f"mintmark_lab_options = {options}")
    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert f"The lab did not start: {sentence}" in said
    assert "Traceback" not in said
    assert "subprocess" not in said
    folder.is_clean()


def test_an_unused_plugin_costs_nothing() -> None:
    script = (
        "import sys, pytest, mintmark.lab.plugin; "
        "print(*(name for name in sys.modules if name.partition('.')[0] in "
        "{'mintmark', 'aiohttp', 'cryptography', 'joserfc', 'click', 'msgspec', 'sqlalchemy', 'ssl'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["mintmark", "mintmark.lab", "mintmark.lab.plugin"]
