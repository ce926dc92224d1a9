"""Which registries exist and whom they trust: the small part of the ledger that every request needs.

Owns a cached snapshot, thrown away as soon as the ledger's trust version is another one, so that a change by the
command line or another process is effective on the next request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mintmark.core.records import Issuer, Registry
from mintmark.service.ports import Keys, KeySource, Ledger, Transaction


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Registries by slug and by own host name, and trust entries by issuer URL. Disabled ones included."""

    version: int
    by_slug: Mapping[str, Registry]
    by_host: Mapping[str, Registry]
    by_id: Mapping[int, Registry]
    issuers: Mapping[str, tuple[Issuer, ...]]
    of_registry: Mapping[int, tuple[Issuer, ...]]
    issued_after: int = 0
    """Identity tokens must be younger than this: see `nouns.Replays.issued_after`."""

    def exchanges(self, registry: Registry) -> bool:
        """Whether the registry offers Trusted Publishing at all."""
        issuers = self.of_registry.get(registry.id, ())
        return registry.enabled and registry.trusted_publishing and any(issuer.enabled for issuer in issuers)


def key_source(issuer: Issuer) -> KeySource:
    """Where a trust entry's keys come from."""
    return KeySource(
        issuer.url,
        issuer.jwks,
        issuer.ca_pem,
        issuer.networks,
        issuer.allow_http,
        issuer.keys_epoch,
        issuer.purge_epoch,
    )


class Directory:
    """The current snapshot."""

    def __init__(self, ledger: Ledger, keys: Keys) -> None:
        self._ledger = ledger
        self._keys = keys
        self._snapshot: Snapshot | None = None
        # The ledger's version at which the snapshot was last known to hold.
        self._held_at = -1

    async def recent(self) -> Snapshot:
        """A snapshot that may be behind, without asking the ledger.

        Whoever decides by it compares `Snapshot.version` with `Registries.version` inside its transaction.
        """
        return self._snapshot or await self.current()

    def fresh(self, version: int) -> Snapshot | None:
        """The snapshot, if nothing at all was committed since it was last known to hold. `version` is the ledger's."""
        return self._snapshot if version == self._held_at else None

    async def current(self) -> Snapshot:
        """The snapshot of this moment."""
        held_at = self._ledger.version()
        version = self._ledger.trust_version()
        if self._snapshot is None or self._snapshot.version != version:
            # One snapshot of both: between two look-ups an issuer of a new registry may appear.
            registries, issuers, issued_after = await self._ledger.read(_load)
            self._snapshot = _snapshot(version, registries, issuers, issued_after)
            self._keys.watch(key_source(issuer) for issuer in issuers if issuer.enabled)
        self._held_at = held_at
        return self._snapshot


def _load(tx: Transaction) -> tuple[list[Registry], list[Issuer], int]:
    return tx.registries.every(), tx.issuers.every(), tx.replays.issued_after()


def _snapshot(version: int, registries: list[Registry], issuers: list[Issuer], issued_after: int) -> Snapshot:
    by_url: dict[str, list[Issuer]] = {}
    of_registry: dict[int, list[Issuer]] = {}
    for issuer in issuers:
        by_url.setdefault(issuer.url, []).append(issuer)
        of_registry.setdefault(issuer.registry_id, []).append(issuer)
    return Snapshot(
        version,
        {registry.slug: registry for registry in registries},
        {registry.host: registry for registry in registries if registry.host},
        {registry.id: registry for registry in registries},
        {url: tuple(entries) for url, entries in by_url.items()},
        {registry_id: tuple(entries) for registry_id, entries in of_registry.items()},
        issued_after,
    )
