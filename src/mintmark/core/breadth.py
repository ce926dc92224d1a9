"""Trust that is too broad to be meant: entries that any stranger's job would match.

Owns which of an operator's own rules are refused for that. Leaves what is allowed but weaker than it looks to
`core.trust_warnings`, and what a rule may be to `core.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mintmark.core.claims import ClaimPath
from mintmark.core.errors import Rejected
from mintmark.core.providers import PROVIDERS
from mintmark.core.providers.model import Config, Provider
from mintmark.core.records import Issuer
from mintmark.core.rules import EQUALS, IN, MATCHES, ClaimRule, rules_of

SUBJECT: ClaimPath = ("sub",)
SHARED: Mapping[str, Provider] = {url: provider for provider in PROVIDERS for url in provider.shared}
"""The issuers under which strangers get tokens, with their tables."""


def own_rules(provider: Provider, config: Config) -> tuple[ClaimRule, ...]:
    """The rules that an operator wrote; none where the table has them all."""
    return rules_of(config[provider.rules_field]) if provider.rules_field else ()


def tells_a_customer(rule: ClaimRule, claims: tuple[ClaimPath, ...]) -> bool:
    """Whether only some of a vendor's customers can meet a rule, if these claims tell them apart."""
    if rule.claim not in claims:
        return False
    if rule.operator == MATCHES:
        # The owner, with all of the name fixed: `acme/*`, but not `acme*`.
        owner, slash, _ = str(rule.values[0]).partition("/")
        return bool(slash) and "*" not in owner
    return rule.operator in (EQUALS, IN)


def refuse_breadth(issuer: Issuer, provider: Provider, config: Config) -> None:
    """Raise `Rejected` for rules that every customer of a shared issuer can meet.

    Invariant: under an issuer that strangers share, a publisher says in some claim whose jobs are meant.
    """
    vendor = SHARED.get(issuer.url)
    if vendor is None or not provider.rules_field:
        return
    # Not `sub`: several vendors let a customer choose what it is made of.
    if any(tells_a_customer(rule, vendor.tenants) for rule in own_rules(provider, config)):
        return
    names = ", ".join("/".join(path) for path in vendor.tenants)
    raise Rejected(
        "invalid-trust",
        f"The publisher matches jobs of every customer of {vendor.title}: all have the issuer {issuer.url}.",
        hint=f"Add a rule with equals on one of {names}; or use provider = {vendor.slug!r}, which knows them.",
    )
