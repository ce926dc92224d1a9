"""The digests that an uploader sent are those of the bytes that arrived.

Owns the comparison. Leaves computing them to whoever receives the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mintmark.core.errors import Rejected

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


def check_digests(given: Mapping[str, str], actual: Digests) -> None:
    """Every digest given must match and at least one is required; empty fields are absent ones.

    `given` maps form fields (`sha256_digest`, `blake2_256_digest`, `md5_digest`; others are ignored) to hexadecimal
    text of either case. A digest that was not computed (`actual.md5` is None) proves nothing and does not count.
    Raises one `Rejected` for all findings, `invalid-upload` (none, malformed) or `digest-mismatch`, as the first is.
    """
    computed = {"sha256_digest": actual.sha256, "blake2_256_digest": actual.blake2_256, "md5_digest": actual.md5}
    findings: list[tuple[str, str]] = []
    compared = 0
    for field, expected in computed.items():
        value = given.get(field, "").lower()
        if not value or expected is None:
            continue
        compared += 1
        if len(value) != _LENGTHS[field] or not _HEX.match(value):
            findings.append(("invalid-upload", f"The field {field} is not {_LENGTHS[field]} hexadecimal digits."))
        elif value != expected:
            sentence = f"The field {field} says {value}, but the {actual.size_bytes} bytes received give {expected}."
            findings.append(("digest-mismatch", sentence))
    if not compared:
        raise Rejected(
            "invalid-upload",
            "The form carries no digest of the file.",
            hint="Send sha256_digest or blake2_256_digest, as every current uploader does.",
        )
    if findings:
        code = findings[0][0]
        cure = (
            "Send digests in hexadecimal."
            if code == "invalid-upload"
            else "Upload again; if it happens twice, look for a proxy that changes bodies."
        )
        raise Rejected(code, " ".join(sentence for _, sentence in findings), hint=cure)
