"""The walk over source distributions against Python's `tarfile`: the same facts, or a refusal."""

from __future__ import annotations

import gzip
import io
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.core.checks.finding import those_that_refuse
from mintmark.core.dist.facts import Archive
from mintmark.core.dist.filename import parse_filename
from mintmark.core.dist.gather import gather
from support.adversaries import SDIST_NAME, mutations, odd_sdists, sdist_file, sdist_parts, sdists, tar_file

FACTS = parse_filename(SDIST_NAME)
TAR = tar_file(sdist_parts())
SDIST = sdist_file(sdist_parts())
Known = list[tuple[str, str, int, str]]


def gathered(data: bytes) -> Archive:
    return gather(io.BytesIO(data), FACTS)


def ours(archive: Archive) -> Known:
    return [(member.name, member.kind, member.size_bytes, member.link) for member in archive.members]


def theirs(data: bytes) -> Known:
    def kind(info: tarfile.TarInfo) -> str:
        asked = {"file": info.isreg(), "directory": info.isdir(), "symlink": info.issym(), "hardlink": info.islnk()}
        return next((name for name, answer in asked.items() if answer), "other")

    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz", encoding="utf-8", errors="surrogateescape") as archive:
        return [
            (info.name, kind(info), info.size, info.linkname if info.issym() or info.islnk() else "")
            for info in archive
        ]


def refuses_or_agrees(data: bytes) -> None:
    archive = gathered(data)
    if those_that_refuse(archive.findings):
        return
    assert archive.complete
    assert ours(archive) == theirs(data)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as opened:
        for name, text in archive.texts.items():
            content = opened.extractfile(name)
            assert content is not None
            assert content.read() == text


@given(sdists())
def test_valid_sdists_have_no_findings(data: bytes) -> None:
    archive = gathered(data)
    assert archive.findings == ()
    assert ours(archive) == theirs(data)


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert those_that_refuse(gathered(data).findings)
    assert those_that_refuse(gathered(b"\x1f\x8b\x08" + data).findings)
    if any(data):
        assert those_that_refuse(gathered(gzip.compress(data, 1)).findings)


@settings(max_examples=300)
@given(mutations(SDIST))
def test_mutated_sdists_are_refused_or_read_as_tarfile_does(data: bytes) -> None:
    refuses_or_agrees(data)


@settings(max_examples=300)
@given(mutations(TAR))
def test_mutated_tar_files_are_refused_or_read_as_tarfile_does(data: bytes) -> None:
    refuses_or_agrees(gzip.compress(data, 1))


@settings(max_examples=300)
@given(odd_sdists())
def test_odd_headers_are_refused_or_read_as_tarfile_does(data: bytes) -> None:
    refuses_or_agrees(data)


def test_truncated_sdists_are_refused() -> None:
    for size in range(len(SDIST)):
        archive = gathered(SDIST[:size])
        assert those_that_refuse(archive.findings, lenient=True), size
        assert not archive.complete
