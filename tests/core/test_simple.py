"""Simple pages: both forms say the same, and survive a parser of their format."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from mintmark.core.records import File, Project
from mintmark.core.simple import RENDERING, file_path, render_project, render_root

BASE = "https://index.example/acme/simple/widget-lab/"


def make_project(status: str = "active") -> Project:
    return Project(1, 1, "widget-lab", "Widget.Lab", status, 1, 0, 0)


def make_file(
    filename: str = "widget_lab-1.0.tar.gz",
    *,
    version: str = "1.0",
    state: str = "visible",
    requires_python: str | None = None,
    metadata_sha256: str | None = None,
    yanked_reason: str | None = None,
    uploaded_at: int = 1_700_000_000,
) -> File:
    return File(
        id=1,
        registry_id=1,
        project_id=1,
        version=version,
        filename=filename,
        kind="sdist",
        state=state,
        size_bytes=123,
        sha256="ab" * 32,
        blake2_256="cd" * 32,
        metadata_sha256=metadata_sha256,
        requires_python=requires_python,
        uploaded_at=uploaded_at,
        yanked_reason=yanked_reason,
    )


class Page(HTMLParser):
    """What a client reads from an HTML page."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.metas: dict[str, str] = {}
        self.anchors: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.inside = False
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs)
        if tag == "meta" and "name" in values:
            self.metas[values["name"] or ""] = values["content"] or ""
        if tag == "a":
            self.anchors.append(values)
            self.texts.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data


def render(files: list[File], status: str = "active") -> tuple[dict[str, Any], Page]:
    pages = render_project(make_project(status), files)
    assert set(pages) == {"json", "html"}
    return json.loads(pages["json"]), Page(pages["html"])


def test_json_page_in_full() -> None:
    file = make_file(
        "widget_lab-1.0-py3-none-any.whl", requires_python=">=3.11", metadata_sha256="ef" * 32, state="yanked"
    )
    page, _ = render([file])
    assert page == {
        "meta": {"api-version": "1.4"},
        "name": "widget-lab",
        "project-status": {"status": "active"},
        "versions": ["1.0"],
        "files": [
            {
                "filename": "widget_lab-1.0-py3-none-any.whl",
                "url": f"../../files/ab/{'ab' * 32}/widget_lab-1.0-py3-none-any.whl",
                "hashes": {"sha256": "ab" * 32},
                "requires-python": ">=3.11",
                "size": 123,
                "upload-time": "2023-11-14T22:13:20Z",
                "yanked": True,
                "core-metadata": {"sha256": "ef" * 32},
                "dist-info-metadata": {"sha256": "ef" * 32},
                "provenance": None,
            }
        ],
    }


def test_optional_keys() -> None:
    page, html = render([make_file()])
    (entry,) = page["files"]
    assert "requires-python" not in entry
    assert (entry["yanked"], entry["core-metadata"], entry["dist-info-metadata"]) == (False, False, False)
    assert set(html.anchors[0]) == {"href"}


def test_html_page_in_full() -> None:
    file = make_file(
        requires_python=">=3.9,<4", metadata_sha256="ef" * 32, state="yanked", yanked_reason='"bad" & <old>'
    )
    assert render_project(make_project(), [file])["html"].decode() == (
        "<!DOCTYPE html>\n<html>\n<head>\n"
        '<meta charset="utf-8">\n<meta name="pypi:repository-version" content="1.4">\n'
        "<title>Links for widget-lab</title>\n</head>\n<body>\n<h1>Links for widget-lab</h1>\n"
        f'<a href="../../files/ab/{"ab" * 32}/widget_lab-1.0.tar.gz#sha256={"ab" * 32}" '
        'data-requires-python="&gt;=3.9,&lt;4" data-yanked="&quot;bad&quot; &amp; &lt;old&gt;" '
        f'data-dist-info-metadata="sha256={"ef" * 32}" data-core-metadata="sha256={"ef" * 32}">'
        "widget_lab-1.0.tar.gz</a><br />\n"
        "</body>\n</html>\n"
    )


def test_yanked_with_and_without_reason() -> None:
    page, html = render(
        [make_file(state="yanked", yanked_reason="broken"), make_file("widget_lab-1.1.tar.gz", state="yanked")]
    )
    assert [entry["yanked"] for entry in page["files"]] == ["broken", True]
    assert [anchor["data-yanked"] for anchor in html.anchors] == ["broken", ""]
    assert "data-yanked" not in render([make_file(yanked_reason="of the past")])[1].anchors[0]


@pytest.mark.parametrize("status", ["active", "archived", "deprecated", "quarantined"])
def test_project_status(status: str) -> None:
    page, html = render([make_file()], status)
    assert page["project-status"] == {"status": status}
    assert html.metas.get("pypi:project-status", "active") == status
    assert html.metas["pypi:repository-version"] == "1.4"


def test_invariant_a_quarantined_project_offers_no_file() -> None:
    page, html = render([make_file()], "quarantined")
    assert (page["files"], html.anchors, page["versions"]) == ([], [], ["1.0"])


def test_invariant_staged_and_deleted_files_appear_nowhere() -> None:
    files = [make_file(f"widget_lab-{number}.tar.gz", version=str(number)) for number in range(4)]
    states = ("staged", "visible", "deleted", "yanked")
    hidden = [
        make_file(file.filename, version=file.version, state=state) for file, state in zip(files, states, strict=True)
    ]
    page, html = render(hidden)
    assert page["versions"] == ["1", "3"]
    assert (
        [entry["filename"] for entry in page["files"]] == html.texts == ["widget_lab-1.tar.gz", "widget_lab-3.tar.gz"]
    )


def test_order_is_by_version_then_name() -> None:
    versions = ["10.0", "2.0", "2.0rc1", "1!0.1", "2.0+local", "2.0"]
    files = [
        make_file(f"{'ba'[index % 2]}-{version}.tar.gz", version=version) for index, version in enumerate(versions)
    ]
    page, html = render(files)
    assert page["versions"] == ["2.0rc1", "2.0", "2.0+local", "10.0", "1!0.1"]
    assert [entry["filename"] for entry in page["files"]] == html.texts
    assert html.texts[1:3] == ["a-2.0.tar.gz", "a-2.0.tar.gz"]
    assert render_project(make_project(), files) == render_project(make_project(), files[::-1])


def test_names_are_percent_encoded_in_urls_only() -> None:
    file = make_file("a-1!1.0+local.tar.gz", version="1!1.0+local")
    assert file_path(file) == f"ab/{'ab' * 32}/a-1%211.0%2Blocal.tar.gz"
    page, html = render([file])
    assert page["files"][0]["filename"] == html.texts[0] == file.filename
    assert file_path(file) in (html.anchors[0]["href"] or "")


def test_root() -> None:
    pages = render_root(["b", "a-c"])
    assert json.loads(pages["json"]) == {"meta": {"api-version": "1.4"}, "projects": [{"name": "a-c"}, {"name": "b"}]}
    html = Page(pages["html"])
    assert html.metas["pypi:repository-version"] == "1.4"
    assert [anchor["href"] for anchor in html.anchors] == ["a-c/", "b/"]
    assert html.texts == ["a-c", "b"]


def test_empty_pages() -> None:
    assert render([])[0]["files"] == []
    assert json.loads(render_root([])["json"])["projects"] == []


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
FILES = st.builds(
    make_file,
    st.text("abc_-.+!0123456789", min_size=1, max_size=30).map(lambda text: text + ".tar.gz"),
    version=st.sampled_from(["1.0", "1.10", "1.9", "2.0+x", "1!0"]),
    state=st.sampled_from(["visible", "yanked"]),
    requires_python=st.one_of(st.none(), st.sampled_from([">=3.9", "<4,!=3.9.*", '==="&<>']), TEXT),
    metadata_sha256=st.sampled_from([None, "ef" * 32]),
    yanked_reason=st.one_of(st.none(), TEXT),
    uploaded_at=st.integers(0, 4_000_000_000),
)


@given(st.lists(FILES, max_size=6))
def test_both_forms_say_the_same(files: list[File]) -> None:
    page, html = render(files)
    assert len(page["files"]) == len(html.anchors) == len(files)
    assert page["versions"] == sorted({file.version for file in files}, key=Version)
    for entry, anchor, text in zip(page["files"], html.anchors, html.texts, strict=True):
        url, _, fragment = (anchor["href"] or "").partition("#")
        assert url == entry["url"]
        path = urlsplit(urljoin(BASE, url)).path
        assert unquote(path) == f"/acme/files/ab/{'ab' * 32}/{entry['filename']}"
        assert text == entry["filename"] == unquote(path.rpartition("/")[2])
        assert fragment == f"sha256={entry['hashes']['sha256']}"
        assert anchor.get("data-requires-python") == entry.get("requires-python")
        assert anchor.get("data-yanked", False) == ("" if entry["yanked"] is True else entry["yanked"])
        metadata = entry["core-metadata"]
        assert anchor.get("data-core-metadata") == (f"sha256={metadata['sha256']}" if metadata else None)
        assert anchor.get("data-dist-info-metadata") == anchor.get("data-core-metadata")
        assert entry["dist-info-metadata"] == metadata
        assert entry["upload-time"].endswith("Z")


@given(st.sets(st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True), max_size=8))
def test_root_lists_every_project(names: set[str]) -> None:
    pages = render_root(sorted(names, reverse=True))
    assert (
        [entry["name"] for entry in json.loads(pages["json"])["projects"]] == sorted(names) == Page(pages["html"]).texts
    )


# By `RENDERING`: a digest of what the records below give. An entry is added with each new number, never changed.
RENDERED = {1: "271d5158a2e5f359"}


def test_other_bytes_have_another_number_of_rendering() -> None:
    """Without it, pages of the former release would be served until their projects change."""
    files = [
        make_file(),
        make_file("widget_lab-2.0.tar.gz", version="2.0", requires_python=">=3.9", metadata_sha256="ef" * 32),
        make_file("widget_lab-3.0.tar.gz", version="3.0", state="yanked", yanked_reason="<broken>"),
    ]
    pages = [render_project(make_project(status), files) for status in ("active", "deprecated", "quarantined")]
    pages.append(render_root(["widget-lab", "gadget"]))
    found = hashlib.sha256(b"".join(page[form] for page in pages for form in ("json", "html"))).hexdigest()
    assert RENDERED[RENDERING] == found[:16]
