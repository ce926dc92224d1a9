"""What every provider table must say, and that a table is all that the rest of the code needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mintmark.core.claims import claim_at
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.providers.model import Identity, Provider
from mintmark.lab.kinds.derived import kind_for
from mintmark.lab.kinds.model import ImpossibleJob, Job
from mintmark.lab.places import DEV_PLACES, LAB_PLACES

ROOT = Path(__file__).parent.parent.parent
EACH = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)


@EACH
def test_what_is_learned_is_known(provider: Provider) -> None:
    assert all(path[0] in provider.known for path in provider.pins)
    assert len(set(provider.pins)) == len(provider.pins)


@EACH
def test_ids_that_can_be_given_are_learned(provider: Provider) -> None:
    """Whatever a person may give as an immutable id is learned where it is not given."""
    if provider.rules_field:
        return
    given = {field.name: field.example for field in provider.fields}
    for field in provider.fields:
        if not field.immutable_id:
            continue
        without = {name: value for name, value in given.items() if name != field.name}
        config = {**without, **({field.name: ""} if field.required else {})}
        rules = {
            rule.claim
            for rule in provider.rules
            if rule.expect(Identity(given, {}, "")) != rule.expect(Identity(config, {}, ""))
        }
        assert rules & set(provider.pins), field.name


@EACH
def test_shared_issuers_have_somebody_to_tell_apart(provider: Provider) -> None:
    assert all(provider.issuer.pattern.fullmatch(url) for url in provider.shared)
    assert all(path[0] in provider.known for path in provider.tenants)
    assert bool(provider.shared) == bool(provider.tenants) == bool(provider.organization)
    if provider.organization:
        (field,) = (field for field in provider.fields if field.name == provider.organization)
        assert field.immutable_id


@EACH
def test_a_project_finds_what_to_write(provider: Provider) -> None:
    assert "https://HOST/acme/legacy/" in provider.job
    assert provider.job.endswith("\n")
    assert (ROOT / "tests" / "vectors" / "providers" / f"{provider.slug}.json").exists()


def test_the_names_are_unique() -> None:
    assert len(BY_SLUG) == len(PROVIDERS)
    assert {place.provider for place in LAB_PLACES} == {place.provider for place in DEV_PLACES} == BY_SLUG.keys()


@pytest.mark.parametrize("slug", ["vault", "kubernetes", "spiffe", "google", "generic", "semaphore"])
def test_the_lab_plays_a_table_by_itself(slug: str) -> None:
    """A new provider is one data file, one line and one vector file: the lab derives its job from the table."""
    provider = replace(BY_SLUG[slug], slug="trial")
    kind = kind_for(provider)
    config = {field.name: field.example for field in provider.fields if field.required}
    job = Job("https://localhost:1/trial", "", config, "refs/heads/main", Random(1))
    claims = kind.claims(job, 1_795_000_000)
    assert kind.slug == "trial"
    for rule in provider.rules:
        wanted = rule.expect(Identity(config, claims, ""))
        assert wanted is None or claim_at(claims, rule.claim) in wanted.values
    assert provider.lookup_of_config(config) in provider.lookups_of_claims(claims)
    assert all(claim_at(claims, path) is not None for path in provider.pins)


@pytest.mark.parametrize(
    "rules",
    [
        [{"claim": "a", "equals": "x"}, {"claim": "a", "equals": "y"}],
        [{"claim": "a", "equals": "x"}, {"claim": ["a", "b"], "equals": "y"}],
        [{"claim": ["a", "b"], "equals": "x"}, {"claim": "a", "equals": "y"}],
    ],
)
def test_rules_that_no_job_meets_are_told(rules: list[dict[str, object]]) -> None:
    provider = BY_SLUG["generic"]
    config = provider.parse_config({"rule": rules, "no-immutable-id": True})
    with pytest.raises(ImpossibleJob):
        kind_for(provider).claims(Job("https://localhost:1", "", config, "", Random(1)), 1)


def test_a_job_is_found_for_every_operator() -> None:
    provider = BY_SLUG["generic"]
    rules = [
        {"claim": "sub", "equals": "a"},
        {"claim": "b", "not-equals": "x"},
        {"claim": "c", "not-equals": True},
        {"claim": "d", "not-equals": 1},
        {"claim": "e", "in": [1, "x"]},
        {"claim": "f", "matches": "refs/**/v*"},
        {"claim": "g", "in": ["u", "v"]},
        {"claim": "g", "not-equals": "u"},
    ]
    config = provider.parse_config({"rule": rules, "immutable-id": ["n", "id"]})
    claims = kind_for(provider).claims(Job("https://localhost:1", "", config, "", Random(1)), 1)
    assert claims["g"] == "v"
    assert claims["f"] == "refs/x/vx"
    assert claims["n"]
