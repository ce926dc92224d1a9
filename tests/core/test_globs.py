"""Patterns with two wildcards, against regular expressions as the oracle."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.globs import PATTERN_MAX_CHARACTERS, TEXT_MAX_CHARACTERS, matches, problem_of

PATTERNS = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "**", "é"]), min_size=1, max_size=12).map("".join)
TEXTS = st.text(st.sampled_from("ab/.é\n"), max_size=20)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("refs/tags/v*", "refs/tags/v1.0", True),
        ("refs/tags/v*", "refs/tags/v", True),
        ("refs/tags/v*", "refs/tags/v1/x", False),
        ("refs/tags/v*", "xrefs/tags/v1", False),
        ("refs/tags/v*", "refs/tags/v1\n", True),
        ("refs/**", "refs/heads/a/b", True),
        ("refs/**", "refs", False),
        ("**/release.yml", "a/b/release.yml", True),
        ("**/release.yml", "release.yml", False),
        ("a/*/c", "a//c", True),
        ("a/*/c", "a/b/d/c", False),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[a]", "a", False),
        ("*", "", True),
        ("", "", False),
        ("a***", "ab", False),
    ],
)
def test_what_fits(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


@given(PATTERNS, TEXTS)
@example("**a*b", "a/ab/ab")
@example("*/**", "/")
def test_it_is_the_regular_expression(pattern: str, text: str) -> None:
    if problem_of(pattern):
        assert not matches(pattern, text)
        return
    parts = re.split(r"(\*\*|\*)", pattern)
    oracle = "".join({"*": "[^/]*", "**": "(?s:.*)"}.get(part, re.escape(part)) for part in parts)
    assert matches(pattern, text) is bool(re.fullmatch(oracle, text))


def test_what_would_take_others_for_ever() -> None:
    """A pattern on which a matcher that goes back tries every way to share the text among the stars."""
    stars = "*a" * 100
    assert not matches(stars + "b", "a" * TEXT_MAX_CHARACTERS)
    assert matches(stars, "a" * TEXT_MAX_CHARACTERS)
    assert not matches("**a" * 60 + "b", "a/" * (TEXT_MAX_CHARACTERS // 2))


def test_bounds() -> None:
    assert matches("a" * PATTERN_MAX_CHARACTERS, "a" * PATTERN_MAX_CHARACTERS)
    assert "characters" in problem_of("a" * (PATTERN_MAX_CHARACTERS + 1))
    assert not matches("a" * (PATTERN_MAX_CHARACTERS + 1), "a" * (PATTERN_MAX_CHARACTERS + 1))
    assert not matches("a**", "a" * (TEXT_MAX_CHARACTERS + 1))
