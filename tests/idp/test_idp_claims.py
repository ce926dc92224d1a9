"""What a token of one's own may say, and that nobody who asks for one can say who signed it, for whom, for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.errors import Rejected
from mintmark.idp.claims import CLAIMS_MAX, RESERVED, VALUE_MAX_CHARACTERS, claims_of, parse_claims
from mintmark.idp.profile import KeyEntry, Profile

PROFILE = Profile("https://identity.acme.example", "ES256", (KeyEntry("k", {}, 0, file="key-k.pem"),))
NOW = 1_795_000_000.75
NAMES = st.text(st.characters(exclude_characters="=", exclude_categories=("C", "Z")), min_size=1, max_size=40)


def of(*pairs: str, **changes: Any) -> dict[str, Any]:
    values = {"subject": "s", "audience": "a", "lifetime_seconds": 300, "now": NOW, "jti": "j", **changes}
    return claims_of(PROFILE, parse_claims(pairs), **values)


def refused(*pairs: str, **changes: Any) -> str:
    with pytest.raises(Rejected) as caught:
        of(*pairs, **changes)
    assert caught.value.code.name == "invalid-identity"
    assert caught.value.hint
    return caught.value.detail


def test_the_registered_claims() -> None:
    issued = int(NOW)
    assert of() == {
        "iss": PROFILE.issuer, "sub": "s", "aud": "a", "iat": issued, "nbf": issued, "exp": issued + 300, "jti": "j",
    }  # fmt: skip


def test_claims_are_texts_or_json() -> None:
    found = parse_claims(["a=1", "b:=1", "c:=[true, null]", "d=", "e==x", 'https://acme.example/f:="x"', "g:h=i"])
    assert found == {
        "a": "1", "b": 1, "c": [True, None], "d": "", "e": "=x", "https://acme.example/f": "x", "g:h": "i",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("form", ["{}=x", "{}:=1"])
def test_nobody_says_who_signed_for_whom_and_how_long(name: str, form: str) -> None:
    assert f"{name!r} cannot be given" in refused(form.format(name))


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("x", "is no claim"),
        ("", "is no claim"),
        ("=x", "is no claim"),
        (":=1", "is no claim"),
        ("a\nb=x", "is no claim"),
        ("n" * 201 + "=x", "is no claim"),
        ("x:=", "not strict JSON"),
        ("x:=yes", "not strict JSON"),
        ("x:=NaN", "not strict JSON"),
        ("x:=1e999", "not strict JSON"),
        ('x:={"a": 1, "a": 2}', "not strict JSON"),
        ("x:=" + "[" * 100 + "]" * 100, "not strict JSON"),
        (r'x:="\ud800"', "no Unicode text"),
        ("x=\udcff", "no UTF-8 text"),
        ("x=" + "y" * (VALUE_MAX_CHARACTERS + 1), "too long"),
    ],
)
def test_bad_claims(pair: str, reason: str) -> None:
    assert reason in refused(pair)


def test_claims_come_once_and_are_few() -> None:
    assert "twice" in refused("a=1", "a:=1")
    assert "more than" in refused(*(f"c{number}=x" for number in range(CLAIMS_MAX + 1)))


@pytest.mark.parametrize("seconds", [-1, 0, 59, 3601, 86_400])
def test_the_lifetime_is_bounded(seconds: int) -> None:
    assert "cannot live" in refused(lifetime_seconds=seconds)


@pytest.mark.parametrize("text", ["", " ", " a", "a\n", "a\tb", "x" * 501, "\udcff"])
@pytest.mark.parametrize("name", ["subject", "audience"])
def test_bad_subjects_and_audiences(name: str, text: str) -> None:
    assert f"is no {name}" in refused(**{name: text})


@given(NAMES, st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")), st.lists))
def test_json_arrives_as_it_was_written(name: str, value: Any) -> None:
    name = name.rstrip(":")
    if name and name not in RESERVED:
        assert parse_claims([f"{name}:={json.dumps(value)}"]) == {name: value}


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_arguments_are_refused_or_harmless(pairs: list[str]) -> None:
    try:
        claims = of(*pairs)
    except Rejected:
        return
    assert (claims["iss"], claims["sub"], claims["aud"], claims["jti"]) == (PROFILE.issuer, "s", "a", "j")
    assert claims["exp"] - claims["iat"] == 300
