"""Stock uploaders in the jobs of one lab, each as the process that its users run.

Every test is one cell: a tool, and the CI system it runs in. Each project is trusted from one job only, so an upload
that arrives proves that the tool found the identity of that very job.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

from real.uploaders import BIN, UPLOADERS, Done, RunningLab, built, running_lab

pytestmark = pytest.mark.real

# The CI systems that `id` knows, which twine, pdm and sigstore ask.
KNOWN = ("github", "gitlab", "buildkite", "circleci")
# How their subjects begin. Each names the project's repository or pipeline further on.
SUBJECTS = {
    "github": "repo:team",
    "gitlab": "project_path:team/",
    "buildkite": "organization:team:pipeline:",
    "circleci": "org/",
}
ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
    "buildkite": "https://agent.buildkite.com",
    "circleci": "https://oidc.circleci.com",
}
SIGSTORE_AUDIENCE = "sigstore"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with running_lab(tmp_path_factory.mktemp("lab"), "--impersonate", "pypi", "--impersonate", "testpypi") as started:
        yield started


def succeeded(done: Done) -> None:
    assert done.code == 0, done.text


def cell(tool: str, *places: str) -> pytest.MarkDecorator:
    """One test for each place, named like `uv-github`."""
    return pytest.mark.parametrize("place", places, ids=[f"{tool}-{place}" for place in places])


# -- tools that find the job's identity themselves --------------------------------------------------------------------


@cell("uv", *KNOWN, "github-server", "gitlab-self-hosted")
def test_uv_publishes_twice(lab: RunningLab, tmp_path: Path, place: str) -> None:
    project = f"uv-{place}"
    lab.trust(place, project)
    wheel = built(tmp_path, project)
    # The second time with an identity token of its own: uv's plan uploads the same file again.
    for _ in range(2):
        words = (BIN / "uv", "publish", "--trusted-publishing", "always", wheel)
        succeeded(lab.in_job(place, project, *words, more={"UV_PUBLISH_URL": lab.index["upload_url"]}))
    lab.installs(project)


def test_uv_is_refused_with_a_token_that_was_used(lab: RunningLab, tmp_path: Path) -> None:
    lab.trust("gitlab", "uv-reused")
    words = (BIN / "uv", "publish", "--trusted-publishing", "always", built(tmp_path, "uv-reused"))
    more = {"UV_PUBLISH_URL": lab.index["upload_url"]}
    succeeded(lab.in_job("gitlab", "uv-reused", *words, more=more))
    again = lab.in_job("gitlab", "uv-reused", *words, options=["--same-token"], more=more)
    assert again.code != 0
    assert "invalid-reuse-token" in again.text


@cell("twine", *KNOWN)
def test_twine_believes_that_it_talks_to_pypi(lab: RunningLab, tmp_path: Path, place: str) -> None:
    project = f"twine-{place}"
    played = lab.played(DEFAULT_REPOSITORY)
    lab.trust(place, project, played["registry"])
    # No URL: this is what twine does when nothing is said.
    succeeded(lab.in_job(place, project, BIN / "twine", "upload", built(tmp_path, project)))
    lab.installs(project, played["simple_url"])


@cell("twine-test", "gitlab")
def test_twine_publishes_to_the_test_index(lab: RunningLab, tmp_path: Path, place: str) -> None:
    project, played = f"twine-test-{place}", lab.played(TEST_REPOSITORY)
    lab.trust(place, project, played["registry"])
    words = (BIN / "twine", "upload", "--repository", "testpypi", built(tmp_path, project))
    succeeded(lab.in_job(place, project, *words))
    assert len(lab.filenames(project, played["simple_url"])) == 1


@pytest.mark.parametrize(
    ("place", "url"),
    [*((place, "upload_url") for place in KNOWN), ("gitlab", "plain_upload_url")],
    ids=[*(f"pdm-{place}" for place in KNOWN), "pdm-gitlab-http"],
)
def test_pdm_publishes(lab: RunningLab, tmp_path: Path, place: str, url: str) -> None:
    project = f"pdm-{place}" if url == "upload_url" else "pdm-http"
    lab.trust(place, project)
    built(tmp_path / "dist", project)
    _pyproject(tmp_path, project)
    words = (BIN / "pdm", "publish", "--no-build")
    succeeded(lab.in_job(place, project, *words, more={"PDM_PUBLISH_REPO": lab.index[url]}, cwd=tmp_path))
    lab.installs(project)


@cell("maturin", "github", "github-server")
def test_maturin_publishes(lab: RunningLab, tmp_path: Path, place: str) -> None:
    project = f"maturin-{place}"
    lab.trust(place, project)
    # Over plain http: what it asks for a credential with knows the system's certificates only.
    more = {"MATURIN_REPOSITORY_URL": lab.index["plain_upload_url"]}
    words = (BIN / "maturin", "upload", "--non-interactive", built(tmp_path, project))
    succeeded(lab.in_job(place, project, *words, more=more))
    lab.installs(project)


# -- tools that only ask who the job is -------------------------------------------------------------------------------


@cell("id", *KNOWN)
def test_id_finds_the_identity(lab: RunningLab, place: str) -> None:
    audience = lab.index["audience"]
    done = lab.in_job(place, f"id-{place}", BIN / "python", "-m", "id", audience)
    _is_of_the_job(done, place, f"id-{place}", audience)


@pytest.fixture(scope="module")
def sigstore_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What sigstore is told instead of asking the network: the files that it comes with."""
    (package,) = UPLOADERS.glob("lib/python3*/site-packages/sigstore")
    (store,) = (package / "_store").glob("*sigstore.dev")
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads((store / "trusted_root.json").read_text(encoding="utf-8")),
        "signingConfig": json.loads((store / "signing_config.v0.2.json").read_text(encoding="utf-8")),
    }
    path = tmp_path_factory.mktemp("sigstore") / "instance.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@cell("sigstore", *KNOWN)
def test_sigstore_finds_the_identity(lab: RunningLab, sigstore_instance: Path, place: str) -> None:
    project = f"sigstore-{place}"
    words = (BIN / "sigstore", "--trust-config", sigstore_instance, "get-identity-token")
    done = lab.in_job(place, project, *words, options=["--audience", SIGSTORE_AUDIENCE])
    _is_of_the_job(done, place, project, SIGSTORE_AUDIENCE)


def _is_of_the_job(done: Done, place: str, project: str, audience: str) -> None:
    # Never the output itself: it is a token.
    assert done.code == 0
    payload = done.output.strip().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert (claims["iss"], claims["aud"]) == (ISSUERS[place], audience)
    assert claims["sub"].startswith(SUBJECTS[place])
    assert project in claims["sub"]


# -- tools that know of no identity: with the lab's API token, where they look for one --------------------------------


def test_twine_uploads_with_the_token(lab: RunningLab, tmp_path: Path) -> None:
    login = {"TWINE_REPOSITORY_URL": lab.index["upload_url"]}
    login |= {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": lab.api_token()}
    words = (BIN / "twine", "upload", built(tmp_path, "twine-token"))
    succeeded(lab.in_job("github", "twine-token", *words, more=login))
    lab.installs("twine-token")


def test_hatch_uploads_with_the_token(lab: RunningLab, tmp_path: Path) -> None:
    login = {"HATCH_INDEX_REPO": lab.index["upload_url"]}
    login |= {"HATCH_INDEX_USER": "__token__", "HATCH_INDEX_AUTH": lab.api_token()}
    words = (BIN / "hatch", "publish", built(tmp_path, "by-hatch"))
    succeeded(lab.in_job("github", "by-hatch", *words, more=login, cwd=tmp_path))
    lab.installs("by-hatch")


def test_poetry_uploads_with_the_token(lab: RunningLab, tmp_path: Path) -> None:
    built(tmp_path / "dist", "by-poetry")
    _pyproject(tmp_path, "by-poetry")
    login = {"POETRY_REPOSITORIES_LAB_URL": lab.index["upload_url"], "POETRY_PYPI_TOKEN_LAB": lab.api_token()}
    words = (BIN / "poetry", "publish", "--no-interaction", "--repository", "lab")
    succeeded(lab.in_job("github", "by-poetry", *words, more=login, cwd=tmp_path))
    lab.installs("by-poetry")


def test_flit_uploads_with_the_token(lab: RunningLab, tmp_path: Path) -> None:
    _pyproject(tmp_path, "by-flit", '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n')
    (tmp_path / "by_flit").mkdir()
    (tmp_path / "by_flit" / "__init__.py").write_text("")
    login = {"FLIT_INDEX_URL": lab.index["upload_url"]}
    login |= {"FLIT_USERNAME": "__token__", "FLIT_PASSWORD": lab.api_token()}
    words = (BIN / "flit", "publish", "--format", "wheel")
    succeeded(lab.in_job("github", "by-flit", *words, more=login, cwd=tmp_path))
    lab.installs("by-flit")


def _pyproject(folder: Path, project: str, build_system: str = "") -> None:
    lines = ("[project]", f'name = "{project}"', 'version = "1.0"', 'description = "A test"')
    (folder / "pyproject.toml").write_text("\n".join([*lines, 'requires-python = ">=3.8"', "", build_system]))
