"""The three ways to say no."""

from __future__ import annotations

import pytest

from mintmark.core.codes import CODES
from mintmark.core.errors import Misconfigured, Rejected, Unavailable


@pytest.mark.parametrize(
    ("detail", "hint", "sentence"),
    [
        ("It failed.", "", "It failed."),
        ("It failed", "", "It failed"),
        ("It failed.", "Try again.", "It failed. Try again."),
        ("malformed token", "Try again.", "malformed token. Try again."),
        ("Why?", "So.", "Why? So."),
        ("No!", "Yes.", "No! Yes."),
    ],
)
def test_a_refusal_is_one_line(detail: str, hint: str, sentence: str) -> None:
    assert Rejected("invalid-trust", detail, hint=hint).sentence == sentence


def test_refusals_carry_their_code() -> None:
    refused = Rejected("rate-limited", "Too many.", private="10.0.0.1", retry_after_seconds=7, members={"a": 1})
    assert refused.code is CODES["rate-limited"]
    assert (refused.retry_after_seconds, refused.members) == (7, {"a": 1})
    assert Rejected("rate-limited", "Too many.").members == {}


def test_only_documented_codes_exist() -> None:
    with pytest.raises(KeyError):
        Rejected("made-up", "x")
    with pytest.raises(KeyError):
        Unavailable("x", code="made-up")


def test_what_is_private_is_in_no_public_text() -> None:
    rejected = Rejected("invalid-token", "No.", private="10.0.0.1 said so")
    unavailable = Unavailable("The ledger rests.", private="10.0.0.1 said so")
    assert "10.0.0.1" not in rejected.sentence + str(rejected) + unavailable.what + str(unavailable)


def test_what_is_unavailable_may_be_tried_again() -> None:
    assert Unavailable("x").retry_after_seconds > 0
    assert Unavailable("x").code.status == 503


def test_a_mistake_has_a_setting_a_problem_and_a_cure() -> None:
    mistake = Misconfigured("base_url", "It is not https.", "Use https.")
    assert (mistake.setting, mistake.problem, mistake.cure) == ("base_url", "It is not https.", "Use https.")
    assert str(mistake) == "base_url: It is not https. Use https."
