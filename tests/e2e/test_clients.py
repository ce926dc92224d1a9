"""Stock uv, twine and pip against a running index, over TLS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.dev_index import REGISTRY, Dev
from support.dists import sdist, wheel

GITLAB = {"project-path": "team/sub/project", "workflow": ".gitlab-ci.yml"}
GITHUB = {"repository": "team/project", "workflow": "release.yml"}
BUILDKITE = {"organization": "team", "pipeline": "project"}
CIRCLECI = {
    "organization-id": "11111111-2222-4333-8444-555555555555",
    "project-id": "21111111-2222-4333-8444-555555555555",
    "pipeline-definition-id": "31111111-2222-4333-8444-555555555555",
    "vcs-origin": "github.com/team/project",
}
IDENTITY = {"gitlab": GITLAB, "github": GITHUB, "buildkite": BUILDKITE, "circleci": CIRCLECI}


def files(directory: Path, name: str, version: str = "1.0", body: bytes = b"") -> tuple[Path, Path]:
    """A wheel and an sdist on disk."""
    written = []
    for filename, data in (wheel(name, version, body=body), sdist(name, version, body=body)):
        path = directory / filename
        path.write_bytes(data)
        written.append(path)
    return written[0], written[1]


def trust(dev: Dev, ci: str, project: str) -> None:
    fields = [f"{key}={value}" for key, value in IDENTITY[ci].items()]
    dev.mintmark("publisher", "add", REGISTRY, project, "--issuer", ci, *fields)


def environment(directory: Path) -> Path:
    """An empty virtual environment's Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    return directory / "bin" / "python"


@pytest.mark.parametrize("ci", IDENTITY)
def test_uv_publishes_without_a_secret(dev: Dev, tmp_path: Path, ci: str) -> None:
    project = f"from-{ci}"
    trust(dev, ci, project)
    both = files(tmp_path, project)
    first = dev.uv_publish(*both, more=dev.job(ci, IDENTITY[ci]), options=("--trusted-publishing", "always"))
    assert first.code == 0, first.text
    # uv's own test plan: the same files again are accepted, changed ones are not.
    again = dev.uv_publish(*both, more=dev.job(ci, IDENTITY[ci]))
    assert again.code == 0, again.text
    changed = files(tmp_path, project, body=b"# changed\n")
    refused = dev.uv_publish(changed[0], more=dev.job(ci, IDENTITY[ci]))
    assert refused.code != 0
    assert "File already exists" in refused.text


def test_a_buildkite_job_asks_for_the_ids_that_its_publisher_demands(dev: Dev, tmp_path: Path) -> None:
    config = {**BUILDKITE, "organization-id": "41111111-2222-4333-8444-555555555555", "pipeline": "with-ids"}
    fields = [f"{key}={value}" for key, value in config.items()]
    dev.mintmark("publisher", "add", REGISTRY, "with-ids", "--issuer", "buildkite", *fields)
    both = files(tmp_path, "with-ids")
    job = dev.job("buildkite", config)
    refused = dev.uv_publish(*both, more=job, options=("--trusted-publishing", "always"))
    assert refused.code != 0
    assert "organization_id" in refused.text
    asking = {**job, "BUILDKITE_OIDC_TOKEN_CLAIMS": "organization_id,pipeline_id"}
    done = dev.uv_publish(*both, more=asking, options=("--trusted-publishing", "always"))
    assert done.code == 0, done.text


def test_a_spent_gitlab_token_is_refused_with_a_sentence(dev: Dev, tmp_path: Path) -> None:
    trust(dev, "gitlab", "spent")
    both = files(tmp_path, "spent")
    job = dev.job("gitlab", GITLAB)
    assert dev.uv_publish(*both, more=job).code == 0
    again = dev.uv_publish(*both, more=job, options=("--trusted-publishing", "always"))
    assert again.code != 0
    assert "invalid-reuse-token" in again.text
    assert "id_tokens" in again.text


def test_uv_checks_what_is_published_already(dev: Dev, tmp_path: Path) -> None:
    trust(dev, "github", "checked")
    both = files(tmp_path, "checked")
    # uv asks a private index without credentials first and takes the 401 for an answer, so they are in the URL.
    reader = dev.mintmark("token", "create", REGISTRY, "check", "--read")
    options = ("--check-url", dev.index_url(reader), "--trusted-publishing", "always")
    assert dev.uv_publish(*both, more=dev.job("github", GITHUB), options=options).code == 0
    again = dev.uv_publish(*both, more=dev.job("github", GITHUB), options=options)
    assert again.code == 0, again.text
    assert "already exists, skipping" in again.text
    changed = files(tmp_path, "checked", body=b"# changed\n")
    other = dev.uv_publish(*changed, more=dev.job("github", GITHUB), options=options)
    assert other.code != 0
    assert "Local file and index file do not match" in other.text


def test_uv_is_told_which_projects_its_credential_covers(dev: Dev, tmp_path: Path) -> None:
    trust(dev, "gitlab", "covered-one")
    foreign = files(tmp_path, "somebody-elses")
    refused = dev.uv_publish(foreign[0], more=dev.job("gitlab", GITLAB))
    assert refused.code != 0
    assert "does not cover the project somebody-elses" in refused.text
    assert "covered-one" in refused.text


def test_twine_uploads_with_an_api_token(dev: Dev, tmp_path: Path) -> None:
    secret = dev.mintmark("token", "create", REGISTRY, "twine", "--upload", "--project", "by-twine*")
    both = files(tmp_path, "by-twine")
    login = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": secret, "TWINE_NON_INTERACTIVE": "1"}
    command = ("twine", "upload", "--disable-progress-bar", "--repository-url", dev.upload_url)
    first = dev.run(*command, *map(str, both), more=login)
    assert first.code == 0, first.text
    changed = files(tmp_path, "by-twine", body=b"# changed\n")
    refused = dev.run(*command, str(changed[0]), more=login)
    assert refused.code != 0
    # twine shows the reason phrase and nothing else.
    assert "File already exists (by_twine-1.0-py3-none-any.whl)" in " ".join(refused.text.split())
    foreign = files(tmp_path, "elsewhere")
    outside = dev.run(*command, str(foreign[0]), more=login)
    assert outside.code != 0
    assert "does not cover the project elsewhere" in " ".join(outside.text.split())


@pytest.fixture
def published(dev: Dev, tmp_path: Path) -> tuple[str, str]:
    """A project with a wheel and an sdist, and a secret that reads it."""
    secret = dev.mintmark("token", "create", REGISTRY, "seed", "--upload", "--read")
    project = f"installed-{tmp_path.name.replace('_', '-').lower()}"
    both = files(tmp_path, project)
    done = dev.uv_publish(*both, options=("--token", secret))
    assert done.code == 0, done.text
    return project, secret


def test_pip_installs_and_caches(dev: Dev, tmp_path: Path, published: tuple[str, str]) -> None:
    project, secret = published
    python = environment(tmp_path / "env")
    command = ("pip", "--python", str(python), "install", "--cache-dir", str(tmp_path / "cache"))
    for _ in range(2):
        # The second run revalidates its cached page: a 304 must not change the page's type.
        done = dev.run(*command, "--force-reinstall", "--index-url", dev.index_url(secret), project)
        assert done.code == 0, done.text
        assert f"Successfully installed {project}-1.0" in done.text


def test_uv_installs(dev: Dev, tmp_path: Path, published: tuple[str, str]) -> None:
    project, secret = published
    python = environment(tmp_path / "env")
    done = dev.run("uv", "pip", "install", "--python", str(python), "--index-url", dev.index_url(secret), project)
    assert done.code == 0, done.text
    assert f"{project}==1.0" in done.text


def test_pip_finds_its_credential_in_netrc(dev: Dev, tmp_path: Path, published: tuple[str, str]) -> None:
    project, secret = published
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost\nlogin __token__\npassword {secret}\n")
    netrc.chmod(0o600)
    done = dev.run(
        "pip", "download", "--no-deps", "--dest", str(tmp_path / "got"), "--index-url", dev.index_url(), project,
        more={"NETRC": str(netrc)},
    )  # fmt: skip
    assert done.code == 0, done.text


def test_without_or_with_a_wrong_credential_nothing_is_installed(
    dev: Dev, tmp_path: Path, published: tuple[str, str]
) -> None:
    project, secret = published
    for url in (dev.index_url(), dev.index_url(secret[:-1] + ("0" if secret[-1] != "0" else "1"))):
        done = dev.run("pip", "download", "--no-input", "--dest", str(tmp_path / "got"), "--index-url", url, project)
        assert done.code != 0
        done = dev.run("uv", "pip", "install", "--target", str(tmp_path / "target"), "--index-url", url, project)
        assert done.code != 0
        assert "401" in done.text


def test_a_revoked_token_stops_at_once(dev: Dev, tmp_path: Path) -> None:
    secret = dev.mintmark("token", "create", REGISTRY, "short-lived", "--upload")
    first = files(tmp_path, "revoked")
    assert dev.uv_publish(first[0], options=("--token", secret)).code == 0
    listed = dev.mintmark("token", "list", REGISTRY)
    number = next(line.split("\t")[0] for line in listed.splitlines() if "short-lived" in line)
    dev.mintmark("token", "revoke", REGISTRY, number)
    refused = dev.uv_publish(first[1], options=("--token", secret))
    assert refused.code != 0
    assert "revoked" in refused.text
