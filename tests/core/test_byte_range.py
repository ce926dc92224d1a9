"""Byte ranges: what a `Range` header asks for, checked against slicing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.byte_range import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1, 100)),
        ("bytes=0-99", ByteRange(0, 100, 100)),
        ("bytes=10-19", ByteRange(10, 20, 100)),
        ("bytes=10-", ByteRange(10, 100, 100)),
        ("bytes=10-1000", ByteRange(10, 100, 100)),
        ("bytes=-1", ByteRange(99, 100, 100)),
        ("bytes=-100", ByteRange(0, 100, 100)),
        ("bytes=-1000", ByteRange(0, 100, 100)),
        ("BYTES=1-2", ByteRange(1, 3, 100)),
        ("bytes= 1-2 ", ByteRange(1, 3, 100)),
        ("bytes=001-002", ByteRange(1, 3, 100)),
        ("bytes=100-", Unsatisfiable(100)),
        ("bytes=100-200", Unsatisfiable(100)),
        ("bytes=999999999999999999-", Unsatisfiable(100)),
        ("bytes=-0", Unsatisfiable(100)),
    ],
)
def test_single_ranges(header: str, expected: ByteRange | Unsatisfiable) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=9-5",
        "bytes=0-1,5-6",
        "bytes=0-1,",
        "bytes=--1",
        "bytes=1--1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1 - 2",
        "bytes=٠-١",
        "bytes=1-2\n",
        "bytes=" + "9" * 5000 + "-",
        "items=0-1",
        "bytes 0-1",
    ],
)
def test_ignored_headers(header: str | None) -> None:
    assert parse_range(header, 100) is None


def test_empty_file() -> None:
    assert parse_range("bytes=0-", 0) == Unsatisfiable(0)
    assert parse_range("bytes=-0", 0) == Unsatisfiable(0)
    assert parse_range("bytes=-5", 0) is None


def test_content_range() -> None:
    part = ByteRange(10, 20, 100)
    assert (part.length, part.content_range) == (10, "bytes 10-19/100")
    assert Unsatisfiable(100).content_range == "bytes */100"


DATA = bytes(range(200))
OFFSETS = st.one_of(st.none(), st.integers(0, 250))


@given(OFFSETS, OFFSETS, st.integers(0, 200))
def test_equals_slicing(first: int | None, last: int | None, size: int) -> None:
    data = DATA[:size]
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    result = parse_range(header, size)
    if first is not None:
        expected = data[first:] if last is None else data[first : last + 1]
    else:
        expected = data[-last:] if last else b""
    if isinstance(result, ByteRange):
        assert data[result.start : result.stop] == expected
        assert 0 <= result.start < result.stop <= size == result.size
        assert result.length == len(expected) > 0
    else:
        assert not expected
        backwards = first is not None and last is not None and last < first
        nothing_asked = first is None and (last is None or (last > 0 and size == 0))
        assert (result is None) == (backwards or nothing_asked)


@given(st.text(max_size=30), st.integers(0, 100))
def test_never_raises(text: str, size: int) -> None:
    for header in (text, "bytes=" + text):
        assert parse_range(header, size) is None or text
