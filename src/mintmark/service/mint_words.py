"""What a refused mint is told.

Owns the sentences, and that nobody but the bearer of a verified token learns anything of a publisher. Leaves the
decisions to `service.mint_attempt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mintmark.core.errors import Rejected
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import Mismatch, shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import claim_at
from mintmark.core.records import Issuer, Publisher, Registry

MISMATCHES_SHOWN = 4
NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Near:
    """A publisher that was found by its lookup claim but does not match."""

    publisher: Publisher
    mismatches: tuple[Mismatch, ...]


def no_publisher(issuer: Issuer, verified: VerifiedClaims, near: Sequence[Near]) -> Rejected:
    """Nothing matches: what the nearest publisher demands."""
    if not near:
        claim = BY_SLUG[issuer.provider].lookup.claim
        value = shown(claim_at(verified.claims, claim))
        return Rejected(
            "invalid-publisher",
            "valid token, but no corresponding publisher (Publisher with matching claims was not found)",
            hint=f"No publisher of the issuer {issuer.name!r} is registered for {'/'.join(claim)} {value}.",
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


def ambiguous(registries: Sequence[Registry], base_url: str) -> Rejected:
    """Several registries, of which the host-wide exchange cannot choose one."""
    urls = [f"{base_url}/{registry.slug}/_/oidc/mint-token" for registry in registries[:NAMED_MAX]]
    return Rejected(
        "ambiguous-registry",
        f"This identity may publish to {len(registries)} registries of this host.",
        hint=f"Use the exchange of one of them: {', '.join(urls)}.",
    )


def stale(publishers: Sequence[Publisher]) -> Rejected:
    """Pending publishers that came too late."""
    names = ", ".join(sorted({publisher.project for publisher in publishers})[:NAMED_MAX])
    return Rejected(
        "invalid-pending-publisher",
        "valid token, but project already exists",
        hint=f"The pending publisher for {names} is removed; register an ordinary one for the project.",
    )


def used(provider: str, why: str = "") -> Rejected:
    """The identity token was exchanged before; `why` says what else its repetition lacked."""
    return Rejected("invalid-reuse-token", "invalid token: already used", hint=f"{why} {_another(provider)}".strip())


def _another(provider: str) -> str:
    if BY_SLUG[provider].reusable:
        return "Ask for a fresh identity token; this job can get one."
    once = "This job's identity token was exchanged before, and its CI system gives a job only one"
    if provider != "gitlab":
        return f"{once}. Publish all files in one call, or in two jobs."
    return (
        f"{once} for each entry of id_tokens. Publish all files in one call, or add a second entry with the same "
        "audience and put its value into the variable for the second call."
    )
