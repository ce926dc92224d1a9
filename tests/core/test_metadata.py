"""The metadata file: which fields count, what makes them invalid, and that nothing else is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.metadata import parse_email
from packaging.version import Version

from mintmark.core.checks import metadata_fields
from mintmark.core.checks.examine import Examined, take
from mintmark.core.checks.subject import Subject, prepare
from mintmark.core.dist.metadata import METADATA_VERSIONS, CoreMetadata
from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy
from support.facts import wheel

BASE = b"Metadata-Version: 2.4\nName: Widget.Lab\nVersion: 1.0rc1\n"


def subject_of(data: bytes) -> Subject:
    return prepare(wheel(data), Policy(), None)


def read(data: bytes, *, lenient: bool = False) -> CoreMetadata:
    """What the index relies on. Raises `Rejected` for what it would refuse in an upload."""
    subject = subject_of(data)
    findings = tuple(metadata_fields.check(subject))
    return take(Examined(subject.core.complete(), findings), findings, lenient=lenient)


def refusal(data: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(data)
    assert caught.value.code.name == "invalid-metadata"
    assert caught.value.detail.endswith(".")
    assert caught.value.hint.endswith(".")
    assert caught.value.sentence.isprintable()
    assert len(caught.value.detail) < 250
    return caught.value


def test_all_fields() -> None:
    data = BASE + b"Summary: A widget\nRequires-Python: >=3.11, <4\nLicense: none\nSummary-2: x\n\nName: body\n"
    assert read(data) == CoreMetadata("Widget.Lab", Version("1.0rc1"), ">=3.11, <4")


def test_only_the_required_fields() -> None:
    assert read(BASE) == CoreMetadata("Widget.Lab", Version("1.0rc1"), None)


def test_field_names_ignore_case_and_line_ends_may_be_of_any_kind() -> None:
    data = b"metadata-version: 2.1\r\nNAME: a\r\nvErsion: 1\r\nrequires-python: \r\n\r\nVersion: 2\r\n"
    assert read(data) == CoreMetadata("a", Version("1"), None)
    assert read(data.replace(b"\r\n", b"\r")) == read(data)


@pytest.mark.parametrize("version", sorted(METADATA_VERSIONS))
def test_every_known_metadata_version(version: str) -> None:
    data = BASE.replace(b"2.4", version.encode())
    assert read(data) == read(BASE)
    assert subject_of(data).metadata_version == tuple(map(int, version.split(".")))


@pytest.mark.parametrize("version", ["", "0.9", "2.0", "2.40", "3.0", "99", "2.4\n .1", "x" * 5000])
def test_other_metadata_versions(version: str) -> None:
    assert "2.4" in refusal(BASE.replace(b"2.4", version.encode())).hint


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ä", "a\x00", "a\n b", "_"])
def test_bad_names(name: str) -> None:
    assert "Name" in refusal(BASE.replace(b"Widget.Lab", name.encode())).detail


@pytest.mark.parametrize("version", ["", "one", "1.0-x-y", "1.0\x00", "1." + "9" * 5000, "1.0\n 2"])
def test_bad_versions(version: str) -> None:
    assert "Version" in refusal(BASE.replace(b"1.0rc1", version.encode())).detail


@pytest.mark.parametrize("spec", ["3", ">=x", "=>3", ">=3 <4", "===\x00", "===\x1b[31m", "===é", "==" + "1" * 2000])
def test_bad_requires_python(spec: str) -> None:
    assert "Requires-Python" in refusal(BASE + b"Requires-Python: " + spec.encode() + b"\n").detail


def test_a_folded_requires_python_becomes_one_line() -> None:
    assert read(BASE + b"Requires-Python: >=3.9,\n  !=3.9.1\n").requires_python == ">=3.9, !=3.9.1"


@pytest.mark.parametrize("field", ["Metadata-Version", "Name", "version", "Requires-Python", "SUMMARY"])
def test_doubled_and_undecodable_fields(field: str) -> None:
    once = field.encode() + b": 1\n"
    rest = b"".join(
        line + b"\n" for line in BASE.splitlines() if not line.lower().startswith(field.lower().encode() + b":")
    )
    assert field.title() in refusal(rest + once * 2).detail
    assert field.title() in refusal(rest + field.encode() + b": \xff\n").detail


def test_other_fields_say_nothing_of_those_relied_on() -> None:
    data = BASE + b"Project-URL: nothing\nX-Own: 1\nX-Own: \xff\nContent-Type: multipart/mixed\n"
    assert read(data + b"\n\xff\xfe") == read(BASE)
    # What exists elsewhere already may have them doubled and undecodable; a new file may not.
    data += b"License: \xff\nKeywords: a\nKeywords: b\n"
    assert read(data + b"\n\xff\xfe", lenient=True) == read(BASE)
    error = refusal(data + b"\n\xff\xfe")
    assert "2 fields Keywords" in error.detail
    assert "License is not UTF-8" in error.detail


def test_a_long_description_is_not_read() -> None:
    assert read(BASE + b"\n" + b"Name: other\n" * 100_000).name == "Widget.Lab"


@pytest.mark.parametrize("data", [b"", b"\n", b"\x00" * 100, b"\xef\xbb\xbf" + BASE, b"{}", b"Name"])
def test_other_files(data: bytes) -> None:
    refusal(data)


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"Metadata-Version: 2.4", b"Name: a", b"Version: 1", b"Content-Type: multipart/mixed; boundary=x"]
        ),
        st.sampled_from(
            [b"Requires-Python: >=3", b"Summary: s", b"Content-Transfer-Encoding: base64", b"--x", b"", b" x"]
        ),
        st.binary(max_size=30),
        st.binary(max_size=30).map(lambda value: b"Summary: =?utf-8?b?" + value + b"?="),
        st.binary(max_size=30).map(lambda value: b"Requires-Python: " + value),
    ),
    max_size=12,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\r"])


@given(st.one_of(st.binary(max_size=500), st.builds(lambda lines, end: end.join(lines), LINES, ENDS)))
def test_never_anything_but_a_refusal(data: bytes) -> None:
    for candidate in (data, BASE + data):
        try:
            result: CoreMetadata | Rejected = read(candidate)
        except Rejected as error:
            result = error
        if isinstance(result, Rejected):
            assert result.code.name == "invalid-metadata"
            assert result.hint
        else:
            assert (result.requires_python or "").isprintable()


@given(LINES, ENDS)
def test_agrees_with_packaging_on_the_whole_file(lines: list[bytes], end: bytes) -> None:
    data = end.join([b"Metadata-Version: 2.4", b"Name: a", b"Version: 1", *lines])
    try:
        metadata = read(data)
    except Rejected:
        return
    raw, _ = parse_email(data)
    assert (raw["name"].strip(" \t"), raw["version"].strip(" \t")) == (metadata.name, str(metadata.version))
    assert " ".join(raw.get("requires_python", "").split()) == (metadata.requires_python or "")
