"""Is what the ledger says fit for use? The part of `mintmark doctor` that asks the ledger and the issuers.

Owns lines about registries, trust, publishers, tokens, pages and the ledger itself. Changes nothing. Leaves the machine
to `service.doctor_host`, issuers' documents to `core.issuer_report`, and a check of every file to `service.fsck`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mintmark.core import credentials, pins
from mintmark.core.issuer_probe import Conditions, Probe
from mintmark.core.issuer_report import report_on
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Credential, Issuer, Publisher, Registry
from mintmark.core.report_card import Grade, Line, bad, note, ok, warning
from mintmark.service.ports import Clock, Ledger, Transaction

NAMES_SHOWN = 5
PAGES_COUNTED_MAX = 1000
UNUSED_SECONDS = 90 * 86_400
ENDING_SECONDS = 14 * 86_400
CLOCK_LEEWAY_SECONDS = 60
# Issuers that are asked at once, and at all: each takes as long as its timeout at most.
ISSUERS_AT_ONCE = 8
ISSUERS_MAX = 200

Look = Callable[[Conditions], Awaitable[Probe]]


@dataclass(frozen=True, slots=True)
class _Home:
    """A registry with what belongs to it."""

    registry: Registry
    issuers: tuple[Issuer, ...]
    publishers: tuple[Publisher, ...]
    tokens: tuple[Credential, ...]


class Doctor:
    """The use case. `look` asks an issuer; None leaves all of them out."""

    def __init__(self, ledger: Ledger, clock: Clock, host_audience: str, look: Look | None, *, lab: bool) -> None:
        self._ledger = ledger
        self._clock = clock
        self._host_audience = host_audience
        self._look = look
        self._lab = lab

    async def __call__(self) -> Sequence[Line]:
        """Every line, in the order of what depends on what."""
        now = self._clock.now()
        damage = await self._ledger.read(lambda tx: tx.integrity.damage())
        if damage:
            cure = "Stop the server and restore a backup; `mintmark fsck` says more."
            return [bad("ledger", f"Its file is damaged: {damage[0]}.", cure)]
        homes = await self._ledger.read(_homes)
        lines = [ok("ledger", "Its file is sound.")]
        lines += await self._ledger.read(lambda tx: [_clock(tx, now), _pages(tx)])
        lines += _registries(homes)
        lines += _audiences(homes, self._host_audience)
        lines += _publishers(homes, now)
        lines += _tokens(homes, now)
        return [*lines, *await self._issuers(homes, now)]

    async def _issuers(self, homes: Sequence[_Home], now: float) -> Sequence[Line]:
        trusted = [(home.registry, each) for home in homes for each in home.issuers if each.enabled]
        if self._look is None:
            return [note("issuers", f"{len(trusted)} were not asked (--offline).")] if trusted else []
        gate = asyncio.Semaphore(ISSUERS_AT_ONCE)

        async def one(registry: Registry, issuer: Issuer) -> Sequence[Line]:
            async with gate:
                return await self._issuer(registry, issuer, now)

        found = await asyncio.gather(*(one(*each) for each in trusted[:ISSUERS_MAX]))
        lines = [line for lines in found for line in lines]
        if len(trusted) > ISSUERS_MAX:
            lines.append(note("issuers", f"{len(trusted) - ISSUERS_MAX} more were not asked."))
        return lines

    async def _issuer(self, registry: Registry, issuer: Issuer, now: float) -> Sequence[Line]:
        """One line when all is well; otherwise each that is not."""
        assert self._look is not None
        topic = f"issuer {registry.slug}/{issuer.name}"
        conditions = Conditions(
            issuer.url, issuer.networks, issuer.allow_http, issuer.ca_pem, jwks=issuer.jwks, lab=self._lab
        )
        report = report_on(await self._look(conditions), BY_SLUG[issuer.provider], now)
        wrong = [line for line in report.lines if line.grade in {Grade.WARNING, Grade.BAD}]
        lines = [Line(topic, line.grade, f"{line.topic}: {line.sentence}", line.cure) for line in wrong]
        if report.algorithms and not set(report.algorithms) & set(issuer.algorithms):
            cure = f"Set algorithms = {list(report.algorithms)} for the issuer."
            lines.append(bad(topic, f"It signs with {', '.join(report.algorithms)}, which is not allowed.", cure))
        return lines or [
            ok(topic, "Its keys can be fetched and are good." if not issuer.jwks else "Its keys are good.")
        ]


def _homes(tx: Transaction) -> list[_Home]:
    issuers: dict[int, list[Issuer]] = defaultdict(list)
    for each in tx.issuers.every():
        issuers[each.registry_id].append(each)
    return [
        _Home(
            registry,
            tuple(issuers[registry.id]),
            tuple(tx.publishers.of_registry(registry.id)),
            tuple(tx.credentials.of_registry(registry.id, credentials.API)),
        )
        for registry in tx.registries.every()
    ]


def _clock(tx: Transaction, now: float) -> Line:
    events = tx.audit.latest(None, 1)
    if events and events[0].at > now + CLOCK_LEEWAY_SECONDS:
        behind = int(events[0].at - now)
        cure = "Set the clock right: identity tokens are refused, and old ones are taken for valid."
        return bad("clock", f"The newest event is {behind} seconds in the future: the clock was set back.", cure)
    return ok("clock", "No event is in the future.")


def _pages(tx: Transaction) -> Line:
    behind = len(tx.projects.unrendered(PAGES_COUNTED_MAX))
    if behind:
        count = f"{behind}{' or more' * (behind == PAGES_COUNTED_MAX)}"
        cure = "A running server renders them within a minute; if none runs, start it, or `mintmark fsck --repair`."
        return warning("pages", f"{count} projects have pages that are behind.", cure)
    return ok("pages", "No page is behind.")


def _registries(homes: Sequence[_Home]) -> Sequence[Line]:
    if not homes:
        return [note("registries", "There is none yet.", "mintmark registry create NAME, or mintmark apply FILE.")]
    lines = []
    alone = [home.registry.slug for home in homes if home.registry.trusted_publishing and not home.issuers]
    if alone:
        cure = "mintmark issuer add, or set trusted-publishing = false where none is meant to be trusted."
        lines.append(warning("registries", f"{_some(alone)}: no issuer is trusted, so no job can publish.", cure))
    idle = [
        f"{home.registry.slug}/{issuer.name}"
        for home in homes
        for issuer in home.issuers
        if not any(publisher.issuer_id == issuer.id for publisher in home.publishers)
    ]
    if idle:
        cure = "mintmark publisher add, or mintmark issuer remove."
        lines.append(note("issuers", f"{_some(idle)}: trusted, but nobody publishes through it.", cure))
    off = [f"{home.registry.slug}/{each.name}" for home in homes for each in home.issuers if not each.enabled]
    if off:
        lines.append(note("issuers", f"{_some(off)}: switched off.", "mintmark issuer enable, or remove."))
    return lines or [ok("registries", f"{len(homes)}, each with an issuer.")]


def _audiences(homes: Sequence[_Home], host_audience: str) -> Sequence[Line]:
    """CI systems make a variable of the audience in capital letters, so that two may become one."""
    users: dict[str, list[str]] = defaultdict(list)
    users[host_audience.upper()].append("the whole host")
    for home in homes:
        users[home.registry.audience.upper()].append(home.registry.slug)
    cure = "Give each an audience of its own: a token for one could be exchanged at the other."
    return [bad("audiences", f"{_some(names)} share one.", cure) for names in users.values() if len(names) > 1]


def _publishers(homes: Sequence[_Home], now: float) -> Sequence[Line]:
    found = [(home.registry.slug, each) for home in homes for each in home.publishers]
    providers = {issuer.id: BY_SLUG[issuer.provider] for home in homes for issuer in home.issuers}
    lapsed = [_name(*each) for each in found if each[1].expires_at is not None and each[1].expires_at <= now]
    live = [each for each in found if each[1].expires_at is None or each[1].expires_at > now]
    unused = [_name(*each) for each in live if (each[1].last_used_at or each[1].created_at) < now - UNUSED_SECONDS]
    loose = [
        _name(slug, each)
        for slug, each in live
        if each.issuer_id in providers and pins.may_lapse(providers[each.issuer_id], each.config, each.pins)
    ]
    lines = []
    if lapsed:
        lines.append(note("publishers", f"{_some(lapsed)}: lapsed without being used.", "The next sweep removes them."))
    if unused:
        cure = "Remove what is not needed any more: mintmark publisher remove."
        lines.append(note("publishers", f"{_some(unused)}: not used for {UNUSED_SECONDS // 86_400} days.", cure))
    if loose:
        cure = "Give the id, or let its first use teach it; a name that is given away again would match."
        lines.append(note("publishers", f"{_some(loose)}: no immutable id is known yet.", cure))
    return lines or ([ok("publishers", f"{len(found)}, all in use.")] if found else [])


def _name(slug: str, publisher: Publisher) -> str:
    return f"{slug}/{publisher.project} ({publisher.id})"


def _tokens(homes: Sequence[_Home], now: float) -> Sequence[Line]:
    live = [
        (f"{home.registry.slug}/{each.name}", each.expires_at)
        for home in homes
        for each in home.tokens
        if each.ended_at is None
    ]
    over = [name for name, until in live if until is not None and until <= now]
    ending = [name for name, until in live if until is not None and now < until <= now + ENDING_SECONDS]
    endless = [name for name, until in live if until is None]
    lines = []
    if over:
        lines.append(warning("API tokens", f"{_some(over)}: expired.", "Make new ones where they are still used."))
    if ending:
        lines.append(note("API tokens", f"{_some(ending)}: will expire within two weeks.", "Replace them in time."))
    if endless:
        cure = "A leak of one is good for ever. Prefer identity tokens, or an end."
        lines.append(note("API tokens", f"{_some(endless)}: without end.", cure))
    return lines


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
