"""Does this identity match this publisher, and if not, why?

Owns applying a provider's table to verified claims, and the constraints of a publisher. Leaves finding the candidate
publishers to the ledger and the words of an answer to `service.mint`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mintmark.core.errors import Rejected
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.names import ProjectName, matches_pattern
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Claims, Expectation, Identity, Provider, claim_at
from mintmark.core.records import Constraints, Issuer, Publisher

# What a person is shown of a claim's value: enough to compare, bounded, and free of control characters.
SHOWN_MAX_CHARACTERS = 200
_SEAL: Final = object()
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One claim that is not what the publisher demands."""

    claim: str
    expected: str
    actual: str
    why: str

    def __str__(self) -> str:
        return f"{self.claim}: expected {self.expected}, got {self.actual}. {self.why}"


class Match:
    """The proof that a publisher's every rule holds for a verified identity. Made by `match` only."""

    __slots__ = ("publisher",)
    publisher: Publisher

    def __init__(self, seal: object, publisher: Publisher) -> None:
        if seal is not _SEAL:
            raise TypeError("a Match is made by core.match.match only")
        object.__setattr__(self, "publisher", publisher)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Match never changes")


def match(issuer: Issuer, publisher: Publisher, verified: VerifiedClaims) -> Match | tuple[Mismatch, ...]:
    """Apply every rule: a `Match`, or every mismatch."""
    provider = BY_SLUG[issuer.provider]
    faults = [*refusals(provider, verified.claims)]
    if publisher.issuer_id != issuer.id or verified.issuer != issuer.url:
        faults.append(Mismatch("iss", issuer.url, shown(verified.issuer), "Publishers belong to exactly one issuer."))
    if not any(matches_pattern(pattern, ProjectName(publisher.project)) for pattern in issuer.projects):
        faults.append(
            Mismatch(
                "iss",
                f"an issuer trusted for {publisher.project}",
                issuer.name,
                "Issuers are trusted for some projects.",
            )
        )
    identity = Identity(publisher.config, verified.claims, issuer.server)
    for rule in provider.rules:
        wanted = rule.expect(identity)
        actual = claim_at(verified.claims, rule.claim)
        if wanted is not None and not _satisfies(actual, wanted):
            expected = " or ".join(repr(value) for value in wanted.values) or "a value that this token cannot have"
            faults.append(Mismatch("/".join(rule.claim), expected, shown(actual), rule.why))
    faults.extend(_constraint_faults(provider, publisher.constraints, verified.claims))
    return tuple(faults) or Match(_SEAL, publisher)


def refusals(provider: Provider, claims: Claims) -> Iterable[Mismatch]:
    """Values that never publish, whatever the publisher says."""
    for refusal in provider.refuse:
        actual = claim_at(claims, refusal.claim)
        if actual in refusal.values or (refusal.required and not isinstance(actual, str)):
            yield Mismatch(
                "/".join(refusal.claim), f"anything but {' or '.join(refusal.values)}", shown(actual), refusal.why
            )


def _satisfies(actual: Any, wanted: Expectation) -> bool:
    if wanted.in_list:
        return isinstance(actual, list | tuple) and any(_equals(item, wanted) for item in actual)
    return _equals(actual, wanted)


def _equals(actual: Any, wanted: Expectation) -> bool:
    # Typed comparison: a claim that is no string never equals one, and 1 is not true.
    if wanted.ignore_case:
        return isinstance(actual, str) and _fold(actual) in {_fold(str(value)) for value in wanted.values}
    return any(type(actual) is type(value) and actual == value for value in wanted.values)


def _fold(text: str) -> str:
    """Lower case for ASCII only: `lower()` makes a k of the Kelvin sign, which CI systems take for another letter."""
    return text.translate(_ASCII_LOWER)


def shown(value: Any) -> str:
    """A claim's value for people and logs."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= SHOWN_MAX_CHARACTERS else text[:SHOWN_MAX_CHARACTERS] + "…"


# -- constraints ------------------------------------------------------------------------------------------------------

_TAG_REF = "refs/tags/"
_ALLOW = ("any", "create-only", "upload-only")


def parse_constraints(ref: str = "", protected_ref: bool = False, tag: str = "", allow: str = "any") -> Constraints:
    """Validate what an operator wrote; raises `Rejected`."""
    if ref and not re.fullmatch(r"refs/(heads|tags)/[^\s\\]+", ref):
        raise Rejected(
            "invalid-trust",
            f"{ref!r} is no pattern of refs.",
            hint="Write it in full, for example refs/heads/release-*.",
        )
    if tag and tag.count("{version}") != 1:
        raise Rejected(
            "invalid-trust",
            f"{tag!r} is no pattern of tags.",
            hint="It must hold {version} once, for example v{version}.",
        )
    if tag and ref and not ref.startswith(_TAG_REF):
        raise Rejected(
            "invalid-trust",
            f"No ref can match {ref!r} and be the tag {tag!r}.",
            hint="Leave one of ref and tag out.",
        )
    if allow not in _ALLOW:
        raise Rejected("invalid-trust", f"{allow!r} is no value for allow.", hint=f"Use one of {', '.join(_ALLOW)}.")
    return Constraints(ref, protected_ref, tag, allow)


def matches_glob(pattern: str, text: str) -> bool:
    """Anchored: `*` is any run of characters but '/', everything else is itself. Linear, part by part."""
    parts, found = pattern.split("/"), text.split("/")
    return len(parts) == len(found) and all(
        matches_pattern(part, ProjectName(each)) for part, each in zip(parts, found, strict=True)
    )


def _constraint_faults(provider: Provider, constraints: Constraints, claims: Claims) -> Iterable[Mismatch]:
    ref = provider.ref_of(claims)
    name = "/".join(provider.ref or ("ref",))
    if constraints.ref and not (ref is not None and matches_glob(constraints.ref, ref)):
        yield Mismatch(name, constraints.ref, shown(ref), "This publisher is limited to some refs.")
    if constraints.tag and not (ref is not None and ref.startswith(_TAG_REF)):
        yield Mismatch(name, "a tag", shown(ref), "This publisher publishes from tags only.")
    if constraints.protected_ref:
        # A provider whose tokens do not say it satisfies nobody who asks for it.
        protected = claim_at(claims, provider.protected_ref) if provider.protected_ref else None
        if protected != "true" and protected is not True:
            claim = "/".join(provider.protected_ref or ("ref_protected",))
            yield Mismatch(claim, "'true'", shown(protected), "This publisher needs a protected ref.")


def allows_upload(constraints: Constraints, *, ref: str, version: str, first_release: bool) -> str:
    """Why a publisher's constraints forbid this upload, or "" when they allow it."""
    if constraints.tag:
        wanted = _TAG_REF + constraints.tag.replace("{version}", version)
        if ref != wanted:
            return f"its publisher allows version {version} only from the tag {wanted.removeprefix(_TAG_REF)}"
    if constraints.allow == "create-only" and not first_release:
        return "its publisher may only create the project"
    return ""
