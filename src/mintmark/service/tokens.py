"""API tokens, for what has no identity token.

Owns creating, listing and revoking them. The secret is shown once and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from mintmark.core import credentials
from mintmark.core.errors import Rejected
from mintmark.core.names import parse_pattern
from mintmark.core.records import Credential, Event, Principal
from mintmark.service.ports import Clock, Entropy, Ledger, Transaction
from mintmark.service.trust import find_registry

NAME_MAX_CHARACTERS = 100


class Tokens:
    """The use cases."""

    def __init__(self, ledger: Ledger, clock: Clock, entropy: Entropy) -> None:
        self._ledger = ledger
        self._clock = clock
        self._entropy = entropy

    async def create(
        self,
        slug: str,
        name: str,
        projects: Sequence[str],
        *,
        can_upload: bool,
        can_read: bool,
        lifetime_seconds: int | None,
        principal: Principal,
    ) -> tuple[str, Credential]:
        """A new token of a registry, for projects that match a pattern. Returns the secret, and what is stored."""
        _check(name, can_upload=can_upload, can_read=can_read, lifetime_seconds=lifetime_seconds)
        patterns = tuple(parse_pattern(pattern) for pattern in projects)
        if not patterns:
            raise Rejected(
                "invalid-trust", "Say which projects the token is for.", hint="'*' means all of the registry."
            )
        secret = credentials.compose(credentials.API, self._entropy.draw(credentials.RANDOM_BYTES))
        now = int(self._clock.now())

        def work(tx: Transaction) -> Credential:
            registry = find_registry(tx, slug)
            if can_upload and registry.trusted_publishing_only:
                raise Rejected(
                    "invalid-trust",
                    f"{slug} takes uploads from trusted publishers only.",
                    hint="Create a token that only reads, or publish from CI with an identity token.",
                )
            token = Credential(
                id=0,
                digest=credentials.digest_of(secret),
                kind=credentials.API,
                registry_id=registry.id,
                name=name,
                publishers=(),
                projects=patterns,
                can_upload=can_upload,
                can_read=can_read,
                single_use=False,
                spent_on=None,
                ref="",
                created_at=now,
                expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
                ended_at=None,
            )
            facts = {"name": name, "projects": list(patterns)}
            tx.audit.record(Event(now, principal, "token-create", registry.id, facts=facts))
            return tx.credentials.insert(token)

        return secret, await self._ledger.write(work)

    async def every(self, slug: str) -> list[Credential]:
        """A registry's tokens, the ended ones too."""
        return await self._ledger.read(
            lambda tx: tx.credentials.of_registry(find_registry(tx, slug).id, credentials.API)
        )

    async def revoke(self, slug: str, token_id: int, principal: Principal) -> Credential:
        """End a token at once. Returns it as it was before: `ended_at` is set when there was nothing to do."""
        now = int(self._clock.now())

        def work(tx: Transaction) -> Credential:
            registry = find_registry(tx, slug)
            found = [c for c in tx.credentials.of_registry(registry.id, credentials.API) if c.id == token_id]
            if not found:
                raise Rejected(
                    "invalid-trust",
                    f"{slug} has no token {token_id}.",
                    hint=f"`mintmark token list {slug}` shows them.",
                )
            if found[0].ended_at is not None:
                return found[0]
            tx.credentials.end(token_id, now)
            tx.audit.record(Event(now, principal, "token-revoke", registry.id, facts={"name": found[0].name}))
            return found[0]

        return await self._ledger.write(work)


def _check(name: str, *, can_upload: bool, can_read: bool, lifetime_seconds: int | None) -> None:
    """Refuse what makes no sense for any registry."""
    if not name.strip() or len(name) > NAME_MAX_CHARACTERS or not name.isprintable():
        raise Rejected(
            "invalid-trust",
            f"A token needs a name of at most {NAME_MAX_CHARACTERS} printable characters.",
            hint="Say who holds it, for example laptop-of-jo.",
        )
    if not can_upload and not can_read:
        raise Rejected(
            "invalid-trust", "A token that may neither upload nor read is of no use.", hint="Allow one, or both."
        )
    if lifetime_seconds is not None and lifetime_seconds < 1:
        raise Rejected("invalid-trust", "A token must live for at least a second.", hint="Give a later end.")
