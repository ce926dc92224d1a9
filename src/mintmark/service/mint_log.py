"""The mint log: which identity tokens were exchanged, and why others were not.

Owns reading exchanges out of the audit log, into what people ask about: who it was, what came of it, and what of the
nearest publishers did not match. Leaves writing the events to `service.mint_attempt`. What stands in an event was
somebody else's text once, so nothing is taken for granted about its form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mintmark.core.records import Event
from mintmark.service.ports import Clock, Ledger, Transaction
from mintmark.service.trust import find_registry

LIMIT_MAX = 10_000
NEAREST_MAX = 3
MISMATCHES_MAX = 4
TEXT_MAX_CHARACTERS = 500
MINTED = frozenset({"minted", "reminted"})


@dataclass(frozen=True, slots=True)
class Near:
    """A publisher that was found but did not match."""

    project: str
    mismatches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange, or what was meant to be one."""

    at: int
    registry: str
    """"" for the host-wide exchange, where it belongs to no single registry."""
    issuer: str
    provider: str
    identity: str
    action: str
    outcome: str
    """`minted`, or the code of the refusal."""
    detail: str
    projects: tuple[str, ...]
    covered: int
    nearest: tuple[Near, ...]

    @property
    def succeeded(self) -> bool:
        """Whether there was a credential."""
        return self.outcome in MINTED


class MintLog:
    """The use case."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def __call__(
        self, slug: str | None, *, since_seconds: int | None, failed: bool, limit: int
    ) -> Sequence[Attempt]:
        """The newest exchanges first, of one registry or all. Raises `Rejected` for an unknown registry."""
        since = 0 if since_seconds is None else int(self._clock.now()) - since_seconds

        def work(tx: Transaction) -> list[Attempt]:
            registry_id = find_registry(tx, slug).id if slug else None
            slugs = {each.id: each.slug for each in tx.registries.every()}
            providers: dict[str, set[str]] = {}
            for issuer in tx.issuers.every():
                providers.setdefault(issuer.url, set()).add(issuer.provider)
            events = tx.audit.mints(registry_id, since, failed=failed, limit=min(limit, LIMIT_MAX))
            return [_attempt(event, slugs, providers) for event in events]

        return await self._ledger.read(work)


def _attempt(event: Event, slugs: Mapping[int, str], providers: Mapping[str, set[str]]) -> Attempt:
    facts = event.facts
    # The principal is `ISSUER IDENTITY`; an issuer's URL holds no space.
    issuer, _, identity = event.principal.name.partition(" ")
    # Where it was verified is not written down by every release; a URL is nearly always of one provider.
    known = providers.get(issuer, set())
    provider = _text(facts.get("provider")) or (min(known) if len(known) == 1 else "")
    projects = facts.get("projects")
    covered = facts.get("covered")
    return Attempt(
        at=event.at,
        registry=slugs.get(event.registry_id or 0, ""),
        issuer=issuer,
        provider=provider,
        identity=identity,
        action=event.action,
        outcome=event.outcome,
        detail=_text(facts.get("detail")),
        projects=tuple(map(_text, projects)) if isinstance(projects, list) else (),
        covered=covered if isinstance(covered, int) else 0,
        nearest=tuple(_nearest(facts.get("nearest"))),
    )


def _nearest(value: object) -> Sequence[Near]:
    found = []
    for each in value[:NEAREST_MAX] if isinstance(value, list) else ():
        if isinstance(each, dict):
            mismatches = each.get("mismatches")
            listed = mismatches[:MISMATCHES_MAX] if isinstance(mismatches, list) else []
            found.append(Near(_text(each.get("project")), tuple(map(_text, listed))))
    return found


def _text(value: object) -> str:
    return value[:TEXT_MAX_CHARACTERS] if isinstance(value, str) else ""
