"""The bodies of the exchange."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.exchange import (
    DEFAULT_FEATURES,
    FEATURES,
    LIFETIME_MAX_SECONDS,
    LIFETIME_MIN_SECONDS,
    MULTI_USE,
    SINGLE_USE,
    MintRequest,
    parse_burn,
    parse_mint,
)
from support.refusals import refusal

KEYS = st.text(max_size=8) | st.sampled_from(["token", "features"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
VALUES = st.integers() | st.text() | st.lists(st.text(), max_size=2)


def body(**members: object) -> bytes:
    return json.dumps(members).encode()


@given(data=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"[" * 30_000)
@example(b'{"token": ' + b"9" * 30_000 + b"}")
def test_bodies_are_refused_with_a_code_of_their_own(data: bytes) -> None:
    for parse, codes in ((parse_mint, {"invalid-payload", "invalid-features"}), (parse_burn, {"invalid-payload"})):
        refused = refusal(lambda parse=parse: parse(data))  # type: ignore[misc]
        assert refused is None or refused.code.name in codes


@given(token=st.text(), single=st.booleans(), more=st.dictionaries(st.text(min_size=9), VALUES))
def test_good_requests(token: str, single: bool, more: dict[str, object]) -> None:
    feature = SINGLE_USE if single else MULTI_USE
    assert parse_mint(body(**more, token=token, features=[feature])) == MintRequest(token, single)
    assert parse_mint(body(token=token)) == parse_mint(body(token=token, features=[])) == MintRequest(token, False)
    assert parse_burn(body(**more, token=token)) == token


BODIES = [b"", b'""', b"[]", b'"x"', b"12345", b"3.14", b"null", b"{}", b"not json", b"\xff"]
BODIES += [b'{"token": "a", "token": "b"}', b'{"wrongkey": ""}', b'{"Token": "x"}']
BODIES += [b'{"token": %s}' % value for value in (b"null", b"3.14", b"0", b'[""]', b"[]", b"{}", b"true")]


@pytest.mark.parametrize("data", BODIES)
def test_bodies_without_a_token(data: bytes) -> None:
    for parse in (parse_mint, parse_burn):
        refused = refusal(lambda parse=parse: parse(data))  # type: ignore[misc]
        assert refused is not None
        assert refused.code.name == "invalid-payload"


@pytest.mark.parametrize(
    "features",
    [
        *(None, "", MULTI_USE, {}, {MULTI_USE: 1}, 1, True, [1], [None], [[MULTI_USE]], ["other"], [""]),
        *(list(FEATURES), [MULTI_USE, "other"], [MULTI_USE.upper()], [MULTI_USE, None]),
    ],
)
def test_features_are_one_known_name(features: object) -> None:
    refused = refusal(lambda: parse_mint(body(token="x", features=features)))
    assert refused is not None
    assert refused.code.name == "invalid-features"
    assert parse_burn(body(token="x", features=features)) == "x"


def test_a_feature_named_twice_is_one() -> None:
    assert parse_mint(body(token="x", features=[SINGLE_USE, SINGLE_USE])).single_use


def test_the_constants_are_the_contracts() -> None:
    assert FEATURES == ("multi-use-token", "single-use-token")
    assert DEFAULT_FEATURES == ("multi-use-token",)
    assert (LIFETIME_MIN_SECONDS, LIFETIME_MAX_SECONDS) == (900, 21_600)


def test_a_refusal_never_quotes_the_body() -> None:
    refused = refusal(lambda: parse_mint(b'{"token": "hunter2", "token": "hunter2"}'))
    assert refused is not None
    assert "hunter2" not in refused.sentence + refused.private
