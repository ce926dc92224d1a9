"""Does this identity match this publisher, and if not, why?

Owns applying a provider's table to verified claims, and the constraints of a publisher. Leaves finding the candidate
publishers to the ledger and the words of an answer to `service.mint`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mintmark.core import pins
from mintmark.core.claims import Claims, claim_at
from mintmark.core.errors import Rejected
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.names import ProjectName, matches_pattern
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Config, Expectation, Identity, Provider
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.core.rules import rules_of, unmet

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
    return mismatches(issuer, publisher, verified.issuer, verified.claims) or Match(_SEAL, publisher)


def match_all(
    issuer: Issuer, publishers: Iterable[Publisher], verified: VerifiedClaims
) -> Iterator[tuple[Publisher, Match | tuple[Mismatch, ...]]]:
    """`match` for each of them. Hundreds of projects of one identity are judged about as fast as one."""
    judged: dict[tuple[int, int, int, int], tuple[object, tuple[tuple[Mismatch, ...], ...]]] = {}
    for publisher in publishers:
        # By the objects, which publishers from the ledger share. They are kept, so that no other gets their place.
        parts = (publisher.config, publisher.constraints, publisher.pins)
        key = (publisher.issuer_id, id(publisher.config), id(publisher.constraints), id(publisher.pins))
        found = judged.get(key)
        if found is None:
            found = judged[key] = (parts, _identity_faults(issuer, publisher, verified.issuer, verified.claims))
        head, rest = found[1]
        yield publisher, head + _project_faults(issuer, publisher) + rest or Match(_SEAL, publisher)


def mismatches(issuer: Issuer, publisher: Publisher, issuer_url: str, claims: Claims) -> tuple[Mismatch, ...]:
    """Every rule that does not hold, also for claims that nobody verified: to explain, never to grant."""
    head, rest = _identity_faults(issuer, publisher, issuer_url, claims)
    return (*head, *_project_faults(issuer, publisher), *rest)


def _project_faults(issuer: Issuer, publisher: Publisher) -> tuple[Mismatch, ...]:
    # A pattern is within another one if it fits it as a text. What is read is the publisher's own decision.
    if publisher.issuer_id == issuer.id and not publisher.reads and "*" not in issuer.projects:
        name = ProjectName(publisher.project)
        if not any(matches_pattern(pattern, name) for pattern in issuer.projects):
            expected = f"an issuer trusted for {publisher.project}"
            return (Mismatch("iss", expected, issuer.name, "Issuers are trusted for some projects."),)
    return ()


def _identity_faults(
    issuer: Issuer, publisher: Publisher, issuer_url: str, claims: Claims
) -> tuple[tuple[Mismatch, ...], tuple[Mismatch, ...]]:
    """Everything that does not depend on the project, in two parts: what is said before it, and after it."""
    provider = BY_SLUG[issuer.provider]
    head = [*refusals(provider, claims)]
    if publisher.issuer_id != issuer.id or issuer_url != issuer.url:
        head.append(Mismatch("iss", issuer.url, shown(issuer_url), "Publishers belong to exactly one issuer."))
    if publisher.issuer_id != issuer.id:
        # Its fields may be those of another provider.
        return tuple(head), ()
    faults: list[Mismatch] = []
    identity = Identity(publisher.config, claims, issuer.server)
    for rule in provider.rules:
        wanted = rule.expect(identity)
        actual = claim_at(claims, rule.claim)
        if wanted is not None and not _satisfies(actual, wanted):
            expected = " or ".join(repr(value) for value in wanted.values) or "a value that this token cannot have"
            faults.append(Mismatch("/".join(rule.claim), expected, shown(actual), rule.why))
    # Invariant: what was learned at the first use is required from then on, whoever has the name now.
    faults.extend(
        Mismatch(it.claim, repr(it.learned), shown(it.actual), f"{pins.WHY} {pins.CURE}")
        for it in pins.differences(provider, publisher.config, publisher.pins, claims)
    )
    if provider.rules_field:
        faults.extend(_operators_faults(provider, publisher.config, claims))
    faults.extend(_constraint_faults(provider, publisher.constraints, claims))
    return tuple(head), tuple(faults)


def refusals(provider: Provider, claims: Claims) -> Iterable[Mismatch]:
    """Values that never publish, whatever the publisher says."""
    for refusal in provider.refuse:
        actual = claim_at(claims, refusal.claim)
        if actual in refusal.values or (refusal.required and not isinstance(actual, str)):
            yield Mismatch(
                "/".join(refusal.claim), f"anything but {' or '.join(refusal.values)}", shown(actual), refusal.why
            )


def _operators_faults(provider: Provider, config: Config, claims: Claims) -> Iterable[Mismatch]:
    """The rules of an operator's own that do not hold."""
    try:
        rules = rules_of(config.get(provider.rules_field, ""))
    except Rejected:
        # Nobody wrote this by way of `core.trust`.
        yield Mismatch(
            provider.rules_field, "rules that can be read", "others", "A publisher without rules matches nothing."
        )
        return
    found = [
        (rule.name, rule.expected, actual, "An operator wrote this rule.") for rule, actual in unmet(rules, claims)
    ]
    named = {name for name, *_ in found}
    # Invariant: what the operator calls the id can be learned, so that no publisher is protected in name only.
    stated = pins.learnable(provider, config, claims)
    for path in provider.pins_of(config):
        name, actual = pins.name_of(path), claim_at(claims, path)
        if name not in stated and name not in named:
            expected = f"a text of 1 to {pins.PIN_MAX_CHARACTERS} characters"
            found.append((name, expected, actual, "It holds the id that nobody else ever gets."))
    for name, expected, actual, why in found:
        yield Mismatch(name, shortened(expected), shown(actual), why)


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
    return shortened(repr(value))


def shortened(text: str) -> str:
    """Text for people and logs, of which the beginning is enough."""
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


def check_constraints(provider: Provider, constraints: Constraints) -> None:
    """Raise `Rejected` for a constraint on what no token of the provider says: nobody could ever meet it."""
    asked = [name for name in ("ref", "tag") if getattr(constraints, name) and provider.ref is None]
    asked += ["protected-ref"] if constraints.protected_ref and provider.protected_ref is None else []
    if asked:
        raise Rejected(
            "invalid-trust",
            f"{' and '.join(asked)} cannot be demanded: no token of {provider.title} says it.",
            hint="Leave it out, or write a rule about a claim that says it."
            if provider.rules_field
            else "Leave it out; no job could meet it.",
        )


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
