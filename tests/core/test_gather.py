"""Gathering the facts of wheels and source distributions: every finding by name, and what is gathered of valid ones."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core.checks.finding import SHOWN_MAX, Finding, Grade, those_that_refuse
from mintmark.core.dist import (
    gather as gather_module,
)
from mintmark.core.dist import (
    limits,
    tar_members,
    tar_stream,
    zip_directory,
    zip_fields,
    zip_members,
    zip_stream,
)
from mintmark.core.dist.facts import Archive, Member
from mintmark.core.dist.filename import FilenameFacts, parse_filename
from mintmark.core.dist.gather import gather
from mintmark.core.dist.limits import GatherLimits
from support.adversaries import (
    INFO,
    METADATA,
    MODULE,
    SDIST_NAME,
    TOP,
    WHEEL_NAME,
    TarPart,
    ZipPart,
    sdist_parts,
    sdist_with,
    tar_file,
    wheel_parts,
    zip_file,
)
from support.broken import BROKEN, SDIST, WHEEL, Broken

MODULES = (gather_module, limits, tar_members, tar_stream, zip_directory, zip_fields, zip_members, zip_stream)
REAL_FILES = sorted((Path(__file__).parent.parent / "fixtures").glob("*.tar.gz"))


def gathered(data: bytes, name: str, **bounds: int) -> Archive:
    return gather(io.BytesIO(data), parse_filename(name), GatherLimits(**bounds))


def by_check(findings: tuple[Finding, ...]) -> Mapping[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("case", BROKEN, ids=[f"{case.check}-{number}" for number, case in enumerate(BROKEN)])
def test_every_broken_archive_has_its_finding(case: Broken) -> None:
    archive = gathered(case.data, case.filename, **case.limits)
    found = by_check(archive.findings)
    assert case.check in found, archive.findings
    assert found[case.check].grade is Grade[case.grade]
    # Nothing else is wrong with what is only doubtful.
    if case.grade == "STRICT":
        assert list(found) == [case.check]
        assert archive.complete
    for finding in archive.findings:
        assert finding.code == "invalid-distribution"
        assert finding.sentence.endswith(".")
        assert finding.sentence.isascii()
        assert finding.cure.endswith(".")


def test_every_finding_is_declared_and_brought_about() -> None:
    """Each module says which findings it has; each of them has a broken archive."""
    declared = [check for module in MODULES for check in module.FINDINGS]
    assert len(declared) == len(set(declared))
    assert set(declared) == {case.check for case in BROKEN}
    assert all(text.endswith(".") for module in MODULES for text in module.FINDINGS.values())
    for case in BROKEN:
        assert {finding.check for finding in gathered(case.data, case.filename, **case.limits).findings} <= set(
            declared
        )


# -- what is gathered -----------------------------------------------------------------------------------------------


def test_wheel() -> None:
    archive = gathered(WHEEL, WHEEL_NAME)
    assert archive.findings == ()
    assert archive.complete
    assert archive.filename.name == "widget-lab"
    assert [member.name for member in archive.members] == [part.name.decode() for part in wheel_parts()]
    assert {member.kind for member in archive.members} == {"file"}
    assert archive.texts[f"{INFO}/METADATA"] == METADATA
    assert set(archive.texts) == {f"{INFO}/METADATA", f"{INFO}/WHEEL", f"{INFO}/RECORD"}
    assert archive.packed_bytes == len(WHEEL)
    assert archive.unpacked_bytes == sum(member.size_bytes for member in archive.members)


def test_sdist_with_links_devices_and_directories() -> None:
    data = sdist_with(
        TarPart(f"{TOP}/folder/".encode(), kind=b"5"),
        TarPart(f"{TOP}/folder".encode(), kind=b"5"),
        TarPart(f"{TOP}/link".encode(), kind=b"2", link=b"../elsewhere"),
        TarPart(f"{TOP}/hard".encode(), kind=b"1", link=f"{TOP}/PKG-INFO".encode()),
        TarPart(f"{TOP}/null".encode(), kind=b"3"),
        TarPart(f"{TOP}/pipe".encode(), kind=b"6"),
        TarPart(b"", b"l" * 150 + b"\0", b"K"),
        TarPart(f"{TOP}/long".encode(), kind=b"2"),
    )
    archive = gathered(data, SDIST_NAME)
    assert archive.findings == ()
    assert archive.members[2:] == (
        Member(f"{TOP}/folder", "directory", 0),
        Member(f"{TOP}/folder", "directory", 0),
        Member(f"{TOP}/link", "symlink", 0, "../elsewhere"),
        Member(f"{TOP}/hard", "hardlink", 0, f"{TOP}/PKG-INFO"),
        Member(f"{TOP}/null", "other", 0),
        Member(f"{TOP}/pipe", "other", 0),
        Member(f"{TOP}/long", "symlink", 0, "l" * 150),
    )
    assert archive.texts == {f"{TOP}/PKG-INFO": METADATA}
    assert archive.unpacked_bytes == len(gzip.decompress(data))


def test_kinds_in_a_wheel() -> None:
    data = zip_file(
        [
            ZipPart(b"widget_lab/", method=0, central={"attributes": 0o040755 << 16 | 0x10}),
            ZipPart(b"widget_lab/plain/", method=0, central={"attributes": 0}),
            ZipPart(b"widget_lab/link", b"../target", central={"attributes": 0o120777 << 16}),
            ZipPart(b"widget_lab/stored", "zäh".encode(), method=0, central={"attributes": 0o120777 << 16}),
            ZipPart(b"widget_lab/pipe", central={"attributes": 0o010644 << 16}),
            ZipPart(b"widget_lab/bare", MODULE, central={"attributes": 0o644 << 16}),
        ]
    )
    archive = gathered(data, WHEEL_NAME)
    assert archive.findings == ()
    assert [(member.name, member.kind, member.link) for member in archive.members] == [
        ("widget_lab", "directory", ""),
        ("widget_lab/plain", "directory", ""),
        ("widget_lab/link", "symlink", "../target"),
        ("widget_lab/stored", "symlink", "zäh"),
        ("widget_lab/pipe", "other", ""),
        ("widget_lab/bare", "file", ""),
    ]


def test_zip_as_a_source_distribution_has_no_digests() -> None:
    facts = parse_filename(SDIST_NAME)
    older = FilenameFacts("widget_lab-1.0.zip", "sdist", facts.name, facts.version)
    data = zip_file([ZipPart(f"{TOP}/PKG-INFO".encode(), METADATA), ZipPart(f"{TOP}/widget_lab.py".encode(), MODULE)])
    archive = gather(io.BytesIO(data), older)
    assert archive.findings == ()
    assert archive.texts == {f"{TOP}/PKG-INFO": METADATA}
    assert {member.sha256 for member in archive.members} == {""}


@pytest.mark.skipif(not REAL_FILES, reason="the recorded packages are not here")
def test_real_sdists() -> None:
    for path in REAL_FILES:
        with path.open("rb") as file:
            archive = gather(file, parse_filename(path.name))
        assert archive.findings == ()
        assert len(archive.texts) == 1


def test_position_does_not_matter_and_the_file_stays_open() -> None:
    for data, name in ((WHEEL, WHEEL_NAME), (SDIST, SDIST_NAME)):
        file = io.BytesIO(data)
        file.seek(17)
        assert gather(file, parse_filename(name)) == gather(file, parse_filename(name))
        assert not file.closed


def test_errors_of_the_storage_pass_through() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for data, name in ((WHEEL, WHEEL_NAME), (SDIST, SDIST_NAME)):
        with pytest.raises(OSError, match="Input/output"):
            gather(Failing(data), parse_filename(name))


def test_what_came_before_the_damage_is_there() -> None:
    archive = gathered(WHEEL[:-30], WHEEL_NAME)
    assert not archive.complete
    assert len(archive.members) == 4
    assert archive.texts[f"{INFO}/METADATA"] == METADATA


def test_findings_of_one_kind_are_bounded() -> None:
    data = zip_file([ZipPart(b"widget_lab/%d" % number, local={"crc": 1}) for number in range(100)])
    archive = gathered(data, WHEEL_NAME)
    assert len(archive.findings) == 2 * SHOWN_MAX
    assert archive.complete


def test_memory_of_kept_texts_is_bounded() -> None:
    parts = [ZipPart(f"a{number}.dist-info/METADATA".encode(), bytes(1 << 20)) for number in range(70)]
    archive = gathered(zip_file(parts), WHEEL_NAME, ratio_from_bytes=1 << 30)
    assert sum(map(len, archive.texts.values())) == 64 << 20
    assert "archive-text-too-large" in by_check(archive.findings)


# -- what real tools write --------------------------------------------------------------------------------------------


def test_zip64_where_it_is_consistent() -> None:
    """`force_zip64` is what a writer does who cannot know the size; the directory has short sizes then."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("widget_lab/a.py", "w", force_zip64=True) as file:
            file.write(MODULE)
        archive.writestr("widget_lab/b.py", MODULE)
    assert gathered(buffer.getvalue(), WHEEL_NAME).findings == ()
    long = zip_file(
        wheel_parts(), end64={}, end={"here": 0xFFFF, "total": 0xFFFF, "size": 0xFFFFFFFF, "start": 0xFFFFFFFF}
    )
    assert gathered(long, WHEEL_NAME).findings == ()


def test_more_members_than_16_bits_count() -> None:
    parts = [ZipPart(b"%d" % number, method=0) for number in range(0x10001)]
    data = zip_file(parts, end64={}, end={"here": 0xFFFF, "total": 0xFFFF})
    archive = gathered(data, WHEEL_NAME)
    assert archive.findings == ()
    assert len(archive.members) == len(parts)


def test_the_directory_may_have_another_order_and_times_of_its_own() -> None:
    first, *rest = wheel_parts()
    times = {"extra": b"UT\x05\x00\x01\0\0\0\0", "time": 7, "version": 10}
    parts = [ZipPart(first.name, first.content, local=times, central={"version": 45, "made": 0}), *rest]
    archive = gathered(zip_file(parts, order=[3, 1, 0, 2]), WHEEL_NAME)
    assert archive.findings == ()
    assert archive.members[0].name == "widget_lab/__init__.py"


def test_an_archive_of_a_stream_is_only_doubtful() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in wheel_parts():
            archive.writestr(part.name.decode(), part.content)
    found = gathered(bytes(pipe.data), WHEEL_NAME)
    assert by_check(found.findings).keys() == {"zip-data-descriptor"}
    assert those_that_refuse(found.findings, lenient=True) == []
    assert found.members == gathered(WHEEL, WHEEL_NAME).members


def test_an_end_record_by_chance_is_no_zip_file() -> None:
    """Compressed data may hold any four bytes; what matters is whether a reader would open the file."""
    for rest in (bytes(range(1, 19)), bytes(range(1, 200))):
        tar = tar_file([*sdist_parts(), TarPart(f"{TOP}/data".encode(), b"PK\5\6" + rest)])
        data = gzip.compress(tar[:-1024], 0, mtime=0) + gzip.compress(bytes(1024), mtime=0)
        assert b"PK\5\6" in data
        assert by_check(gathered(data, SDIST_NAME).findings).keys() == {"gzip-several-parts"}
