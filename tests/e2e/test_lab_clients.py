"""Stock uv and twine as jobs of a lab: what they ask in which order, and what they say when something goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from twine.utils import DEFAULT_REPOSITORY

from mintmark.core.credentials import LENGTH, PREFIX
from mintmark.lab.session import LabCI, LabSession, open_session
from support.dists import sdist, wheel
from support.lab_facts import lab_facts

BIN = Path(sys.executable).parent
DETECTED_BY_UV = ("github", "github-server", "gitlab", "gitlab-self-hosted", "buildkite", "circleci", "forgejo")
DETECTED_BY_TWINE = ("github", "gitlab", "buildkite", "circleci")
# What a job asks of its CI system; GitLab's has its tokens from the beginning.
ASKED: dict[str, list[str]] = {"gitlab": [], "gitlab-self-hosted": []}
MASK = "::add-mask::"
# The host's audience begins like one, and is no secret.
CREDENTIAL = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH - len(PREFIX)}}}")


@dataclass
class Seen:
    """Everything that was printed, and the secrets that may not be in it."""

    texts: list[str] = field(default_factory=list, repr=False)
    secrets: list[str] = field(default_factory=list, repr=False)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("lab")
    with lab_facts(folder, "--impersonate", "pypi", "--impersonate", "testpypi") as told:
        yield told


@pytest.fixture(scope="module")
def seen(facts: Mapping[str, Any]) -> Iterator[Seen]:
    """No secret of any test of this file was printed, nor is in the lab's journal."""
    kept = Seen()
    yield kept
    journal = (Path(facts["directory"]) / "journal.jsonl").read_text()
    assert kept.secrets
    assert '"action":"mint"' in journal.replace(" ", "")
    for secret in kept.secrets:
        assert not any(secret in text for text in kept.texts)
        assert secret not in journal
    # Also none that no test knew of: this is how identity tokens and credentials begin.
    for text in (*kept.texts, journal):
        assert "eyJ" not in text
        assert not CREDENTIAL.search(text)


@pytest.fixture
def lab(facts: Mapping[str, Any]) -> Iterator[LabSession]:
    with open_session(facts) as session:
        yield session


def built(folder: Path, project: str) -> list[Path]:
    paths = []
    for filename, data in (wheel(project, "1.0"), sdist(project, "1.0")):
        paths.append(folder / filename)
        paths[-1].write_bytes(data)
    return paths


def run(ci: LabCI, seen: Seen, *command: str | Path) -> tuple[int, str]:
    """Run a client as a job; its exit code, and what it says, on one line."""
    # The variables of one job twice, so that the secrets in them are known here.
    job = ci.environment() | {"UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "1", "COLUMNS": "200", "HOME": str(ci.folder)}
    seen.secrets += [value for name, value in job.items() if name.endswith(("_ID_TOKEN", "_REQUEST_TOKEN"))]
    done = ci.run(command, env=job)
    # uv tells GitHub what to hide in its log, which is the credential.
    lines = (done.stdout + done.stderr).splitlines()
    seen.secrets += [line.removeprefix(MASK) for line in lines if line.startswith(MASK)]
    text = "\n".join(line for line in lines if not line.startswith(MASK))
    seen.texts.append(text)
    return done.returncode, " ".join(text.split())


def uv(lab: LabSession, ci: LabCI, seen: Seen, *files: Path) -> tuple[int, str]:
    command = (BIN / "uv", "publish", "--trusted-publishing", "always", "--publish-url", lab.index.upload_url)
    return run(ci, seen, *command, *files)


def twine(ci: LabCI, seen: Seen, *files: Path) -> tuple[int, str]:
    """No URL: this is what twine does when nothing is said."""
    return run(ci, seen, BIN / "twine", "upload", "--disable-progress-bar", *files)


@pytest.mark.parametrize("place", DETECTED_BY_UV)
def test_uv_publishes(lab: LabSession, seen: Seen, tmp_path: Path, place: str) -> None:
    files, ci = built(tmp_path, "with-uv"), lab.ci(place)
    lab.publisher("with-uv", ci)
    code, text = uv(lab, ci, seen, *files)
    assert code == 0, text
    assert lab.journal.actions() == ["audience", "mint", "upload", "upload", "burn"]
    assert asked(lab) == ASKED.get(place, [place])
    assert lab.index.files("with-uv").keys() == {file.name for file in files}


@pytest.mark.parametrize("place", DETECTED_BY_TWINE)
def test_twine_believes_that_it_talks_to_pypi(lab: LabSession, seen: Seen, tmp_path: Path, place: str) -> None:
    project = f"with-twine-{place}"
    files, ci, played = built(tmp_path, project), lab.ci(place), lab.played["pypi"]
    lab.publisher(project, ci, registry="pypi")
    code, text = twine(ci, seen, *files)
    assert code == 0, text
    assert f"Uploading distributions to {DEFAULT_REPOSITORY}" in text
    assert lab.journal.actions() == ["audience", "mint", "upload", "upload"]
    assert asked(lab) == ASKED.get(place, [place])
    assert played.files(project).keys() == {file.name for file in files}
    hosts = {entry["host"] for entry in lab.journal.entries(server="index")}
    assert hosts == {played.upload_url.split("/")[2]}


def asked(lab: LabSession) -> list[str]:
    """The CI systems that were asked for an identity token."""
    return [entry["ci"] for entry in lab.journal.entries(server="provider", action="request-token")]


def test_a_spent_token_is_refused_with_a_sentence(lab: LabSession, seen: Seen, tmp_path: Path) -> None:
    files, ci = built(tmp_path, "spent"), lab.ci("gitlab", same_token=True)
    lab.publisher("spent", ci)
    code, text = uv(lab, ci, seen, files[0])
    assert code == 0, text
    code, text = uv(lab, ci, seen, files[1])
    assert code != 0
    assert "invalid-reuse-token" in text
    assert "Publish all files in one call" in text
    assert lab.index.files("spent").keys() == {files[0].name}


@pytest.mark.parametrize(
    ("fault", "said", "actions"),
    [
        ("audience-403", "403", ["audience"]),
        ("mint-422", "invalid-publisher", ["audience", "mint"]),
        ("mint-invalid-json", "error", ["audience", "mint"]),
        # What uv cannot burn expires by itself; the file is there.
        ("burn-500", "", ["audience", "mint", "upload", "burn"]),
        ("upload-409", "File already exists", ["audience", "mint", "upload", "burn"]),
    ],
)
def test_what_uv_says(
    lab: LabSession, seen: Seen, tmp_path: Path, fault: str, said: str, actions: Sequence[str]
) -> None:
    (file, _), ci = built(tmp_path, "faulty"), lab.ci("gitlab")
    lab.publisher("faulty", ci)
    lab.faults.set(fault, times=9)
    code, text = uv(lab, ci, seen, file)
    assert (code == 0) == (said == ""), text
    assert said in text
    assert list(dict.fromkeys(lab.journal.actions())) == actions
    assert fault in {entry["fault"] for entry in lab.journal.entries(server="index")}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("provider-403", "403"),
        ("audience-404", "404"),
        ("mint-422", "invalid-publisher"),
        ("upload-400", "400"),
    ],
)
def test_what_twine_says(lab: LabSession, seen: Seen, tmp_path: Path, fault: str, said: str) -> None:
    (file, _), ci = built(tmp_path, "faulty"), lab.ci("github")
    lab.publisher("faulty", ci, registry="pypi")
    lab.faults.set(fault, times=9)
    code, text = twine(ci, seen, file)
    assert code != 0
    assert said in text
    assert fault in {entry["fault"] for entry in lab.journal.entries()}


def test_the_command_does_the_same(facts: Mapping[str, Any], seen: Seen, tmp_path: Path) -> None:
    """`mintmark lab`, as people type it; the tests above do what it does, in this process."""
    file = built(tmp_path, "typed")[0]

    def mintmark(*words: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [BIN / "mintmark", "lab", *words],
            env={**os.environ, "UV_NO_CONFIG": "1", **facts["environment"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        seen.texts.append(done.stdout + done.stderr)
        return done

    mintmark("journal", "--clear")
    assert mintmark("publisher", "typed", "--ci", "gitlab").returncode == 0
    words = ("--", BIN / "uv", "publish", "--publish-url", facts["index"]["upload_url"], file)
    assert mintmark("run", "--ci", "gitlab", *words).returncode == 0
    again = mintmark("run", "--ci", "gitlab", "--same-token", *words)
    assert again.returncode != 0
    assert "invalid-reuse-token" in again.stderr
    told = [json.loads(line) for line in mintmark("journal", "--json").stdout.splitlines()]
    uploads = [entry["status"] for entry in told if entry["action"] == "upload"]
    assert uploads[0] == 200
