"""The same identity token a second time, where the operator allows that for its issuer.

Owns the bounds: until the token expires, so many times, in the same registry, for no more than at first, and with one
credential alive at a time. It helps a job that gets a single identity token and publishes twice, or that never saw the
first answer. Leaves the transaction around it to `service.mint_attempt`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mintmark.core.errors import Rejected
from mintmark.core.jwt import VerifiedClaims
from mintmark.core.records import Credential, FirstMint, Issuer, Publisher
from mintmark.service import mint_words
from mintmark.service.ports import Transaction

REPETITIONS_MAX = 10


@dataclass(frozen=True, slots=True)
class Repetition:
    """One that is allowed: what it may cover, and the credential that ends with it."""

    first: FirstMint
    covering: tuple[Publisher, ...]
    former: Credential

    def end_former(self, tx: Transaction, credential: Credential, verified: VerifiedClaims, now: int) -> None:
        """Let the new credential take the former one's place."""
        tx.credentials.end(self.former.id, now)
        counted = replace(self.first, credential_id=credential.id, repetitions=self.first.repetitions + 1)
        tx.replays.set_first(verified.issuer, verified.replay_key, counted)


def digest_of(token: str) -> str:
    """By which a repetition knows its token: the signed part, since some signatures can be written in several ways."""
    return hashlib.sha256(token.rpartition(".")[0].encode("utf-8", "surrogateescape")).hexdigest()


def remember(tx: Transaction, token: str, verified: VerifiedClaims, credential: Credential) -> None:
    """After a first exchange: what its repetitions are held to."""
    assert credential.registry_id is not None
    first = FirstMint(digest_of(token), credential.registry_id, credential.publishers, credential.id)
    tx.replays.set_first(verified.issuer, verified.replay_key, first)


def repeat(
    tx: Transaction,
    token: str,
    verified: VerifiedClaims,
    issuers: Sequence[Issuer],
    covering: Sequence[Publisher],
    now: float,
) -> Repetition | Rejected:
    """Judge a token that was exchanged before. `issuers` are the trust entries that vouch for it."""
    first = tx.replays.first(verified.issuer, verified.replay_key)
    provider = issuers[0].provider
    if first is None or not any(it.remint and it.registry_id == first.registry_id for it in issuers):
        return mint_words.used(provider)
    if first.digest != digest_of(token):
        return mint_words.used(provider, "Another identity token of the same id was.")
    # No leeway: it is for clocks that differ, and this is a decision of this index alone.
    if now >= verified.expires_at:
        return mint_words.used(provider, "It may be repeated only until it expires.")
    if first.repetitions >= REPETITIONS_MAX:
        return mint_words.used(provider, f"It was repeated {REPETITIONS_MAX} times, which is the most.")
    # Invariant: a repetition covers no more than the first exchange did, whatever was registered since.
    kept = tuple(publisher for publisher in covering if publisher.id in first.publishers)
    former = tx.credentials.by_id(first.credential_id)
    if not kept or former is None:
        return mint_words.used(provider, "Nothing is left of what it could publish then.")
    return Repetition(first, kept, former)
