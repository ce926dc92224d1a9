"""What an issuer's key set is worth: lines about its keys.

Owns the words. Leaves which keys are good enough to `core.jwks`, whose verdict on every single key is told here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from mintmark.core import strict_json
from mintmark.core.jwks import ALGORITHMS, BadKeySet, VerificationKey, parse_key_set
from mintmark.core.report_card import Line, bad, note, ok, warning

UNUSABLE_SHOWN = 5
KID_SHOWN_MAX_CHARACTERS = 60
# Members of JWKs that hold private or symmetric keys (RFC 7518 section 6).
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CERTIFICATES = frozenset({"x5c", "x5u", "x5t", "x5t#S256", "jku"})


@dataclass(frozen=True, slots=True)
class KeysReport:
    """The lines, and the algorithms that at least one key can verify."""

    lines: tuple[Line, ...]
    algorithms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One member of the set, with the server's verdict on it."""

    number: int
    members: Mapping[str, Any]
    key: VerificationKey | None
    reason: str

    @property
    def name(self) -> str:
        kid = self.members.get("kid")
        return f"key {self.number}" + (f" ({kid[:KID_SHOWN_MAX_CHARACTERS]!r})" if isinstance(kid, str) else "")


def report_on_keys(document: bytes) -> KeysReport:
    """Judge a key set as the server would."""
    try:
        parse_key_set(document)
    except BadKeySet as error:
        return KeysReport((bad("keys", f"{_sentence(str(error))}", "Publish a JWK Set (RFC 7517) at the jwks_uri."),))
    entries = [_entry(number, value) for number, value in enumerate(strict_json.parse(document)["keys"], 1)]
    usable = [entry for entry in entries if entry.key]
    lines = [_number(usable, entries)]
    if usable:
        lines += [_kids(usable), _declared(usable)]
    lines += _unusable(entries, any_usable=bool(usable))
    if private := [entry.name for entry in entries if _PRIVATE & entry.members.keys()]:
        lines.append(
            bad(
                "secret keys",
                f"The set publishes secret parts of {', '.join(private[:UNUSABLE_SHOWN])}.",
                "Whoever reads it can sign as this issuer. Replace the keys, and publish their public parts only.",
            )
        )
    if any(_CERTIFICATES & entry.members.keys() for entry in entries):
        lines.append(note("certificates of keys", "Certificates beside the keys (x5c and the like) are ignored."))
    found = frozenset().union(*(entry.key.algorithms for entry in usable if entry.key))
    return KeysReport(tuple(lines), found)


def _entry(number: int, value: Any) -> _Entry:
    found = parse_key_set(json.dumps({"keys": [value]}).encode())
    reason = found.skipped[0].partition(": ")[2] if found.skipped else ""
    return _Entry(number, value if isinstance(value, dict) else {}, found.keys[0] if found.keys else None, reason)


def _number(usable: list[_Entry], entries: list[_Entry]) -> Line:
    if not usable:
        cure = "No token of this issuer can be verified until it publishes a key that is good enough."
        return bad("keys", f"None of {len(entries)} keys is usable." if entries else "The key set is empty.", cure)
    kinds = Counter(_kind(entry.key) for entry in usable if entry.key)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return ok("keys", f"{len(usable)} usable: {listed}.")


def _kind(found: VerificationKey) -> str:
    key = found.key
    if isinstance(key, RSAKey):
        return f"RSA with {key.public_key.key_size} bits"
    return f"on the curve {key.curve_name}" if isinstance(key, ECKey | OKPKey) else key.key_type


def _kids(usable: list[_Entry]) -> Line:
    kids = [entry.key.kid for entry in usable if entry.key]
    if len(usable) > 1 and None in kids:
        return warning(
            "kid",
            f"{kids.count(None)} of {len(usable)} keys have no kid: tokens signed with them are refused.",
            "Give every key a kid, and write it into the header of tokens.",
        )
    if len(set(kids)) != len(kids):
        return warning(
            "kid",
            "Two keys share a kid; each of them is tried.",
            "Give every key a kid of its own, so that rotation is noticed.",
        )
    if None in kids:
        return note("kid", "The only key has no kid, which works as long as it is the only one.")
    return ok("kid", "Every key has a kid of its own.")


def _declared(usable: list[_Entry]) -> Line:
    for member in ("use", "alg"):
        lacking = sum(member not in entry.members for entry in usable)
        if lacking:
            few = "The key does" if len(usable) == 1 else f"{lacking} of {len(usable)} keys do"
            return note("use and alg", f"{few} not declare {member}; the trust entry's algorithms decide.")
    return ok("use and alg", "Every key declares use and alg.")


def _unusable(entries: list[_Entry], *, any_usable: bool) -> list[Line]:
    refused = [entry for entry in entries if entry.key is None]
    make = warning if any_usable else bad
    cure = (
        f"Tokens signed with it are refused. Use RSA with 2048 bits or more, or one of {', '.join(sorted(ALGORITHMS))}."
    )
    lines = [make("unusable key", f"{entry.name}: {entry.reason}.", cure) for entry in refused[:UNUSABLE_SHOWN]]
    if len(refused) > UNUSABLE_SHOWN:
        lines.append(make("unusable key", f"… and {len(refused) - UNUSABLE_SHOWN} more.", "As above."))
    return lines


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
