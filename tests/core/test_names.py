"""Names: every parser takes what its grammar says and refuses everything else with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mintmark.core.errors import Rejected
from mintmark.core.names import (
    AUDIENCE_MAX_CHARACTERS,
    FOREIGN_AUDIENCES,
    RESERVED_SLUGS,
    ProjectName,
    derive_audience,
    gitlab_variable,
    matches_pattern,
    parse_audience,
    parse_host,
    parse_issuer_name,
    parse_pattern,
    parse_project,
    parse_slug,
)
from support.refusals import refusal

PARSERS: list[Callable[[str], str]] = [
    parse_slug,
    parse_issuer_name,
    parse_audience,
    parse_host,
    parse_project,
    parse_pattern,
]
# Lone surrogates too: text from JSON or a command line may hold them.
ANYTHING = st.text(st.characters(exclude_categories=())) | st.text("aZ09-_.*/ \n\u212a\u0130", max_size=12)
SLUGS = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True).filter(lambda text: len(text) <= 40)
HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,4}", fullmatch=True)
NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,4}", fullmatch=True)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(text=ANYTHING)
@example("x" * 10_000)
@example("\ud800")
@example("")
@example("acme\n")
def test_parsers_refuse_with_a_sentence_or_take(parse: Callable[[str], str], text: str) -> None:
    refused = refusal(lambda: parse(text))
    assert refused is None or (refused.code.name == "invalid-trust" and refused.detail and refused.hint)


@given(text=ANYTHING)
def test_parsers_are_idempotent(text: str) -> None:
    for parse in PARSERS:
        try:
            once = parse(text)
        except Rejected:
            continue
        assert parse(once) == once


@pytest.mark.parametrize("text", ["acme", "a", "9", "team-a", "x" * 40, "a-b-c"])
def test_slugs(text: str) -> None:
    assert parse_slug(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "-a", "_a", ".a", "a_b", "a.b", "A", "a b", "a/b", "a\n", "x" * 41, "a--b", "a-", *sorted(RESERVED_SLUGS)],
)
def test_no_slugs(text: str) -> None:
    with pytest.raises(Rejected):
        parse_slug(text)


def test_an_issuer_may_be_called_like_a_route_and_a_mistake_is_told_as_an_issuers() -> None:
    assert parse_issuer_name("api") == "api"
    with pytest.raises(Rejected, match="for an issuer"):
        parse_issuer_name("Git Lab")


@pytest.mark.parametrize("text", ["", "1a", "_a", "a-b", "a.b", "A", "ä", "a ", "x" * 101, *sorted(FOREIGN_AUDIENCES)])
def test_no_audiences(text: str) -> None:
    with pytest.raises(Rejected):
        parse_audience(text)


@pytest.mark.parametrize("text", ["mintmark_acme", "a", "a1__", "x" * 100])
def test_audiences(text: str) -> None:
    assert parse_audience(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "A.example", "a..b", "-a", "a-", "a.example:80", "https://a", "a/b", "a.", "x" * 64, "ä.example", "a_b"],
)
def test_no_hosts(text: str) -> None:
    with pytest.raises(Rejected):
        parse_host(text)


@pytest.mark.parametrize("text", ["a", "pkgs.example.com", "10.0.0.1", "x" * 63, "a-b.c-d"])
def test_hosts(text: str) -> None:
    assert parse_host(text) == text


@pytest.mark.parametrize(
    ("host", "slug", "audience"),
    [
        ("pkgs.example.com", "", "mintmark_pkgs_example_com"),
        ("pkgs.example.com", "acme", "mintmark_pkgs_example_com_acme"),
        ("localhost", "team-a", "mintmark_localhost_team_a"),
        ("::1", "", "mintmark_1"),
    ],
)
def test_derived_audiences_are_documented_ones(host: str, slug: str, audience: str) -> None:
    assert derive_audience(host, slug) == audience


@given(host=HOSTS, slug=SLUGS | st.just(""))
@example("x." * 120 + "example", "acme")
def test_derived_audiences_are_always_valid(host: str, slug: str) -> None:
    audience = derive_audience(host, slug)
    assert parse_audience(audience) == audience
    assert len(audience) <= AUDIENCE_MAX_CHARACTERS
    assert re.fullmatch(r"MINTMARK_[A-Z0-9_]+_ID_TOKEN", gitlab_variable(audience))


@given(host=HOSTS | st.just("x." * 120 + "example"), one=SLUGS, two=SLUGS | st.just(""))
@example("localhost", "a-b", "a--b")
def test_derived_audiences_of_one_host_differ_after_uppercasing(host: str, one: str, two: str) -> None:
    for text in (one, two):
        try:
            parse_slug(text or "x")
        except Rejected:
            assume(False)
    assume(one != two)
    assert derive_audience(host, one).upper() != derive_audience(host, two).upper()


@pytest.mark.parametrize(
    ("text", "name"),
    [("Foo_Bar", "foo-bar"), ("foo.-_bar", "foo-bar"), ("A", "a"), ("a1", "a1"), ("zope.interface", "zope-interface")],
)
def test_projects_are_normalised(text: str, name: str) -> None:
    assert parse_project(text) == name


@pytest.mark.parametrize("text", ["", "-a", "a-", ".a", "a b", "a/b", "ä", "a\n", "a*"])
def test_no_projects(text: str) -> None:
    with pytest.raises(Rejected):
        parse_project(text)


@pytest.mark.parametrize("text", ["*", "acme-*", "*-plugin", "a*b*c", "acme", "**"])
def test_patterns(text: str) -> None:
    assert parse_pattern(text) == text


@pytest.mark.parametrize("text", ["", "Acme-*", "a_b", "-a", "a-", "a.b", "a?", "a--b", "[a]", "a*\n"])
def test_no_patterns(text: str) -> None:
    """`a--b` is no normal form: it would match nothing, ever."""
    with pytest.raises(Rejected):
        parse_pattern(text)


@given(pattern=st.text("ab-*", min_size=1, max_size=8), name=st.text("ab-", min_size=1, max_size=12))
@example("a*a", "a")
@example("*", "a")
@example("a*ab*b", "aabb")
def test_patterns_match_like_a_regular_expression(pattern: str, name: str) -> None:
    oracle = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name) is not None
    assert matches_pattern(pattern, ProjectName(name)) == oracle


def test_matching_is_linear() -> None:
    """A regular expression would still be busy with this when the universe ends."""
    assert not matches_pattern("a*" * 60 + "b", ProjectName("a" * 20_000))


@given(name=NAMES)
def test_a_star_is_every_project(name: str) -> None:
    assert matches_pattern("*", ProjectName(name))
    assert matches_pattern(name, ProjectName(name))
    assert not matches_pattern(name + "x", ProjectName(name))
