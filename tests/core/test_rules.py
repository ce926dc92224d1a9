"""An operator's own rules: reading them, their one text, what they match, and words for mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core import globs
from mintmark.core.claims import claim_at
from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.generic import KEY_MAX_CHARACTERS, KEYS_MAX
from mintmark.core.rules import (
    RULES_MAX,
    RULES_MAX_CHARACTERS,
    VALUES_MAX,
    canonical,
    parse_rule_text,
    rules_of,
    unmet,
)

GENERIC = BY_SLUG["generic"]
SUBJECT = {"claim": "sub", "equals": "team/widget"}


def refused(given: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        canonical(given)
    assert caught.value.code.name == "invalid-trust"
    assert caught.value.hint
    return caught.value


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "problem", "cure"),
    [
        ("sub", "is not a table", "[[registry.NAME.publisher.rule]]"),
        ({"equals": "x"}, "lacks claim", "list of keys"),
        ({"claim": "sub"}, "says nothing", "exactly one of"),
        ({"claim": "sub", "equals": "x", "matches": "y"}, "both equals and matches", "two rules"),
        ({"claim": "sub", "equal": "x"}, "unknown key 'equal'", "not-equals"),
        ({"claim": "sub", "not_equals": "x"}, "unknown key 'not_equals'", "not-equals"),
        ({"claim": "", "equals": "x"}, "no address", "a name"),
        ({"claim": [], "equals": "x"}, "no address", "a name"),
        ({"claim": ["a", 1], "equals": "x"}, "no address", "a name"),
        ({"claim": ["a"] * 9, "equals": "x"}, "no address", "8 keys"),
        ({"claim": "aud", "equals": "x"}, "'aud'", "leave it out"),
        ({"claim": "iss", "matches": "https://*"}, "'iss'", "leave it out"),
        ({"claim": "jti", "equals": "x"}, "'jti'", "leave it out"),
        ({"claim": ["exp"], "equals": 1}, "'exp'", "leave it out"),
        ({"claim": "a", "equals": ""}, "no value", "in quotes"),
        ({"claim": "a", "equals": 1.5}, "no value", "whole number"),
        ({"claim": "a", "equals": None}, "no value", "whole number"),
        ({"claim": "a", "equals": ["x"]}, "no value", "whole number"),
        ({"claim": "a", "equals": 2**63}, "no value", "whole number"),
        ({"claim": "a", "equals": "x" * 501}, "no value", "500"),
        ({"claim": "a", "equals": "\ud800"}, "no value", "in quotes"),
        ({"claim": "a", "in": "x"}, "no list", "in ="),
        ({"claim": "a", "in": []}, "no list", "in ="),
        ({"claim": "a", "in": ["x"] * (VALUES_MAX + 1)}, "no list", "in ="),
        ({"claim": "a", "in": [["x"]]}, "no value", "whole number"),
        ({"claim": "a", "matches": True}, "is no text", "`**` does"),
        ({"claim": "a", "matches": "x***"}, "three stars", "`**` does"),
        ({"claim": "a", "matches": "x" * 256}, "255", "`**` does"),
        ({"claim": "a", "matches": "**"}, "matches everything", "leave the rule out"),
        ({"claim": "a", "matches": "*"}, "matches everything", "leave the rule out"),
        ({"claim": "sub", "matches": "*/**"}, "matches everything", "leave the rule out"),
    ],
    ids=repr,
)
def test_every_mistake_names_the_rule_and_the_cure(rule: Any, problem: str, cure: str) -> None:
    error = refused([SUBJECT, rule])
    assert error.detail.startswith("rule 2 ")
    assert problem in error.detail
    assert cure in error.hint


@pytest.mark.parametrize("given", [[], {}, None, 1, "[]", "{}", "nonsense", "[" * 1000, '[{"claim":"a","claim":"b"}]'])
def test_what_is_no_list_of_rules(given: Any) -> None:
    assert refused(given).detail.startswith("The rules ")


def test_there_are_bounds() -> None:
    assert "more than 20" in refused([{"claim": f"c{n}", "equals": "x"} for n in range(RULES_MAX + 1)]).detail
    long = [{"claim": f"c{n}", "equals": "x" * 400} for n in range(6)]
    assert f"{RULES_MAX_CHARACTERS} characters" in refused(long).detail


# -- one text ---------------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=["Cs"])
KEYS = st.text(CHARACTERS, min_size=1, max_size=8).filter(
    lambda key: key not in {"iss", "aud", "exp", "iat", "nbf", "jti"}
)
VALUES = st.text(CHARACTERS, min_size=1, max_size=8) | st.booleans() | st.integers(-3, 3)
PATTERNS = st.text(st.sampled_from("ab/*"), min_size=1, max_size=6).filter(
    lambda text: not globs.problem_of(text) and bool(text.strip("*/"))
)
TABLES = st.builds(
    lambda claim, demand: {"claim": claim, **demand},
    KEYS | st.lists(KEYS, min_size=1, max_size=3),
    st.fixed_dictionaries({"equals": VALUES})
    | st.fixed_dictionaries({"not-equals": VALUES})
    | st.fixed_dictionaries({"in": st.lists(VALUES, min_size=1, max_size=4)})
    | st.fixed_dictionaries({"matches": PATTERNS}),
)
CLAIMS = st.recursive(
    st.none() | VALUES | st.floats(allow_nan=False) | st.lists(VALUES, max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(TABLES, min_size=1, max_size=5))
def test_the_text_is_the_same_for_the_same_rules(tables: list[dict[str, Any]]) -> None:
    text = canonical(tables)
    assert text.isascii()
    assert canonical(text) == text
    assert canonical(json.loads(text)) == text
    assert canonical(list(reversed(tables)) + tables) == text
    assert canonical([rule.table() for rule in rules_of(text)]) == text


@given(TABLES)
def test_a_line_of_text_is_the_same_rule(table: dict[str, Any]) -> None:
    claim = table["claim"]
    ((operator, value),) = [(key, table[key]) for key in table if key != "claim"]
    sign = {"equals": "==", "not-equals": "!=", "in": "in", "matches": "matches"}[operator]
    for ascii_only in (True, False):
        line = f"{json.dumps(claim, ensure_ascii=ascii_only)} {sign} {json.dumps(value, ensure_ascii=ascii_only)}"
        if isinstance(claim, str) or not any("]" in key for key in claim):
            assert canonical([parse_rule_text(line)]) == canonical([table])


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ('sub == "team/widget"', SUBJECT),
        ('  sub   ==   "team/widget"  ', SUBJECT),
        ('"sub" == "team/widget"', SUBJECT),
        ("trusted == true", {"claim": "trusted", "equals": True}),
        ("attempt != 2", {"claim": "attempt", "not-equals": 2}),
        ('trigger in ["push", "tag"]', {"claim": "trigger", "in": ["push", "tag"]}),
        ('ref matches "refs/tags/*"', {"claim": "ref", "matches": "refs/tags/*"}),
        ('["kubernetes.io", "namespace"] == "ci"', {"claim": ["kubernetes.io", "namespace"], "equals": "ci"}),
        ('oidc.acme.example/project == "x"', {"claim": "oidc.acme.example/project", "equals": "x"}),
    ],
)
def test_lines(line: str, table: dict[str, Any]) -> None:
    assert parse_rule_text(line) == table


@pytest.mark.parametrize(
    "line",
    [
        "",
        "sub",
        "sub ==",
        "sub == widget",
        'sub = "x"',
        'sub="x"',
        'sub == "x" extra',
        'sub like "x"',
        '[1] == "x"',
        '"a == "x"',
        "sub == 'x'",
        'sub == "x"' * 1000,
        "sub == 1e999",
        "\ud800 == \ud800",
    ],
)
def test_lines_that_are_none(line: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_rule_text(line)
    assert caught.value.hint


# -- what they match --------------------------------------------------------------------------------------------------


@given(st.lists(TABLES, min_size=1, max_size=4), st.dictionaries(KEYS, CLAIMS, max_size=4))
def test_a_rule_is_what_it_says(tables: list[dict[str, Any]], claims: dict[str, Any]) -> None:
    for table in tables:
        (rule,) = rules_of(canonical([table]))
        actual = claim_at(claims, rule.claim)
        same = [value for value in rule.values if type(value) is type(actual)]
        wanted = {
            "equals": actual in same,
            "in": actual in same,
            "not-equals": bool(same) and actual not in same,
            "matches": isinstance(actual, str) and globs.matches(str(rule.values[0]), actual),
        }[rule.operator]
        assert rule.holds(claims) is wanted


@given(st.lists(TABLES, min_size=1, max_size=4), TABLES, st.dictionaries(KEYS, CLAIMS, max_size=4))
def test_one_rule_more_accepts_nothing_more(
    tables: list[dict[str, Any]], more: dict[str, Any], claims: dict[str, Any]
) -> None:
    few, many = (rules_of(canonical(each)) for each in (tables, [*tables, more]))
    assert list(unmet(many, claims)) or not list(unmet(few, claims))


@given(TABLES)
def test_invariant_what_is_missing_meets_no_rule(table: dict[str, Any]) -> None:
    (rule,) = rules_of(canonical([table]))
    nothings: list[dict[str, Any]] = [{}, {rule.claim[0]: None}, {rule.claim[0]: []}, {rule.claim[0]: 0.5}]
    for nothing in nothings:
        assert not rule.holds(nothing)


# -- the table that holds them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"rule": [SUBJECT]}, "'immutable-id' is missing"),
        ({"rule": [SUBJECT], "immutable-id": "sub", "no-immutable-id": True}, "Both immutable-id"),
        ({"rule": [SUBJECT], "no-immutable-id": False}, "'immutable-id' is missing"),
        ({"rule": [SUBJECT], "no-immutable-id": "yes"}, "neither true nor false"),
        ({"rule": [SUBJECT], "no-immutable-id": 1}, "neither true nor false"),
        ({"rule": [SUBJECT], "immutable-id": 7}, "no address of a claim"),
        ({"rule": [SUBJECT], "immutable-id": "[1]"}, "no address of a claim"),
        ({"rule": [SUBJECT], "immutable-id": "[" * 5000}, "no address of a claim"),
        ({"rule": [SUBJECT], "immutable-id": "jti"}, "cannot be 'jti'"),
        ({"immutable-id": "sub"}, "'rule' is missing"),
        ({"rule": [], "immutable-id": "sub"}, "'rule' is missing"),
        ({"rule": [SUBJECT], "rules": [SUBJECT], "immutable-id": "sub"}, "given twice"),
        ({"rule": [SUBJECT], "immutable-id": "sub", "repository": "x"}, "no field 'repository'"),
        ({"rule": [{"claim": "sub", "matches": "a/*"}], "immutable-id": "sub"}, "No rule says with equals"),
        ({"rule": [{"claim": "on", "equals": True}], "immutable-id": "sub"}, "No rule says with equals"),
        ({"rule": [{"claim": "sub", "in": ["a"]}], "immutable-id": "sub"}, "No rule says with equals"),
    ],
    ids=repr,
)
def test_mistakes_in_a_publisher(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(Rejected) as caught:
        GENERIC.parse_config(given)
    assert problem in caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "text", "pins"),
    [
        ("sub", "sub", ("sub",)),
        (["a", "b"], '["a", "b"]', ("a", "b")),
        (["["], '["["]', ("[",)),
        ('["x"]', "x", ("x",)),
    ],
)
def test_the_immutable_id_is_what_is_learned(given: Any, text: str, pins: tuple[str, ...]) -> None:
    config = GENERIC.parse_config({"rule": [SUBJECT], "immutable-id": given})
    assert config["immutable-id"] == text
    assert GENERIC.pins_of(config) == (pins,)
    assert GENERIC.parse_config(config) == config
    assert GENERIC.pins_of(GENERIC.parse_config({"rule": [SUBJECT], "no-immutable-id": True})) == ()


def test_a_publisher_is_found_by_its_most_telling_rule() -> None:
    project, subject = {"claim": "a_project", "equals": "x"}, SUBJECT

    def key(*rules: dict[str, Any], immutable: str = "n") -> str:
        return GENERIC.lookup_of_config(GENERIC.parse_config({"rule": list(rules), "immutable-id": immutable}))

    assert key(project, subject) == "sub=team/widget"
    assert key(project, subject, immutable="a_project") == "a_project=x"
    assert key(project) == "a_project=x"
    assert key({"claim": "sub", "equals": "x" * 400}).startswith("sha256:")


@given(st.lists(TABLES, min_size=1, max_size=4), st.dictionaries(KEYS, CLAIMS, max_size=4))
def test_whoever_meets_the_rules_is_found(tables: list[dict[str, Any]], claims: dict[str, Any]) -> None:
    try:
        config = GENERIC.parse_config({"rule": tables, "no-immutable-id": True})
    except Rejected:
        return
    if not list(unmet(rules_of(config["rules"]), claims)):
        assert GENERIC.lookup_of_config(config) in GENERIC.lookups_of_claims(claims)


def test_the_keys_of_a_token_are_bounded() -> None:
    many = {f"c{n}": "x" for n in range(1000)}
    assert len(GENERIC.lookups_of_claims(many)) == KEYS_MAX
    (key,) = GENERIC.lookups_of_claims({"aud": "a", "iss": "b", "sub": "s" * 10_000, "n": 1, "l": ["x"], "e": ""})
    assert len(key) <= KEY_MAX_CHARACTERS
    deep: dict[str, Any] = {"x": "y"}
    for _ in range(30):
        deep = {"d": deep}
    assert GENERIC.lookups_of_claims(deep) == ()
