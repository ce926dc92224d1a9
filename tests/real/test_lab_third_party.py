"""Somebody else's publish-test script, byte for byte as it is, inside the lab.

twine's integration tests clone a repository from a public host, build it, which asks the public index for setuptools,
and upload it to the public test index, with a token that is written into them. Their authors expect them to fail, since
that index is not reliable. Inside the lab both pass, offline, and nothing is set but variables.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import tarfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from twine.utils import TEST_REPOSITORY

from real.fetch import fetch_files, sha256_of
from real.tools import need
from real.uploaders import BIN, RunningLab, clean_environment, running_lab

pytestmark = pytest.mark.real

PINS = tomllib.loads((Path(__file__).parent / "third_party.toml").read_text(encoding="utf-8"))["file"]
# pip looks at the metadata of what it fetches, for which twine wants a newer one than old packages take.
BUILT_WITH = "setuptools==84.2.1\n"
PROJECT = "twine-sampleproject"
CLONED = "https://github.com/pypa/sampleproject"
TESTS = ("test_pypi_upload", "test_pypi_error")
# The name in the script, not the token.
TOKEN_NAME = "sampleproject_token"
COMMITTER = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


def unpack(archive: Path, into: Path, only: tuple[str, ...] = ("",)) -> Path:
    """The top folder of a source distribution, with those of its members whose path begins like one of `only`."""
    with tarfile.open(archive) as opened:
        top = opened.getmembers()[0].name.partition("/")[0]
        begins = tuple(f"{top}/{beginning}" for beginning in only)
        opened.extractall(into, [each for each in opened if each.name.startswith(begins)], filter="data")
    return into / top


def token_in(script: Path) -> str:
    """The token that the script has built in."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == [TOKEN_NAME]:
            found = ast.literal_eval(node.value)
            assert isinstance(found, str)
            return found
    raise AssertionError("the script has no token")


@pytest.fixture(scope="module")
def files() -> dict[str, list[Path]]:
    folder = fetch_files({pin["file"]: pin["sha256"] for pin in PINS}, BUILT_WITH)
    found: dict[str, list[Path]] = {}
    for pin in PINS:
        found.setdefault(pin["role"], []).append(folder / pin["file"])
    return found


@pytest.fixture(scope="module")
def script(files: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests alone: the twine that they try is the one that is installed."""
    (archive,) = files["script"]
    top = unpack(archive, tmp_path_factory.mktemp("script"), ("tests/", "pytest.ini"))
    assert not (top / "twine").exists()
    return top / "tests" / "test_integration.py"


@pytest.fixture(scope="module")
def repository(files: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the one commit that the script clones."""
    git = need("git")["git"]
    directory = tmp_path_factory.mktemp("repository")
    (archive,) = files["checkout"]
    top = unpack(archive, directory)
    environment = clean_environment(directory) | COMMITTER
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Initial"]):
        subprocess.run([git, *words], cwd=top, env=environment, check=True, capture_output=True)
    return top


@pytest.fixture(scope="module")
def lab(files: dict[str, list[Path]], script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("lab")
    mirror = directory / "mirror"
    mirror.mkdir()
    for path in files["mirror"]:
        shutil.copy(path, mirror)
    token = directory / "token"
    token.touch(0o600)
    token.write_text(token_in(script), encoding="ascii")
    options = ("--impersonate", "pypi", "--impersonate", "testpypi", "--mirror", mirror, "--known-token", token)
    with running_lab(directory, *options) as started:
        yield started


def test_twines_own_publish_tests_pass(lab: RunningLab, script: Path, repository: Path, tmp_path: Path) -> None:
    # Before anything runs: it must be the lab that is uploaded to.
    assert lab.facts["proxy"]
    simple_url = lab.played(TEST_REPOSITORY)["simple_url"]
    digest = sha256_of(script)
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": CLONED,
    }
    nodes = [f"tests/{script.name}::{name}" for name in TESTS]
    report = tmp_path / "report.xml"
    words = ("-rX", f"--junitxml={report}", *nodes)
    done = lab.in_job("github", PROJECT, BIN / "pytest", *words, more=environment, cwd=script.parent.parent)
    assert done.code == 0, done.text
    # Passed, and not what they are marked as.
    assert "2 xpassed" in done.output, done.text
    cases = list(ET.parse(report).iter("testcase"))
    assert [case.get("name") for case in cases] == list(TESTS)
    assert [child.tag for case in cases for child in case if child.tag in {"skipped", "failure", "error"}] == []
    assert sha256_of(script) == digest
    (uploaded,) = lab.filenames(PROJECT, simple_url)
    assert uploaded.startswith("twine_sampleproject-3.0.0.post")
    journal = lab.journal()
    assert [entry["status"] for entry in journal if entry["action"] == "upload"] == [200, 403]
    # Nothing but what the lab plays was asked for.
    assert {entry["status"] for entry in journal if entry["server"] == "proxy"} == {200}
