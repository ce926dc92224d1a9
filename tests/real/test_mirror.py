"""A real application, mirrored into a private registry by `mintmark import`; pip and uv install it from there alone.

It comes in both ways: as a folder of files, and from another index's simple API, with its upload times and yanks.
"""

from __future__ import annotations

import json
import platform
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from real.fetch import fetch_requirements
from real.production import running_server
from real.reading import Reader

pytestmark = pytest.mark.real

PINS = Path(__file__).parent / "application.txt"
WANTED = Path(__file__).parent / "application.in"
PACKAGES_MIN = 60
# A part of the application that nothing else needs: whoever pinned it gets it all the same.
YANKED = "structlog"
REASON = "Logs to the wrong file."
# Of every other system the mirror has nothing.
PROJECT = """
[project]
name = "application"
version = "1"
requires-python = "=={python}.*"
dependencies = {wanted}

[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == '{machine}' and implementation_name == 'cpython'"]
"""


@dataclass(frozen=True)
class Mirror:
    """A private registry with the application, and what the import said."""

    reader: Reader
    report: dict[str, Any]
    folder: Path

    def run(self, *words: str) -> None:
        """A command that knows no other index and must succeed."""
        done = self.reader.server.run(*words, more={"PIP_NO_CACHE_DIR": "1", "UV_LINK_MODE": "copy"})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder() -> Path:
    found = fetch_requirements(PINS)
    assert len(list(found.iterdir())) >= PACKAGES_MIN
    return found


@pytest.fixture(scope="module")
def source(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Another index: public, with the whole application, one release of it yanked."""
    with running_server(tmp_path_factory.mktemp("source"), proxied=False) as server:
        server.mintmark("registry", "create", "public", "--public")
        server.mintmark("import", "public", str(folder))
        (version,) = [str(version) for name, version in _releases(folder) if name == YANKED]
        server.mintmark("project", "yank", "public", YANKED, version, "--reason", REASON)
        yield Reader(server, "public", "")


@pytest.fixture(scope="module", params=["folder", "index"])
def mirror(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with running_server(tmp_path_factory.mktemp("mirror"), proxied=False) as server:
        server.mintmark("registry", "create", "private")
        into = ("mintmark", "import", "private", "--json")
        if request.param == "folder":
            done = server.run(*into, str(folder))
        else:
            source: Reader = request.getfixturevalue("source")
            pins = server.directory / "pins.txt"
            pins.write_text("".join(_pins_for_here()))
            # Two indexes that have nothing in common: each has a CA of its own.
            ca = {"SSL_CERT_FILE": str(source.server.authority.ca_path)}
            done = server.run(*into, source.page_url(""), "--requirements", str(pins), more=ca)
        assert done.returncode == 0, done.stdout + done.stderr
        secret = server.mintmark("token", "create", "private", "reader", "--read")
        yield Mirror(Reader(server, "private", secret), json.loads(done.stdout), folder)


def _releases(folder: Path) -> list[tuple[NormalizedName, object]]:
    return [parse_wheel_filename(path.name)[:2] for path in folder.iterdir()]


def _pins_for_here() -> Iterator[str]:
    """The pins that hold for this Python, with their hashes: an import takes every pin for wanted."""
    holds = False
    for line in PINS.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.startswith(" "):
            marker = Requirement(line.strip().removesuffix("\\")).marker
            holds = marker is None or marker.evaluate()
        if holds:
            yield line


def _wanted() -> list[str]:
    """What the application asks for without pins. Nobody gets the yanked one like that."""
    lines = WANTED.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#") and line != YANKED]


# -- the copy ---------------------------------------------------------------------------------------------------------


def test_everything_came(mirror: Mirror) -> None:
    assert mirror.report["outcomes"]["imported"] == len(_releases(mirror.folder))
    assert set(mirror.reader.files()) == {path.name for path in mirror.folder.iterdir()}


def test_nothing_of_today_is_warned_of(mirror: Mirror) -> None:
    assert {each["filename"]: each["findings"] for each in mirror.report["files"] if each["findings"]} == {}


@pytest.mark.parametrize("mirror", ["index"], indirect=True)
def test_times_digests_and_yanks_are_kept(mirror: Mirror, source: Reader) -> None:
    kept = ("upload-time", "hashes", "size", "yanked", "requires-python", "core-metadata")
    there, here = ({name: _only(file, kept) for name, file in each.files().items()} for each in (source, mirror.reader))
    assert here == there
    (yanked,) = [file["yanked"] for name, file in here.items() if name.startswith(f"{YANKED}-")]
    assert yanked == REASON


def _only(file: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: file.get(key) for key in keys}


# -- installing -------------------------------------------------------------------------------------------------------


def test_pip_installs_it(mirror: Mirror, tmp_path: Path) -> None:
    python = _environment(tmp_path)
    index = ("--index-url", mirror.reader.index_url, "--disable-pip-version-check")
    mirror.run("pip", "--python", python, "install", *index, "--no-compile", "--require-hashes", "-r", str(PINS))
    _check_installed(tmp_path, mirror)
    # Everything is there that pip would choose by itself.
    mirror.run("pip", "--python", python, "install", *index, "--dry-run", "--ignore-installed", *_wanted())


def test_uv_installs_it(mirror: Mirror, tmp_path: Path) -> None:
    python = _environment(tmp_path)
    index = ("--default-index", mirror.reader.index_url)
    mirror.run("uv", "pip", "install", "--python", python, *index, "--require-hashes", "-r", str(PINS))
    _check_installed(tmp_path, mirror)


def test_uv_locks_and_syncs_a_project(mirror: Mirror, tmp_path: Path) -> None:
    text = PROJECT.format(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        wanted=json.dumps(_wanted()),
        machine=platform.machine(),
    )
    (tmp_path / "pyproject.toml").write_text(text)
    index = ("--default-index", mirror.reader.index_url, "--project", str(tmp_path), "--python", sys.executable)
    mirror.run("uv", "lock", *index)
    mirror.run("uv", "sync", "--locked", "--no-install-project", *index)
    names = {str(canonicalize_name(name)) for name in _wanted_names()}
    assert names <= set(_installed(tmp_path / ".venv"))


def _wanted_names() -> set[str]:
    return {Requirement(line).name for line in _wanted()}


def _environment(folder: Path) -> str:
    """A fresh environment without pip: the one under test works from outside."""
    venv.create(folder / "venv", with_pip=False)
    return str(folder / "venv" / "bin" / "python")


def _installed(environment: Path) -> dict[str, str]:
    (packages,) = environment.glob("lib/python*/site-packages")
    return {str(canonicalize_name(each.name)): each.version for each in distributions(path=[str(packages)])}


def _check_installed(folder: Path, mirror: Mirror) -> None:
    assert _installed(folder / "venv") == {str(name): str(version) for name, version in _releases(mirror.folder)}
