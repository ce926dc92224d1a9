"""A command as a child: exit codes, signals, and that it is gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mintmark.lab.child import NotStarted, endings, run_child
from support.signals import as_at_a_terminal


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
    process = subprocess.Popen(python(parent), stdout=subprocess.PIPE, text=True, preexec_fn=as_at_a_terminal)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "cleaned up 5\n"


def test_a_private_folder_goes_whatever_ends_it(tmp_path: Path) -> None:
    """A signal that comes when no command runs, and one that comes while it cleans up."""
    script = (
        "import os, pathlib, signal, sys\n"
        "from mintmark.lab.child import private_folder\n"
        f"with private_folder('job-', pathlib.Path({str(tmp_path)!r})) as folder:\n"
        "    (folder / 'secret').write_text('x')\n"
        "    os.kill(os.getpid(), int(sys.argv[1]))\n"
    )
    for number, code in ((signal.SIGTERM, 128 + 15), (signal.SIGHUP, 128 + 1), (signal.SIGINT, -2)):
        command = [*python(script), str(int(number))]
        done = subprocess.run(command, capture_output=True, check=False, preexec_fn=as_at_a_terminal)
        assert (done.returncode, list(tmp_path.iterdir())) == (code, []), done.stderr


def test_a_command_gets_its_time_to_end() -> None:
    """However long it has run before; and none of the threads that would have killed it is left."""
    before = threading.active_count()
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "signal.pause()\n"
    )
    assert run_child(python(script), os.environ) == 5
    assert threading.active_count() == before


def test_under_nohup_no_handler_is_set() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in endings()
        script = "import signal, sys; sys.exit(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
        assert run_child(python(script), os.environ) == 1
    finally:
        signal.signal(signal.SIGHUP, former)
