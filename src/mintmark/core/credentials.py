"""The form of credentials, and what one allows.

Owns the text format (prefix, kind, random part, checksum) and how it is read from an Authorization header.
Leaves storing to the ledger, which only ever sees `digest`.

Format: `mintmark_` + kind letter + 43 base62 characters (256 bits) + 6 base62 characters of CRC-32. The prefix and
the checksum let secret scanners recognise a leaked credential without asking anybody, and let the server refuse
noise without asking the ledger.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass

PREFIX = "mintmark_"
MINTED, API, READER = "m", "a", "r"
KINDS = frozenset({MINTED, API, READER})
RANDOM_BYTES = 32
RANDOM_CHARACTERS = 43
CHECKSUM_CHARACTERS = 6
LENGTH = len(PREFIX) + 1 + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS
USER = "__token__"
# Longest Authorization value that is looked at; a credential is 59 characters.
HEADER_MAX_CHARACTERS = 4096

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT_SET = frozenset(_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), CHECKSUM_CHARACTERS)


def compose(kind: str, random: bytes) -> str:
    """The credential's text from 32 random bytes."""
    if kind not in KINDS or len(random) != RANDOM_BYTES:
        raise ValueError("a credential needs a known kind and 32 random bytes")
    body = PREFIX + kind + _base62(int.from_bytes(random, "big"), RANDOM_CHARACTERS)
    return body + _checksum(body)


def digest_of(secret: str) -> bytes:
    """SHA-256 of a credential that `compose` has just made."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def digest(text: str) -> bytes | None:
    """SHA-256 of a well-formed credential, under which the ledger knows it; None for anything else."""
    if len(text) != LENGTH or not text.startswith(PREFIX) or text[len(PREFIX)] not in KINDS:
        return None
    if not _DIGIT_SET.issuperset(text[len(PREFIX) :]):
        return None
    body, checksum = text[:-CHECKSUM_CHARACTERS], text[-CHECKSUM_CHARACTERS:]
    if _checksum(body) != checksum:
        return None
    return hashlib.sha256(text.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class Presented:
    """What an Authorization header presents. `digest` is None when it cannot be one of our credentials."""

    digest: bytes | None
    problem: str = ""


def parse_authorization(header: str | None) -> Presented | None:
    """Read `Basic` and `Bearer`; None when nothing, or only an empty password, is presented.

    uv asks with a user name and an empty password first, and must be told 401 like a request without header.
    """
    if not header:
        return None
    if len(header) > HEADER_MAX_CHARACTERS:
        return Presented(None, "the Authorization header is too long")
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return Presented(digest(value)) if value else None
    if scheme.lower() != "basic":
        return Presented(None, "only Basic and Bearer are understood")
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return Presented(None, "the Basic credentials are not base64 of UTF-8 text")
    if not colon:
        return Presented(None, "the Basic credentials hold no ':'")
    password = password.strip()
    if not password:
        return None
    if user.strip() != USER:
        return Presented(None, f"the user name must be {USER}")
    return Presented(digest(password))
