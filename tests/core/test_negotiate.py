"""Negotiation: real clients, the rules of RFC 9110, and headers that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.negotiate import ACCEPT_MAX_CHARACTERS, HTML, HTML_V1, JSON_V1, LATEST, choose, simple_form

A, B, C = "application/a", "application/b", "text/c"
OFFERS = (A, B, C)


@pytest.mark.parametrize(
    ("client", "accept", "expected"),
    [
        ("pip", f"{JSON_V1}, {HTML_V1}; q=0.1, text/html; q=0.01", ("json", JSON_V1)),
        ("uv", f"{JSON_V1}, {HTML_V1};q=0.2, text/html;q=0.01", ("json", JSON_V1)),
        ("old pip", "text/html", ("html", HTML)),
        ("a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", ("html", HTML)),
        ("curl, requests", "*/*", ("html", HTML)),
        ("none", None, ("html", HTML)),
        ("empty", "", ("html", HTML)),
        ("html of version 1", HTML_V1, ("html", HTML_V1)),
        ("the latest", "application/vnd.pypi.simple.latest+json", ("json", JSON_V1)),
        ("the latest", "application/vnd.pypi.simple.latest+html", ("html", HTML_V1)),
        ("both equally", f"{JSON_V1}, {HTML}", ("html", HTML)),
        ("JSON or anything", f"*/*, {JSON_V1}", ("json", JSON_V1)),
        ("any application", "application/*", ("json", JSON_V1)),
        ("any text", "text/*", ("html", HTML)),
        ("all but HTML", "*/*, text/html;q=0", ("json", JSON_V1)),
        ("with a charset", "text/html; charset=utf-8", ("html", HTML)),
        ("in capitals", JSON_V1.upper() + ";Q=1", ("json", JSON_V1)),
        ("Java", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", ("html", HTML)),
        ("something else", "application/json", None),
        ("something else", "image/*", None),
        ("nothing", "*/*;q=0", None),
    ],
)
def test_simple_form(client: str, accept: str | None, expected: tuple[str, str] | None) -> None:
    assert simple_form(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{A};q=0.5, {B};q=0.6", B),
        (f"{A}, {B}", A),
        (f"{B}, {A}", A),
        (f"{A};q=0.001", A),
        (f"{A};q=1.000, {B};q=0.999", A),
        (f"{A};q=0, */*;q=0.1", B),
        (f"{A};q=0.1, application/*;q=0.5", B),
        (f"application/*;q=0.5, {C};q=0.4", A),
        (f"*/*;q=0.5, {C}", C),
        (f"*/*, {C}", C),
        (f"{C};q=0.5, {C};q=0, */*;q=0.1", A),
        (f"{A};level=1, {A};q=0.2, {B};q=0.3", B),
        (f"{A};level=1;q=0, */*", A),
        (f'{A};x="a, {B}";q=0.1, {C};q=0.2', C),
        (f'{A};x="\\", {B}";q=0.3', A),
        (f"{A};q=0.5;ext;ext2=3", A),
        (f",, ,{B} ,", B),
        (f"{A} ; q=0.2 ,\t{B}\t;\tq=0.1", A),
    ],
)
def test_rules(accept: str, expected: str) -> None:
    assert choose(accept, OFFERS, "default") == expected


@pytest.mark.parametrize("q", ["2", "-1", "0.1234", "1.1", ".5", "", "x", "0,5", "1e-1", "٠"])
def test_malformed_weights_are_ignored(q: str) -> None:
    assert choose(f"{A};q={q}, {B};q=0.1", OFFERS, "default") == B


@pytest.mark.parametrize(
    "accept", ["", " ", ",", ";", ";;;,", "a", "a/", "/b", "*/b", "*", "a/b/c", "a b/c", '"', '"a/b', "ä/ö"]
)
def test_nothing_understood_means_the_default(accept: str) -> None:
    assert choose(accept, OFFERS, "default") == "default"


def test_nothing_acceptable() -> None:
    assert choose("image/png", OFFERS, "default") is None
    assert choose(A, (), "default") is None


def test_length_is_bounded() -> None:
    assert choose(A + " " * (ACCEPT_MAX_CHARACTERS - len(A)), OFFERS, "default") == A
    assert choose(A + " " * (ACCEPT_MAX_CHARACTERS - len(A) + 1), OFFERS, "default") == "default"


@pytest.mark.parametrize("piece", ['"', '"\\', "\\", ";", ",", 'a/b;c="', '";"', "a/b;q=0.1,", " "])
def test_no_header_takes_long(piece: str) -> None:
    # A pattern that backtracks would not end before the test run does.
    header = (piece * ACCEPT_MAX_CHARACTERS)[:ACCEPT_MAX_CHARACTERS]
    assert choose(header, OFFERS, "default") in {"default", None}


RANGES = st.sampled_from([A, B, C, "application/*", "text/*", "*/*", "image/png", "nonsense", f"{A};p=1"])
QUALITIES = st.sampled_from(["", ";q=0", ";q=0.0", ";q=0.000", ";q=0.5", ";q=1", ";q=1.0", ";q=7", "; q=0"])


@given(st.lists(st.tuples(RANGES, QUALITIES), max_size=6))
def test_an_offer_with_quality_0_is_never_chosen(elements: list[tuple[str, str]]) -> None:
    accept = ",".join(kind + quality for kind, quality in elements)
    chosen = choose(accept, OFFERS, A)
    zero = {kind for kind, quality in elements if quality.strip("; ").startswith("q=0") and "5" not in quality}
    understood = [kind for kind, quality in elements if kind != "nonsense" and "7" not in quality]
    if not understood:
        assert chosen == A
    else:
        assert chosen not in zero
    if chosen is not None and understood:
        kind = chosen.partition("/")[0]
        assert {chosen, f"{kind}/*", "*/*", f"{chosen};p=1"} & set(understood)


@given(st.text(st.characters(codec="latin-1"), max_size=80))
def test_never_raises(accept: str) -> None:
    assert choose(accept, OFFERS, "default") in {*OFFERS, "default", None}
    form = simple_form(accept)
    assert form is None or form in {("json", JSON_V1), ("html", HTML_V1), ("html", HTML)}


def test_aliases_are_never_answered_with() -> None:
    for alias in LATEST:
        form = simple_form(alias)
        assert form is not None
        assert form[1] not in LATEST
