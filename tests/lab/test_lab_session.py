"""A lab as tests see it: what they get, and that they do not see each other. Without pytest's fixture."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mintmark.core.errors import Misconfigured
from mintmark.lab.remote import LabRefused
from mintmark.lab.session import LabSession, open_session
from support.dists import wheel
from support.lab_facts import lab_facts

TWICE = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    with lab_facts(tmp_path_factory.mktemp("lab"), "--impersonate", "testpypi") as told:
        yield told


@pytest.fixture
def session(facts: Mapping[str, Any]) -> Iterator[LabSession]:
    with open_session(facts) as opened:
        yield opened


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def built(folder: Path, project: str) -> Path:
    filename, data = wheel(project, "1.0")
    (folder / filename).write_bytes(data)
    return folder / filename


def publish(session: LabSession, ci: str, file: Path) -> subprocess.CompletedProcess[str]:
    tool = str(Path(sys.executable).parent / "uv")
    return session.ci(ci).run([tool, "publish", "--publish-url", session.index.upload_url, file])


def test_tests_do_not_see_each_other(facts: Mapping[str, Any], tmp_path: Path) -> None:
    file = built(tmp_path, "mine")
    with open_session(facts) as one, open_session(facts) as two:
        one.publisher("mine", one.ci("gitlab"))
        done = publish(one, "gitlab", file)
        assert done.returncode == 0, done.stderr
        assert one.index.files("mine").keys() == {file.name}
        assert two.index.files("mine") == {}
        refused = publish(two, "gitlab", file)
        assert refused.returncode != 0
        assert two.index.files("mine") == {}
        one.faults.set("mint-500", times=9)
        one.faults.set("issuer-down", ci="gitlab")
    with open_session(facts) as three:
        assert three.journal.entries() == []
        assert three.remote.faults()["active"] == []
        # The registry of the first one is gone, with its publisher.
        assert one.index.files("mine") == {}
        three.publisher("mine", three.ci("gitlab"))
        assert publish(three, "gitlab", file).returncode == 0
        assert three.index.files("mine").keys() == {file.name}
        assert three.journal.actions() == ["audience", "mint", "upload", "burn"]
        # What the index knew of the issuers went with the fault.
        assert "gitlab.com" in {entry["host"] for entry in three.journal.entries(action="keys")}
        (mint,) = three.journal.entries(action="mint")
        assert mint["identity"]["sub"].startswith("project_path:group/subgroup/project")


def test_a_played_index_is_shared_but_for_its_publishers(facts: Mapping[str, Any], tmp_path: Path) -> None:
    file = built(tmp_path, "shared")
    command: list[str | Path] = [sys.executable, "-m", "twine", "upload", "--repository", "testpypi", file]
    with open_session(facts) as session:
        github = session.ci("github")
        session.publisher("shared", github, registry="testpypi")
        done = github.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert session.played["testpypi"].files("shared").keys() == {file.name}
        assert session.played["testpypi"].audience == "testpypi"
    with open_session(facts) as session:
        assert session.played["testpypi"].files("shared").keys() == {file.name}
        refused = session.ci("github").run(command)
        assert refused.returncode != 0
        assert "invalid-publisher" in refused.stdout


def test_a_fault_of_issuers_meets_each_of_them(session: LabSession, tmp_path: Path) -> None:
    """However many the index asks ahead of need."""
    session.publisher("each", session.ci("vault"))
    session.faults.set("issuer-500")
    active = session.remote.faults()["active"]
    assert {each["ci"] for each in active} == set(session.facts["places"])
    assert {each["left"] for each in active} == {1}
    refused = publish(session, "gitlab", built(tmp_path, "each"))
    assert "503" in refused.stderr
    failed = {entry["host"] for entry in session.journal.entries(server="provider") if entry["status"] == 500}
    assert {"gitlab.com", "token.actions.githubusercontent.com", "agent.buildkite.com"} <= failed


def test_a_job_is_as_ordered(session: LabSession) -> None:
    ci = session.ci("gitlab", fields={"project-path": "a/b"}, claims={"user_login": "me"}, ref="refs/tags/v1")
    claims = claims_of(ci.token("somebody"))
    assert (claims["aud"], claims["project_path"], claims["user_login"]) == ("somebody", "a/b", "me")
    assert claims["ref_path"] == "refs/tags/v1"
    assert ci.token("somebody") != ci.token("somebody")
    same = session.ci("gitlab", fields={"project-path": "a/b"}, same_token=True)
    assert same.token("somebody") == same.token("somebody")
    github = session.ci("github-server").environment()
    assert github["GITHUB_ACTIONS"] == "true"
    with pytest.raises(ValueError, match="'gitub'; there are github, github-server"):
        session.ci("gitub")
    with pytest.raises(LabRefused, match="GitLab job has a ref"):
        session.ci("gitlab", ref="refs/pull/1/merge").environment()


def test_a_command_runs_as_a_job_and_leaves_nothing_in_the_tests_folder(
    facts: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "real")
    monkeypatch.setenv("PYPI_ID_TOKEN", "real")
    with open_session(facts) as session:
        buildkite = session.ci("buildkite")
        done = buildkite.run([sys.executable, "-c", TWICE], cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
        printing = "import os; print(os.getcwd(), os.environ['MINE'], os.environ['PATH'])"
        where, mine, path = buildkite.run(
            [sys.executable, "-c", printing], cwd=tmp_path, env={"MINE": "yes"}
        ).stdout.split(maxsplit=2)
        assert (Path(where), mine) == (tmp_path.resolve(), "yes")
        job = Path(path.partition(os.pathsep)[0])
        assert (job / "buildkite-agent").exists()
        assert job.is_relative_to(facts["directory"])
        variables = buildkite.environment()
        assert variables["HTTPS_PROXY"] == facts["proxy"]
        assert {"GITLAB_CI", "PYPI_ID_TOKEN"}.isdisjoint(variables)
        with pytest.raises(FileNotFoundError):
            buildkite.run([tmp_path / "missing"])
    assert not job.exists()
    assert list(tmp_path.iterdir()) == []


def test_no_token_is_in_what_a_failing_test_shows(session: LabSession) -> None:
    secret = session.index.api_token("mine")
    shown = repr(session) + repr(session.ci("gitlab"))
    assert secret not in shown
    assert session.remote.lab.secret not in shown


def test_a_real_server_refuses_the_labs_data(facts: Mapping[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mintmark", "--config", facts["config"], "serve"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "lab" in done.stderr


def test_the_lab_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is gone"), open_session({"directory": str(tmp_path)}):
        pass
