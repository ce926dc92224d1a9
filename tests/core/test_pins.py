"""Learned ids: what is learned, what is demanded from then on, and how an operator changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core import pins
from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.providers.model import Provider

GITHUB = BY_SLUG["github"]
CONFIG = {"repository": "foo/bar", "workflow": "release.yml"}
CLAIMS = {"repository_id": "1", "repository_owner_id": "2", "repository": "foo/bar"}
IDS = {"repository_id": "1", "repository_owner_id": "2"}


def test_ids_of_a_token_are_learned() -> None:
    assert pins.learnable(GITHUB, CONFIG, CLAIMS) == IDS
    assert pins.learnable(GITHUB, CONFIG, {"repository_id": "1"}) == {"repository_id": "1"}
    assert pins.learnable(GITHUB, CONFIG, {}) == {}


@pytest.mark.parametrize("value", [None, 1, True, "", [], ["1"], {}, "1" * 256])
def test_what_is_no_short_text_is_not_learned(value: object) -> None:
    assert pins.learnable(GITHUB, CONFIG, {"repository_id": value}) == {}


@pytest.mark.parametrize("value", [None, 1, True, "", ["1"], {"1": 1}, "01", "1 ", "１"])
def test_what_was_learned_is_demanded_exactly(value: object) -> None:
    (found,) = pins.differences(GITHUB, CONFIG, IDS, {**CLAIMS, "repository_id": value})
    assert (found.claim, found.learned, found.actual) == ("repository_id", "1", value)


def test_a_claim_that_is_left_out_does_not_help() -> None:
    assert len(list(pins.differences(GITHUB, CONFIG, IDS, {}))) == 2
    assert not list(pins.differences(GITHUB, CONFIG, {}, {}))
    assert not list(pins.differences(GITHUB, CONFIG, IDS, CLAIMS))


def test_an_id_that_the_table_no_longer_names_is_still_demanded() -> None:
    former = replace(GITHUB, pins=())
    assert not list(pins.differences(former, CONFIG, IDS, CLAIMS))
    assert len(list(pins.differences(former, CONFIG, IDS, {**CLAIMS, "repository_id": "9"}))) == 1


@pytest.mark.parametrize("provider", PROVIDERS, ids=[each.slug for each in PROVIDERS])
def test_every_table_names_claims_that_it_knows(provider: Provider) -> None:
    for path in provider.pins:
        assert path[0] in provider.known
    assert len({pins.name_of(path) for path in provider.pins}) == len(provider.pins)


def test_who_may_lapse() -> None:
    assert pins.may_lapse(GITHUB, CONFIG, {})
    assert not pins.may_lapse(GITHUB, CONFIG, IDS)
    assert not pins.may_lapse(GITHUB, {**CONFIG, "owner-id": "2"}, {})
    # Where no id could be learned, waiting for one would only be an end without a cure.
    assert not pins.may_lapse(BY_SLUG["jenkins"], {"url": "x"}, {})


def test_a_generic_publisher_names_its_id_and_does_not_give_it() -> None:
    generic = BY_SLUG["generic"]
    named = {"rules": "[]", "immutable-id": "sub"}
    assert not pins.is_given(generic, named)
    assert pins.may_lapse(generic, named, {})
    assert pins.learnable(generic, named, {"sub": "team/widget"}) == {"sub": "team/widget"}
    assert not pins.may_lapse(generic, {"rules": "[]", "no-immutable-id": "true"}, {})


def test_an_id_that_is_given_wins_over_a_learned_one() -> None:
    assert pins.kept(GITHUB, CONFIG, IDS) == IDS
    assert pins.kept(GITHUB, {**CONFIG, "repository-id": "9"}, IDS) == {"repository_owner_id": "2"}
    assert pins.kept(GITHUB, {**CONFIG, "repository-id": "9", "owner-id": "8"}, IDS) == {}


# -- changing them ----------------------------------------------------------------------------------------------------


def test_one_id_is_replaced() -> None:
    assert pins.repinned(IDS, "2", "3") == ("repository_owner_id", {"repository_id": "1", "repository_owner_id": "3"})


def test_which_of_two_equal_ids_must_be_said() -> None:
    same = {"a": "1", "b": "1"}
    with pytest.raises(Rejected, match="Several") as refused:
        pins.repinned(same, "1", "2")
    assert "--claim" in refused.value.hint
    assert pins.repinned(same, "1", "2", "b") == ("b", {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("ids", "former", "new", "claim", "problem"),
    [
        ({}, "1", "2", "", "has not learned"),
        (IDS, "9", "2", "", "has not learned"),
        (IDS, "1", "9", "repository_owner_id", "has not learned"),
        (IDS, "1", "9", "nothing", "has not learned"),
        (IDS, "1", "", "", "no id"),
        (IDS, "1", "a\nb", "", "no id"),
        (IDS, "1", " 2", "", "no id"),
        (IDS, "1", "2" * 256, "", "no id"),
    ],
)
def test_what_cannot_be_replaced(ids: Mapping[str, str], former: str, new: str, claim: str, problem: str) -> None:
    with pytest.raises(Rejected, match=problem) as refused:
        pins.repinned(ids, former, new, claim)
    assert refused.value.hint


@given(st.dictionaries(st.sampled_from([*CLAIMS, "other"]), st.text(max_size=3) | st.integers() | st.none()))
def test_whoever_was_learned_is_let_in_again_and_nobody_else(claims: dict[str, object]) -> None:
    learned = pins.learnable(GITHUB, CONFIG, claims)
    assert not list(pins.differences(GITHUB, CONFIG, learned, claims))
    for name in learned:
        assert list(pins.differences(GITHUB, CONFIG, learned, {**claims, name: f"{claims[name]}0"}))
