"""Credentials: a text that recognises its own typing errors, and Authorization headers of every kind."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.credentials import (
    HEADER_MAX_CHARACTERS,
    KINDS,
    LENGTH,
    MINTED,
    PREFIX,
    RANDOM_BYTES,
    USER,
    Presented,
    compose,
    digest,
    parse_authorization,
)

RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
SECRET = compose(MINTED, bytes(range(RANDOM_BYTES)))
KNOWN = Presented(hashlib.sha256(SECRET.encode()).digest())


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@given(kind=st.sampled_from(sorted(KINDS)), random=RANDOM)
@example(MINTED, b"\0" * RANDOM_BYTES)
@example(MINTED, b"\xff" * RANDOM_BYTES)
def test_what_is_composed_is_known_by_its_digest(kind: str, random: bytes) -> None:
    secret = compose(kind, random)
    assert len(secret) == LENGTH
    assert secret.startswith(PREFIX + kind)
    assert secret.isalnum() or set(secret) - set(string.ascii_letters + string.digits) == {"_"}
    assert digest(secret) == hashlib.sha256(secret.encode("ascii")).digest()


@given(one=RANDOM, two=RANDOM)
def test_other_chance_makes_another_credential(one: bytes, two: bytes) -> None:
    assert (compose(MINTED, one) == compose(MINTED, two)) == (one == two)


@given(random=RANDOM, position=st.integers(0, LENGTH - 1), character=st.characters(exclude_categories=()))
def test_one_wrong_character_is_refused_without_asking_the_ledger(random: bytes, position: int, character: str) -> None:
    secret = compose(MINTED, random)
    changed = secret[:position] + character + secret[position + 1 :]
    assert digest(changed) == (digest(secret) if changed == secret else None)


@given(random=RANDOM, position=st.integers(0, LENGTH - 2))
def test_swapped_neighbours_are_refused(random: bytes, position: int) -> None:
    secret = compose(MINTED, random)
    one, two = secret[position], secret[position + 1]
    changed = secret[:position] + two + one + secret[position + 2 :]
    assert changed == secret or digest(changed) is None


@given(text=st.text(st.characters(exclude_categories=()), max_size=80))
def test_no_other_text_is_a_credential(text: str) -> None:
    assert digest(text) is None


@pytest.mark.parametrize("random", [b"", b"x" * 31, b"x" * 33])
def test_composing_needs_exactly_the_promised_chance(random: bytes) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        compose(MINTED, random)
    with pytest.raises(ValueError, match="known kind"):
        compose("x", b"x" * RANDOM_BYTES)


def test_texts_that_are_nearly_a_credential() -> None:
    for text in (SECRET[:-1], SECRET + "0", SECRET.upper(), " " + SECRET[:-1], SECRET.replace("_m", "_x")):
        assert digest(text) is None


@pytest.mark.parametrize(
    "header",
    [
        basic(f"{USER}:{SECRET}"),
        basic(f" {USER} : {SECRET}\n"),
        f"Bearer {SECRET}",
        f"bearer   {SECRET}  ",
        f"  BASIC {basic(f'{USER}:{SECRET}')[6:]} ",
    ],
)
def test_both_schemes_present_it(header: str) -> None:
    assert parse_authorization(header) == KNOWN


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer   ", basic(f"{USER}:"), basic("name:"), basic(":  ")])
def test_nothing_is_presented(header: str | None) -> None:
    """uv sends a user name without a password first."""
    assert parse_authorization(header) is None


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (basic(f"me:{SECRET}"), "user name"),
        (basic(USER), "no ':'"),
        ("Basic !!!!", "base64"),
        ("Basic ä", "base64"),
        (basic(b"\xff\xfe:x"), "UTF-8"),
        ("Digest username=x", "Basic and Bearer"),
        (f"token {SECRET}", "Basic and Bearer"),
        ("x" * (HEADER_MAX_CHARACTERS + 1), "too long"),
        (f"Bearer {SECRET[:-1]}", ""),
        (basic(f"{USER}:hunter2"), ""),
    ],
)
def test_something_else_is_presented(header: str, problem: str) -> None:
    presented = parse_authorization(header)
    assert presented is not None
    assert presented.digest is None
    assert problem in presented.problem
    assert bool(problem) == bool(presented.problem)


@given(
    header=st.text(st.characters(exclude_categories=()))
    | st.builds("{} {}".format, st.sampled_from(["Basic", "bearer", "x"]), st.text())
    | st.binary().map(basic)
)
def test_no_header_breaks_anything(header: str) -> None:
    presented = parse_authorization(header)
    assert presented is None or presented.digest is None


@given(password=st.text(max_size=60), user=st.text(max_size=20))
def test_a_problem_never_quotes_what_was_presented(user: str, password: str) -> None:
    presented = parse_authorization(basic(f"{user}:secret-{password}"))
    assert presented is None or "secret-" not in presented.problem
