"""A command as a child: exit codes, signals, and that it is gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mintmark.lab.child import NotStarted, run_child


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 128 + 15),
    ],
)
def test_exit_codes(script: str, code: int) -> None:
    assert run_child(python(script), os.environ) == code


def test_commands_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match="on PATH") as missing:
        run_child(["no-such-command-anywhere"], os.environ)
    assert missing.value.exit_code == 127
    (tmp_path / "data").write_text("no program")
    with pytest.raises(NotStarted, match="cannot be run") as refused:
        run_child([str(tmp_path / "data")], os.environ)
    assert refused.value.exit_code == 126


def test_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run_child(python("pass"), os.environ)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_reaches_the_command(number: signal.Signals, tmp_path: Path) -> None:
    """The child says which signal it got; the parent tells its exit code and cleans up."""
    child = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import os, sys\n"
        "from mintmark.lab.child import run_child\n"
        f"code = run_child([sys.executable, '-c', {child!r}], os.environ)\n"
        "print('cleaned up', code, flush=True)\n"
    )
    process = subprocess.Popen(python(parent), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "cleaned up 5\n"
