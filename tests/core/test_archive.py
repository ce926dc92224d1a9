"""Reading the metadata file out of wheels and source distributions, whole, damaged and hostile."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.dist import archive as under_test
from mintmark.core.dist.archive import METADATA_MAX_BYTES, read_metadata
from mintmark.core.dist.filename import FilenameFacts, parse_filename
from mintmark.core.dist.tar_stream import GZIP_MEMBERS_MAX, Unpacked, iterate_members
from mintmark.core.errors import Rejected

METADATA = b"Metadata-Version: 2.4\nName: Widget-Lab\nVersion: 1.0\n\nA widget.\n"
WHEEL = parse_filename("widget_lab-1.0-py3-none-any.whl")
SDIST = parse_filename("widget_lab-1.0.tar.gz")
INFO = "widget_lab-1.0.dist-info"
REAL_FILES = sorted((Path(__file__).parent.parent / "fixtures").glob("*.tar.gz"))


def make_wheel(
    members: list[tuple[str, bytes]] | None = None, *, method: int = zipfile.ZIP_DEFLATED, info: str = INFO
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, content in (
            [("widget_lab/__init__.py", b""), (f"{info}/METADATA", METADATA)] if members is None else members
        ):
            archive.writestr(name, content)
    return buffer.getvalue()


def make_tar(members: list[tuple[str, bytes] | tarfile.TarInfo], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def make_sdist(
    members: list[tuple[str, bytes] | tarfile.TarInfo] | None = None, *, form: int = tarfile.PAX_FORMAT
) -> bytes:
    if members is None:
        members = [("widget_lab-1.0/setup.py", b"x" * 2000), ("widget_lab-1.0/PKG-INFO", METADATA)]
    return gzip.compress(make_tar(members, form=form), mtime=0)


def read(data: bytes, facts: FilenameFacts) -> bytes:
    return read_metadata(io.BytesIO(data), facts)


def refusal(data: bytes, facts: FilenameFacts) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(data, facts)
    assert caught.value.code.name == "invalid-distribution"
    assert caught.value.detail.endswith(".")
    assert caught.value.detail.isascii()
    assert caught.value.hint
    return caught.value


# -- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_wheel(method: int) -> None:
    assert read(make_wheel(method=method), WHEEL) == METADATA


@pytest.mark.parametrize("info", ["Widget.Lab-1.0.dist-info", "widget-lab-1.0.0.dist-info"])
def test_dist_info_directory_is_compared_in_its_normal_form(info: str) -> None:
    assert read(make_wheel(info=info), WHEEL) == METADATA


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_sdist(form: int) -> None:
    assert read(make_sdist(form=form), SDIST) == METADATA


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_paths_before_and_on_the_metadata(form: int) -> None:
    facts = parse_filename(f"{'w' * 110}-1.0.tar.gz")
    top = facts.filename.removesuffix(".tar.gz")
    members: list[tuple[str, bytes] | tarfile.TarInfo] = [(f"{top}/{'d' * 90}/f", b"1"), (f"{top}/PKG-INFO", METADATA)]
    assert read(make_sdist(members, form=form), facts) == METADATA


@pytest.mark.skipif(not REAL_FILES, reason="the recorded packages are not here")
def test_real_sdists() -> None:
    for path in REAL_FILES:
        facts = parse_filename(path.name)
        with path.open("rb") as file, tarfile.open(path) as archive:
            expected = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
            assert expected is not None
            assert read_metadata(file, facts) == expected.read()


def test_sdist_with_directories_links_and_a_comment_of_git() -> None:
    directory = tarfile.TarInfo("widget_lab-1.0")
    directory.type = tarfile.DIRTYPE
    link = tarfile.TarInfo("widget_lab-1.0/link")
    link.type, link.linkname = tarfile.SYMTYPE, "l" * 150
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "0" * 40}) as archive:
        archive.addfile(directory)
        archive.addfile(link)
        info = tarfile.TarInfo("widget_lab-1.0/PKG-INFO")
        info.size = len(METADATA)
        archive.addfile(info, io.BytesIO(METADATA))
    assert read(gzip.compress(buffer.getvalue()), SDIST) == METADATA


def test_nested_metadata_does_not_count() -> None:
    wheel = make_wheel([("widget_lab/_vendor/x-1.dist-info/METADATA", b"no"), (f"{INFO}/METADATA", METADATA)])
    assert read(wheel, WHEEL) == METADATA
    sdist = make_sdist([("widget_lab-1.0/w.egg-info/PKG-INFO", b"no"), ("widget_lab-1.0/PKG-INFO", METADATA)])
    assert read(sdist, SDIST) == METADATA


def test_gzip_in_several_members() -> None:
    tar = make_tar([("widget_lab-1.0/PKG-INFO", METADATA)])
    assert read(gzip.compress(tar[:700]) + gzip.compress(tar[700:]), SDIST) == METADATA


def test_position_of_the_file_does_not_matter_and_it_stays_open() -> None:
    for data, facts in ((make_wheel(), WHEEL), (make_sdist(), SDIST)):
        file = io.BytesIO(data)
        file.seek(17)
        assert read_metadata(file, facts) == read_metadata(file, facts) == METADATA
        assert not file.closed


# -- what is missing, doubled, misplaced ------------------------------------------------------------------------------


def test_wheel_without_metadata() -> None:
    assert "widget_lab-1.0.dist-info/METADATA" in refusal(make_wheel([("a.py", b"")]), WHEEL).detail
    assert "lacks" in refusal(make_wheel([]), WHEEL).detail


def test_wheel_of_another_release() -> None:
    for info in (
        "other-1.0.dist-info",
        "widget_lab-1.1.dist-info",
        "widget_lab.dist-info",
        "-.dist-info",
        ".dist-info",
    ):
        assert "does not belong" in refusal(make_wheel(info=info), WHEEL).detail


def test_two_dist_info_directories() -> None:
    members = [(f"{INFO}/METADATA", METADATA), ("other-1.0.dist-info/METADATA", METADATA)]
    assert "only one" in refusal(make_wheel(members), WHEEL).detail


def test_doubled_metadata_is_refused() -> None:
    assert "more than once" in refusal(make_wheel([(f"{INFO}/METADATA", METADATA)] * 2), WHEEL).detail
    assert "more than once" in refusal(make_sdist([("widget_lab-1.0/PKG-INFO", METADATA)] * 2), SDIST).detail


def test_name_with_a_nul_is_refused() -> None:
    wheel = make_wheel([(f"{INFO}/METADATA_evil", METADATA)]).replace(b"METADATA_evil", b"METADATA\0evil")
    assert "doubtful" in refusal(wheel, WHEEL).detail


def test_sdist_without_metadata() -> None:
    assert "widget_lab-1.0/PKG-INFO" in refusal(make_sdist([("widget_lab-1.0/a", b"")]), SDIST).detail
    assert "lacks" in refusal(make_sdist([]), SDIST).detail


@pytest.mark.parametrize("stray", ["a", "/widget_lab-1.0/a", "../a", "widget_lab-1.0.0/a", "./widget_lab-1.0/a"])
def test_sdist_with_a_second_top_directory(stray: str) -> None:
    members: list[tuple[str, bytes] | tarfile.TarInfo] = [("widget_lab-1.0/PKG-INFO", METADATA), (stray, b"")]
    assert "outside" in refusal(make_sdist(members), SDIST).detail


def test_sdist_of_another_release() -> None:
    assert "instead of 'widget_lab-1.0'" in refusal(make_sdist([("widget_lab-2.0/PKG-INFO", METADATA)]), SDIST).detail


def test_metadata_that_is_a_link() -> None:
    link = tarfile.TarInfo("widget_lab-1.0/PKG-INFO")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "regular" in refusal(make_sdist([link]), SDIST).detail


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_metadata_size_is_bounded() -> None:
    large = b"a" * (METADATA_MAX_BYTES + 1)
    assert "larger" in refusal(make_wheel([(f"{INFO}/METADATA", large)]), WHEEL).detail
    assert "larger" in refusal(make_sdist([("widget_lab-1.0/PKG-INFO", large)]), SDIST).detail
    assert len(read(make_wheel([(f"{INFO}/METADATA", large[1:])]), WHEEL)) == METADATA_MAX_BYTES


def test_the_stated_size_is_not_trusted() -> None:
    bomb = bytearray(make_wheel([(f"{INFO}/METADATA", b"a" * 50_000_000)]))
    entry = bomb.index(b"PK\x01\x02")
    for size in (10, METADATA_MAX_BYTES, 0xFFFFFFF0):
        struct.pack_into("<L", bomb, entry + 24, size)
        refusal(bytes(bomb), WHEEL)


def test_entries_of_a_wheel_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel([(f"widget_lab/{number}", b"") for number in range(50)] + [(f"{INFO}/METADATA", METADATA)])
    assert read(wheel, WHEEL) == METADATA
    monkeypatch.setattr(under_test, "MEMBERS_MAX", 50)
    assert "too many" in refusal(wheel, WHEEL).detail
    # Entries without a name: as many as the directory's size allows.
    crowd = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, *([0] * 14)) * 5_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(crowd), 0, 0)
    assert "too many" in refusal(crowd + end, WHEEL).detail


def test_directory_of_a_wheel_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "ZIP_DIRECTORY_MAX_BYTES", 200)
    refusal(make_wheel([(f"widget_lab/{number}", b"") for number in range(50)]), WHEEL)


def test_scan_of_a_sdist_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    late = make_sdist([("widget_lab-1.0/data", bytes(100_000)), ("widget_lab-1.0/PKG-INFO", METADATA)])
    early = make_sdist([("widget_lab-1.0/PKG-INFO", METADATA), ("widget_lab-1.0/data", bytes(100_000))])
    for name, value in (("SCANNED_MAX_BYTES", 80_000), ("MEMBERS_MAX", 1)):
        with monkeypatch.context() as bounded:
            bounded.setattr(under_test, name, value)
            assert "not among" in refusal(late, SDIST).detail
            assert read(early, SDIST) == METADATA
    assert read(late, SDIST) == METADATA


def test_gzip_members_are_bounded() -> None:
    refusal(gzip.compress(b"") * (GZIP_MEMBERS_MAX + 1) + make_sdist(), SDIST)


# -- damage and malice -------------------------------------------------------------------------------------------------


def test_encrypted_metadata() -> None:
    wheel = bytearray(make_wheel())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = wheel.rindex(signature)
        wheel[at + offset] |= 1
    assert "encrypted" in refusal(bytes(wheel), WHEEL).detail


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_exotic_compression(method: int) -> None:
    assert "deflate" in refusal(make_wheel(method=method), WHEEL).detail


@pytest.mark.parametrize("facts", [WHEEL, SDIST])
@pytest.mark.parametrize(
    "data", [b"", b"PK", b"\x1f\x8b", b"PK\x05\x06" + bytes(18), b"<html>", make_wheel(), make_sdist()]
)
def test_other_files(data: bytes, facts: FilenameFacts) -> None:
    if data[:2] == (b"PK" if facts is WHEEL else b"\x1f\x8b") and len(data) > 100:
        return
    refusal(data, facts)


def test_uncompressed_tar_and_trailing_garbage() -> None:
    tar = make_tar([("widget_lab-1.0/PKG-INFO", METADATA)])
    refusal(tar, SDIST)
    refusal(gzip.compress(tar) + b"garbage", SDIST)
    refusal(gzip.compress(tar + b"garbage"), SDIST)
    assert "damaged" in refusal(gzip.compress(tar)[:-5], SDIST).detail


def patched(offset: int, value: bytes) -> bytes:
    """A source distribution whose first header has other bytes at `offset`, with a right check sum."""
    tar = bytearray(make_tar([("widget_lab-1.0/data", b"x"), ("widget_lab-1.0/PKG-INFO", METADATA)]))
    tar[offset : offset + len(value)] = value
    tar[148:156] = b" " * 8
    tar[148:156] = b"%06o\0 " % sum(tar[:512])
    return gzip.compress(bytes(tar))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (156, b"S"),  # sparse
        (156, b"V"),  # volume label
        (156, b"5"),  # a directory with a size
        (156, b"1"),  # a hard link with a size
        (124, b"\xff" * 12),  # a negative size
        (124, b"\x80" + b"\x7f" * 11),
        (124, b"00000000009\0"),
        (124, b"77777777777\0"),
        (124, b"-0000000001\0"),
        (156, b"x"),
        (156, b"g"),
    ],
)
def test_headers_that_readers_could_see_differently(offset: int, value: bytes) -> None:
    assert "damaged" in refusal(patched(offset, value), SDIST).detail


def test_patching_alone_changes_nothing() -> None:
    assert read(patched(156, b"0"), SDIST) == read(patched(124, b"\x80" + bytes(10) + b"\x01"), SDIST) == METADATA


@pytest.mark.parametrize(
    "headers",
    [{"path": "widget_lab-1.0/PKG-INFO"}, {"size": "5"}, {"GNU.sparse.major": "1"}],
)
def test_global_headers_that_rename_or_resize(headers: dict[str, str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers=headers) as archive:
        archive.addfile(tarfile.TarInfo("widget_lab-1.0/a"))
    refusal(gzip.compress(buffer.getvalue()), SDIST)


def test_long_runs_of_digits_in_pax_headers_cost_no_time() -> None:
    # tarfile before 3.11.10 needs minutes for this (CVE-2024-6232).
    info = tarfile.TarInfo("widget_lab-1.0/a")
    info.pax_headers = {"comment": "1" * 900_000}
    assert read(make_sdist([info, ("widget_lab-1.0/PKG-INFO", METADATA)]), SDIST) == METADATA


def test_errors_of_the_storage_pass_through() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for facts in (WHEEL, SDIST):
        with pytest.raises(OSError, match="Input/output"):
            read_metadata(Broken(make_wheel()), facts)


def only_refuses(data: bytes, facts: FilenameFacts) -> None:
    try:
        read(data, facts)
    except Rejected as error:
        refused = error
    else:
        return
    assert refused.code.name == "invalid-distribution"
    assert refused.hint


@given(st.binary(max_size=2000), st.sampled_from([WHEEL, SDIST]))
def test_never_anything_but_a_refusal(data: bytes, facts: FilenameFacts) -> None:
    only_refuses(data, facts)
    if facts is SDIST:
        only_refuses(gzip.compress(data, 1), facts)


@given(st.randoms(use_true_random=False), st.sampled_from(["wheel", "tar", "sdist"]), st.integers(1, 8))
def test_damaged_archives_are_only_refused(chance: random.Random, kind: str, changes: int) -> None:
    makers: dict[str, Callable[[], bytes]] = {
        "wheel": make_wheel,
        "sdist": make_sdist,
        "tar": lambda: make_tar([("widget_lab-1.0/" + "n" * 120, b"x"), ("widget_lab-1.0/PKG-INFO", METADATA)]),
    }
    data = bytearray(makers[kind]())
    for _ in range(changes):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    only_refuses(gzip.compress(bytes(data), 1) if kind == "tar" else bytes(data), WHEEL if kind == "wheel" else SDIST)


@given(
    st.lists(st.tuples(st.text("ab/é", min_size=1, max_size=150), st.binary(max_size=1200)), max_size=5), st.booleans()
)
def test_sees_the_members_that_tarfile_sees(members: list[tuple[str, bytes]], gnu: bool) -> None:
    content = [(f"widget_lab-1.0/{name.strip('/') or 'x'}", data) for name, data in members]
    tar = make_tar(
        [*content, ("widget_lab-1.0/PKG-INFO", METADATA)], form=tarfile.GNU_FORMAT if gnu else tarfile.PAX_FORMAT
    )
    stream = Unpacked(io.BytesIO(gzip.compress(tar, 1)), limit_bytes=1 << 20)
    ours = [(member.name, zlib.crc32(stream.take(member.size_bytes))) for member in iterate_members(stream)]
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        theirs = [(info.name, zlib.crc32(cast("IO[Any]", archive.extractfile(info)).read())) for info in archive]
    assert ours == theirs
