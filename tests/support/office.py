"""Somebody with a trust file and the command line, for tests of what applying does."""

from __future__ import annotations

import tomllib

from mintmark.assemble import Index
from mintmark.core.records import OPERATOR, Event, Issuer, Publisher, Registry
from mintmark.core.trust import Host, WantedRegistry, parse_trust
from mintmark.service.trust_plan import Change, Plan
from support.clock import FrozenClock

HOST = Host("localhost", "mintmark_localhost")
BASE = """
[registry.acme]
[registry.acme.issuer.gitlab]
provider = "gitlab"
url = "https://gitlab.example.com"
projects = ["*"]
[[registry.acme.publisher]]
project = "widget"
issuer = "gitlab"
project-path = "team/widget"
workflow = ".gitlab-ci.yml"
project-id = "1"
"""
SECOND = """
[registry.other]
[registry.other.issuer.github]
provider = "github"
url = "https://token.actions.githubusercontent.com"
projects = ["x-*"]
"""
GADGET = """
[[registry.acme.publisher]]
project = "gadget"
issuer = "gitlab"
project-path = "team/gadget"
workflow = ".gitlab-ci.yml"
project-id = "2"
"""
WIDGET = "acme/widget from gitlab (project-path=team/widget, workflow=.gitlab-ci.yml, project-id=1)"
CREATES = "creates the project at its first use, within 30 days"


class Office:
    """Somebody with a trust file and the command line."""

    def __init__(self, index: Index, clock: FrozenClock) -> None:
        self.index = index
        self.clock = clock

    async def plan(self, text: str) -> tuple[tuple[WantedRegistry, ...], Plan]:
        wanted = parse_trust(tomllib.loads(text), HOST, lambda name: name)
        return wanted, await self.index.trust.plan(wanted)

    async def apply(self, text: str) -> list[Change]:
        """Agree to whatever the plan says. A second plan must be empty."""
        wanted, plan = await self.plan(text)
        await self.index.trust.apply(wanted, plan, OPERATOR)
        assert (await self.index.trust.plan(wanted)).changes == ()
        return list(plan.changes)

    async def held(self) -> dict[str, tuple[Registry, list[Issuer], list[Publisher]]]:
        return {entry[0].slug: entry for entry in await self.index.trust.overview()}

    async def project(self, name: str, slug: str = "acme") -> None:
        registry = (await self.held())[slug][0]
        await self.index.ledger.write(lambda tx: tx.projects.insert(registry.id, name, name, 0))

    async def events(self) -> list[Event]:
        return await self.index.ledger.read(lambda tx: tx.audit.latest(None, 100))
