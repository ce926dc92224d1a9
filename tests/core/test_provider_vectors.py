"""Claim sets from the vendors' documentation, through signature, verification and matching.

The vectors are transcribed, never generated from the provider tables: a table and its test must not share a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mintmark.core import jwt
from mintmark.core.jwks import parse_key_set
from mintmark.core.match import Match, Mismatch, match
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.lab.signer import Signer

FOLDER = Path(__file__).parent.parent / "vectors" / "providers"
AUDIENCE = "mintmark_example"
NOW = 1_795_000_000
FILES: dict[str, dict[str, Any]] = {
    provider.slug: json.loads((FOLDER / f"{provider.slug}.json").read_text(encoding="utf-8")) for provider in PROVIDERS
}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer("RS256")


def vectors(kind: str) -> list[Any]:
    return [
        pytest.param(slug, vector, id=f"{slug}: {vector['name']}")
        for slug, file in FILES.items()
        for vector in file[kind]
    ]


def claims_of(slug: str, vector: Mapping[str, Any]) -> dict[str, Any]:
    base = dict(vector["claims"] if "claims" in vector else FILES[slug]["base"])
    missing = set(vector.get("remove", ())) - base.keys()
    assert not missing, f"the vector removes claims that the base lacks: {missing}"
    changed = {name: value for name, value in base.items() if name not in vector.get("remove", ())}
    return {**changed, **vector.get("change", {})}


def judge(slug: str, vector: Mapping[str, Any], signer: Signer) -> Match | tuple[Mismatch, ...]:
    file, provider = FILES[slug], BY_SLUG[slug]
    # The issuer of a look-alike's token, whose signature is as good.
    named = vector.get("token_issuer", file["issuer"])
    registered = {"iss": named, "aud": AUDIENCE, "iat": NOW, "nbf": NOW - 5, "exp": NOW + 300, "jti": "one"}
    token = signer.sign({**claims_of(slug, vector), **registered})
    rules = jwt.TokenRules(
        frozenset({"RS256"}), provider.max_lifetime_seconds, provider.types, requires_jti=provider.requires_jti
    )
    verified = jwt.verify(jwt.read(token), parse_key_set(signer.jwks()), rules, AUDIENCE, NOW)
    issuer = Issuer(1, 1, slug, slug, file["issuer"], server=file["server"])
    config = provider.parse_config(vector.get("publisher", file["publisher"]))
    publisher = Publisher(1, 1, 1, "octo-project", 1, config, Constraints(), NOW)
    return match(issuer, publisher, verified)


@pytest.mark.parametrize(("slug", "vector"), vectors("accepted"))
def test_documented_identities_publish(slug: str, vector: Mapping[str, Any], signer: Signer) -> None:
    assert isinstance(judge(slug, vector, signer), Match)


@pytest.mark.parametrize(("slug", "vector"), vectors("accepted"))
def test_accepted_identities_find_their_publisher(slug: str, vector: Mapping[str, Any]) -> None:
    provider = BY_SLUG[slug]
    config = provider.parse_config(vector.get("publisher", FILES[slug]["publisher"]))
    assert provider.lookup_of_config(config) in provider.lookups_of_claims(claims_of(slug, vector))


@pytest.mark.parametrize(("slug", "vector"), vectors("rejected"))
def test_other_identities_do_not_and_the_claim_is_named(slug: str, vector: Mapping[str, Any], signer: Signer) -> None:
    faults = judge(slug, vector, signer)
    assert isinstance(faults, tuple)
    # Exactly these: an identity refused for another reason than the vector's would prove nothing about it.
    assert {fault.claim for fault in faults} == {vector["claim"], *vector.get("also", ())}


@pytest.mark.parametrize("slug", FILES)
def test_files_are_whole(slug: str) -> None:
    file, provider = FILES[slug], BY_SLUG[slug]
    assert provider.issuer.pattern.fullmatch(file["issuer"])
    assert file["server"] == provider.issuer.server(file["issuer"])
    assert len(file["accepted"]) >= 6
    assert len(file["rejected"]) >= 12
    # The smallest look-alike of all.
    issuer = file["issuer"]
    assert (issuer[:-1] if issuer.endswith("/") else issuer + "/") in {
        vector.get("token_issuer") for vector in file["rejected"]
    }
    every = file["accepted"] + file["rejected"]
    assert len({vector["name"] for vector in every}) == len(every)
    assert all(vector["why"] for vector in every)
    # The base is made of what the vendor documents and the table knows.
    assert all(provider.knows(name) for name in file["base"])


@pytest.mark.parametrize(("slug", "url"), [(slug, url) for slug in FILES for url in FILES[slug].get("no_issuers", ())])
def test_look_alikes_are_no_issuers(slug: str, url: str) -> None:
    assert not BY_SLUG[slug].issuer.pattern.fullmatch(url)


@pytest.mark.parametrize(("slug", "url"), [(slug, url) for slug in FILES for url in FILES[slug].get("issuers", ())])
def test_issuers_of_every_shape_are_taken(slug: str, url: str) -> None:
    assert BY_SLUG[slug].issuer.pattern.fullmatch(url)


@pytest.mark.parametrize("slug", FILES)
def test_every_rule_and_refusal_is_the_reason_of_a_rejection(slug: str) -> None:
    provider = BY_SLUG[slug]
    needed = {"/".join(rule.claim) for rule in provider.rules}
    needed |= {"/".join(refusal.claim) for refusal in provider.refuse}
    assert needed <= {vector["claim"] for vector in FILES[slug]["rejected"]}
