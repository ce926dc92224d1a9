"""The life and death of `mintmark lab up`, with real processes: whatever ends it, nothing stays behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mintmark.lab.places import LAB_PLACES
from support.lab import MINTMARK, LabProcess, environment, eventually, lab_up, mintmark, starting
from support.signals import as_at_a_terminal

PYTHON = sys.executable


def left(folder: Path) -> list[str]:
    """What is in a temporary folder."""
    return sorted(path.name for path in folder.iterdir())


def jobs(lab: LabProcess) -> list[Path]:
    """The folders of running jobs."""
    return list(lab.directory.glob("mintmark-job-*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "temporary"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    """One lab for the tests that only ask; when it ends, nothing stays."""
    folder = tmp_path_factory.mktemp("shared") / "temporary"
    folder.mkdir()
    with lab_up(folder, "--impersonate", "packages.example.org=other") as lab:
        yield lab
        lab.process.terminate()
        assert (lab.ended(), lab.said(), left(folder)) == (0, "", [])


# -- what it tells ----------------------------------------------------------------------------------------------------


def test_the_line_of_json(lab: LabProcess) -> None:
    facts = lab.facts
    assert list(facts) == [
        *("directory", "index", "proxy", "ca", "control", "config", "impersonated", "api_tokens", "places"),
        "environment",
    ]
    url, plain, directory = facts["index"]["url"], facts["index"]["plain_url"], facts["directory"]
    assert url.startswith("https://localhost:")
    assert plain.startswith("http://localhost:")
    assert facts["index"] == {
        "url": url,
        "plain_url": plain,
        "registry": "demo",
        "upload_url": f"{url}/demo/legacy/",
        "plain_upload_url": f"{plain}/demo/legacy/",
        "simple_url": f"{url}/demo/simple/",
        "audience": "mintmark_localhost",
    }
    assert facts["impersonated"] == [
        {
            "host": "packages.example.org",
            "registry": "other",
            "upload_url": "https://packages.example.org/legacy/",
            "simple_url": "https://packages.example.org/simple/",
            "audience": facts["impersonated"][0]["audience"],
        }
    ]
    assert facts["proxy"].startswith("http://127.0.0.1:")
    assert facts["control"].startswith("https://localhost:")
    assert (facts["ca"], facts["config"]) == (f"{directory}/tls/ca.pem", f"{directory}/mintmark.toml")
    assert facts["api_tokens"] == {slug: f"{directory}/tokens/{slug}" for slug in ("demo", "other")}
    assert facts["places"] == [place.name for place in LAB_PLACES]
    assert facts["environment"] == {"MINTMARK_LAB": directory, "MINTMARK_CONFIG": f"{directory}/mintmark.toml"}


def test_secrets_are_its_owners_and_in_no_line(lab: LabProcess) -> None:
    directory = lab.directory
    tokens = [Path(path).read_text() for path in lab.facts["api_tokens"].values()]
    secret = json.loads((directory / "lab.json").read_text())["secret"]
    said = json.dumps(lab.facts) + lab.said() + Path(lab.facts["config"]).read_text()
    command_line = Path(f"/proc/{lab.process.pid}/cmdline").read_text()
    assert not [True for each in (*tokens, secret) if each in said + command_line]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "tokens").stat().st_mode) == 0o700
    private = [directory / "lab.json", directory / "journal.jsonl", *map(Path, lab.facts["api_tokens"].values())]
    for path in (*private, *directory.glob("tls/*-key.pem")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


# -- what ends it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ctrl-c", "term", "hup", "down", "eof"])
def test_whatever_ends_it_nothing_is_left(folder: Path, how: str) -> None:
    with lab_up(folder, *(["--until-eof"] if how == "eof" else [])) as lab:
        assert left(folder) == [lab.directory.name]
        if how == "ctrl-c":
            lab.signal_group(signal.SIGINT)
        elif how == "down":
            lab.remote.stop()
        elif how == "eof":
            assert lab.process.stdin is not None
            lab.process.stdin.close()
        else:
            lab.process.send_signal({"term": signal.SIGTERM, "hup": signal.SIGHUP}[how])
        assert (lab.ended(), lab.said(), left(folder)) == (0, "", [])


def test_a_signal_while_it_starts(folder: Path) -> None:
    with starting(folder) as lab:
        eventually(lambda: list(folder.glob("mintmark-lab-*")))
        lab.process.terminate()
        assert (lab.ended(), lab.said(), left(folder)) == (0, "", [])


@pytest.mark.parametrize("until_eof", ["/dev/null", "closed"])
def test_no_standard_input_is_its_end(folder: Path, until_eof: str) -> None:
    inputs = "</dev/null" if until_eof == "/dev/null" else "<&-"
    script = f'exec "$@" {inputs}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *MINTMARK, "lab", "up", "--json", "--until-eof"],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, left(folder)) == (0, "", [])


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("test -d $MINTMARK_LAB && test -f $MINTMARK_CONFIG || exit 9; exit 7", 7),
        ("kill -SEGV $$", 128 + signal.SIGSEGV),
    ],
)
def test_the_commands_end_is_its_own(folder: Path, script: str, code: int) -> None:
    done = mintmark(folder, "lab", "up", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr, left(folder)) == (code, "", "", [])


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [("no-such-command-anywhere", 127, "There is no command"), ("/", 126, "'/' cannot be run: Permission denied.")],
)
def test_a_command_that_cannot_be_run(folder: Path, command: str, code: int, sentence: str) -> None:
    done = mintmark(folder, "lab", "up", "--", command)
    assert (done.returncode, done.stdout, left(folder)) == (code, "", [])
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


SLOW_TO_END = (
    "import signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
    "signal.signal(signal.SIGHUP, lambda *_: sys.exit(6))\n"
    "signal.signal(signal.SIGINT, lambda *_: sys.exit(8))\n"
    "print('ready', flush=True)\n"
    "signal.pause()\n"
)


@pytest.mark.parametrize(("how", "code"), [("term", 5), ("hup", 6), ("ctrl-c", 8), ("down", 5)])
def test_being_told_to_end_reaches_the_command(folder: Path, how: str, code: int) -> None:
    with lab_up(folder, "--", PYTHON, "-c", SLOW_TO_END) as lab:
        assert lab.line() == "ready\n"
        if how == "ctrl-c":
            lab.signal_group(signal.SIGINT)
        elif how == "down":
            lab.remote.stop()
        else:
            lab.process.send_signal({"term": signal.SIGTERM, "hup": signal.SIGHUP}[how])
        assert (lab.ended(), lab.said(), left(folder)) == (code, "", [])


def test_a_closed_terminal_ends_lab_and_command(folder: Path) -> None:
    """As when a terminal's window is closed: the kernel tells the session, and nothing survives."""
    said = folder.parent / "pid"
    script = f"import os, signal; open({str(said)!r}, 'w').write(str(os.getpid()) + ' '); signal.pause()"
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - another process
        as_at_a_terminal()
        os.execve(PYTHON, [*MINTMARK, "lab", "up", "--", PYTHON, "-c", script], environment(folder))
    try:
        eventually(lambda: said.exists() and said.read_text().endswith(" "), 60)
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    assert (os.waitstatus_to_exitcode(status), left(folder)) == (128 + signal.SIGHUP, [])
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def test_under_nohup_a_closed_terminal_is_no_end(folder: Path) -> None:
    done = subprocess.run(
        ["nohup", *MINTMARK, "lab", "up", "--", "sh", "-c", "kill -HUP $PPID; exit 3"],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, left(folder)) == (3, [])


# -- several, and what a killed one leaves ----------------------------------------------------------------------------


def test_two_labs_and_a_killed_one(folder: Path) -> None:
    script = ("lab", "run", "--ci", "gitlab", "--", "sh", "-c", "echo $HTTPS_PROXY")
    with lab_up(folder) as living, lab_up(folder) as killed:
        refused = living.run(*script)
        assert (refused.returncode, refused.stdout) == (78, "")
        for text in ("2 labs run", str(living.directory), str(killed.directory), "--lab", "MINTMARK_LAB"):
            assert text in refused.stderr
        named = living.run(
            "lab", "run", "--lab", str(living.directory), *script[2:], MINTMARK_LAB=str(killed.directory)
        )
        assert (named.returncode, named.stdout.strip()) == (0, living.facts["proxy"]), named.stderr
        named = living.run(*script, MINTMARK_LAB=str(killed.directory))
        assert (named.returncode, named.stdout.strip()) == (0, killed.facts["proxy"]), named.stderr
        killed.process.kill()
        killed.ended()
        assert killed.directory.is_dir()
        only = living.run(*script)
        assert (only.returncode, only.stdout.strip()) == (0, living.facts["proxy"]), only.stderr
        gone = living.run(*script, MINTMARK_LAB=str(killed.directory))
        assert (gone.returncode, gone.stdout) == (78, "")
        assert "Nothing answers" in gone.stderr
        with lab_up(folder) as third:
            assert left(folder) == sorted([living.directory.name, third.directory.name])
            assert living.remote.faults()["active"] == []
            living.process.terminate()
            assert living.ended() == 0
            third.process.terminate()
            assert (third.ended(), left(folder)) == (0, [])


def test_what_serve_dev_left_does_not_hide_a_lab(lab: LabProcess, tmp_path: Path) -> None:
    former = tmp_path / "mintmark-dev"
    former.mkdir()
    dead = subprocess.Popen([PYTHON, "-c", ""])
    dead.wait()
    mark = json.loads((lab.directory / "lab.json").read_text())
    (former / "lab.json").write_text(json.dumps(mark | {"process_id": dead.pid, "control_url": "https://localhost:1"}))
    done = mintmark(tmp_path, "lab", "status", "--json", TMPDIR=str(lab.folder))
    assert (done.returncode, json.loads(done.stdout)["directory"]) == (0, str(lab.directory)), done.stderr


# -- jobs -------------------------------------------------------------------------------------------------------------


def running_job(lab: LabProcess, script: str) -> subprocess.Popen[str]:
    """`mintmark lab run` of a command that says when it is there."""
    return subprocess.Popen(
        [*MINTMARK, "lab", "run", "--lab", str(lab.directory), "--ci", "circleci", "--", PYTHON, "-c", script],
        env=environment(lab.folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=as_at_a_terminal,
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 5), (signal.SIGHUP, 6), (signal.SIGINT, 8)], ids=lambda value: str(int(value))
)
def test_a_jobs_secrets_go_with_it(lab: LabProcess, number: signal.Signals, code: int) -> None:
    with running_job(lab, SLOW_TO_END) as job:
        assert job.stdout is not None
        try:
            assert job.stdout.readline() == "ready\n"
            (folder,) = jobs(lab)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.iterdir()} == {0}
            os.killpg(job.pid, number) if number == signal.SIGINT else job.send_signal(number)
            assert job.wait(30) == code
        finally:
            job.kill()
    assert jobs(lab) == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "kill -KILL $$"], 128 + 9),
        (["no-such-command-anywhere"], 127),
        (["/"], 126),
    ],
)
def test_a_jobs_end(lab: LabProcess, command: list[str], code: int) -> None:
    done = lab.run("lab", "run", "--ci", "buildkite", "--", *command)
    assert (done.returncode, jobs(lab)) == (code, [])
    assert "Traceback" not in done.stderr


def test_a_closed_terminal_ends_a_job(lab: LabProcess, tmp_path: Path) -> None:
    said = tmp_path / "pid"
    script = f"import os, signal; open({str(said)!r}, 'w').write(str(os.getpid()) + ' '); signal.pause()"
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - another process
        as_at_a_terminal()
        command = [*MINTMARK, "lab", "run", "--lab", str(lab.directory), "--ci", "jenkins", "--", PYTHON, "-c", script]
        os.execve(PYTHON, command, environment(lab.folder))
    try:
        eventually(lambda: said.exists() and said.read_text().endswith(" "), 60)
        assert len(jobs(lab)) == 1
        os.close(terminal)
        os.waitpid(child, 0)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    assert jobs(lab) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def test_no_secret_of_a_job_is_in_a_command_line_or_the_journal(lab: LabProcess) -> None:
    script = (
        "import json, os, pathlib\n"
        "lines = [path.read_bytes().decode('utf-8', 'replace') for path in pathlib.Path('/proc').glob('[0-9]*/cmdline')"
        " if path.parent.exists()]\n"
        "secrets = [value for name, value in os.environ.items() if name.endswith('ID_TOKEN')]\n"
        "journal = pathlib.Path(os.environ['LAB'], 'journal.jsonl').read_text()\n"
        "print(len(secrets), [True for each in secrets if each in journal or any(each in line for line in lines)])\n"
    )
    done = lab.run("lab", "run", "--ci", "gitlab", "--", PYTHON, "-c", script, LAB=str(lab.directory))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 []\n"
