"""Strict JSON: one document has one meaning."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.strict_json import DEPTH_MAX, NotStrictJson, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES)
def test_values_survive(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode("utf-8")) == value


@given(data=st.binary() | st.text().map(str.encode))
@example(b"9" * 5000)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"\xef\xbb\xbf{}")
def test_it_raises_nothing_else(data: bytes) -> None:
    with suppress(NotStrictJson):
        parse(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"x": {"a": 1, "a": 2}}]', "twice"),
        (b'{"a": 1, "\\u0061": 2}', "twice"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "too large"),
        (b'{"exp": -1e400}', "too large"),
        (b"\xff", "UTF-8"),
        ('"\ud800"'.encode("utf-8", "surrogatepass"), "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"[1,]", "not JSON"),
        (b'"\n"', "not JSON"),
        (b"01", "not JSON"),
        (b"/**/{}", "not JSON"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "deeply"),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "deeply"),
    ],
)
def test_what_could_be_read_differently_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotStrictJson, match=reason):
        parse(data)


def test_depth_is_bounded_and_breadth_is_not() -> None:
    assert parse(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    assert len(parse(b"[" + b"[1]," * 1000 + b"[]]")) == 1001
    assert parse(json.dumps("[" * 1000).encode()) == "[" * 1000


def test_the_message_never_quotes_the_document() -> None:
    with pytest.raises(NotStrictJson) as caught:
        parse(b'{"secret-key": 1, "secret-key": 2}')
    assert "secret" not in str(caught.value)
