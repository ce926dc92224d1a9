"""Pages of other indexes, in both forms: what the standards allow, what indexes do, and what nobody should."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core import import_html, import_listing
from mintmark.core.import_listing import JSON_TYPE, Entry, parse_project_page, parse_root_page, parse_time
from mintmark.core.records import File, Project
from mintmark.core.simple import render_project, render_root
from support.refusals import refusal

URL = "https://index.example.com/simple/widget/"
WHEEL = "widget-1.0-py3-none-any.whl"
SHA = "ab" * 32


def as_json(**page: Any) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "widget", "files": []} | page).encode()


def only(body: bytes, content_type: str = "text/html", url: str = URL) -> Entry:
    (entry,) = parse_project_page(body, content_type, url).entries
    return entry


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_everything_a_json_page_tells() -> None:
    item = {
        "filename": WHEEL,
        "url": f"../../files/{WHEEL}",
        "hashes": {"sha256": SHA.upper(), "md5": "0" * 32, "sha512": "short", "other": "1"},
        "requires-python": ">=3.8",
        "size": 1234,
        "upload-time": "2023-05-06T07:08:09.012345Z",
        "yanked": "broken\nbuild",
        "core-metadata": {"sha256": SHA},
        "provenance": "https://index.example.com/provenance",
    }
    status = {"status": "deprecated", "reason": "use gadget"}
    page = parse_project_page(as_json(files=[item], **{"project-status": status}), JSON_TYPE, URL)
    assert (page.status, page.status_reason) == ("deprecated", "use gadget")
    assert page.entries == (
        Entry(
            WHEEL,
            f"https://index.example.com/files/{WHEEL}",
            {"sha256": SHA, "md5": "0" * 32},
            1234,
            1_683_356_889,
            12_345,
            "broken build",
            ">=3.8",
            SHA,
        ),
    )


@pytest.mark.parametrize(
    ("stated", "yanked"), [(False, None), (True, ""), ("", None), ("bad", "bad"), (None, None), (1, None)]
)
def test_yanked_is_a_flag_or_a_reason(stated: object, yanked: str | None) -> None:
    item = {"filename": WHEEL, "url": WHEEL, "hashes": {}, "yanked": stated}
    assert only(as_json(files=[item]), JSON_TYPE).yanked == yanked


@pytest.mark.parametrize("size", [-1, True, "12", 2**60, 1.5, None])
def test_what_is_no_size_is_unknown(size: object) -> None:
    item = {"filename": WHEEL, "url": WHEEL, "hashes": {}, "size": size}
    assert only(as_json(files=[item]), JSON_TYPE).size_bytes is None


def test_one_bad_entry_keeps_no_other_back() -> None:
    good = {"filename": WHEEL, "url": WHEEL, "hashes": {}}
    bad: list[object] = [
        None,
        [],
        {},
        {"filename": 1, "url": "x"},
        {"filename": WHEEL},
        {"filename": WHEEL, "url": "ftp://a/b"},
    ]
    page = parse_project_page(as_json(files=[*bad, good]), JSON_TYPE, URL)
    assert (len(page.entries), page.unreadable) == (1, len(bad))


def test_the_older_name_of_the_metadata_key_and_an_unknown_status() -> None:
    item = {"filename": WHEEL, "url": WHEEL, "hashes": {}, "dist-info-metadata": True}
    status = {"status": "sold", "reason": "x"}
    page = parse_project_page(as_json(files=[item], **{"project-status": status}), JSON_TYPE, URL)
    assert (page.entries[0].core_metadata, page.status, page.status_reason) == (True, "active", "")


# -- HTML -------------------------------------------------------------------------------------------------------------


def test_everything_an_html_page_tells() -> None:
    body = f"""<!DOCTYPE html><html><head>
      <meta name="pypi:repository-version" content="1.4">
      <meta name="pypi:project-status" content="archived">
      <meta name="pypi:project-status-reason" content="finished">
    </head><body>
      <a href="../../files/{WHEEL}#sha256={SHA}" data-requires-python="&gt;=3.8" data-yanked="no &amp; never"
         data-dist-info-metadata="sha256={SHA}">{WHEEL}</a><br/>
    </body></html>"""
    page = parse_project_page(body.encode(), "text/html; charset=utf-8", URL)
    assert (page.status, page.status_reason) == ("archived", "finished")
    assert page.entries == (
        Entry(
            WHEEL,
            f"https://index.example.com/files/{WHEEL}",
            {"sha256": SHA},
            yanked="no & never",
            requires_python=">=3.8",
            core_metadata=SHA,
        ),
    )


@pytest.mark.parametrize(
    "markup",
    [
        f"<A HREF='{WHEEL}#md5={'0' * 32}'>x</A>",
        f"<a\n  rel=internal\n  href={WHEEL}>x",
        f'<base href="https://index.example.com/simple/widget/"><a href="{WHEEL}">x</a>',
        f'<a href="{WHEEL}"><b>widget</b>-1.0</a>',
        '<a name="top"></a><a href="widget-1.0-py3-none-%61ny.whl">x</a>',
        f'<!-- <a href="no-1.0.tar.gz">no</a> --><a href="./{WHEEL}?download=1">x</a>',
        f'<a href="/get?id=5">{WHEEL}</a>',
        f'<a href="{WHEEL}">x<a href="">y</a>',
    ],
)
def test_odd_but_legal_markup(markup: str) -> None:
    assert only(markup.encode()).filename == WHEEL


def test_attributes_without_values() -> None:
    entry = only(f'<a href="{WHEEL}" data-yanked data-core-metadata=true>x</a>'.encode())
    assert (entry.yanked, entry.core_metadata) == ("", True)
    assert only(f'<a href="{WHEEL}" data-core-metadata=false>x</a>'.encode()).core_metadata is False


def test_links_to_other_hosts_and_bases() -> None:
    page = f'<base href="https://files.example.net/a/"><a href="b/{WHEEL}">x</a>'
    assert only(page.encode()).url == f"https://files.example.net/a/b/{WHEEL}"
    assert only(f'<a href="//cdn.example.net/{WHEEL}">x</a>'.encode()).url == f"https://cdn.example.net/{WHEEL}"


def test_a_page_in_another_encoding() -> None:
    page = '<meta charset="iso-8859-1"><a href="widget-1.0.tar.gz" data-yanked="fehlerhaft f\u00fcr alle">x</a>'
    assert only(page.encode("latin-1")).yanked == "fehlerhaft f\u00fcr alle"
    assert only(b'<meta charset="nothing"><a href="widget-1.0.tar.gz">x</a>').filename == "widget-1.0.tar.gz"


# -- lists of projects ------------------------------------------------------------------------------------------------


def test_the_list_of_projects_in_both_forms() -> None:
    root = "https://index.example.com/simple/"
    body = json.dumps({"meta": {}, "projects": [{"name": "Foo.Bar"}, {"name": "a b"}, {}, 3, {"name": "b"}]}).encode()
    listing = parse_root_page(body, "application/json", root)
    assert (dict(listing.pages), listing.unreadable) == ({"foo-bar": root + "Foo.Bar/", "b": root + "b/"}, 3)
    html = b'<a href="/simple/foo-bar/">Foo.Bar</a><a href="b/">(b, a project)</a><a href="../">..</a>'
    listing = parse_root_page(html, "text/html", root)
    assert dict(listing.pages) == {"foo-bar": root + "foo-bar/", "b": root + "b/"}


# -- what no page is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b"{", JSON_TYPE, "says it is JSON and is none"),
        (b"[" * 100_000, JSON_TYPE, "says it is JSON and is none"),
        (b"\xff", JSON_TYPE, "says it is JSON and is none"),
        (b"[]", JSON_TYPE, "not of the simple API"),
        (b"{}", JSON_TYPE, "without a list of files"),
        (as_json(meta={"api-version": "2.0"}), JSON_TYPE, "'2.0'"),
        (b'<meta name="pypi:repository-version" content="2.0">', "text/html", "'2.0'"),
        (b"x", "image/png", "'image/png'"),
        (b"x", "", "neither HTML nor JSON"),
        (b"<!-- " + b"a" * (import_html.UNFINISHED_MAX_CHARACTERS * 2), "text/html", "more links"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, content_type: str, says: str) -> None:
    refused = refusal(lambda: parse_project_page(body, content_type, "https://user:secret@index.example.com/x/?t=1"))
    assert refused is not None
    assert refused.code.name == "invalid-import"
    assert says in refused.detail
    assert "secret" not in refused.sentence
    assert "t=1" not in refused.sentence


def test_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_listing, "ENTRIES_MAX", 1)
    monkeypatch.setattr(import_listing, "PROJECTS_MAX", 1)
    two = b'<a href="a/">a</a><a href="b/">b</a>'
    two_files = b'<a href="a.whl">a</a><a href="b.whl">b</a>'
    assert "more links" in str(refusal(lambda: parse_project_page(two_files, "text/html", URL)))
    assert "more links" in str(refusal(lambda: parse_root_page(two, "text/html", URL)))
    json_of_two = as_json(files=[{"filename": "a.whl", "url": "a.whl"}, {"filename": "b.whl", "url": "b.whl"}])
    assert "more than 1 files" in str(refusal(lambda: parse_project_page(json_of_two, JSON_TYPE, URL)))


@given(
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["files", "filename", "url", "hashes", "meta", "size", "yanked", "projects", "name"]),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
    | st.lists(
        st.sampled_from(
            ["<a ", "href=", '"', "'", ">", "</a>", "<base ", "&#0;", "<!--", "<![", "\x00", "x.whl", "//["]
        )
    ).map(lambda parts: "".join(parts).encode()),
    kind=st.sampled_from([JSON_TYPE, "text/html"]),
)
def test_no_page_breaks_the_reader(body: bytes, kind: str) -> None:
    refusal(lambda: parse_project_page(body, kind, URL))
    refusal(lambda: parse_root_page(body, kind, URL))


@pytest.mark.parametrize("value", ["{}", "[]", "1"])
def test_a_page_of_nothing_but_small_values_costs_no_memory(value: str) -> None:
    body = b'{"files":[' + f"{value},".encode() * (5 << 20) + b"1]}"
    tracemalloc.start()
    assert "holds more than any index" in str(refusal(lambda: parse_project_page(body, JSON_TYPE, URL)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# -- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2023-05-06T07:08:09Z", (1_683_356_889, 0)),
        ("2023-05-06T09:08:09.5+02:00", (1_683_356_889, 500_000)),
        ("2023-05-06T07:08:09.000001", (1_683_356_889, 1)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("yesterday", None),
        ("", None),
        (5, None),
    ],
)
def test_times(text: object, found: tuple[int, int] | None) -> None:
    assert parse_time(text) == found


@given(text=st.text(max_size=45))
def test_no_text_breaks_times(text: str) -> None:
    parse_time(text)


# -- our own pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "html"])
def test_our_own_pages_are_read_back(form: str) -> None:
    """What one Mintmark writes, another one reads: nothing of it is lost."""
    kind = JSON_TYPE if form == "json" else "text/html"
    project = Project(1, 1, "widget", "Widget", "deprecated", 1, 0, 0, "use gadget")
    file = File(
        1, 1, 1, "1.0", WHEEL, "wheel", "yanked", 77, SHA, SHA, SHA, '>=3.8,!="', 1_683_356_889, 'a "reason" & more'
    )
    page = parse_project_page(render_project(project, [file])[form], kind, URL)
    (entry,) = page.entries
    assert (page.status, page.status_reason) == ("deprecated", "use gadget")
    assert (entry.filename, entry.hashes, entry.yanked) == (WHEEL, {"sha256": SHA}, 'a "reason" & more')
    assert (entry.requires_python, entry.core_metadata) == (file.requires_python, SHA)
    assert entry.url == f"https://index.example.com/files/ab/{SHA}/{WHEEL}"
    if form == "json":
        assert (entry.size_bytes, entry.uploaded_at) == (77, 1_683_356_889)
    root = parse_root_page(render_root(["a", "b-c"])[form], kind, "https://index.example.com/simple/")
    assert list(root.pages) == ["a", "b-c"]
