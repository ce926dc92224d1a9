"""Constraints: patterns of refs and tags, and the version an upload is tied to."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.match import allows_upload, matches_glob, parse_constraints
from mintmark.core.records import Constraints
from support.refusals import refusal

ANYTHING = st.text(st.characters(exclude_categories=()))
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}((a|b|rc)[0-9])?", fullmatch=True)


@given(pattern=st.text("a*/.", max_size=8), text=st.text("ab/.\n", max_size=10))
@example("refs/heads/*", "refs/heads/a/b")
@example("*", "")
@example("a*a", "a")
@example("*", "\n")
def test_globs_match_like_a_regular_expression(pattern: str, text: str) -> None:
    oracle = re.fullmatch("[^/]*".join(re.escape(part) for part in pattern.split("*")), text)
    assert matches_glob(pattern, text) == (oracle is not None)


def test_globs_are_linear() -> None:
    assert not matches_glob("refs/heads/" + "a*" * 60 + "b", "refs/heads/" + "a" * 20_000)


@given(ref=ANYTHING, tag=ANYTHING, allow=ANYTHING, protected=st.booleans())
def test_what_is_no_constraint_is_refused(ref: str, tag: str, allow: str, protected: bool) -> None:
    refused = refusal(lambda: parse_constraints(ref, protected, tag, allow))
    assert refused is None or (refused.code.name == "invalid-trust" and refused.hint)


@pytest.mark.parametrize(
    "wanted",
    [
        Constraints(),
        Constraints(ref="refs/heads/main"),
        Constraints(ref="refs/heads/release-*/*", protected_ref=True),
        Constraints(ref="refs/tags/v*", tag="v{version}"),
        Constraints(tag="{version}"),
        Constraints(tag="release/{version}-final", allow="create-only"),
        Constraints(allow="upload-only"),
    ],
)
def test_constraints(wanted: Constraints) -> None:
    assert parse_constraints(wanted.ref, wanted.protected_ref, wanted.tag, wanted.allow) == wanted


@pytest.mark.parametrize(
    ("given_", "word"),
    [
        ({"ref": "main"}, "in full"),
        ({"ref": "refs/main"}, "in full"),
        ({"ref": "refs/pull/1/merge"}, "in full"),
        ({"ref": "refs/heads/"}, "in full"),
        ({"ref": "refs/heads/a b"}, "in full"),
        ({"ref": "refs/heads/a\n"}, "in full"),
        ({"ref": "xrefs/heads/a"}, "in full"),
        ({"tag": "v1"}, "once"),
        ({"tag": "{version}{version}"}, "once"),
        ({"tag": "v{Version}"}, "once"),
        ({"ref": "refs/heads/main", "tag": "v{version}"}, "Leave one"),
        ({"allow": "nothing"}, "any, create-only, upload-only"),
        ({"allow": ""}, "any, create-only, upload-only"),
    ],
)
def test_mistakes_say_what_helps(given_: dict[str, str], word: str) -> None:
    refused = refusal(lambda: parse_constraints(**given_))  # type: ignore[arg-type]
    assert refused is not None
    assert word in refused.hint


@given(version=VERSIONS, other=VERSIONS)
def test_a_tag_publishes_its_own_version_only(version: str, other: str) -> None:
    limits = Constraints(tag="v{version}")
    reason = allows_upload(limits, ref=f"refs/tags/v{version}", version=other, first_release=False)
    assert bool(reason) == (version != other)
    assert not reason or f"from the tag v{other}" in reason


@pytest.mark.parametrize(
    "ref", ["", "refs/heads/v1.0", "v1.0", "refs/tags/V1.0", "refs/tags/v1.0/x", "refs/tags/v1.0 "]
)
def test_nothing_else_is_that_tag(ref: str) -> None:
    assert allows_upload(Constraints(tag="v{version}"), ref=ref, version="1.0", first_release=True)


def test_the_first_release_only() -> None:
    limits = Constraints(allow="create-only")
    assert not allows_upload(limits, ref="", version="1.0", first_release=True)
    assert "only create" in allows_upload(limits, ref="", version="1.1", first_release=False)


@given(ref=ANYTHING, version=VERSIONS, first=st.booleans())
def test_without_constraints_everything_goes(ref: str, version: str, first: bool) -> None:
    assert not allows_upload(Constraints(), ref=ref, version=version, first_release=first)
    assert not allows_upload(Constraints(allow="upload-only"), ref=ref, version=version, first_release=first)
