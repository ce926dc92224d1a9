"""The commands with pdm on the page on the lab, run as they are written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from real.uploaders import BIN, UPLOADERS
from support.lab_page import playing

pytestmark = pytest.mark.real


def test_pdm_publishes(tmp_path: Path) -> None:
    if not (UPLOADERS / "ready").is_file():
        pytest.skip("not installed: build/uploaders, which `make test-real` makes")
    # The lab, and what builds, are ours; only what uploads is the uploaders'.
    with playing(tmp_path, _only(tmp_path, "pdm"), Path(sys.executable).parent) as page:
        said = page.play("build", "pdm")
        assert "buildkite with organization=" in said["pdm"]
        assert "hello-1.0.tar.gz" in said["pdm"]


def _only(folder: Path, program: str) -> Path:
    """A folder with nothing in it but this program."""
    alone = folder / "bin"
    alone.mkdir()
    (alone / program).symlink_to(BIN / program)
    return alone
