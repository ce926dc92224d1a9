"""A simulated job of a CI system of which the lab knows no more than the provider table says.

Owns claims made from rules: those of the table, and those of an operator's own. Leaves everything that a real token
holds besides to the kinds with modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mintmark.core.claims import ClaimPath, claim_at
from mintmark.core.providers.model import Identity, Provider
from mintmark.core.rules import IN, MATCHES, NOT_EQUALS, ClaimRule, Value, rules_of
from mintmark.lab.kinds.model import PROTECTED_REF, Desk, Equipment, ImpossibleJob, Job, Kind, Paths, flag, stable_id

LIFETIME_SECONDS = 600
SHORTER_MAX_SECONDS = 120


def kind_for(provider: Provider) -> Kind:
    """The kind of a table that has no module of its own."""

    def claims(job: Job, now: int) -> dict[str, object]:
        made: dict[str, object] = {"sub": stable_id("subject", provider.slug)}
        if provider.ref is not None:
            _put(made, provider.ref, job.ref)
        if provider.protected_ref is not None:
            _put(made, provider.protected_ref, flag(job.ref == PROTECTED_REF))
        _meet_the_table(made, provider, job)
        if provider.rules_field:
            _meet_the_rules(made, rules_of(job.config[provider.rules_field]))
        for path in provider.pins_of(job.config):
            if claim_at(made, path) is None:
                _put(made, path, stable_id("/".join(path), provider.slug))
        # Without an id, two tokens of one second differ in their life.
        life = LIFETIME_SECONDS - (0 if provider.requires_jti else job.random.randrange(SHORTER_MAX_SECONDS))
        return {**made, "iat": now, "exp": now + life}

    def equip(desk: Desk) -> Equipment:
        return Equipment({"CI": "true", "ID_TOKEN": desk.token(desk.wanted_audience())})

    return Kind(
        provider.slug, Paths(f"/{provider.slug}", f"/{provider.slug}/keys"), claims, equip, jti=provider.requires_jti
    )


def _meet_the_table(made: dict[str, object], provider: Provider, job: Job) -> None:
    """What each rule expects of a job like this, given the claims so far."""
    for rule in provider.rules:
        wanted = rule.expect(Identity(job.config, made, job.server))
        if wanted is not None and wanted.values:
            _put(made, rule.claim, [wanted.values[0]] if wanted.in_list else wanted.values[0])


def _meet_the_rules(made: dict[str, object], rules: tuple[ClaimRule, ...]) -> None:
    by_claim: dict[ClaimPath, list[ClaimRule]] = {}
    for rule in rules:
        by_claim.setdefault(rule.claim, []).append(rule)
    for path, same in by_claim.items():
        for value in _candidates(same):
            tried: dict[str, object] = {}
            _put(tried, path, value)
            if all(rule.holds(tried) for rule in same):
                _put(made, path, value)
                break
        else:
            raise ImpossibleJob(f"The lab finds no value of {'/'.join(path)} that meets every rule about it.")


def _candidates(rules: list[ClaimRule]) -> Iterator[Value]:
    for rule in rules:
        if rule.operator == MATCHES:
            yield str(rule.values[0]).replace("**", "x").replace("*", "x")
        elif rule.operator != NOT_EQUALS:
            yield from rule.values if rule.operator == IN else rule.values[:1]
        else:
            (value,) = rule.values
            yield (not value) if isinstance(value, bool) else value - 1 if isinstance(value, int) else f"not-{value}"


def _put(claims: dict[str, object], path: ClaimPath, value: object) -> None:
    """Set a claim. A rule that wants an object's member where another wants no object cannot be met."""
    level = claims
    for key in path[:-1]:
        inner = level.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ImpossibleJob(f"{'/'.join(path)} cannot stand inside of a claim that is no object.")
        level = inner
    if isinstance(level.get(path[-1]), Mapping):
        raise ImpossibleJob(f"{'/'.join(path)} is an object, because another rule is about its member.")
    level[path[-1]] = value
