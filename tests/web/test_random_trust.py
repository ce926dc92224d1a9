"""No credential crosses a registry or an issuer: random publishers and identities against the plainest oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from mintmark.lab.signer import Signer
from support.dists import wheel
from support.world import GITLAB, HOST_AUDIENCE, SELF_HOSTED, World, running_world

REGISTRIES = ("one", "two", "three")
ISSUERS = (GITLAB, SELF_HOSTED)
PATHS = ("team/x", "team/y", "other/x")
WORKFLOWS = (".gitlab-ci.yml", "release.yml")
ENVIRONMENTS = ("", "release", "staging")
PUBLISHERS, IDENTITIES = 40, 25


@dataclass(frozen=True)
class Entry:
    """A publisher as it was registered."""

    registry: str
    url: str
    path: str
    workflow: str
    environment: str
    project: str

    def fits(self, registry: str, url: str, path: str, workflow: str, environment: str) -> bool:
        """What it must mean, in one line."""
        same = (self.registry, self.url, self.path, self.workflow) == (registry, url, path, workflow)
        return same and self.environment in ("", environment)


async def register(world: World, dice: Random) -> set[Entry]:
    for slug in REGISTRIES:
        await world.registry(slug)
        for url in ISSUERS:
            await world.issuer(slug, url)
    entries: set[Entry] = set()
    while len(entries) < PUBLISHERS:
        project = f"p{dice.randrange(12)}"
        made = (dice.choice(REGISTRIES), dice.choice(ISSUERS), dice.choice(PATHS), dice.choice(WORKFLOWS))
        entry = Entry(*made, dice.choice(ENVIRONMENTS), project)
        if entry in entries:
            continue
        entries.add(entry)
        await world.publisher(
            project,
            entry.registry,
            entry.url,
            project_path=entry.path,
            workflow=entry.workflow,
            **({"environment": entry.environment} if entry.environment else {}),
        )
    return entries


@pytest.mark.parametrize("seed", range(4))
async def test_a_credential_covers_what_its_identity_may(
    tmp_path: Path, signers: Mapping[str, Signer], seed: int
) -> None:
    dice = Random(seed)
    async with running_world(tmp_path, signers) as world:
        entries = await register(world, dice)
        for _ in range(IDENTITIES):
            who = (dice.choice(ISSUERS), dice.choice(PATHS), dice.choice(WORKFLOWS), dice.choice(ENVIRONMENTS))
            url, path, workflow, environment = who
            config = {"project-path": path, "workflow": workflow}
            config |= {"environment": environment} if environment else {}
            meant = {slug: {each.project for each in entries if each.fits(slug, *who)} for slug in REGISTRIES}
            for slug in REGISTRIES:
                token = world.identity_token(url, f"{HOST_AUDIENCE}_{slug}", config=config)
                answer = await world.mint(token, f"/{slug}/_/oidc/mint-token")
                assert answer.status == (200 if meant[slug] else 422), answer.body
                if meant[slug]:
                    assert set(answer.json["scope"]["projects"]) == meant[slug]
                    elsewhere = dice.choice([each for each in REGISTRIES if each != slug])
                    project = dice.choice(sorted(meant[slug]))
                    refused = await world.upload(answer.json["token"], wheel(project, "1.0"), elsewhere)
                    assert refused.status == 403
                # A token for one registry is for no other.
                for other in REGISTRIES:
                    if other != slug:
                        assert (await world.mint(token, f"/{other}/_/oidc/mint-token")).status == 422
