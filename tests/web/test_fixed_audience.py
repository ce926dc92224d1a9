"""Issuers whose tokens have an audience that is not this index's: group B of the cases for providers without choice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mintmark.core.records import OPERATOR, Issuer
from mintmark.core.trust import parse_issuer, parse_publisher
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import Room, refused
from support.world import HOST_AUDIENCE, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOLDER = Path(__file__).parent.parent / "vectors" / "providers"
SLUGS = ("azure-devops", "semaphore", "codefresh")
AUDIENCES = {
    "azure-devops": "api://AzureADTokenExchange",
    "semaphore": "https://acme.semaphoreci.com",
    "codefresh": "https://g.codefresh.io",
}
VECTORS: Mapping[str, Any] = {slug: json.loads((FOLDER / f"{slug}.json").read_text(encoding="utf-8")) for slug in SLUGS}
PROVIDERS = pytest.mark.parametrize("slug", SLUGS)


class Place:
    """A world in which a registry for each provider trusts it."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def trust(self, registry: str, slug: str, audience: str) -> Issuer:
        entry = {"provider": slug, "url": VECTORS[slug]["issuer"], "projects": ["*"]}
        entry |= {"audience": audience} if audience else {}
        parsed = parse_issuer("ci", entry, self.world.host, lambda name: "")
        added = await self.world.index.trust.add_issuer(registry, parsed, OPERATOR)
        wanted = {**VECTORS[slug]["publisher"], "project": "widget"}
        await self.world.index.trust.add_publisher(
            registry, "ci", lambda issuer: parse_publisher("test", wanted, issuer), OPERATOR
        )
        return added

    def token(self, slug: str, audience: object, **changes: object) -> str:
        """An identity token as the vendor documents it."""
        now, issuer = int(self.world.clock.now()), VECTORS[slug]["issuer"]
        number = self.world.random.getrandbits(64)
        times = {"iat": now, "nbf": now, "exp": now + 300, "jti": f"job-{number}"}
        return self.world.signers[issuer].sign(
            {"iss": issuer, "aud": audience, **times, **VECTORS[slug]["base"], **changes}
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, signers: Mapping[str, Signer]) -> AsyncIterator[Place]:
    key = next(iter(signers.values()))
    everyone = {VECTORS[slug]["issuer"]: key for slug in SLUGS}
    async with running_world(tmp_path_factory.mktemp("fixed"), everyone) as world:
        made = Place(world)
        for slug in SLUGS:
            await world.registry(slug, private=False)
            await made.trust(slug, slug, AUDIENCES[slug])
        yield made


@PROVIDERS
async def test_its_tokens_are_exchanged(place: Place, slug: str) -> None:
    """By the registry's exchange and by the host-wide one, of which neither can be asked for."""
    for path in (f"/{slug}/_/oidc/mint-token", "/_/oidc/mint-token"):
        answer = await place.world.mint(place.token(slug, AUDIENCES[slug]), path)
        assert answer.status == 200, answer.body
        file = wheel(version=f"{len(path)}.0")
        assert (await place.world.upload(answer.json["token"], file, slug)).status == 200


@PROVIDERS
@pytest.mark.parametrize(
    "audience",
    [
        "index",
        "host",
        "missing",
        "other-case",
        "slash",
        "both",
        "twice",
        "nothing",
    ],
)
async def test_exactly_this_audience(place: Place, slug: str, audience: str) -> None:
    """B03 to B05: not the index's own either, which such a provider's tokens cannot have."""
    fixed = AUDIENCES[slug]
    wrong: dict[str, object] = {
        "index": f"mintmark_localhost_{slug.replace('-', '_')}",
        "host": HOST_AUDIENCE,
        "missing": None,
        "other-case": fixed.swapcase(),
        "slash": fixed + "/",
        "both": [fixed, HOST_AUDIENCE],
        "twice": [fixed, fixed],
        "nothing": [],
    }
    for path in (f"/{slug}/_/oidc/mint-token", "/_/oidc/mint-token"):
        token = place.token(slug, wrong[audience])
        refused(await place.world.mint(token, path), "invalid-token", token)


@PROVIDERS
async def test_b06_a_list_of_one(place: Place, slug: str) -> None:
    token = place.token(slug, [AUDIENCES[slug]])
    assert (await place.world.mint(token, f"/{slug}/_/oidc/mint-token")).status == 200


@PROVIDERS
async def test_one_token_is_exchanged_once_though_it_fits_two_exchanges(place: Place, slug: str) -> None:
    token = place.token(slug, AUDIENCES[slug])
    assert (await place.world.mint(token, f"/{slug}/_/oidc/mint-token")).status == 200
    refused(await place.world.mint(token), "invalid-reuse-token", token)


async def test_another_registrys_entry_keeps_its_own_audience(place: Place) -> None:
    """The decision is one registry's: what it takes is not taken by another that trusts the same issuer."""
    world, slug = place.world, "codefresh"
    await world.registry("careful")
    await place.trust("careful", slug, "")
    token = place.token(slug, AUDIENCES[slug])
    refused(await world.mint(token, "/careful/_/oidc/mint-token"), "invalid-token", token)
    # Nor through the host-wide exchange, which finds the other one only.
    answer = await world.mint(token)
    assert answer.json["scope"]["registries"] == [slug]
    token = place.token(slug, HOST_AUDIENCE)
    assert (await world.mint(token)).json["scope"]["registries"] == ["careful"]
    token = place.token(slug, "mintmark_localhost_careful")
    assert (await world.mint(token, "/careful/_/oidc/mint-token")).status == 200


async def test_changing_the_audience_is_effective_at_once(place: Place) -> None:
    world, slug = place.world, "semaphore"
    change = world.index.trust.change_issuer
    path = f"/{slug}/_/oidc/mint-token"
    await change(slug, "ci", lambda issuer: replace(issuer, audience="https://other.example"), OPERATOR)
    token = place.token(slug, AUDIENCES[slug])
    refused(await world.mint(token, path), "invalid-token", token)
    await change(slug, "ci", lambda issuer: replace(issuer, audience=AUDIENCES[slug]), OPERATOR)
    assert (await world.mint(token, path)).status == 200
    (change_event, _) = await Room(world, slug).events("issuer-change")
    assert "audience" in str(change_event.facts["detail"])
