"""The commands beside a running lab: publisher, fault, journal, status, down; each mistake is a sentence."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lab import MINTMARK, LabProcess, environment, lab_up, line_of, mintmark


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    """One lab for this file, the only one in its temporary folder."""
    folder = tmp_path_factory.mktemp("tell") / "temporary"
    folder.mkdir()
    with lab_up(folder) as lab:
        yield lab
        assert lab.process.poll() is None
        assert lab.said() == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fault"], "Name one fault, or say --list or --clear."),
        (["fault", "mint-500", "--clear"], "Name one fault, or say --list or --clear."),
        (["fault", "mint-50"], "There is no such fault; there are provider-down,"),
        (["fault", "mint-500", "--times", "0"], "times must be a whole number from 1 to 1000."),
        (["fault", "mint-500", "--times", "1001"], "times must be a whole number from 1 to 1000."),
        (["fault", "index-slow", "--seconds", "61"], "seconds must be a number from 0 to 60."),
        (["fault", "index-slow", "--seconds", "nan"], "nan is no number of seconds."),
        (["fault", "index-slow", "--seconds=-inf"], "-inf is no number of seconds."),
        (["fault", "mint-500", "--ci", "gitlb"], "ci must be one of azure-devops,"),
        (
            ["publisher", "hello", "--ci", "gitlab", "--registry", "nope"],
            "There is no registry 'nope'. There are: demo.",
        ),
        (["publisher", "../x", "--ci", "gitlab"], "is not a project name"),
        (["publisher", "x", "--ci", "gitlab", "--field", "color=red"], "color"),
        (["publisher", "x", "--ci", "gitlb"], "'gitlb' is not one of 'github'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(lab: LabProcess, words: list[str], sentence: str) -> None:
    done = lab.run("lab", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.remote.faults()["active"] == []


def test_faults_are_switched_told_and_cleared(lab: LabProcess) -> None:
    assert lab.run("lab", "fault", "mint-500", "--times", "3").stdout == "mint-500 is on, 3 times.\n"
    assert "\nmint-500\t" in lab.run("lab", "fault", "--list").stdout
    listed = json.loads(lab.run("lab", "fault", "--list", "--json").stdout)
    assert listed["active"] == [{"name": "mint-500", "left": 3, "seconds": None, "ci": None}]
    assert "mint-500 (3 times)" in lab.run("lab", "status").stdout
    assert lab.run("lab", "fault", "--clear").stdout == "Every fault is off.\n"
    assert lab.remote.faults()["active"] == []


def test_a_publisher_is_told(lab: LabProcess) -> None:
    done = lab.run("lab", "publisher", "hello", "--ci", "gitlab", "--field", "project-path=team/hello")
    assert done.stdout == (
        "Registered publisher 1 of demo: gitlab with project-path=team/hello, workflow=.gitlab-ci.yml "
        "may publish hello.\n"
    )
    again = lab.run("lab", "publisher", "hello", "--ci", "gitlab", "--field", "project-path=team/hello")
    assert (again.returncode, "is registered already" in again.stderr) == (2, True)


def test_status_tells_no_secret(lab: LabProcess) -> None:
    facts = json.loads(lab.run("lab", "status", "--json").stdout)
    assert (facts["directory"], facts["process"]) == (lab.facts["directory"], lab.process.pid)
    assert facts["labs"] == [lab.facts["directory"]]
    secret = json.loads((lab.directory / "lab.json").read_text())["secret"]
    assert secret not in json.dumps(facts) + lab.run("lab", "status").stdout


def test_a_reader_that_has_seen_enough(lab: LabProcess) -> None:
    """As in `mintmark lab fault --list | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*MINTMARK, "lab", "fault", "--list"],
            env=environment(lab.folder),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_journal_is_followed_until_the_lab_ends(tmp_path: Path) -> None:
    with lab_up(tmp_path) as lab:
        assert lab.run("lab", "journal").stderr == "Nothing was asked yet.\n"
        following = subprocess.Popen(
            [*MINTMARK, "lab", "journal", "--follow", "--all"],
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            script = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20)"
            words = ("lab", "run", "--ci", "github", "--", *MINTMARK[:1], "-c", script)
            asked = lab.run(*words, f"{lab.facts['index']['url']}/-/health")
            assert asked.returncode == 0, asked.stderr
            assert following.stdout is not None
            assert "GET localhost:" in (line := line_of(following.stdout))
            assert "/-/health -> 200 OK" in line
            assert lab.run("lab", "down").stdout == f"The lab in {lab.directory} ends.\n"
            assert lab.ended() == 0
            rest, said = following.communicate(timeout=60)
        finally:
            following.kill()
            following.wait()
        assert (following.returncode, rest, said) == (0, "", "The lab has ended.\n")
    done = mintmark(tmp_path, "lab", "down")
    assert (done.returncode, "No lab runs." in done.stderr) == (78, True)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--impersonate", "https://x.example"], 2, "is a URL"),
        (["--impersonate", "x.example=a", "--impersonate", "x.example/p=b"], 2, "Name one registry"),
        (["--impersonate", "x.example=demo"], 2, "demo is the lab's own registry"),
        (["--pass-through", "gitlab.com"], 2, "gitlab.com is played by the lab"),
        (["--mirror", "nowhere"], 2, "'nowhere' does not exist"),
        (["--known-token", os.devnull, "--impersonate", "x.example"], 78, "holds no token"),
        (["--port", "65532"], 2, "is not in the range"),
        (["--until-eof", "--", "true"], 2, "--until-eof is for a lab without COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_at_the_start(tmp_path: Path, words: list[str], code: int, sentence: str) -> None:
    done = mintmark(tmp_path, "lab", "up", *words)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (code, "", [])
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
