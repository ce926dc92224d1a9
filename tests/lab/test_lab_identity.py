"""Made-up identities against the provider tables, through signing, verifying and matching."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import parse_key_set
from mintmark.core.match import Match, match
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.providers.model import Field, Provider, claim_at
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.lab.identity import claims_for
from mintmark.lab.kinds import BY_SLUG as KIND_OF
from mintmark.lab.kinds.model import ImpossibleJob, stable_id
from mintmark.lab.signer import Signer

NOW = 1_795_000_000.75
AUDIENCE = "mintmark_example"
SIGNER = Signer("ES256")


def made(provider: Provider, config: dict[str, str], **options: Any) -> dict[str, object]:
    url = provider.issuer.examples[-1]
    options = {"now": NOW, "random": Random(7), "audience": AUDIENCE, **options}
    return claims_for(provider, url, provider.issuer.server(url), config, **options)


def configs(provider: Provider) -> list[dict[str, str]]:
    """What a person may fill in: the required fields, and everything."""
    required = {field.name: field.example for field in provider.fields if field.required}
    return [required, {field.name: field.example for field in fields_together(provider)}]


def fields_together(provider: Provider) -> list[Field]:
    """All but those that stand instead of another one."""
    instead = {field.unless for field in provider.fields}
    return [field for field in provider.fields if field.name not in instead]


EVERY = [
    pytest.param(provider, config, url, id=f"{provider.slug}-{len(config)}-{url}")
    for provider in PROVIDERS
    for config in configs(provider)
    for url in provider.issuer.examples
]


def judge(provider: Provider, config: dict[str, str], url: str, claims: dict[str, object]) -> object:
    rules = jwt.TokenRules(
        frozenset({"ES256"}), provider.max_lifetime_seconds, provider.types, requires_jti=provider.requires_jti
    )
    token = jwt.read(SIGNER.sign(claims))
    verified = jwt.verify(token, parse_key_set(SIGNER.jwks()), rules, AUDIENCE, NOW)
    issuer = Issuer(1, 1, "lab", provider.slug, url, server=provider.issuer.server(url))
    return match(issuer, Publisher(1, 1, 1, "project", 1, config, Constraints(), 0), verified)


@pytest.mark.parametrize(("provider", "config", "url"), EVERY)
def test_a_fresh_identity_matches_its_publisher(provider: Provider, config: dict[str, str], url: str) -> None:
    claims = claims_for(
        provider, url, provider.issuer.server(url), config, now=NOW, random=Random(7), audience=AUDIENCE
    )
    assert claims.keys() <= provider.known
    assert isinstance(judge(provider, config, url, claims), Match)


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/a/b", "refs/tags/v1.0"])
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_refs_of_branches_and_tags_match_and_are_told_apart(provider: Provider, ref: str) -> None:
    config = configs(provider)[0]
    claims = made(provider, config, ref=ref)
    assert isinstance(judge(provider, config, provider.issuer.examples[-1], claims), Match)
    assert provider.ref_of(claims) in (ref, None)
    if provider.protected_ref is not None:
        assert claim_at(claims, provider.protected_ref) == ("true" if ref == "refs/heads/main" else "false")


def test_every_provider_can_be_simulated() -> None:
    for provider in PROVIDERS:
        assert made(provider, configs(provider)[0])["iss"] == provider.issuer.examples[-1]


def test_a_whole_github_token() -> None:
    provider = BY_SLUG["github"]
    claims = made(provider, configs(provider)[1])
    # Custom properties apart, every claim that the documentation lists.
    assert claims.keys() == provider.known
    assert {name for name, value in claims.items() if not isinstance(value, str)} == {"iat", "nbf", "exp"}
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (1_795_000_000, 1_794_999_400, 1_795_000_300)
    assert claims["sub"] == "repo:octo-org@123456/octo-repo@456789:environment:release"
    assert claims["workflow_ref"] == "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main"


def test_a_whole_gitlab_token() -> None:
    provider = BY_SLUG["gitlab"]
    claims = made(provider, configs(provider)[1])
    # These depend on settings of users and policies, or are internal to GitLab.
    assert provider.known - claims.keys() == {"job_config", "job_source", "target_audience", "user_identities"}
    others = {name: type(value) for name, value in claims.items() if not isinstance(value, str)}
    assert others == {"runner_id": int, "groups_direct": list, "iat": int, "nbf": int, "exp": int}
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (1_795_000_000, 1_794_999_995, 1_795_003_600)
    assert claims["sub"] == "project_path:group/subgroup/project:ref_type:branch:ref:main"
    assert claims["ci_config_ref_uri"] == (
        "acme.example:8443/gitlab/group/subgroup/project//.gitlab-ci.yml@refs/heads/main"
    )


@pytest.mark.parametrize(
    ("config", "options", "subject"),
    [
        ({}, {"old_subject": True}, "repo:octo-org/octo-repo:ref:refs/heads/main"),
        ({}, {"old_subject": True, "ref": "refs/pull/3/merge"}, "repo:octo-org/octo-repo:pull_request"),
        ({"environment": "a:b"}, {"old_subject": True}, "repo:octo-org/octo-repo:environment:a%3Ab"),
        (
            {"owner-id": "1", "repository-id": "2"},
            {"ref": "refs/tags/v1"},
            "repo:octo-org@1/octo-repo@2:ref:refs/tags/v1",
        ),
    ],
)
def test_subjects_of_github(config: dict[str, str], options: dict[str, Any], subject: str) -> None:
    claims = made(BY_SLUG["github"], {**configs(BY_SLUG["github"])[0], **config}, **options)
    assert claims["sub"] == subject


def test_a_bare_commit_matches() -> None:
    provider = BY_SLUG["github"]
    config = configs(provider)[0]
    claims = made(provider, config, ref="")
    assert claims["ref"] == ""
    assert str(claims["workflow_ref"]).endswith(f"@{claims['sha']}")
    assert isinstance(judge(provider, config, provider.issuer.examples[-1], claims), Match)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_identities_are_stable_but_tokens_are_not(provider: Provider) -> None:
    config, random = configs(provider)[0], Random(3)
    first, second = made(provider, config, random=random), made(provider, config, random=random)
    differing = {name for name in first if first[name] != second[name]}
    looked_at = {rule.claim for rule in provider.rules} | {provider.lookup.claim, provider.ref, provider.protected_ref}
    assert differing.isdisjoint({path[0] for path in looked_at if path})
    assert ("jti" in differing) is KIND_OF[provider.slug].jti
    assert made(provider, config, random=Random(3)) == first


def test_stable_ids() -> None:
    assert stable_id("repository", "Acme/Demo") == stable_id("repository", "acme/demo")
    assert stable_id("repository", "acme/demo") != stable_id("owner", "acme/demo")
    assert stable_id("a", "b") != stable_id("ab")
    assert stable_id("x\ud800").isdigit()


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_overrides_replace_add_and_remove(provider: Provider) -> None:
    removed = provider.lookup.claim[0]
    claims = made(provider, configs(provider)[0], overrides={"sha": 7, "new": [1], removed: None, "absent": None})
    assert claims["sha"] == 7
    assert claims["new"] == [1]
    assert claims.keys().isdisjoint({removed, "absent"})


@pytest.mark.parametrize(
    ("slug", "ref"), [("github", "main"), ("gitlab", ""), ("gitlab", "refs/heads/"), ("gitlab", "refs/pull/1/merge")]
)
def test_impossible_refs(slug: str, ref: str) -> None:
    with pytest.raises(ImpossibleJob, match="has a ref"):
        made(BY_SLUG[slug], configs(BY_SLUG[slug])[0], ref=ref)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_impossible_configurations(provider: Provider) -> None:
    with pytest.raises(Rejected, match="missing"):
        made(provider, {})
    with pytest.raises(Rejected, match="no field"):
        made(provider, {**configs(provider)[0], "colour": "red"})


@settings(max_examples=30, deadline=None)
@given(data=st.data(), index=st.integers(0, len(PROVIDERS) - 1))
def test_whatever_a_publisher_may_say_has_an_identity(data: st.DataObject, index: int) -> None:
    """Every configuration that the table's patterns allow makes an identity that matches it."""
    provider = PROVIDERS[index]
    config = {
        field.name: field.example
        if field.read
        else data.draw(st.from_regex(field.pattern, fullmatch=True).filter(lambda text: len(text) <= 100))
        for field in fields_together(provider)
        if field.required or data.draw(st.booleans())
    }
    assert isinstance(judge(provider, config, provider.issuer.examples[0], made_for_first(provider, config)), Match)


def made_for_first(provider: Provider, config: dict[str, str]) -> dict[str, object]:
    url = provider.issuer.examples[0]
    return claims_for(provider, url, provider.issuer.server(url), config, now=NOW, random=Random(7), audience=AUDIENCE)
