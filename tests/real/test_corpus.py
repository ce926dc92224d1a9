"""The most different real packages there are, through stock twine, uv and pip: all come in, are shown, and install.

`corpus.toml` says why each is here and what happens to it. What today's checks refuse to an uploader, an existing index
has all the same: `mintmark import` brings it in.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import urljoin

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from real.fetch import fetch_files, options_of, release_of
from real.production import Server, running_server
from real.reading import HTML, Reader

pytestmark = pytest.mark.real

TRUST = """
[registry.old]
legacy-names = true

[registry.strict]
"""
LEGACY_CURE = "legacy-names = true"
# Two, as the machine may have: twine and pip are busy with themselves for most of their time.
AT_A_TIME = 2


@dataclass(frozen=True)
class Package:
    """One line of the corpus."""

    file: str
    sha256: str
    why: str
    legacy: bool = False
    twine: bool = True
    refused: str = ""
    build: bool = True

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")

    @property
    def name(self) -> str:
        return str(canonicalize_name(release_of(self.file)[0]))

    @property
    def version(self) -> str:
        return release_of(self.file)[1]

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


def _read_corpus() -> tuple[Package, ...]:
    text = (Path(__file__).parent / "corpus.toml").read_text(encoding="utf-8")
    return tuple(Package(**entry) for entry in tomllib.loads(text)["package"])


CORPUS = _read_corpus()
every = pytest.mark.parametrize("package", CORPUS, ids=lambda package: package.file[:40])
legacy = pytest.mark.parametrize(
    "package", [each for each in CORPUS if each.legacy], ids=lambda package: package.file[:40]
)
installable = pytest.mark.parametrize(
    "package", [each for each in CORPUS if each.is_wheel or each.build], ids=lambda package: package.file[:40]
)


@dataclass(frozen=True)
class Filled:
    """The index after every package was uploaded and the folder of all packages was imported."""

    server: Server
    folder: Path
    secret: str
    uploads: dict[str, CompletedProcess[str]]
    imported: dict[str, Any]

    @property
    def reader(self) -> Reader:
        return Reader(self.server, "old", self.secret)

    def entry(self, package: Package) -> dict[str, Any]:
        """What the JSON page says of a file."""
        files = self.reader.page(package.name)["files"]
        return dict(next(file for file in files if file["filename"] == package.file))

    def url(self, package: Package) -> str:
        """Where the page says that the file is."""
        return urljoin(self.reader.page_url(package.name), str(self.entry(package)["url"]))


def _upload(server: Server, secret: str, registry: str, path: Path, *, uv: bool) -> CompletedProcess[str]:
    url = f"{server.base_url}/{registry}/legacy/"
    if uv:
        return server.run("uv", "publish", "--publish-url", url, "--token", secret, str(path))
    return server.run(
        # Without --verbose it shows the first line of the answer only.
        "twine", "upload", "--non-interactive", "--disable-progress-bar", "--verbose", "--repository-url", url,
        str(path),
        more={"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": secret},
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = fetch_files({package.file: package.sha256 for package in CORPUS})
    with running_server(tmp_path_factory.mktemp("corpus"), proxied=False) as server:
        (server.directory / "trust.toml").write_text(TRUST)
        server.mintmark("apply", "--yes", "trust.toml")
        secret = server.mintmark("token", "create", "old", "corpus", "--upload", "--read")

        def upload(number: int) -> tuple[str, CompletedProcess[str]]:
            package = CORPUS[number]
            # uv sends a file under its normal name, whatever it is called.
            uv = not package.twine or (number % 3 == 0 and not package.legacy)
            return package.file, _upload(server, secret, "old", folder / package.file, uv=uv)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            uploads = dict(pool.map(upload, range(len(CORPUS))))
        # Only the packages of this corpus: the folder may hold those of another day.
        chosen = server.directory / "chosen"
        chosen.mkdir()
        for package in CORPUS:
            (chosen / package.file).hardlink_to(folder / package.file)
        done = server.run("mintmark", "import", "old", "chosen", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Filled(server, folder, secret, uploads, json.loads(done.stdout))


# -- coming in --------------------------------------------------------------------------------------------------------


@every
def test_upload(filled: Filled, package: Package) -> None:
    done = filled.uploads[package.file]
    if package.refused:
        assert done.returncode != 0
        assert "400 Bad Request" in _said(done), _said(done)
    else:
        assert done.returncode == 0, _said(done)


@every
def test_import_brings_in_the_rest(filled: Filled, package: Package) -> None:
    outcome = next(each for each in filled.imported["files"] if each["filename"] == package.file)
    assert outcome["what"] == ("imported" if package.refused else "there"), outcome
    assert outcome["sha256"] == package.sha256
    # What kept it out before is told as a warning.
    assert not package.refused or package.refused in {finding["check"] for finding in outcome["findings"]}


def test_a_second_import_changes_nothing(filled: Filled) -> None:
    done = filled.server.run("mintmark", "import", "old", "chosen", "--json")
    assert json.loads(done.stdout)["outcomes"]["there"] == len(CORPUS)


def test_all_is_as_it_should_be(filled: Filled) -> None:
    """Every digest, every reference and every page, of what came in by all ways."""
    done = filled.server.run("mintmark", "fsck")
    assert done.returncode == 0, done.stdout + done.stderr


@legacy
def test_legacy_names_need_the_setting(filled: Filled, package: Package) -> None:
    secret = filled.server.mintmark("token", "create", "strict", package.name, "--upload")
    done = _upload(filled.server, secret, "strict", filled.folder / package.file, uv=False)
    assert done.returncode != 0
    assert LEGACY_CURE in _said(done), _said(done)


def _said(done: CompletedProcess[str]) -> str:
    # twine breaks lines where the terminal would end.
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


# -- being shown ------------------------------------------------------------------------------------------------------


@every
def test_pages_show_it(filled: Filled, package: Package) -> None:
    entry = filled.entry(package)
    assert entry["hashes"]["sha256"] == package.sha256
    assert hashlib.sha256(filled.reader.get(filled.url(package))).hexdigest() == package.sha256
    html = filled.reader.get(filled.reader.page_url(package.name), HTML).decode()
    assert f">{package.file}</a>" in html
    assert f"#sha256={package.sha256}" in html


@every
def test_metadata_lies_beside_wheels(filled: Filled, package: Package) -> None:
    entry = filled.entry(package)
    if not package.is_wheel:
        assert not entry.get("core-metadata")
        return
    with zipfile.ZipFile(filled.folder / package.file) as archive:
        (name,) = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        inside = archive.read(name)
    assert filled.reader.get(filled.url(package) + ".metadata") == inside
    assert entry["core-metadata"] == {"sha256": hashlib.sha256(inside).hexdigest()}


# -- going out --------------------------------------------------------------------------------------------------------


@installable
def test_pip_installs(filled: Filled, package: Package, tmp_path: Path) -> None:
    target = ["--no-deps", "--no-compile", "--target", str(tmp_path / "target")]
    options = ["--index-url", filled.reader.index_url, "--no-cache-dir", "--disable-pip-version-check", *target]
    chosen = options_of(package.file) if package.is_wheel else ["--no-binary", package.name]
    done = filled.server.run("pip", "install", *options, *chosen, package.pin)
    assert done.returncode == 0, done.stdout + done.stderr
    _check_installed(tmp_path / "target", package)


@installable
def test_uv_installs(filled: Filled, package: Package, tmp_path: Path) -> None:
    target = ["--no-deps", "--target", str(tmp_path / "target"), "--link-mode", "copy"]
    options = ["--default-index", filled.reader.index_url, *target]
    chosen = _uv_options(package) if package.is_wheel else ["--no-binary", package.name]
    done = filled.server.run("uv", "pip", "install", *options, *chosen, package.pin)
    assert done.returncode == 0, done.stdout + done.stderr
    _check_installed(tmp_path / "target", package)


def _uv_options(package: Package) -> list[str]:
    """What uv must be told to choose this very file, wherever it runs."""
    chosen = ["--only-binary", ":all:"]
    python, _, platforms = package.file.removesuffix(".whl").split("-")[-3:]
    if platforms == "any":
        return chosen
    system = "x86_64-apple-darwin" if "macosx" in platforms else "x86_64-manylinux_2_28"
    version = f"3.{python.removeprefix('cp3')}" if python.startswith("cp") and "abi3" not in package.file else "3.11"
    return [*chosen, "--python-platform", system, "--python-version", version]


def _check_installed(target: Path, package: Package) -> None:
    found = {str(canonicalize_name(each.name)): Version(each.version) for each in distributions(path=[str(target)])}
    assert found == {package.name: Version(package.version)}
