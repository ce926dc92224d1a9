"""Digests: what clients send is compared, whatever it is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.checks.digests import Digests, find_mismatches
from mintmark.core.errors import Rejected
from support.refusals import refuse

SHA256 = hashlib.sha256(b"x").hexdigest()
BLAKE2 = hashlib.blake2b(b"x", digest_size=32).hexdigest()
MD5 = hashlib.md5(b"x", usedforsecurity=False).hexdigest()
ACTUAL = Digests(SHA256, BLAKE2, MD5, 1)


@pytest.mark.parametrize(
    "given",
    [
        {"sha256_digest": SHA256},  # maturin
        {"sha256_digest": SHA256, "blake2_256_digest": BLAKE2},  # uv, twine
        {"sha256_digest": SHA256, "blake2_256_digest": BLAKE2, "md5_digest": MD5},  # pdm, poetry, hatch
        {"md5_digest": MD5, "sha256_digest": SHA256},  # flit
        {"sha256_digest": "", "blake2_256_digest": BLAKE2.upper(), "md5_digest": ""},
        {"md5_digest": MD5, "sha512_digest": "ignored"},
    ],
)
def test_real_clients(given: dict[str, str]) -> None:
    refuse(find_mismatches(given, ACTUAL))


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "invalid-upload", "no digest"),
        ({"sha256_digest": "", "md5_digest": ""}, "invalid-upload", "no digest"),
        ({"sha256_digest": SHA256[1:]}, "invalid-upload", "sha256_digest is not 64"),
        ({"sha256_digest": "g" * 64}, "invalid-upload", "sha256_digest is not 64"),
        ({"sha256_digest": SHA256[:-1] + "\n"}, "invalid-upload", "not 64"),
        ({"sha256_digest": SHA256 + "\n"}, "invalid-upload", "not 64"),
        ({"sha256_digest": "٠" * 64}, "invalid-upload", "not 64"),
        ({"md5_digest": SHA256}, "invalid-upload", "md5_digest is not 32"),
        ({"sha256_digest": BLAKE2}, "digest-mismatch", SHA256),
        ({"sha256_digest": SHA256, "blake2_256_digest": SHA256}, "digest-mismatch", "blake2_256_digest"),
        ({"sha256_digest": SHA256, "md5_digest": "0" * 32}, "digest-mismatch", "md5_digest"),
    ],
)
def test_refusals(given: dict[str, str], code: str, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        refuse(find_mismatches(given, ACTUAL))
    assert caught.value.code.name == code
    assert words in caught.value.detail
    assert caught.value.hint


def test_all_findings_are_told() -> None:
    with pytest.raises(Rejected) as caught:
        refuse(find_mismatches({"sha256_digest": "0" * 64, "md5_digest": "x"}, ACTUAL))
    assert caught.value.code.name == "digest-mismatch"
    assert "md5_digest" in caught.value.detail


def test_a_digest_that_was_not_computed_proves_nothing() -> None:
    without = Digests(SHA256, BLAKE2, None, 1)
    refuse(find_mismatches({"sha256_digest": SHA256, "md5_digest": "0" * 32}, without))
    with pytest.raises(Rejected, match="no digest"):
        refuse(find_mismatches({"md5_digest": MD5}, without))


FIELDS = st.sampled_from(["sha256_digest", "blake2_256_digest", "md5_digest"])
VALUES = st.one_of(st.sampled_from([SHA256, BLAKE2, MD5, SHA256.upper(), ""]), st.text(max_size=70))


@given(st.dictionaries(FIELDS, VALUES))
def test_passes_only_if_every_digest_given_is_right(given: dict[str, str]) -> None:
    right = {"sha256_digest": SHA256, "blake2_256_digest": BLAKE2, "md5_digest": MD5}
    sent = {field: value for field, value in given.items() if value}
    code = ""
    try:
        refuse(find_mismatches(given, ACTUAL))
    except Rejected as error:
        code = error.code.name
    assert code in {"", "invalid-upload", "digest-mismatch"}
    assert (code == "") == (bool(sent) and all(value.lower() == right[field] for field, value in sent.items()))
