"""Issuers that no table describes, on the wire: found by any claim, without jti, with an id that the operator names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from mintmark.core.records import OPERATOR
from mintmark.core.trust import parse_publisher
from support.dists import wheel
from support.wire import Room, refused
from support.world import SELF_HOSTED, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NUMBERS = itertools.count(1)
SUBJECT = {"claim": "sub", "equals": "system:team/widget"}
PATH = {"claim": ["ci.example", "job", "name"], "equals": "publish"}


class Anybody(Room):
    """A registry that trusts an issuer by rules only."""

    async def entry(self, project: str, *rules: Mapping[str, object], **more: Any) -> int:
        wanted = {"project": project, "rule": list(rules), **more}
        if "immutable-id" not in wanted:
            wanted["no-immutable-id"] = True
        added = await self.world.index.trust.add_publisher(
            self.slug, "ci", lambda issuer: parse_publisher("test", wanted, issuer), OPERATOR
        )
        return added.id

    def of(self, **claims: object) -> str:
        """An identity token with little more than what every token has."""
        now = int(self.clock.now())
        plain = {"iss": SELF_HOSTED, "aud": self.audience, "iat": now, "exp": now + 300, **claims}
        return self.world.signers[SELF_HOSTED].sign(plain)


@pytest_asyncio.fixture(loop_scope="module")
async def anybody(house: World) -> Anybody:
    slug = f"anybody-{next(_NUMBERS)}"
    await house.registry(slug, host_mint=False)
    await house.issuer(slug, SELF_HOSTED, "ci", provider="generic")
    return Anybody(house, slug)


async def test_found_by_whichever_claim_its_rule_names(anybody: Anybody) -> None:
    await anybody.entry("one", SUBJECT)
    await anybody.entry("two", PATH)
    await anybody.entry("three", {"claim": "team", "equals": "x"}, {"claim": "branch", "matches": "release/*"})
    nested = {"ci.example": {"job": {"name": "publish"}}}
    for claims, projects in (
        ({"sub": "system:team/widget"}, ["one"]),
        (nested, ["two"]),
        ({"sub": "system:team/widget", **nested}, ["one", "two"]),
        ({"team": "x", "branch": "release/1", **nested}, ["three", "two"]),
        ({"team": "x", "branch": "release/1/2", **nested}, ["two"]),
    ):
        answer = await anybody.mint(anybody.of(**claims))
        assert answer.status == 200, answer.body
        assert answer.json["scope"]["projects"] == projects
        anybody.clock.advance(1)


async def test_among_very_many_claims(anybody: Anybody) -> None:
    await anybody.entry("one", {"claim": "a0", "equals": "yes"})
    token = anybody.of(**{f"a{number}": "yes" for number in range(150)})
    assert (await anybody.mint(token)).status == 200


@pytest.mark.parametrize("claims", [{}, {"sub": ["system:team/widget"]}, {"sub": 1}, {"Sub": "system:team/widget"}])
async def test_nothing_else_is_let_in(anybody: Anybody, claims: dict[str, object]) -> None:
    await anybody.entry("one", SUBJECT)
    token = anybody.of(**claims)
    refused(await anybody.mint(token), "invalid-publisher", token)


async def test_c06_a_token_without_jti_is_exchanged_once(anybody: Anybody) -> None:
    """Deviation: PyPI has no protection there; here the signed part is remembered."""
    await anybody.entry("one", SUBJECT)
    token = anybody.of(sub="system:team/widget")
    answer = await anybody.mint(token)
    assert answer.status == 200
    assert (await anybody.upload(answer.json["token"], wheel("one"))).status == 200
    refused(await anybody.mint(token), "invalid-reuse-token", token)
    again = anybody.of(sub="system:team/widget", run=2)
    assert (await anybody.mint(again)).status == 200


async def test_the_claim_that_the_operator_calls_an_id_is_learned(anybody: Anybody) -> None:
    await anybody.entry("one", SUBJECT, **{"immutable-id": "project"})
    (publisher,) = await anybody.publishers()
    assert publisher.is_pending
    assert (await anybody.mint(anybody.of(sub="system:team/widget", project="7"))).status == 200
    (publisher,) = await anybody.publishers()
    assert dict(publisher.pins) == {"project": "7"}
    for other in ({"project": "8"}, {"project": 7}, {}):
        token = anybody.of(sub="system:team/widget", **other)
        refused(await anybody.mint(token), "invalid-publisher", token)


@pytest.mark.parametrize("value", [4711, True, "", "x" * 300])
async def test_an_id_that_cannot_be_learned_publishes_nothing(anybody: Anybody, value: object) -> None:
    await anybody.entry("one", {"claim": "sub", "equals": "team/widget"}, **{"immutable-id": "project"})
    token = anybody.of(sub="team/widget", project=value)
    refused(await anybody.mint(token), "invalid-publisher", token)


async def test_strangers_learn_nothing_of_publishers(anybody: Anybody) -> None:
    await anybody.entry(
        "secret-plan",
        {"claim": "environment", "equals": "release"},
        {"claim": "repository", "equals": "acme/secret-plan"},
    )
    detail = refused(await anybody.mint(anybody.of(environment="release", repository="evil/x")), "invalid-publisher")
    assert "secret-plan" not in detail


async def test_the_mint_log_survives_long_claims(anybody: Anybody) -> None:
    await anybody.entry("one", {"claim": "sub", "equals": "team/widget"})
    assert (await anybody.mint(anybody.of(sub="team/widget", more="x" * 9000))).status == 200
    (event,) = await anybody.events("mint", "minted")
    assert event.facts["projects"] == ["one"]
