"""The columns of a provider table: everything the index knows about one kind of CI system, as data.

Owns the vocabulary (fields, rules, refusals) and the checks that a table is complete. Leaves the tables to one file
each, and applying them to `core.match`. Publisher form, trust file, reference page and the lab's fake identity are
derived from these columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mintmark.core.claims import ClaimPath, Claims, claim_at
from mintmark.core.errors import Rejected

# What tables are written with comes from here, claims and their addresses too.
__all__ = ["ClaimPath", "Claims", "claim_at"]

Config = Mapping[str, str]
FIELD_MAX_CHARACTERS = 255
_LAB_ISSUER = r"https://localhost:[0-9]{1,5}(?:/[A-Za-z0-9_-]+)+"


@dataclass(frozen=True, slots=True)
class IssuerShape:
    """Which issuer URLs an operator may enter. `pattern` must match the whole URL."""

    pattern: re.Pattern[str]
    examples: tuple[str, ...]
    explanation: str
    server: Callable[[str], str] = lambda url: ""
    """The default `server` for an issuer's URL, where rules need one."""


def vendor_issuers(pattern: str) -> re.Pattern[str]:
    """The issuers of a vendor who decides their URLs; besides them the lab's, which plays every vendor on loopback."""
    return re.compile(f"{pattern}|{_LAB_ISSUER}")


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a person fills in when registering a publisher."""

    name: str
    label: str
    pattern: re.Pattern[str]
    example: str
    explanation: str
    required: bool = False
    unless: str = ""
    """Not required where this other field is given."""
    immutable_id: bool = False
    """An id the CI system never gives to anybody else: protects against renamed and re-registered owners."""
    key: str = ""
    """Its key in a trust file, where that is not its name."""
    read: Callable[[Any], str] | None = None
    """Makes the field's one text of what a trust file holds there, where that need not be a text."""

    @property
    def written(self) -> str:
        """What people call it."""
        return self.key or self.name

    def parse(self, given: Any) -> str:
        """The field's value, or `Rejected` naming the field."""
        if self.read is not None:
            return self.read(given)
        text = str(given)
        if len(text) > FIELD_MAX_CHARACTERS or not self.pattern.fullmatch(text):
            raise Rejected(
                "invalid-trust",
                f"{text!r} is no value for {self.name}.",
                hint=f"{self.explanation} Example: {self.example}",
            )
        return text


@dataclass(frozen=True, slots=True)
class Expectation:
    """The values of a claim that satisfy a rule. No values: nothing satisfies it."""

    values: tuple[str | bool, ...]
    ignore_case: bool = False
    in_list: bool = False
    """The claim is a list of strings, and one of them is a value."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a rule may look at besides the claim it judges."""

    config: Config
    claims: Claims
    server: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One claim and what it must be. `expect` returns None where the rule demands nothing."""

    claim: ClaimPath
    expect: Callable[[Identity], Expectation | None]
    why: str
    how: str
    """The demand in words, for the reference page."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Values of a claim that never publish, whoever asks. A missing claim is refused if `required`."""

    claim: ClaimPath
    values: tuple[str, ...]
    why: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """The claim by which publishers are found in the ledger, and the field it is compared with (case-folded)."""

    claim: ClaimPath
    field: str


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of CI system."""

    slug: str
    title: str
    docs_url: str
    checked: str
    issuer: IssuerShape
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    lookup: Lookup
    known: frozenset[str]
    pins: tuple[ClaimPath, ...]
    """The claims with ids that are never given away: learned at a publisher's first use and demanded from then on."""
    ref: ClaimPath | None
    """Where the full ref (`refs/heads/…`, `refs/tags/…`) stands; None where the token does not say it."""
    protected_ref: ClaimPath | None
    """None where the token does not say whether the ref is protected."""
    refuse: tuple[Refusal, ...] = ()
    max_lifetime_seconds: int = 3600
    requires_jti: bool = True
    reusable: bool = True
    """Whether a job can ask for another identity token."""
    types: frozenset[str] = frozenset({"jwt"})
    full_ref: Callable[[Claims], str | None] | None = None
    """Makes the full ref where no single claim is it; `ref` is then the claim that people are shown. Its docstring says
    how, for the reference page."""
    confirmed: bool = True
    """Whether the claims are the vendor's word. Otherwise the reference page says that they are not."""
    audience: str = "index"
    """`index`: a job can ask for our audience. `fixed`: it cannot, so the operator must name theirs."""
    job: str = ""
    """What a project puts into its CI system's file, with HOST, AUDIENCE and VARIABLE to be filled in."""
    job_language: str = "yaml"
    """In which language that is."""
    shared: tuple[str, ...] = ()
    """Issuers under which strangers get tokens, too: those of all customers of a vendor."""
    tenants: tuple[ClaimPath, ...] = ()
    """The claims that tell one customer of a shared issuer from another."""
    organization: str = ""
    """The field with the immutable id of the customer."""
    rules_field: str = ""
    """The field that holds rules of the operator's own (`core.rules`), which are applied besides the table's."""
    check: Callable[[Config], None] | None = None
    """Raises `Rejected` for fields that do not go together."""
    pins_of_config: Callable[[Config], tuple[ClaimPath, ...]] | None = None
    """The pins where publishers differ in them."""
    key_of_config: Callable[[Config], str] | None = None
    """The lookup key where it is no field alone."""
    keys_of_config: Callable[[Config], frozenset[str]] | None = None
    """Every key that a publisher could be found by, where that is not one field alone."""
    keys_of_claims: Callable[[Claims], tuple[str, ...]] | None = None
    """The lookup keys of a token where it is not one claim that decides."""

    def __post_init__(self) -> None:
        if not self.rules and not self.rules_field:
            raise ValueError(f"provider {self.slug} has no rules: it would accept every token of an issuer")
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names) or self.lookup.field not in names:
            raise ValueError(f"provider {self.slug}: the fields are not unique or lack the lookup field")

    def ref_of(self, claims: Claims) -> str | None:
        """The full ref of the job, None where the token does not say it."""
        if self.full_ref is not None:
            return self.full_ref(claims)
        value = claim_at(claims, self.ref) if self.ref else None
        return value if isinstance(value, str) else None

    def parse_config(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Validate what a person filled in; unknown, missing and malformed fields raise `Rejected`."""
        fields = {field.name: field for field in self.fields}
        names = {field.written: field.name for field in self.fields}
        named = {names.get(key, key): value for key, value in given.items()}
        unknown = sorted(named.keys() - fields.keys())
        if unknown or len(named) != len(given):
            raise Rejected(
                "invalid-trust",
                f"{self.title} has no field {unknown[0]!r}." if unknown else "A field is given twice.",
                hint=f"Its fields are: {', '.join(names)}.",
            )
        missing = [
            field
            for field in self.fields
            if field.required and not named.get(field.name) and not named.get(field.unless)
        ]
        if missing:
            raise Rejected(
                "invalid-trust",
                f"The field {missing[0].written!r} is missing.",
                hint=f"{missing[0].explanation} Example: {missing[0].example}",
            )
        texts = {name: fields[name].parse(value) for name, value in named.items() if value}
        config = {name: text for name, text in texts.items() if text}
        if self.check is not None:
            self.check(config)
        return config

    def takes(self, key: str) -> bool:
        """Whether a trust file may hold something else than a text there."""
        return any(field.read is not None and key in (field.name, field.written) for field in self.fields)

    def knows(self, claim: str) -> bool:
        """Whether a claim is worth keeping for diagnostics."""
        return bool(self.rules_field) or claim in self.known

    def pins_of(self, config: Config) -> tuple[ClaimPath, ...]:
        """The claims whose values this publisher learns at its first use."""
        return self.pins if self.pins_of_config is None else self.pins_of_config(config)

    def lookup_of_config(self, config: Config) -> str:
        """The ledger's lookup key of a publisher."""
        return config[self.lookup.field].lower() if self.key_of_config is None else self.key_of_config(config)

    def same_identity(self, one: Config, two: Config) -> bool:
        """Whether a publisher that is written anew is still about the identity it was about."""
        first, second = self.lookup_of_config(one), self.lookup_of_config(two)
        if self.keys_of_config is None:
            return first == second
        return first in self.keys_of_config(two) or second in self.keys_of_config(one)

    def lookup_of_claims(self, claims: Claims) -> str | None:
        """The ledger's lookup key of a token, None when the claim is missing or no string."""
        value = claim_at(claims, self.lookup.claim)
        return value.lower() if isinstance(value, str) and value else None

    def lookups_of_claims(self, claims: Claims) -> tuple[str, ...]:
        """All of a token's lookup keys, of which there is a bounded number; publishers are found by any of them."""
        if self.keys_of_claims is not None:
            return self.keys_of_claims(claims)
        key = self.lookup_of_claims(claims)
        return () if key is None else (key,)


def same(claim: ClaimPath, field: str, why: str, *, ignore_case: bool = False) -> Rule:
    """The claim equals a field that is always filled in."""
    suffix = ", ignoring case" if ignore_case else ""
    return Rule(
        claim, lambda it: Expectation((it.config[field],), ignore_case), why, f"equals the field `{field}`{suffix}"
    )


def same_if_set(claim: ClaimPath, field: str, why: str, *, ignore_case: bool = False) -> Rule:
    """The claim equals a field if that field is filled in; an empty field demands nothing."""

    def expect(it: Identity) -> Expectation | None:
        wanted = it.config.get(field)
        return Expectation((wanted,), ignore_case) if wanted else None

    suffix = ", ignoring case" if ignore_case else ""
    return Rule(claim, expect, why, f"equals the field `{field}`{suffix}, if that is filled in")
