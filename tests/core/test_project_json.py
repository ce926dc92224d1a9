"""The JSON document about a project: which release it describes, and what it says whatever the metadata holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from mintmark.core.errors import Rejected
from mintmark.core.project_json import described_version, describing_file, form_name, render
from mintmark.core.records import File, Project

ROOT = "https://pkgs.example.com/acme"
PROJECT = Project(1, 1, "widget-lab", "Widget.Lab", "active", 7, 7, 0)
METADATA = """Metadata-Version: 2.4
Name: Widget.Lab
Version: 1.0
Summary: A widget
Home-page: https://widget.example
Author: Ada
Author-email: ada@example.com
License: UNKNOWN
License-Expression: MIT
License-File: LICENSE
License-File: more/NOTICE
Keywords: one,two three
Platform: any
Platform: linux
Classifier: Programming Language :: Python :: 3
Requires-Dist: attrs>=22
Requires-Dist: rich; extra == "pretty"
Provides-Extra: pretty
Requires-Python: >=3.9
Project-URL: Source, https://widget.example/source
Description-Content-Type: text/markdown
Dynamic: version

# Widget

A long story: naïve.
""".encode()


def file(version: str = "1.0", kind: str = "wheel", state: str = "visible", reason: str | None = None) -> File:
    name = f"widget_lab-{version}-1-cp311-abi3-any.whl" if kind == "wheel" else f"widget_lab-{version}.tar.gz"
    return File(
        1, 1, 1, version, name, kind, state, 12, "ab" * 32, "cd" * 32, None, ">=3.9", 1684768332, reason, 313790
    )  # fmt: skip


def document(*files: File, version: str = "1.0", metadata: bytes = METADATA, releases: bool = True) -> Any:
    return json.loads(render(PROJECT, files, version, metadata, ROOT, releases=releases))


def test_info() -> None:
    info = document(file())["info"]
    assert info == {
        "author": "Ada", "author_email": "ada@example.com", "bugtrack_url": None,
        "classifiers": ["Programming Language :: Python :: 3"], "description": "# Widget\n\nA long story: naïve.\n",
        "description_content_type": "text/markdown", "docs_url": None, "download_url": None,
        "downloads": {"last_day": -1, "last_week": -1, "last_month": -1}, "dynamic": ["version"],
        "home_page": "https://widget.example", "keywords": "one,two three", "license": None,
        "license_expression": "MIT", "license_files": ["LICENSE", "more/NOTICE"], "maintainer": None,
        "maintainer_email": None, "name": "Widget.Lab", "package_url": f"{ROOT}/simple/widget-lab/",
        "platform": "any, linux", "project_url": f"{ROOT}/simple/widget-lab/",
        "project_urls": {"Source": "https://widget.example/source"}, "provides_extra": ["pretty"],
        "release_url": f"{ROOT}/pypi/widget-lab/1.0/json", "requires_dist": ["attrs>=22", 'rich; extra == "pretty"'],
        "requires_python": ">=3.9", "summary": "A widget", "version": "1.0", "yanked": False, "yanked_reason": None,
    }  # fmt: skip


def test_files() -> None:
    found = document(file("2.0"), file(), file(kind="sdist", state="yanked", reason="bad"), version="1.0")
    assert (found["last_serial"], found["vulnerabilities"], list(found["releases"])) == (7, [], ["1.0", "2.0"])
    assert found["urls"] == found["releases"]["1.0"]
    wheel, sdist = found["urls"]
    assert wheel == {
        "comment_text": "", "digests": {"blake2b_256": "cd" * 32, "sha256": "ab" * 32}, "downloads": -1,
        "filename": "widget_lab-1.0-1-cp311-abi3-any.whl", "has_sig": False, "packagetype": "bdist_wheel",
        "python_version": "cp311", "requires_python": ">=3.9", "size": 12, "upload_time": "2023-05-22T15:12:12",
        "upload_time_iso_8601": "2023-05-22T15:12:12.313790Z",
        "url": f"{ROOT}/files/ab/{'ab' * 32}/widget_lab-1.0-1-cp311-abi3-any.whl",
        "yanked": False, "yanked_reason": None,
    }  # fmt: skip
    assert (sdist["packagetype"], sdist["python_version"]) == ("sdist", "source")
    assert (sdist["yanked"], sdist["yanked_reason"]) == (True, "bad")
    assert "releases" not in document(file(), releases=False)


@pytest.mark.parametrize(
    ("versions", "yanked", "newest"),
    [
        (["1.0", "1.10", "1.9"], [], "1.10"),
        (["1.0", "2.0rc1", "2.0.dev1"], [], "1.0"),
        (["2.0a1", "2.0b1"], [], "2.0b1"),
        (["1.0", "2.0"], ["2.0"], "1.0"),
        (["1.0rc1", "2.0"], ["2.0"], "1.0rc1"),
        (["1.0", "2.0"], ["1.0", "2.0"], "2.0"),
        (["1.0", "1!0.1"], [], "1!0.1"),
        ([], [], None),
    ],
)
def test_the_newest_release_that_people_want(versions: list[str], yanked: list[str], newest: str | None) -> None:
    files = [file(each, state="yanked" if each in yanked else "visible") for each in versions]
    assert described_version(files, None) == newest


def test_a_release_is_yanked_when_all_of_it_is() -> None:
    wheel, sdist = file(state="yanked", reason="broken"), file(kind="sdist")
    assert document(wheel, sdist)["info"]["yanked"] is False
    both = document(wheel, file(kind="sdist", state="yanked"))["info"]
    assert (both["yanked"], both["yanked_reason"]) == (True, "broken")


def test_a_wheel_describes_its_release() -> None:
    assert describing_file([file(kind="sdist"), file()], "1.0").kind == "wheel"
    assert describing_file([file(kind="sdist"), file("2.0")], "1.0").kind == "sdist"


@pytest.mark.parametrize("wanted", ["1.0", "1", "1.0.0", "v1.0", " 1.0"])
def test_another_spelling_is_the_same_version(wanted: str) -> None:
    assert described_version([file("1.0"), file("1.0.1")], wanted) == "1.0"
    assert form_name(ROOT, wanted) == form_name(ROOT, "1.0") != form_name(ROOT, None)
    assert form_name(ROOT, "1.0") != form_name("https://other.example", "1.0")


@pytest.mark.parametrize("wanted", ["2", "", "latest", "1.0.", "../..", "1" * 300, "\x00", "1.0.post1"])
def test_versions_that_are_not_there(wanted: str) -> None:
    assert described_version([file("1.0"), file("1.0.1")], wanted) is None


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: b"Name: x\nSummary: " + text.encode()))
def test_any_metadata_at_all(metadata: bytes) -> None:
    try:
        found = document(file(), metadata=metadata)
    except Rejected:
        return
    assert (found["info"]["name"], found["info"]["version"]) == ("Widget.Lab", "1.0")
    assert isinstance(found["info"]["classifiers"], list)


RELEASE = st.lists(st.integers(0, 20), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(st.lists(st.tuples(RELEASE, st.sampled_from(["", "rc1", ".dev2", ".post1", "+local.1"])), min_size=1))
def test_every_listed_version_is_found_by_its_own_spelling(parts: list[tuple[str, str]]) -> None:
    files = [file(str(Version(release + suffix))) for release, suffix in parts]
    for each in files:
        found = described_version(files, each.version)
        assert found is not None
        assert Version(found) == Version(each.version)
