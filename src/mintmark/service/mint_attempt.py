"""One mint inside its transaction.

Owns which publishers an identity token's claims match, the scope of the credential, and that match, replay record,
learned ids and credential become true together or not at all: a failed mint spends nothing, and after a 5xx the same
token works. Leaves verifying the token to `service.mint`, a publisher's rules to `core.match`, repetitions to
`service.mint_again` and what a refusal says to `service.mint_words`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mintmark.core import credentials, exchange, pins
from mintmark.core.errors import Rejected
from mintmark.core.exchange import MintRequest
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import Match, match_all, shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import claim_at
from mintmark.core.records import Credential, Event, Issuer, Principal, Publisher, Registry
from mintmark.service import mint_again, mint_words
from mintmark.service.mint_again import Repetition
from mintmark.service.mint_words import MISMATCHES_SHOWN, Near
from mintmark.service.ports import Transaction

# Publishers are looked up by the lookup keys of a token, so only those of one repository are compared; of these many.
NEAREST_SHOWN = 3
PROJECTS_SHOWN = 50
LAST_USED_RESOLUTION_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Minted:
    """A new credential. `secret` exists only here and in the answer."""

    secret: str
    expires_at: int
    registries: tuple[str, ...]
    projects: tuple[str, ...]
    """To upload to: names, and patterns of names."""
    single_use: bool
    reads: tuple[str, ...] = ()
    """To read besides: patterns of names."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trust entry under whose conditions the token was verified."""

    issuer: Issuer
    registry: Registry
    verified: VerifiedClaims


@dataclass(slots=True)
class _Found:
    """What the claims match."""

    regular: list[Publisher] = field(default_factory=list)
    pending: list[Publisher] = field(default_factory=list)
    readers: list[Publisher] = field(default_factory=list)
    near: list[Near] = field(default_factory=list)


class Attempt:
    """One mint inside its transaction. Returns the refusal instead of raising it, so that its audit event stays."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        request: MintRequest,
        secret: str,
        now: float,
        host_rooted: bool,
        host_union: bool,
        base_url: str,
    ) -> None:
        self._candidates = candidates
        self._request = request
        self._secret = secret
        self._now = now
        self._host_rooted = host_rooted
        self._host_union = host_union
        self._base_url = base_url
        self._verified = candidates[0].verified
        self._issuer = candidates[0].issuer
        self._provider = BY_SLUG[self._issuer.provider]
        # Two registries may know one issuer as of different kinds.
        self._providers = {each.issuer.id: BY_SLUG[each.issuer.provider] for each in candidates}

    def run(self, tx: Transaction) -> Minted | Rejected:
        """Decide and record."""
        found = _Found()
        for candidate in self._candidates:
            self._match(tx, candidate, found)
        self._report_other_ids(tx, found.near)
        stale = [publisher for publisher in found.pending if tx.projects.find(publisher.registry_id, publisher.project)]
        fresh = [publisher for publisher in found.pending if publisher not in stale]
        matched = found.regular or found.readers
        if self._host_rooted and matched:
            # The host-wide exchange creates nothing in a registry beside the one there is something to publish to.
            homes_of_matched = {publisher.registry_id for publisher in matched}
            fresh = [publisher for publisher in fresh if {publisher.registry_id} == homes_of_matched]
        homes = {c.registry.id: c.registry for c in self._candidates}
        covering = self._covering(found.regular + fresh, found.readers)
        covered = sorted({publisher.registry_id for publisher in covering})
        if len(covered) > 1 and not self._host_union:
            return self._refuse(tx, mint_words.ambiguous([homes[i] for i in covered], self._base_url), found.near)
        for publisher in stale:
            # The registrant meant a project that did not exist; somebody else made it. Never take it over silently.
            tx.publishers.remove(publisher.id)
        if not covering:
            nothing = mint_words.no_publisher(self._issuer, self._verified, found.near)
            return self._refuse(tx, mint_words.stale(stale) if stale else nothing, found.near)
        repetition = None
        if not tx.replays.claim(self._verified.issuer, self._verified.replay_key, self._verified.replay_until):
            issuers = [candidate.issuer for candidate in self._candidates]
            again = mint_again.repeat(tx, self._request.token, self._verified, issuers, covering, self._now)
            if isinstance(again, Rejected):
                return self._refuse(tx, again, found.near)
            repetition, covering = again, list(again.covering)
        for publisher in covering:
            if publisher.is_pending:
                self._reify(tx, publisher, {each.id for each in covering})
        self._learn(tx, covering)
        registries = [homes[i] for i in sorted({publisher.registry_id for publisher in covering})]
        return self._issue(tx, covering, registries, repetition)

    def _match(self, tx: Transaction, candidate: Candidate, found: _Found) -> None:
        lookups = BY_SLUG[candidate.issuer.provider].lookups_of_claims(candidate.verified.claims)
        if not lookups:
            return
        known = tx.publishers.candidates(candidate.issuer.id, lookups)
        usable = [each for each in known if each.expires_at is None or each.expires_at > self._now]
        for publisher, verdict in match_all(candidate.issuer, usable, candidate.verified):
            if not isinstance(verdict, Match):
                found.near.append(Near(publisher, verdict))
            elif verdict.publisher.reads:
                found.readers.append(verdict.publisher)
            else:
                (found.pending if publisher.is_pending else found.regular).append(verdict.publisher)

    def _covering(self, uploads: list[Publisher], readers: list[Publisher]) -> list[Publisher]:
        """One credential for both. Whoever may upload to one registry of a host reads there, too, and nowhere else."""
        if uploads and self._host_rooted and not self._host_union:
            homes = {publisher.registry_id for publisher in uploads}
            readers = [publisher for publisher in readers if publisher.registry_id in homes]
        return uploads + readers

    def _issue(
        self, tx: Transaction, covering: list[Publisher], registries: list[Registry], repetition: Repetition | None
    ) -> Minted:
        credential = self._credential(covering, registries)
        if repetition is not None:
            # Invariant: what was for a single file stays so, and stays spent.
            former = repetition.former
            credential = replace(
                credential, single_use=credential.single_use or former.single_use, spent_on=former.spent_on
            )
        credential = tx.credentials.insert(credential)
        if repetition is not None:
            repetition.end_former(tx, credential, self._verified, int(self._now))
        elif credential.registry_id is not None and self._may_repeat(credential.registry_id):
            mint_again.remember(tx, self._request.token, self._verified, credential)
        self._touch(tx, covering)
        uploads = sorted({publisher.project for publisher in covering if not publisher.reads})
        reads = tuple(sorted({publisher.project for publisher in covering if publisher.reads}))[:PROJECTS_SHOWN]
        facts: dict[str, object] = {
            "projects": uploads[:PROJECTS_SHOWN],
            "covered": len(uploads),
            "expires": credential.expires_at,
            "jti": self._verified.replay_key,
        }
        facts |= {"reads": reads} if reads else {}
        if repetition is not None:
            facts |= {"repetition": repetition.first.repetitions + 1, "ended": repetition.former.id}
        self._audit(tx, "mint", "reminted" if repetition else "minted", credential.registry_id, facts)
        assert credential.expires_at is not None
        return Minted(
            self._secret,
            credential.expires_at,
            tuple(registry.slug for registry in registries),
            tuple(uploads[:PROJECTS_SHOWN]),
            credential.single_use,
            reads,
        )

    def _credential(self, covering: list[Publisher], registries: list[Registry]) -> Credential:
        lifetime = min(registry.credential_lifetime_seconds for registry in registries)
        # Invariant: at least the promised time after the request, at most PEP 807's maximum.
        expires_at = min(
            math.ceil(self._now) + max(lifetime, exchange.LIFETIME_MIN_SECONDS),
            math.floor(self._now) + exchange.LIFETIME_MAX_SECONDS,
        )
        return Credential(
            id=0,
            digest=credentials.digest_of(self._secret),
            kind=credentials.MINTED,
            registry_id=registries[0].id if len(registries) == 1 else None,
            name="",
            publishers=tuple(sorted(publisher.id for publisher in covering)),
            projects=(),
            can_upload=any(not publisher.reads for publisher in covering),
            can_read=True,
            single_use=self._request.single_use,
            spent_on=None,
            ref=self._ref(covering),
            created_at=int(self._now),
            expires_at=expires_at,
            ended_at=None,
            issuer_url=self._verified.issuer,
            subject=self._principal().name,
            wide=tuple(sorted(publisher.id for publisher in covering if publisher.is_wide)),
        )

    def _ref(self, covering: list[Publisher]) -> str:
        """The ref as those read it who upload: another registry may know the issuer as of another kind."""
        kinds = {self._providers[publisher.issuer_id].slug for publisher in covering if not publisher.reads}
        refs = {BY_SLUG[kind].ref_of(self._verified.claims) or "" for kind in kinds}
        return refs.pop() if len(refs) == 1 else ""

    def _may_repeat(self, registry_id: int) -> bool:
        return any(it.issuer.remint for it in self._candidates if it.registry.id == registry_id)

    def _touch(self, tx: Transaction, covering: list[Publisher]) -> None:
        """Note the use. A publisher that no id protects lapses unless it is used again."""
        used_before = self._now - LAST_USED_RESOLUTION_SECONDS
        stale = [p for p in covering if p.last_used_at is None or p.last_used_at < used_before]
        tx.publishers.touch(tuple(p.id for p in stale), int(self._now))
        unprotected = tuple(
            p.id
            for p in stale
            if pins.may_lapse(self._providers[p.issuer_id], p.config, p.pins)
            and (self._host_rooted or not self._learnable(p))
        )
        tx.publishers.set_expiry(unprotected, int(self._now) + pins.UNPROTECTED_SECONDS)

    def _learnable(self, publisher: Publisher) -> dict[str, str]:
        return pins.learnable(self._providers[publisher.issuer_id], publisher.config, self._verified.claims)

    def _learn(self, tx: Transaction, covering: list[Publisher]) -> None:
        """Learn the immutable ids of whoever is here first.

        Invariant: Ids are learned in the transaction of the mint, so that of two identities under one name one is
        learned; and never by the host-wide exchange, where somebody meant for another registry could come first.
        """
        if self._host_rooted:
            return
        learned: dict[tuple[int, tuple[tuple[str, str], ...]], list[int]] = {}
        # By the object, which publishers of one identity share.
        stated = {id(publisher.config): publisher for publisher in covering}
        known = {key: self._learnable(publisher) for key, publisher in stated.items()}
        for publisher in covering:
            ids = known[id(publisher.config)]
            new = {name: value for name, value in ids.items() if name not in publisher.pins}
            if new:
                tx.publishers.set_pins(publisher.id, {**publisher.pins, **new})
                learned.setdefault((publisher.registry_id, tuple(new.items())), []).append(publisher.id)
        for (registry_id, new_ids), publishers in learned.items():
            facts: dict[str, object] = {
                "ids": dict(new_ids),
                "publishers": publishers[:PROJECTS_SHOWN],
                "count": len(publishers),
            }
            tx.audit.record(Event(int(self._now), self._principal(), "publisher-pinned", registry_id, facts=facts))

    def _reify(self, tx: Transaction, publisher: Publisher, used: set[int]) -> None:
        """A pending publisher's first use creates its project, for the other publishers that wait for it as well."""
        if tx.projects.find(publisher.registry_id, publisher.project):
            # Another publisher of this identity has just done it.
            return
        project = tx.projects.insert(publisher.registry_id, publisher.project, publisher.project, int(self._now))
        for waiting in tx.publishers.pending(publisher.registry_id, publisher.project):
            if waiting.expires_at is None or waiting.expires_at > self._now:
                tx.publishers.reify(waiting.id, project.id)
                # The others were not used: what no id protects lapses like any other publisher.
                if waiting.id not in used and self._lapses(tx, waiting):
                    tx.publishers.set_expiry((waiting.id,), int(self._now) + pins.UNPROTECTED_SECONDS)
        event = Event(
            int(self._now),
            self._principal(),
            "project-created",
            publisher.registry_id,
            publisher.project,
            facts={"by": "pending publisher", "publisher": publisher.id},
        )
        tx.audit.record(event)

    def _lapses(self, tx: Transaction, publisher: Publisher) -> bool:
        provider = self._providers.get(publisher.issuer_id)
        if provider is None:
            provider = next(BY_SLUG[it.provider] for it in tx.issuers.every() if it.id == publisher.issuer_id)
        return pins.may_lapse(provider, publisher.config, publisher.pins)

    # -- refusals and audit -------------------------------------------------------------------------------------------

    def _report_other_ids(self, tx: Transaction, near: list[Near]) -> None:
        """Somebody has the name but not the ids that were learned. Reported even if another publisher matches."""
        reported = 0
        for it in near:
            publisher, provider = it.publisher, self._providers[it.publisher.issuer_id]
            other = pins.differences(provider, publisher.config, publisher.pins, self._verified.claims)
            ids = {each.claim: {"learned": each.learned, "actual": shown(each.actual)} for each in other}
            if ids and reported < NEAREST_SHOWN and {mismatch.claim for mismatch in it.mismatches} <= ids.keys():
                reported += 1
                event = Event(
                    int(self._now),
                    self._principal(),
                    "publisher-pin-refused",
                    publisher.registry_id,
                    publisher.project,
                    outcome="refused",
                    facts={"publisher": publisher.id, "ids": ids},
                )
                tx.audit.record(event)

    def _refuse(self, tx: Transaction, refusal: Rejected, near: list[Near]) -> Rejected:
        # A registry's log shows a host-wide attempt only if a publisher of its own was near.
        registry_ids = (
            {it.publisher.registry_id for it in near}
            if self._host_rooted
            else {candidate.registry.id for candidate in self._candidates}
        )
        facts: dict[str, object] = {
            "detail": refusal.detail[:500],
            "nearest": [
                {"project": it.publisher.project, "mismatches": [str(m) for m in it.mismatches[:MISMATCHES_SHOWN]]}
                for it in near[:NEAREST_SHOWN]
            ],
        }
        self._audit(tx, "mint", refusal.code.name, registry_ids.pop() if len(registry_ids) == 1 else None, facts)
        return refusal

    def _principal(self) -> Principal:
        value = claim_at(self._verified.claims, self._provider.lookup.claim)
        return Principal("publisher", f"{self._verified.issuer} {shown(value)}")

    def _audit(
        self, tx: Transaction, action: str, outcome: str, registry_id: int | None, facts: dict[str, object]
    ) -> None:
        claims = {name: value for name, value in self._verified.claims.items() if self._provider.knows(name)}
        event = Event(
            int(self._now), self._principal(), action, registry_id, outcome=outcome, facts={**facts, "claims": claims}
        )
        tx.audit.record(event)
