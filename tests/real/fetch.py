"""Real packages for the tests, from the index that this machine's pip is configured with.

Owns where they lie between runs (`build/corpus`) and that each is, byte for byte, the one that was pinned. pip fetches
them as it does for everybody; no index is named here. Where there is none to be reached, the tests are skipped.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

KEPT = Path(__file__).parents[2] / "build" / "corpus"
AT_A_TIME = 4
TIMEOUT_SECONDS = 300
# Old source distributions are built, since pip looks at their metadata: with a setuptools of their time.
BUILT_WITH = "setuptools==75.8.0\n"
DAMAGED = "DO NOT MATCH THE HASHES"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def release_of(filename: str) -> tuple[str, str]:
    """Project and version, as a file name spells them."""
    if filename.endswith(".whl"):
        name, version = filename.split("-")[:2]
        return name, version
    name, _, version = filename.removesuffix(".zip").removesuffix(".tar.gz").rpartition("-")
    return name, str(Version(version))


def options_of(filename: str) -> list[str]:
    """What pip must be told to choose this very file, wherever it runs."""
    if not filename.endswith(".whl"):
        return ["--no-binary", ":all:"]
    chosen = ["--only-binary", ":all:"]
    python, abi, platforms = filename.removesuffix(".whl").split("-")[-3:]
    if platforms == "any":
        return chosen
    # Any one of its platforms does: pip compares it as it is.
    tags = sorted(parse_wheel_filename(filename)[3], key=str)
    version = python.removeprefix("cp") if python.startswith("cp") and abi != "abi3" else "311"
    return [
        *chosen,
        *("--platform", tags[-1].platform),
        *("--python-version", version),
        *("--implementation", "cp"),
        *("--abi", abi),
    ]


def fetch_files(wanted: Mapping[str, str], built_with: str = BUILT_WITH) -> Path:
    """The folder in which all of `wanted` lie: file names and their digests. Skips the test when they cannot be had."""
    folder = KEPT / "files"
    folder.mkdir(parents=True, exist_ok=True)
    # What is chosen by the same options is fetched in one run of pip.
    runs: dict[tuple[str, ...], dict[str, str]] = {}
    for name, sha256 in wanted.items():
        if not _is_there(folder / name, sha256):
            runs.setdefault(tuple(options_of(name)), {})[name] = sha256
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for trouble in pool.map(lambda options: _fetch(folder, options, runs[options], built_with), runs):
            if trouble:
                pytest.skip(trouble)
    return folder


def fetch_requirements(requirements: Path) -> Path:
    """The folder with exactly what a file of hash-pinned requirements means for this Python, as wheels."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    mark = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = KEPT / f"{requirements.stem}-{version}-{mark}"
    if not folder.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=KEPT) as fresh:
            trouble = _download(["--only-binary", ":all:", "-r", str(requirements)], Path(fresh))
            if trouble:
                pytest.skip(trouble)
            Path(fresh).rename(folder)
            # For the end of the block, which removes it.
            Path(fresh).mkdir()
    return folder


def _is_there(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _fetch(folder: Path, options: Iterable[str], wanted: Mapping[str, str], built_with: str) -> str:
    """Get some files; what went wrong, or nothing."""
    with TemporaryDirectory(dir=KEPT) as fresh:
        pins = Path(fresh) / "pins.txt"
        releases = {name: "==".join(release_of(name)) for name in wanted}
        pins.write_text("".join(f"{releases[name]} --hash=sha256:{sha256}\n" for name, sha256 in wanted.items()))
        trouble = _download([*options, "-r", str(pins)], Path(fresh), built_with)
        if not trouble:
            for name in wanted:
                (Path(fresh) / name).rename(folder / name)
    return trouble


def _download(options: Iterable[str], into: Path, built_with: str = BUILT_WITH) -> str:
    # Downloads run side by side: one file for each content.
    constraints = KEPT / f"built-with-{hashlib.sha256(built_with.encode()).hexdigest()[:8]}.txt"
    constraints.write_text(built_with)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--build-constraint", str(constraints), "--quiet", "--dest", str(into), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return ""
    assert DAMAGED not in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    return f"pip cannot get the packages from its index: {said[-1] if said else 'it does not say why'}"
