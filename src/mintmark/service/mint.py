"""Identity token in, upload credential out (PEP 807, "Token Minting").

Owns the order of checks up to the verified token, and the limits. Leaves the token's rules to `core.jwt`, the one
transaction in which match, replay record and credential become true together to `service.mint_attempt`, and the
answer's form to `web`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mintmark.core import credentials, jwt
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.exchange import MintRequest
from mintmark.core.jwt import TokenRules, VerifiedClaims
from mintmark.core.match import shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Issuer, Registry
from mintmark.service.directory import Directory, Snapshot, key_source
from mintmark.service.limits import Limit
from mintmark.service.mint_attempt import Attempt, Candidate, Minted
from mintmark.service.ports import Clock, Entropy, Keys, Ledger, Transaction
from mintmark.service.steps import Reached, Step

# How often trust may change between verifying a token and recording its exchange, before the client has to repeat.
TRIES_MAX = 5


class Mint:
    """The use case. One instance serves every registry."""

    def __init__(
        self,
        ledger: Ledger,
        keys: Keys,
        clock: Clock,
        entropy: Entropy,
        directory: Directory,
        *,
        reached: Reached,
        per_address: Limit,
        per_issuer: Limit,
        host_audience: str,
        host_union: bool,
        base_url: str,
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._directory = directory
        self._reached = reached
        self._per_address = per_address
        self._per_issuer = per_issuer
        self._host_audience = host_audience
        self._host_union = host_union
        self._base_url = base_url

    async def __call__(self, registry: Registry | None, request: MintRequest, address: str) -> Minted:
        """Mint for one registry, or for the shared host when `registry` is None. Raises `Rejected`, `Unavailable`."""
        self._per_address.count(address)
        # Read once: the credential's life is counted from the request, not from the end of fetching keys or the commit.
        now = self._clock.now()
        token = jwt.read(request.token)
        # Asking for the newest snapshot after every commit would cost more than verifying the token. So the last one
        # is used, the transaction checks that it still holds, and nothing is refused by an older one.
        snapshot = await self._directory.recent()
        for _ in range(TRIES_MAX):
            refusal: Rejected | Unavailable | None = None
            try:
                minted = await self._mint(snapshot, registry, request, token, now)
            except (Rejected, Unavailable) as error:
                minted, refusal = None, error
            if minted is not None:
                return minted
            newest = await self._directory.current()
            if refusal is not None and newest.version == snapshot.version:
                raise refusal
            snapshot = newest
        raise Unavailable("Who is trusted changes too fast right now.", private="the trust version never stood still")

    async def _mint(
        self,
        snapshot: Snapshot,
        registry: Registry | None,
        request: MintRequest,
        token: jwt.UnverifiedToken,
        now: float,
    ) -> Minted | None:
        """Mint by a snapshot; None when it was behind, with nothing spent."""
        if registry is not None:
            registry = snapshot.by_id.get(registry.id)
            if registry is None:
                return None
        entries = self._trusting(snapshot, registry, token.issuer)
        audience = registry.audience if registry else self._host_audience
        candidates = await self._verify_all(snapshot, entries, token, audience)
        _check_age(candidates[0].verified, snapshot)
        # Only what the issuer signed counts: forged tokens must not use up what its jobs may do.
        self._per_issuer.count(token.issuer)
        self._reached(Step.MINT_VERIFIED)
        secret = credentials.compose(credentials.MINTED, self._entropy.draw(credentials.RANDOM_BYTES))
        attempt = Attempt(candidates, request, secret, now, registry is None, self._host_union, self._base_url)

        def work(tx: Transaction) -> Minted | Rejected | None:
            if tx.registries.version() != snapshot.version:
                return None
            outcome = attempt.run(tx)
            self._reached(Step.MINT_RECORDED)
            return outcome

        outcome = await self._ledger.write(work)
        if outcome is not None:
            self._reached(Step.MINT_COMMITTED)
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    def _trusting(self, snapshot: Snapshot, registry: Registry | None, issuer_url: str) -> list[Issuer]:
        """Trust entries for the issuer, before anything is fetched. No request ever goes to an unknown issuer."""
        entries = []
        for issuer in snapshot.issuers.get(issuer_url, ()):
            home = snapshot.by_id[issuer.registry_id]
            if home.enabled and (home.id == registry.id if registry else home.host_mint):
                entries.append(issuer)
        if not entries:
            raise Rejected(
                "invalid-payload",
                "unknown trusted publishing issuer",
                hint=f"This {'registry' if registry else 'host'} does not trust {shown(issuer_url)}; "
                "the operator can add it with `mintmark issuer add`.",
            )
        enabled = [i for i in entries if i.enabled and snapshot.by_id[i.registry_id].trusted_publishing]
        if not enabled:
            raise Rejected("not-enabled", f"{entries[0].provider} trusted publishing functionality not enabled")
        return enabled

    async def _verify_all(
        self, snapshot: Snapshot, entries: Sequence[Issuer], token: jwt.UnverifiedToken, audience: str
    ) -> list[Candidate]:
        """Verify the token under each entry's own conditions: what one registry trusts means nothing to another.

        Neither does trouble with fetching its keys; it is raised only when no other entry vouches for the token.
        """
        candidates: list[Candidate] = []
        refusal: Rejected | Unavailable | None = None
        verdicts: dict[object, VerifiedClaims | Rejected | Unavailable] = {}
        for issuer in entries:
            # Invariant: a fixed audience counts instead of the index's, never besides it, and for its own entry only.
            wanted = issuer.audience or audience
            conditions = (key_source(issuer), rules_of(issuer), wanted)
            if conditions not in verdicts:
                try:
                    verdicts[conditions] = await self._verify(issuer, token, wanted)
                except (Rejected, Unavailable) as error:
                    verdicts[conditions] = error
            verdict = verdicts[conditions]
            if isinstance(verdict, VerifiedClaims):
                candidates.append(Candidate(issuer, snapshot.by_id[issuer.registry_id], verdict))
            elif not isinstance(refusal, Unavailable):
                refusal = verdict
        if not candidates:
            assert refusal is not None
            raise refusal
        return candidates

    async def _verify(self, issuer: Issuer, token: jwt.UnverifiedToken, audience: str) -> VerifiedClaims:
        source, rules = key_source(issuer), rules_of(issuer)
        keys = await self._keys.current(source)
        try:
            return jwt.verify(token, keys, rules, audience, self._clock.now())
        except (jwt.UnknownKey, jwt.BadSignature):
            # New key, or (Jenkins) another key under the old name. Once; the port bounds how often it asks.
            newer = await self._keys.newer(source, keys)
            if newer is keys:
                raise
            return jwt.verify(token, newer, rules, audience, self._clock.now())


def _check_age(verified: VerifiedClaims, snapshot: Snapshot) -> None:
    # Invariant: a token that may have been exchanged before the ledger was restored from a backup, which knows nothing
    # of it, is not exchanged again. It is in the same snapshot as trust, which the transaction compares.
    if int(verified.claims["iat"]) <= snapshot.issued_after:
        raise Rejected(
            "invalid-reuse-token",
            "invalid token: issued before this index was restored from a backup",
            hint="Run the job again, so that it gets a fresh identity token.",
        )


def rules_of(issuer: Issuer) -> TokenRules:
    """What a trust entry demands of its tokens: the provider's table with the operator's changes."""
    provider = BY_SLUG[issuer.provider]
    return TokenRules(
        algorithms=frozenset(issuer.algorithms),
        max_lifetime_seconds=issuer.max_lifetime_seconds or provider.max_lifetime_seconds,
        types=provider.types,
        requires_jti=provider.requires_jti,
    )
