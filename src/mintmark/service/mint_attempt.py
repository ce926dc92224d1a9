"""One mint inside its transaction.

Owns which publishers an identity token's claims match, the scope of the credential, and that match, replay record and
credential become true together or not at all: a failed mint spends nothing, and after a 5xx the same token works.
Leaves verifying the token to `service.mint` and a publisher's rules to `core.match`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mintmark.core import credentials, exchange
from mintmark.core.errors import Rejected
from mintmark.core.exchange import MintRequest
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import Match, Mismatch, match, shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import claim_at
from mintmark.core.records import Credential, Event, Issuer, Principal, Publisher, Registry
from mintmark.service.ports import Transaction

# Publishers are looked up one lookup key at a time, so only those of one repository are compared; of these many.
NEAREST_SHOWN = 3
MISMATCHES_SHOWN = 4
PROJECTS_SHOWN = 50
LAST_USED_RESOLUTION_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Minted:
    """A new upload credential. `secret` exists only here and in the answer."""

    secret: str
    expires_at: int
    registries: tuple[str, ...]
    projects: tuple[str, ...]
    single_use: bool


@dataclass(frozen=True, slots=True)
class _Near:
    """A publisher that was found by its lookup claim but does not match."""

    publisher: Publisher
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trust entry under whose conditions the token was verified."""

    issuer: Issuer
    registry: Registry
    verified: VerifiedClaims


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

    def run(self, tx: Transaction) -> Minted | Rejected:
        """Decide and record."""
        regular: list[Publisher] = []
        pending: list[Publisher] = []
        near: list[_Near] = []
        for candidate in self._candidates:
            self._match(tx, candidate, regular, pending, near)
        stale = [publisher for publisher in pending if tx.projects.find(publisher.registry_id, publisher.project)]
        fresh = [publisher for publisher in pending if publisher not in stale]
        if self._host_rooted and regular:
            # The host-wide exchange creates nothing in a registry beside the one there is something to publish to.
            homes_of_regular = {publisher.registry_id for publisher in regular}
            fresh = [publisher for publisher in fresh if {publisher.registry_id} == homes_of_regular]
        covering = regular + fresh
        homes = {c.registry.id: c.registry for c in self._candidates}
        covered = {publisher.registry_id for publisher in covering}
        if len(covered) > 1 and not self._host_union:
            return self._refuse(tx, self._ambiguous([homes[i] for i in sorted(covered)]), near)
        for publisher in stale:
            # The registrant meant a project that did not exist; somebody else made it. Never take it over silently.
            tx.publishers.remove(publisher.id)
        if not covering:
            return self._refuse(tx, _stale(stale) if stale else self._no_publisher(near), near)
        if not tx.replays.claim(self._verified.issuer, self._verified.replay_key, self._verified.replay_until):
            return self._refuse(
                tx,
                Rejected("invalid-reuse-token", "invalid token: already used", hint=self._reuse_hint()),
                near,
            )
        for publisher in fresh:
            self._reify(tx, publisher)
        return self._issue(tx, covering, [homes[i] for i in sorted(covered)])

    def _match(
        self,
        tx: Transaction,
        candidate: Candidate,
        regular: list[Publisher],
        pending: list[Publisher],
        near: list[_Near],
    ) -> None:
        lookup = BY_SLUG[candidate.issuer.provider].lookup_of_claims(candidate.verified.claims)
        if lookup is None:
            return
        for publisher in tx.publishers.candidates(candidate.issuer.id, lookup):
            if publisher.expires_at is not None and publisher.expires_at <= self._now:
                continue
            verdict = match(candidate.issuer, publisher, candidate.verified)
            if isinstance(verdict, Match):
                (pending if publisher.project_id is None else regular).append(verdict.publisher)
            else:
                near.append(_Near(publisher, verdict))

    def _issue(self, tx: Transaction, covering: list[Publisher], registries: list[Registry]) -> Minted:
        lifetime = min(registry.credential_lifetime_seconds for registry in registries)
        # Invariant: at least the promised time after the request, at most PEP 807's maximum.
        expires_at = min(
            math.ceil(self._now) + max(lifetime, exchange.LIFETIME_MIN_SECONDS),
            math.floor(self._now) + exchange.LIFETIME_MAX_SECONDS,
        )
        ids = tuple(sorted(publisher.id for publisher in covering))
        projects = sorted({publisher.project for publisher in covering})
        provider = BY_SLUG[self._candidates[0].issuer.provider]
        ref = provider.ref_of(self._verified.claims)
        tx.credentials.insert(
            Credential(
                id=0,
                digest=credentials.digest_of(self._secret),
                kind=credentials.MINTED,
                registry_id=registries[0].id if len(registries) == 1 else None,
                name="",
                publishers=ids,
                projects=(),
                can_upload=True,
                can_read=True,
                single_use=self._request.single_use,
                spent_on=None,
                ref=ref or "",
                created_at=int(self._now),
                expires_at=expires_at,
                ended_at=None,
                issuer_url=self._verified.issuer,
                subject=self._subject(),
            )
        )
        used_before = self._now - LAST_USED_RESOLUTION_SECONDS
        stale = tuple(p.id for p in covering if p.last_used_at is None or p.last_used_at < used_before)
        tx.publishers.touch(stale, int(self._now))
        facts: dict[str, object] = {
            "projects": projects[:PROJECTS_SHOWN],
            "covered": len(projects),
            "expires": expires_at,
            "jti": self._verified.replay_key,
        }
        self._audit(tx, "mint", "minted", registries[0].id if len(registries) == 1 else None, facts)
        return Minted(
            self._secret,
            expires_at,
            tuple(registry.slug for registry in registries),
            tuple(projects[:PROJECTS_SHOWN]),
            self._request.single_use,
        )

    def _reify(self, tx: Transaction, publisher: Publisher) -> None:
        """A pending publisher's first use creates its project, for the other publishers that wait for it as well."""
        if tx.projects.find(publisher.registry_id, publisher.project):
            # Another publisher of this identity has just done it.
            return
        project = tx.projects.insert(publisher.registry_id, publisher.project, publisher.project, int(self._now))
        for waiting in tx.publishers.pending(publisher.registry_id, publisher.project):
            if waiting.expires_at is None or waiting.expires_at > self._now:
                tx.publishers.reify(waiting.id, project.id)
        event = Event(
            int(self._now),
            self._principal(),
            "project-created",
            publisher.registry_id,
            publisher.project,
            facts={"by": "pending publisher", "publisher": publisher.id},
        )
        tx.audit.record(event)

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _refuse(self, tx: Transaction, refusal: Rejected, near: list[_Near]) -> Rejected:
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

    def _no_publisher(self, near: list[_Near]) -> Rejected:
        issuer = self._candidates[0].issuer
        provider = BY_SLUG[issuer.provider]
        if not near:
            claim = "/".join(provider.lookup.claim)
            value = shown(claim_at(self._verified.claims, provider.lookup.claim))
            return Rejected(
                "invalid-publisher",
                "valid token, but no corresponding publisher (Publisher with matching claims was not found)",
                hint=f"No publisher of the issuer {issuer.name!r} is registered for {claim} {value}.",
            )
        # Shown only for publishers whose lookup claim a verified token already matched: no oracle for strangers.
        first = min(near, key=lambda it: len(it.mismatches))
        others = [mismatch.claim for mismatch in first.mismatches[1:MISMATCHES_SHOWN]]
        also = f" {' and '.join(others)} differ{'' if len(others) > 1 else 's'} too." if others else ""
        return Rejected(
            "invalid-publisher",
            f"valid token, but no corresponding publisher (Check failed for {first.mismatches[0].claim!r})",
            hint=f"The publisher of {first.publisher.project} does not match. {first.mismatches[0]}{also}",
        )

    def _ambiguous(self, registries: list[Registry]) -> Rejected:
        urls = [f"{self._base_url}/{registry.slug}/_/oidc/mint-token" for registry in registries[:5]]
        return Rejected(
            "ambiguous-registry",
            f"This identity may publish to {len(registries)} registries of this host.",
            hint=f"Use the exchange of one of them: {', '.join(urls)}.",
        )

    def _reuse_hint(self) -> str:
        if BY_SLUG[self._candidates[0].issuer.provider].reusable:
            return "Ask for a fresh identity token; this job can get one."
        once = "This job's identity token was exchanged before, and its CI system gives a job only one"
        if self._candidates[0].issuer.provider != "gitlab":
            return f"{once}. Publish all files in one call, or in two jobs."
        return (
            f"{once} for each entry of id_tokens. Publish all files in one call, or add a second entry with the same "
            "audience and put its value into the variable for the second call."
        )

    # -- audit --------------------------------------------------------------------------------------------------------

    def _subject(self) -> str:
        return self._principal().name

    def _principal(self) -> Principal:
        provider = BY_SLUG[self._candidates[0].issuer.provider]
        value = claim_at(self._verified.claims, provider.lookup.claim)
        return Principal("publisher", f"{self._verified.issuer} {shown(value)}")

    def _audit(
        self, tx: Transaction, action: str, outcome: str, registry_id: int | None, facts: dict[str, object]
    ) -> None:
        known = BY_SLUG[self._candidates[0].issuer.provider].known
        claims = {name: value for name, value in self._verified.claims.items() if name in known}
        event = Event(
            int(self._now), self._principal(), action, registry_id, outcome=outcome, facts={**facts, "claims": claims}
        )
        tx.audit.record(event)


def _stale(stale: list[Publisher]) -> Rejected:
    names = ", ".join(sorted({publisher.project for publisher in stale})[:5])
    return Rejected(
        "invalid-pending-publisher",
        "valid token, but project already exists",
        hint=f"The pending publisher for {names} is removed; register an ordinary one for the project.",
    )
