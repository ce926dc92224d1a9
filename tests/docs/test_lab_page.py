"""The commands of the page on the lab, run as they are written, beside the lab that the page starts."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mintmark.lab.places import LAB_PLACES
from support.lab_page import PAGE, blocks, outputs, playing

BIN = Path(sys.executable).parent
# The programs for this one are there for the real tests only.
ELSEWHERE = {"pdm"}


def test_every_block_is_played() -> None:
    played = {"start", "build", "uv", "journal", "twine", "again", "claims", "fault", "pytest", "script"} | ELSEWHERE
    assert blocks().keys() == played
    assert PAGE.read_text(encoding="utf-8").count("<!-- test:begin") == len(played)
    # What installs the tools is the only other one.
    assert PAGE.read_text(encoding="utf-8").count("```sh\n") == len(played) + 1


def test_the_page_names_every_place() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [place.name for place in LAB_PLACES if f"| `{place.name}` |" not in text] == []


def without_times(text: str) -> list[str]:
    return [re.sub(r"^\d\d:\d\d:\d\d|\d+ ms", "-", line) for line in text.strip().splitlines()]


def test_the_page(tmp_path: Path) -> None:
    with playing(tmp_path, BIN) as page:
        said = page.play("build", "uv", "journal", "twine", "again", "claims", "fault", "pytest", "script")
        assert "gitlab with project-path=group/subgroup/project" in said["uv"]
        assert "Uploading hello-1.0-py2.py3-none-any.whl" in said["uv"]
        assert without_times(said["journal"]) == without_times(page.ported(outputs()["journal"]))
        assert "Uploading hello-1.0.tar.gz" in said["twine"]
        assert "invalid-reuse-token" in said["again"]
        assert "Check failed for 'event_name'" in " ".join(said["claims"].split())
        actions = [line.split()[1] for line in said["fault"].splitlines()[-5:]]
        assert actions == ["audience", "mint", "mint", "upload", "burn"]
        assert said["fault"].count("[fault: mint-500]") == 1
        assert "1 passed" in said["pytest"]
        assert "circleci with" in said["script"]
        assert "Uploading hello-1.0.tar.gz" in said["script"]
