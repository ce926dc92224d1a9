"""Stock uv in simulated jobs of CI systems that it finds by GitHub's protocol, or that it has to be told about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2e.dev_index import REGISTRY, Dev
from mintmark.core.providers import BY_SLUG
from support.dists import wheel

# The titles in what `mintmark issuer guide` prints.
TOLD = {
    "bitbucket": "Bitbucket Pipelines",
    "jenkins": "Jenkins",
    "codefresh": "Codefresh",
    "kubernetes": "Kubernetes",
}


def built(directory: Path, name: str) -> Path:
    filename, data = wheel(name, "1.0")
    (directory / filename).write_bytes(data)
    return directory / filename


def fields(ci: str, **others: str) -> list[str]:
    """The examples' job, with all ids."""
    return [f"{field.name}={others.get(field.name, field.example)}" for field in BY_SLUG[ci].fields]


def in_job(ci: str, identity: list[str], *options: str) -> tuple[str, ...]:
    """The beginning of a command that runs in the lab."""
    return ("mintmark", "lab", "run", "--ci", ci, *(f"--field={field}" for field in identity), *options, "--")


def guide(dev: Dev, title: str) -> str:
    """The shell line that the guide gives for a CI system."""
    found = re.search(rf"^{title}, .*\n\n  (export .*)$", dev.mintmark("issuer", "guide"), re.MULTILINE)
    assert found
    return found[1]


def test_uv_publishes_from_forgejo(dev: Dev, tmp_path: Path) -> None:
    file, identity = built(tmp_path, "from-forgejo"), fields("forgejo")
    dev.mintmark("publisher", "add", REGISTRY, "from-forgejo", "--issuer", "forgejo", *identity)
    command = ("uv", "publish", "--trusted-publishing", "always", "--publish-url", dev.upload_url, str(file))
    done = dev.run(*in_job("forgejo", identity), *command)
    assert done.code == 0, done.text
    pull = dev.run(*in_job("forgejo", identity, "--ref=refs/pull/1/head"), *command)
    assert pull.code != 0
    assert "event_name" in pull.text


@pytest.mark.parametrize(
    ("ci", "stranger"),
    [
        ("bitbucket", {"repository-uuid": "{00000000-0000-4000-8000-000000000000}"}),
        ("jenkins", {"job-url": "https://jenkins.acme.example/job/release/job/other/"}),
        ("codefresh", {"account-id": "000000000000000000000000"}),
        ("kubernetes", {"namespace": "mallory"}),
    ],
)
def test_uv_publishes_when_it_is_told_where_the_token_is(
    dev: Dev, tmp_path: Path, ci: str, stranger: dict[str, str]
) -> None:
    project = f"from-{ci}"
    file = built(tmp_path, project)
    dev.mintmark("publisher", "add", REGISTRY, project, "--issuer", ci, *fields(ci))
    script = f'{guide(dev, TOLD[ci])}; uv publish --trusted-publishing always --publish-url "$0" "$1"'
    command = ("sh", "-c", script, dev.upload_url, str(file))
    done = dev.run(*in_job(ci, fields(ci)), *command)
    assert done.code == 0, done.text
    refused = dev.run(*in_job(ci, fields(ci, **stranger)), *command)
    assert refused.code != 0
    assert "invalid-publisher" in refused.text
