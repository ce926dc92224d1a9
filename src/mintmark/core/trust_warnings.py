"""Sentences about trust that is allowed but weaker than it looks, each with what would make it stronger.

Owns what deserves one. Leaves what is refused to `core.trust` and `core.breadth`, and showing the sentences to the
command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mintmark.core.breadth import SHARED, SUBJECT, own_rules
from mintmark.core.names import ProjectName, matches_pattern
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.generic import IMMUTABLE, NO_IMMUTABLE
from mintmark.core.providers.model import Config, Provider
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.core.rules import MATCHES
from mintmark.core.trust import WantedPublisher
from mintmark.core.trust_issuer import audience_warning

_FREE = Constraints()
_IN_CLUSTER = re.compile(r"https://kubernetes\.default(?:\.svc(?:\.[a-z0-9.-]+)?)?(?::[0-9]+)?/?")


def warnings_for(wanted: Sequence[WantedPublisher], issuers: Mapping[str, Issuer]) -> list[str]:
    """Sentences on these publishers and on the issuers, each about one entry."""
    found = [sentence for issuer in issuers.values() for sentence in issuer_warnings(issuer)]
    siblings: dict[tuple[str, str], list[WantedPublisher]] = {}
    patterns: dict[str, list[WantedPublisher]] = {}
    for each in wanted:
        siblings.setdefault((each.issuer, each.publisher.project), []).append(each)
        if "*" in each.publisher.project:
            patterns.setdefault(each.issuer, []).append(each)
    for each in wanted:
        label = f"{each.publisher.project} from {each.lookup}"
        found += [f"{label}: {text}" for text in publisher_warnings(issuers[each.issuer], each.publisher)]
        others = [*siblings[each.issuer, each.publisher.project], *patterns.get(each.issuer, ())]
        if any(covers(other, each) for other in others):
            found.append(f"{label}: another publisher of the project asks for less, so its demands mean nothing.")
    return found


def issuer_warnings(issuer: Issuer) -> Iterator[str]:
    """Sentences on an issuer by itself."""
    audience = audience_warning(issuer)
    if audience:
        yield audience
    if _IN_CLUSTER.fullmatch(issuer.url):
        keys = (
            "Its keys are given here, which tells them apart."
            if issuer.jwks
            else ("Give this cluster's keys with jwks-file, or give the cluster an issuer of its own.")
        )
        yield (
            f"the issuer {issuer.name} has the name by which every Kubernetes cluster knows itself ({issuer.url}), so "
            f"only its keys tell this cluster from others. {keys}"
        )


def publisher_warnings(issuer: Issuer, publisher: Publisher) -> Iterator[str]:
    """Sentences on a publisher by itself."""
    provider = BY_SLUG[issuer.provider]
    if provider.rules_field:
        yield from _on_own_rules(issuer, provider, publisher.config)
        return
    ids = [field.name for field in provider.fields if field.immutable_id]
    if ids and not any(publisher.config.get(name) for name in ids):
        yield f"no immutable id is given ({' or '.join(ids)}); a re-registered name would match."
    elif issuer.url in provider.shared and provider.organization and not publisher.config.get(provider.organization):
        yield (
            f"all customers of {provider.title} have the issuer {issuer.url}, and no id says which one is meant; add "
            f"{provider.organization}."
        )


def _on_own_rules(issuer: Issuer, provider: Provider, config: Config) -> Iterator[str]:
    rules = own_rules(provider, config)
    if NO_IMMUTABLE in config:
        yield (
            "no immutable id is checked; a re-registered name would match. Name the claim that holds one with "
            f"{IMMUTABLE}, if there is any."
        )
    vendor = SHARED.get(issuer.url)
    if vendor is not None:
        yield f"the provider {vendor.slug!r} knows this issuer and checks more; use that."
    for rule in rules:
        if rule.claim == SUBJECT and rule.operator == MATCHES and str(rule.values[0]).startswith("*"):
            yield (
                f"sub may begin with anything ({rule.values[0]}), so whoever chooses how a subject begins fits; "
                "write its beginning out."
            )


def covers(wide: WantedPublisher, narrow: WantedPublisher) -> bool:
    """Whether whoever satisfies `narrow` also satisfies `wide`, and not the other way round."""
    if wide.issuer != narrow.issuer or wide.publisher.reads != narrow.publisher.reads:
        return False
    if not matches_pattern(wide.publisher.project, ProjectName(narrow.publisher.project)):
        return False
    one, two = _demands(wide), _demands(narrow)
    limits, narrow_limits = wide.publisher.constraints, narrow.publisher.constraints
    if (one, limits) == (two, narrow_limits) or not one <= two:
        return False
    return all(
        getattr(limits, name) in (getattr(narrow_limits, name), getattr(_FREE, name))
        for name in ("ref", "protected_ref", "tag", "allow")
    )


def _demands(wanted: WantedPublisher) -> frozenset[tuple[str, Any]]:
    """What a publisher demands of claims, one by one."""
    config = dict(wanted.publisher.config)
    for provider in BY_SLUG.values():
        text = config.pop(provider.rules_field, "") if provider.rules_field else ""
        if text:
            config.pop(NO_IMMUTABLE, None)
            return frozenset([*config.items(), *((rule.name, rule) for rule in own_rules(provider, {"rules": text}))])
    return frozenset(config.items())
