"""File names: what is accepted, what is refused, and with which cure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from mintmark.core.dist.filename import FILENAME_MAX_BYTES, FilenameFacts, parse_filename
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName


def refusal(filename: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse_filename(filename)
    assert caught.value.code.name == "invalid-filename"
    assert caught.value.detail.endswith((".", "'"))
    assert caught.value.hint
    assert caught.value.sentence.isprintable()
    return caught.value


def test_wheel() -> None:
    assert parse_filename("widget_lab-1.2.3-py3-none-any.whl") == FilenameFacts(
        "widget_lab-1.2.3-py3-none-any.whl", "wheel", ProjectName("widget-lab"), Version("1.2.3"), ("py3-none-any",)
    )


def test_wheel_with_build_number_and_compressed_tags() -> None:
    facts = parse_filename("a-1.0-1b-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    assert facts.tags == (
        "py2-none-manylinux2014_x86_64",
        "py2-none-manylinux_2_17_x86_64",
        "py3-none-manylinux2014_x86_64",
        "py3-none-manylinux_2_17_x86_64",
    )


def test_sdist() -> None:
    assert parse_filename("widget_lab-1.2.3.tar.gz") == FilenameFacts(
        "widget_lab-1.2.3.tar.gz", "sdist", ProjectName("widget-lab"), Version("1.2.3")
    )


@pytest.mark.parametrize(
    "filename",
    [
        "a-1.0+local.tar.gz",
        "a-1.0+local.7-py3-none-any.whl",
        "a-1!2.0.tar.gz",
        "a-1.0rc1.post2.dev3.tar.gz",
        "9-0.tar.gz",
    ],
)
def test_versions_of_all_kinds(filename: str) -> None:
    assert parse_filename(filename).filename == filename


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("Widget_Lab-1.0-py3-none-any.whl", "widget_lab-1.0-py3-none-any.whl"),
        ("widget.lab-1.0-py3-none-any.whl", "widget_lab-1.0-py3-none-any.whl"),
        ("a-1.0.0RC1-2x-py3-none-any.whl", "a-1.0.0rc1-2x-py3-none-any.whl"),
        ("a-v1.0-py3-none-any.whl", "a-1.0-py3-none-any.whl"),
        ("widget-lab-1.0.tar.gz", "widget_lab-1.0.tar.gz"),
        ("Widget_Lab-1.0.tar.gz", "widget_lab-1.0.tar.gz"),
        ("widget__lab-1.0.tar.gz", "widget_lab-1.0.tar.gz"),
        ("a-01.0.tar.gz", "a-1.0.tar.gz"),
        ("a-1.0.post01.tar.gz", "a-1.0.post1.tar.gz"),
        ("a-1.0+Ubuntu_1.tar.gz", "a-1.0+ubuntu.1.tar.gz"),
    ],
)
def test_other_spellings_are_refused_with_the_right_one(filename: str, expected: str) -> None:
    assert repr(expected) in refusal(filename).hint


@pytest.mark.parametrize(
    "ending", [".zip", ".egg", ".exe", ".tar.bz2", ".tgz", ".tar.xz", ".msi", ".rpm", ".tar", ".ZIP"]
)
def test_other_kinds_of_file_are_refused_with_a_cure(ending: str) -> None:
    error = refusal("a-1.0" + ending)
    assert ending.lower() in error.detail
    assert ".whl" in error.hint
    assert ".tar.gz" in error.hint


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".whl",
        ".tar.gz",
        "-.tar.gz",
        "a",
        "a.tar.gz",
        "a-.tar.gz",
        "-1.0.tar.gz",
        "_a-1.0.tar.gz",
        "_a-1.0-py3-none-any.whl",
        "a-x.tar.gz",
        "a-1.0-py3-any.whl",
        "a-1.0-b-py3-none-any.whl",
        "a-one-py3-none-any.whl",
        "a__b-1.0-py3-none-any.whl",
        "a-1.0-py3-none-.whl",
        "a-1.0.TAR.GZ",
        "a-1.0-py3-none-any.WHL",
        "a-1.0.tar.gz.asc",
        "a-1.0.tar.gz ",
        "a-1.0-py3-none-any.whl.metadata",
        "ä-1.0.tar.gz",
        "a-1.0.tar.gz\n",
        "a-1.0\x00.tar.gz",
        "a\x7f-1.0.tar.gz",
        # No build tool writes these, and they mean something to shells, URLs and pages.
        'a-1.0-1"x-py3-none-any.whl',
        "a-1.0-py3-none-a%2fb.whl",
        "a-1.0-1$(x)-py3-none-any.whl",
        "a-1.0-py3-none-any .whl",
        "a-1.0-1;x-py3-none-any.whl",
        "a-1.0-py3-none-<b>.whl",
    ],
)
def test_what_is_no_file_name(filename: str) -> None:
    refusal(filename)


@pytest.mark.parametrize("filename", ["../a-1.0.tar.gz", "/a-1.0.tar.gz", "x\\a-1.0.tar.gz", "a/-1.0-py3-none-any.whl"])
def test_paths_are_refused(filename: str) -> None:
    assert "path" in refusal(filename).detail


def test_length_is_bounded() -> None:
    longest = "a" * (FILENAME_MAX_BYTES - len("-1.0.tar.gz")) + "-1.0.tar.gz"
    assert parse_filename(longest).version == Version("1.0")
    assert len(refusal("a" + longest).detail) < 200


def test_number_of_tags_is_bounded() -> None:
    tags = ".".join(f"a{number}" for number in range(20))
    assert "8000 tags" in refusal(f"a-1-{tags}-{tags}-{tags}.whl").detail


@given(
    st.text(st.characters(exclude_categories=()), max_size=60), st.sampled_from(["", ".whl", ".tar.gz", "-1.0.tar.gz"])
)
def test_never_anything_but_a_refusal(text: str, ending: str) -> None:
    try:
        result: FilenameFacts | Rejected = parse_filename(text + ending)
    except Rejected as error:
        result = error
    if isinstance(result, Rejected):
        assert result.code.name == "invalid-filename"
        assert result.hint
    else:
        assert result.filename == text + ending


NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) < 50)
VERSIONS = st.from_regex(
    r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?(\+[a-z0-9]{1,5})?", fullmatch=True
)


@given(NAMES, VERSIONS, st.sampled_from([".tar.gz", "-py3-none-any.whl", "-3-cp311-cp311-win_amd64.whl"]))
def test_normal_forms_round_trip(name: str, text: str, ending: str) -> None:
    version = Version(text)
    facts = parse_filename(f"{name.replace('-', '_')}-{version}{ending}")
    assert (facts.name, facts.version) == (name, version)
    assert facts.kind == ("sdist" if ending == ".tar.gz" else "wheel")
    assert bool(facts.tags) == (facts.kind == "wheel")


# -- the names of older tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "name", "version"),
    [
        ("Foo.Bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("foo-bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("foo-bar-1.0.zip", "foo-bar", "1.0"),
        ("foo_bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("foo-1.0.0-beta1.tar.gz", "foo", "1.0.0b1"),
        ("foo-bar-1.0-post2.zip", "foo-bar", "1.0.post2"),
        ("foo-2-1.0.tar.gz", "foo-2", "1.0"),
        ("zope.interface-v4.tar.gz", "zope-interface", "4"),
        ("Foo_Bar-1.0-py2.py3-none-any.whl", "foo-bar", "1.0"),
        ("foo.bar-1.0.0RC1-py3-none-any.whl", "foo-bar", "1.0.0rc1"),
        ("foo-01.0-7-cp27-none-win32.whl", "foo", "1.0"),
    ],
)
def test_legacy_names_are_taken_where_they_are_allowed(filename: str, name: str, version: str) -> None:
    facts = parse_filename(filename, legacy=True)
    assert (facts.filename, facts.name, str(facts.version)) == (filename, name, version)
    assert facts.kind == ("wheel" if filename.endswith(".whl") else "sdist")
    if filename != "foo_bar-1.0.tar.gz":
        assert "legacy-names = true" in refusal(filename).hint


def test_two_versions_in_one_name() -> None:
    """The last dash with a version after it counts; the metadata inside the file has to agree."""
    facts = parse_filename("foo-1.0-1.tar.gz", legacy=True)
    assert (facts.name, facts.version) == ("foo-1-0", Version("1"))


@pytest.mark.parametrize(
    "filename",
    [
        "foo.zip",
        "foo-x.zip",
        "-1.0.zip",
        "foo-1.0.tar.gz.zip",
        "foo-1.0.egg",
        "../foo-1.0.zip",
        "foo-1.0.ZIP",
        "foo-1.0 .zip",
        "foo- 1.0.tar.gz",
        "foo-1.0 -py3-none-any.whl",
        "_-1.zip",
    ],
)
def test_what_is_no_legacy_name_either(filename: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_filename(filename, legacy=True)
    assert caught.value.code.name == "invalid-filename"


@given(NAMES, VERSIONS, st.sampled_from([".tar.gz", "-py3-none-any.whl"]))
def test_normal_names_mean_the_same_with_legacy_names(name: str, text: str, ending: str) -> None:
    filename = f"{name.replace('-', '_')}-{Version(text)}{ending}"
    assert parse_filename(filename, legacy=True) == parse_filename(filename)


@given(st.text("ab1.-_é\x00/", max_size=30), st.sampled_from([".whl", ".tar.gz", ".zip"]))
def test_legacy_names_are_never_anything_but_a_refusal(text: str, ending: str) -> None:
    try:
        result: FilenameFacts | Rejected = parse_filename(text + ending, legacy=True)
    except Rejected as error:
        result = error
    if isinstance(result, Rejected):
        assert result.code.name == "invalid-filename"
    else:
        assert result.filename == text + ending
        assert result.name == result.name.lower()
