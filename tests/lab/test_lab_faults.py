"""The fault switches: what can be set, and what is taken when."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.lab.fault_answers import ANSWERS
from mintmark.lab.faults import (
    ACTIVE_MAX,
    FAULTS,
    INDEX_ACTIONS,
    PROVIDER_ACTIONS,
    SECONDS_MAX,
    SKEW_SECONDS_MAX,
    TIMES_MAX,
    Active,
    BadFault,
    Faults,
)
from mintmark.lab.watch import DEEDS

NAMES = [
    "provider-down",
    "provider-slow",
    "provider-403",
    "provider-500",
    "provider-malformed",
    "clock-skew",
    "issuer-down",
    "issuer-slow",
    "issuer-500",
    "issuer-malformed",
    "discovery-wrong-issuer",
    "keys-rotated",
    "keys-rotated-same-kid",
    "keys-empty",
    "audience-403",
    "audience-404",
    "audience-500",
    "mint-403",
    "mint-422",
    "mint-429",
    "mint-500",
    "mint-invalid-json",
    "mint-timeout",
    "mint-lost",
    "burn-202",
    "burn-404",
    "burn-500",
    "upload-400",
    "upload-403",
    "upload-409",
    "upload-503",
    "upload-308",
    "upload-reset",
    "upload-lost",
    "index-slow",
]


def test_the_table() -> None:
    assert list(FAULTS) == NAMES
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert fault.does.endswith(".")
        assert fault.actions
        assert fault.actions <= (INDEX_ACTIONS if fault.server == "index" else PROVIDER_ACTIONS)
        assert (fault.seconds_default > 0) == fault.takes_seconds == ("`seconds`" in fault.does)
        assert fault.seconds_default <= SECONDS_MAX or name == "clock-skew"


def test_every_answer_fault_does_one_thing() -> None:
    assert {name for name, fault in FAULTS.items() if fault.kind == "answer"} == DEEDS | ANSWERS.keys()
    assert not DEEDS & ANSWERS.keys()


def test_a_fault_is_taken_as_often_as_it_was_set() -> None:
    faults = Faults()
    faults.set("mint-500", times=2)
    assert faults.listing() == [Active("mint-500", 2)]
    assert faults.take("index", "audience") is None
    assert faults.take("provider", "mint") is None
    assert faults.take("index", "mint") == Active("mint-500", 1)
    assert faults.take("index", "mint", "gitlab") == Active("mint-500", 0)
    assert faults.take("index", "mint") is None
    assert faults.listing() == []


def test_the_first_that_was_set_comes_first() -> None:
    faults = Faults()
    faults.set("mint-500")
    faults.set("index-slow", seconds=2)
    faults.set("mint-422")
    taken = [faults.take("index", "mint") for _ in range(4)]
    assert [active.name if active else None for active in taken] == ["mint-500", "index-slow", "mint-422", None]


def test_a_fault_for_one_place_leaves_the_others_alone() -> None:
    faults = Faults()
    faults.set("issuer-500", ci="gitlab")
    assert faults.take("provider", "keys") is None
    assert faults.take("provider", "keys", "github") is None
    assert faults.take("provider", "request-token", "gitlab") is None
    assert faults.take("provider", "keys", "gitlab") == Active("issuer-500", 0, None, "gitlab")


def test_setting_again_replaces_and_clear_forgets() -> None:
    faults = Faults()
    faults.set("mint-500", times=5)
    faults.set("mint-500", times=1)
    faults.set("provider-500", times=3, ci="github")
    assert faults.listing() == [Active("mint-500", 1), Active("provider-500", 3, None, "github")]
    faults.clear()
    assert faults.listing() == []


def test_contents_are_taken_by_their_name_only() -> None:
    faults = Faults()
    faults.set("clock-skew", seconds=-30)
    faults.set("keys-empty", ci="github")
    assert faults.take("provider", "keys", "github") is None
    assert faults.take("provider", "request-token") is None
    assert faults.take_named("clock-skew", "gitlab") == Active("clock-skew", 0, -30.0)
    assert faults.take_named("keys-empty") is None
    assert faults.take_named("keys-empty", "github") == Active("keys-empty", 0, None, "github")


def test_an_act_happens_at_once_and_is_never_on() -> None:
    faults, acts = Faults(), list[tuple[str, str | None]]()
    with pytest.raises(BadFault, match="start the lab with them"):
        faults.set("keys-rotated")
    faults.on_act = lambda name, ci: acts.append((name, ci))
    faults.set("keys-rotated")
    faults.set("keys-rotated-same-kid", ci="gitlab")
    assert acts == [("keys-rotated", None), ("keys-rotated-same-kid", "gitlab")]
    assert faults.listing() == []
    with pytest.raises(BadFault, match="leave times out"):
        faults.set("keys-rotated", times=2)
    with pytest.raises(BadFault):
        faults.set("keys-rotated", ci="NO")
    assert len(acts) == 2


def test_seconds_have_a_default() -> None:
    faults = Faults()
    faults.set("mint-timeout")
    assert faults.listing() == [Active("mint-timeout", 1, FAULTS["mint-timeout"].seconds_default)]


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"name": "mint-418"}, "There is no such fault; there are provider-down, "),
        ({"name": ["mint-500"]}, "There is no such fault"),
        ({"name": "mint-500", "times": 0}, f"times must be a whole number from 1 to {TIMES_MAX}."),
        ({"name": "mint-500", "times": TIMES_MAX + 1}, "times must be"),
        ({"name": "mint-500", "times": True}, "times must be"),
        ({"name": "mint-500", "times": "2"}, "times must be"),
        ({"name": "mint-500", "seconds": 1}, "mint-500 takes no seconds; leave them out."),
        ({"name": "index-slow", "seconds": SECONDS_MAX + 1}, "seconds must be a number from 0 to 60."),
        ({"name": "index-slow", "seconds": -1}, "seconds must be"),
        ({"name": "index-slow", "seconds": float("nan")}, "seconds must be"),
        ({"name": "index-slow", "seconds": "1"}, "seconds must be"),
        ({"name": "clock-skew", "seconds": -SKEW_SECONDS_MAX - 1}, "seconds must be a number from -86400 to 86400."),
        ({"name": "provider-500", "ci": "Git Lab"}, "ci must be the name of a CI system of the lab"),
        ({"name": "provider-500", "ci": "a" * 100}, "ci must be"),
        ({"name": "provider-500", "ci": 5}, "ci must be"),
        ({"name": "mint-500", "ci": "gitlab"}, "mint-500 is a fault of the index"),
    ],
)
def test_what_cannot_be_set_is_told_in_a_sentence(order: dict[str, Any], sentence: str) -> None:
    faults = Faults()
    with pytest.raises(BadFault) as caught:
        faults.set(**order)
    assert str(caught.value).startswith(sentence)
    assert faults.listing() == []


def test_the_number_of_faults_is_bounded() -> None:
    faults = Faults()
    for number in range(ACTIVE_MAX):
        faults.set("provider-500", ci=f"ci-{number}")
    faults.set("provider-500", times=2, ci="ci-0")
    with pytest.raises(BadFault, match="clear them first"):
        faults.set("mint-500")


@given(st.text(), st.integers() | st.none() | st.floats(), st.floats() | st.none() | st.text(), st.text() | st.none())
def test_any_order_is_taken_or_refused(name: str, times: Any, seconds: Any, ci: Any) -> None:
    faults = Faults()
    for known in (name, "index-slow"):
        with suppress(BadFault):
            faults.set(known, times=times, seconds=seconds, ci=ci)
    for active in faults.listing():
        assert 1 <= active.left <= TIMES_MAX
        assert active.seconds is not None
        assert 0 <= active.seconds <= SECONDS_MAX
