"""The walk over zip files against Python's `zipfile`: the same facts, or a refusal."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.core.checks.finding import those_that_refuse
from mintmark.core.dist import zip_stream, zip_window
from mintmark.core.dist.facts import Archive
from mintmark.core.dist.filename import parse_filename
from mintmark.core.dist.gather import gather
from support.adversaries import (
    INFO,
    MODULE,
    WHEEL_NAME,
    ZipPart,
    deflate,
    mutations,
    odd_wheels,
    wheel_parts,
    wheels,
    zip_file,
)

FACTS = parse_filename(WHEEL_NAME)
WHEEL = zip_file(wheel_parts())
Known = dict[str, tuple[int, str, bool]]


def gathered(data: bytes) -> Archive:
    return gather(io.BytesIO(data), FACTS)


def ours(archive: Archive) -> Known:
    known = {member.name: (member.size_bytes, member.sha256, member.kind == "directory") for member in archive.members}
    assert len(known) == len(archive.members)
    return known


def theirs(data: bytes) -> Known:
    known: Known = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            digest = hashlib.sha256(archive.read(info)).hexdigest()
            form = stat.S_IFMT(info.external_attr >> 16)
            other = info.is_dir() or form not in (0, stat.S_IFREG, stat.S_IFLNK)
            known[info.filename.removesuffix("/")] = (info.file_size, "" if other else digest, info.is_dir())
        assert len(known) == len(archive.infolist())
    return known


def refuses_or_agrees(data: bytes) -> None:
    archive = gathered(data)
    if those_that_refuse(archive.findings):
        return
    assert archive.complete
    assert ours(archive) == theirs(data)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert {name: opened.read(name) for name in archive.texts} == archive.texts


@given(wheels())
def test_valid_wheels_have_no_findings(data: bytes) -> None:
    archive = gathered(data)
    assert archive.findings == ()
    assert ours(archive) == theirs(data)


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert those_that_refuse(gathered(data).findings)
    assert those_that_refuse(gathered(b"PK\3\4" + data).findings)


@settings(max_examples=300)
@given(mutations(WHEEL))
def test_mutated_wheels_are_refused_or_read_as_zipfile_does(data: bytes) -> None:
    refuses_or_agrees(data)


@settings(max_examples=300)
@given(odd_wheels())
def test_odd_headers_are_refused_or_read_as_zipfile_does(data: bytes) -> None:
    refuses_or_agrees(data)


@given(st.data())
def test_mutations_of_any_wheel(data: st.DataObject) -> None:
    refuses_or_agrees(data.draw(mutations(data.draw(wheels()))))


def test_truncated_wheels_are_refused() -> None:
    for size in range(len(WHEEL)):
        archive = gathered(WHEEL[:size])
        assert those_that_refuse(archive.findings, lenient=True), size
        assert not archive.complete


@pytest.mark.parametrize("name", [b"a.py", b"a/", "ä.py".encode(), b"", b"\xff", b"a\0b"])
def test_single_members_at_the_bounds_of_reading(name: bytes) -> None:
    for size in (0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 20) + 1):
        for descriptor in ("", "signed", "bare"):
            content = (MODULE * (size // len(MODULE) + 1))[:size]
            refuses_or_agrees(zip_file([ZipPart(name, content, 8, descriptor=descriptor), *wheel_parts()]))
            refuses_or_agrees(zip_file([ZipPart(name, content, 0), *wheel_parts()]))


@pytest.mark.parametrize("descriptor", ["", "signed", "bare"])
@pytest.mark.parametrize("method", [0, 8])
def test_what_is_read_at_once_does_not_matter(descriptor: str, method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and contents cross the borders between pieces in every way."""
    parts = wheel_parts({"a": bytes(range(256)) * 9, "b/": b"", "c": b"c" * 70_000})
    data = zip_file([replace(part, method=method, descriptor=descriptor if method else "") for part in parts])
    whole = gathered(data)
    assert whole.complete
    for at_once in (True, False):
        if not at_once:
            monkeypatch.setattr(zip_stream, "_AT_ONCE_BYTES", 10)
        with monkeypatch.context() as patch:
            patch.setattr(zip_window, "CHUNK_BYTES", 1)
            assert gathered(data) == whole
        with monkeypatch.context() as patch:
            patch.setattr(zip_window, "CHUNK_BYTES", 37)
            assert gathered(data) == whole


def test_a_bomb_costs_no_more_than_the_bound() -> None:
    """A member of 200 MiB of zeros in 200 KB: the walk stops at 64 MiB."""
    packed = deflate(bytes(200 << 20))
    for descriptor in ("", "signed"):
        part = ZipPart(b"a", b"", packed=packed, descriptor=descriptor)
        sizes = {} if descriptor else {"unpacked": 200 << 20}
        archive = gathered(zip_file([ZipPart(b"a", packed=packed, descriptor=descriptor, local=sizes), part]))
        assert [finding.check for finding in archive.findings] == ["archive-bomb"]
        assert archive.unpacked_bytes <= (64 << 20) + (1 << 20)
        assert not archive.complete


def test_many_small_bombs_are_counted_whatever_they_state() -> None:
    packed = deflate(bytes(1 << 18))
    parts = [ZipPart(b"%d" % number, packed=packed, local={"unpacked": (1 << 18) - 1}) for number in range(300)]
    archive = gathered(zip_file(parts))
    assert {finding.check for finding in archive.findings} == {"zip-size-mismatch", "archive-bomb"}


def test_a_text_behind_a_descriptor_is_kept() -> None:
    archive = gathered(zip_file([ZipPart(f"{INFO}/METADATA".encode(), MODULE, descriptor="bare")]))
    assert archive.texts == {f"{INFO}/METADATA": MODULE}
