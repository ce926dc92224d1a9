"""The digests that an uploader sent are those of the bytes that arrived.

Owns the comparison. Leaves computing them to whoever receives the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mintmark.core.checks.finding import Finding, Grade
from mintmark.core.checks.rule import Rule

MISSING = Rule(
    "digest-missing",
    Grade.REFUSE,
    "invalid-upload",
    "The form carries at least one digest of the file, so that what arrives is what was sent.",
    "Send sha256_digest or blake2_256_digest, as every current uploader does.",
)
MALFORMED = Rule(
    "digest-malformed",
    Grade.REFUSE,
    "invalid-upload",
    "Every digest that is sent is hexadecimal and as long as it has to be.",
    "Send digests in hexadecimal.",
)
MISMATCH = Rule(
    "digest-mismatch",
    Grade.REFUSE,
    "digest-mismatch",
    "Every digest that is sent is that of the bytes that arrived.",
    "Upload again; if it happens twice, look for a proxy that changes bodies.",
)
FINDINGS = (MISSING, MALFORMED, MISMATCH)

_HEX = re.compile(r"[0-9a-f]+\Z")
_LENGTHS = {"sha256_digest": 64, "blake2_256_digest": 64, "md5_digest": 32}
"""Form field to the number of hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of received bytes in lower-case hexadecimal. `md5` is only for comparison, None if not computed."""

    sha256: str
    blake2_256: str
    md5: str | None
    size_bytes: int


def find_mismatches(given: Mapping[str, str], actual: Digests) -> Iterator[Finding]:
    """Every digest given must match and at least one is required; empty fields are absent ones.

    `given` maps form fields (`sha256_digest`, `blake2_256_digest`, `md5_digest`; others are ignored) to hexadecimal
    text of either case. A digest that was not computed (`actual.md5` is None) proves nothing and does not count.
    """
    computed = {"sha256_digest": actual.sha256, "blake2_256_digest": actual.blake2_256, "md5_digest": actual.md5}
    compared = 0
    for field, expected in computed.items():
        value = given.get(field, "").lower()
        if not value or expected is None:
            continue
        compared += 1
        if len(value) != _LENGTHS[field] or not _HEX.match(value):
            yield MALFORMED.found(f"The field {field} is not {_LENGTHS[field]} hexadecimal digits.")
        elif value != expected:
            yield MISMATCH.found(
                f"The field {field} says {value}, but the {actual.size_bytes} bytes received give {expected}."
            )
    if not compared:
        yield MISSING.found("The form carries no digest of the file.")
