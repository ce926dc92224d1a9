"""What people may say about projects and releases, and what is offered in which state."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import Version

from mintmark.core.life_cycle import (
    DISPLAY_NAME_MAX_CHARACTERS,
    REASON_MAX_CHARACTERS,
    STATUSES,
    VERSION_MAX_CHARACTERS,
    parse_display_name,
    parse_reason,
    parse_status,
    parse_version,
    why_not_offered,
)
from mintmark.core.names import parse_project
from mintmark.core.records import File, Project
from support.refusals import refusal

NAME = parse_project("acme-widget")


@pytest.mark.parametrize("text", ["", "Broken.", "Größe “falsch” <b>&amp;'\"", "x" * REASON_MAX_CHARACTERS, "漢字 🎉"])
def test_reasons(text: str) -> None:
    assert parse_reason(text) == text
    assert parse_reason(f"  {text} \n") == text


@pytest.mark.parametrize(
    "text", ["a\nb", "a\tb", "\x1b[31mred", "a\0", "\ud800", "a\u202eb", "a\u2028b", "x" * (REASON_MAX_CHARACTERS + 1)]
)
def test_reasons_that_cannot_be(text: str) -> None:
    refused = refusal(lambda: parse_reason(text))
    assert refused is not None
    assert refused.code.name == "invalid-change"
    assert str(REASON_MAX_CHARACTERS) in refused.hint


@given(
    text=st.text(st.characters(), max_size=REASON_MAX_CHARACTERS * 2) | st.binary().map(lambda b: b.decode("latin-1"))
)
def test_any_reason_is_one_printable_line_or_refused(text: str) -> None:
    refused = refusal(lambda: parse_reason(text))
    if refused is None:
        reason = parse_reason(text)
        assert reason.isprintable()
        assert reason == reason.strip()
        assert len(reason) <= REASON_MAX_CHARACTERS
        assert reason.encode().decode() == reason


def test_statuses() -> None:
    assert [parse_status(status) for status in STATUSES] == list(STATUSES)
    refused = refusal(lambda: parse_status("Archived"))
    assert refused is not None
    assert "active, archived, quarantined, deprecated" in refused.hint


@pytest.mark.parametrize("text", ["acme-widget", "ACME.Widget", "Acme__Widget", "acme-.-widget"])
def test_other_spellings_of_a_name(text: str) -> None:
    assert parse_display_name(text, NAME) == text


@pytest.mark.parametrize(
    "text",
    ["", "acmewidget", "acme widget", "acme-widget\n", " acme-widget", "Acme\x00Widget", "-acme-widget", "ac\u0131e",
     "acme" + "-" * DISPLAY_NAME_MAX_CHARACTERS + "widget"],
)  # fmt: skip
def test_other_names(text: str) -> None:
    refused = refusal(lambda: parse_display_name(text, NAME))
    assert refused is not None
    assert refused.code.name == "invalid-change"


@given(text=st.text(st.characters()) | st.text("acmewidget-_.ACME \n", max_size=14))
@example("ACME_widget")
def test_any_name_is_the_same_or_refused(text: str) -> None:
    if refusal(lambda: parse_display_name(text, NAME)) is None:
        assert parse_project(text) == NAME


def test_versions_are_compared_parsed() -> None:
    assert parse_version("1.0") == parse_version("v1.0.0") == Version("1")


@given(text=st.text(st.characters()) | st.text("0123456789.!+abcrdevpost", max_size=VERSION_MAX_CHARACTERS * 2))
@example("9" * 5000)
@example("1.0\n")
def test_any_version_parses_or_is_refused(text: str) -> None:
    refused = refusal(lambda: parse_version(text))
    assert refused is None or refused.code.name == "invalid-change"


def test_what_is_offered() -> None:
    def offered(state: str, status: str) -> bool:
        project = Project(1, 1, "widget", "widget", status, 1, 1, 0)
        file = File(1, 1, 1, "1", "widget-1.tar.gz", "sdist", state, 1, "", "", None, None, 0)
        return not why_not_offered(project, file)

    states = ("staged", "visible", "yanked", "deleted")
    got = {(state, status) for state in states for status in STATUSES if offered(state, status)}
    assert got == {(state, status) for state in ("visible", "yanked") for status in STATUSES if status != "quarantined"}
