"""A lab as a process of its own, and other people's uploaders in its jobs.

Owns starting and ending `mintmark lab up`, the environment that commands start from, in which nothing of this machine's
settings is, and identities of which each belongs to one project only. The uploaders come from `build/uploaders`, which
`make test-real` makes. Leaves what is published with what, and from where, to the tests.
"""

from __future__ import annotations

import json
import os
import select
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest

from support.dists import wheel

UPLOADERS = Path(__file__).parents[2] / "build" / "uploaders"
BIN = UPLOADERS / "bin"
DEMO = "demo"
START_SECONDS = 30.0
END_SECONDS = 30.0
COMMAND_SECONDS = 100.0
_IDS = uuid.UUID("6f0d3c5e-0000-4000-8000-000000000000")
CIRCLECI_ORGANIZATION = "a64b0a19-f221-4291-b000-8d24bd842b72"


@dataclass(frozen=True)
class Done:
    """A finished command: exit code, standard output, and everything it printed."""

    code: int
    output: str
    text: str


def identity(place: str, project: str) -> dict[str, str]:
    """Who a job of this place is that publishes this project, and no other one."""
    if place.startswith("github"):
        return {"repository": f"team/{project}", "workflow": "release.yml"}
    if place.startswith("gitlab"):
        return {"project-path": f"team/{project}", "workflow": ".gitlab-ci.yml"}
    if place == "buildkite":
        return {"organization": "team", "pipeline": project}
    return {
        "organization-id": CIRCLECI_ORGANIZATION,
        "project-id": str(uuid.uuid5(_IDS, f"project {project}")),
        "pipeline-definition-id": str(uuid.uuid5(_IDS, f"pipeline {project}")),
        "vcs-origin": f"github.com/team/{project}",
    }


def built(folder: Path, project: str) -> Path:
    """A wheel of a project, in a folder that is made if need be."""
    filename, data = wheel(project, "1.0")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / filename).write_bytes(data)
    return folder / filename


@dataclass(frozen=True)
class RunningLab:
    """A running `mintmark lab up`; `facts` is what it said of itself."""

    directory: Path
    facts: Mapping[str, Any]

    @property
    def index(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.facts["index"]
        return found

    def played(self, upload_url: str) -> Mapping[str, str]:
        """The impersonated index that takes uploads at this URL."""
        (found,) = (each for each in self.facts["impersonated"] if each["upload_url"] == upload_url)
        return dict(found)

    def api_token(self, registry: str = DEMO) -> str:
        return Path(self.facts["api_tokens"][registry]).read_text(encoding="ascii").strip()

    def environment(self) -> dict[str, str]:
        reached_by: dict[str, str] = self.facts["environment"]
        return clean_environment(self.directory) | reached_by

    def run(self, *words: str | Path, more: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        """Run a command to its end, outside of any job."""
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd or self.directory,
            env=self.environment() | dict(more or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stdout + done.stderr)

    def mintmark(self, *words: str) -> str:
        """A command of ours that must succeed; its standard output."""
        done = self.run(sys.executable, "-m", "mintmark", *words)
        assert done.code == 0, done.text
        return done.output.strip()

    def trust(self, place: str, project: str, registry: str = DEMO) -> None:
        """Let the job of this place that is the project's publish it."""
        fields = [f"{name}={value}" for name, value in identity(place, project).items()]
        self.mintmark("publisher", "add", registry, project, "--issuer", place, *fields)

    def in_job(
        self,
        place: str,
        project: str,
        *words: str | Path,
        options: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run a command as the job that `trust` lets publish the project."""
        fields = [f"--field={name}={value}" for name, value in identity(place, project).items()]
        ours = (sys.executable, "-m", "mintmark", "lab", "run", "--ci", place)
        return self.run(*ours, *fields, *options, "--", *words, more=more, cwd=cwd)

    def installs(self, project: str, simple_url: str = "") -> None:
        """pip, which knows the lab by nothing but variables, gets the project from there."""
        target = self.directory / "installed" / project
        done = self.run(
            BIN / "pip", "install", "--quiet", "--no-deps", "--target", target,
            *("--index-url", simple_url or self.index["simple_url"]), f"{project}==1.0",
            more={
                "PIP_CERT": self.facts["ca"],
                "HTTPS_PROXY": self.facts["proxy"],
                "NO_PROXY": "localhost",
            },
        )  # fmt: skip
        assert done.code == 0, done.text
        assert (target / project.replace("-", "_") / "__init__.py").is_file()

    def filenames(self, project: str, simple_url: str) -> list[str]:
        """What the project's page at an index that the lab plays lists."""
        context = ssl.create_default_context(cafile=self.facts["ca"])
        opener = build_opener(ProxyHandler({"https": self.facts["proxy"]}), HTTPSHandler(context=context))
        request = Request(f"{simple_url}{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        with opener.open(request, timeout=COMMAND_SECONDS) as answer:
            return [file["filename"] for file in json.load(answer)["files"]]

    def journal(self) -> list[dict[str, Any]]:
        """What was asked of the lab so far, one entry a request."""
        return [json.loads(line) for line in self.mintmark("lab", "journal", "--json").splitlines()]


def clean_environment(directory: Path) -> dict[str, str]:
    """What every command starts from: a home and temporary files of its own, and no settings of this machine."""
    home, temporary = directory / "home", directory / "tmp"
    for folder in (home, temporary):
        folder.mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Somebody's pip, git, keyring and uv are set up for other indexes than the lab.
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "1",
        "PDM_CHECK_UPDATE": "0",
        # Or it makes an environment for the project first.
        "PDM_PYTHON": str(BIN / "python"),
        "TERM": "dumb",
        "NO_COLOR": "1",
    }


@contextmanager
def running_lab(directory: Path, *options: str | Path) -> Iterator[RunningLab]:
    """Start `mintmark lab up`, and end it; nothing of it may stay behind."""
    if not (UPLOADERS / "ready").is_file():
        pytest.skip("not installed: build/uploaders, which `make test-real` makes")
    with (directory / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mintmark", "lab", "up", "--json", *map(str, options)],
            cwd=directory,
            env=clean_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if readable else b""
        assert line, (directory / "lab.log").read_text()
        facts = json.loads(line)
        yield RunningLab(directory, facts)
    finally:
        process.terminate()
        try:
            process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode == 0, (directory / "lab.log").read_text()
    assert not Path(facts["directory"]).exists()
