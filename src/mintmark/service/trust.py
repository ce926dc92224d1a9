"""Registries, issuers and publishers: declared as a whole, or changed one by one.

Owns the use cases and their transactions. Leaves the comparison with the ledger to `service.trust_plan`, the meaning
of an entry to `core.trust` and talking to people to the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mintmark.core import credentials, pins
from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Event, Issuer, Principal, Publisher, Registry
from mintmark.core.trust import WantedPublisher, WantedRegistry, check_welcome
from mintmark.service.ports import Clock, Ledger, Transaction
from mintmark.service.trust_plan import Plan, Planner, add_publisher, check_empty, difference, identify, left_out


class Trust:
    """The use cases of administering trust."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def plan(self, wanted: Sequence[WantedRegistry]) -> Plan:
        """What `apply` would do."""

        def work(tx: Transaction) -> Plan:
            planner = self._planner(tx, wanted)
            return Plan(tuple(planner.changes), tuple(planner.warnings))

        return await self._ledger.read(work)

    async def apply(self, wanted: Sequence[WantedRegistry], agreed: Plan, principal: Principal) -> None:
        """Do what was agreed, all or nothing. Raises `Rejected` when the ledger has changed since the plan was made."""

        def work(tx: Transaction) -> None:
            planner = self._planner(tx, wanted)
            if tuple(planner.changes) != agreed.changes:
                raise Rejected("invalid-trust", "The ledger changed after the plan was made.", hint="Run apply again.")
            ids: dict[str, int] = {}
            for operation in (*planner.removals, *planner.operations):
                operation(tx, ids)
            for change in planner.changes:
                # A pending publisher is a publisher here, as in the single commands.
                action = f"{change.kind.rpartition(' ')[2]}-{change.action}"
                registry_id = ids.get(change.name.partition("/")[0])
                self._note(tx, principal, action, registry_id, {"name": change.name, "detail": change.detail})

        await self._ledger.write(work)

    def _planner(self, tx: Transaction, wanted: Sequence[WantedRegistry]) -> Planner:
        planner = Planner(tx, int(self._clock.now()))
        planner.plan(wanted)
        return planner

    # -- one by one ---------------------------------------------------------------------------------------------------

    async def add_registry(self, registry: Registry, principal: Principal) -> Registry:
        """Create a registry; raises `Rejected` when slug, audience or host are taken."""

        def work(tx: Transaction) -> Registry:
            _check_free(tx, registry)
            created = tx.registries.insert(registry)
            self._note(tx, principal, "registry-add", created.id, {"name": registry.slug})
            return created

        return await self._ledger.write(work)

    async def change_registry(
        self, slug: str, change: Callable[[Registry], Registry], principal: Principal
    ) -> tuple[Registry, str, str]:
        """Change settings of a registry. Returns it as it is now, what changed ("" for nothing), and what to know.

        Raises `Rejected` as applying a file does: when audience or host are taken, or when a publisher of the registry
        could not upload any more.
        """

        def work(tx: Transaction) -> tuple[Registry, str, str]:
            registry = find_registry(tx, slug)
            updated = change(registry)
            if updated == registry:
                return registry, "", ""
            _check_free(tx, updated)
            for publisher in tx.publishers.of_registry(registry.id):
                check_welcome(f"publisher {publisher.id}", updated, publisher)
            tx.registries.update(updated)
            detail = difference(registry, updated)
            self._note(tx, principal, "registry-change", registry.id, {"name": slug, "detail": detail})
            return updated, detail, left_out(tx, registry, updated)

        return await self._ledger.write(work)

    async def remove_registry(self, slug: str, principal: Principal) -> None:
        """Remove an empty registry."""

        def work(tx: Transaction) -> None:
            registry = find_registry(tx, slug)
            check_empty(tx, registry)
            tx.registries.remove(registry.id)
            self._note(tx, principal, "registry-remove", None, {"name": slug})

        await self._ledger.write(work)

    async def add_issuer(self, slug: str, issuer: Issuer, principal: Principal) -> Issuer:
        """Trust an issuer in a registry."""

        def work(tx: Transaction) -> Issuer:
            registry = find_registry(tx, slug)
            for other in tx.issuers.every():
                if other.registry_id == registry.id and (other.name == issuer.name or other.url == issuer.url):
                    raise Rejected(
                        "invalid-trust",
                        f"{slug} has the issuer {other.name} ({other.url}) already.",
                        hint="Remove it first.",
                    )
            for home in tx.registries.every():
                if issuer.audience and issuer.audience == home.audience:
                    raise _taken(issuer, home)
            self._note(tx, principal, "issuer-add", registry.id, {"name": issuer.name, "url": issuer.url})
            return tx.issuers.insert(replace(issuer, registry_id=registry.id))

        return await self._ledger.write(work)

    async def change_issuer(
        self, slug: str, name: str, change: Callable[[Issuer], Issuer], principal: Principal
    ) -> None:
        """Change a trust entry, for example its epochs or whether it is enabled."""

        def work(tx: Transaction) -> None:
            issuer = find_issuer(tx, find_registry(tx, slug), name)
            updated = change(issuer)
            tx.issuers.update(updated)
            self._note(
                tx,
                principal,
                "issuer-change",
                issuer.registry_id,
                {"name": name, "detail": difference(issuer, updated)},
            )

        await self._ledger.write(work)

    async def remove_issuer(self, slug: str, name: str, principal: Principal) -> None:
        """Stop trusting an issuer; its publishers go too, and credentials minted through them end."""

        def work(tx: Transaction) -> None:
            issuer = find_issuer(tx, find_registry(tx, slug), name)
            tx.issuers.remove(issuer.id)
            self._note(tx, principal, "issuer-remove", issuer.registry_id, {"name": name, "url": issuer.url})

        await self._ledger.write(work)

    async def add_publisher(
        self, slug: str, issuer_name: str, parse: Callable[[Issuer], WantedPublisher], principal: Principal
    ) -> Publisher:
        """Register a publisher; `parse` reads what a person gave, for the issuer found."""

        def work(tx: Transaction) -> Publisher:
            registry = find_registry(tx, slug)
            issuer = find_issuer(tx, registry, issuer_name)
            wanted = parse(issuer)
            check_welcome(f"publisher of {wanted.publisher.project}", registry, wanted.publisher)
            publisher = add_publisher(tx, wanted, registry.id, issuer, int(self._clock.now()))
            label = identify(publisher, issuer.name)
            self._note(tx, principal, "publisher-add", registry.id, {"name": label}, publisher.project)
            return publisher

        return await self._ledger.write(work)

    async def remove_publisher(self, slug: str, publisher_id: int, principal: Principal) -> None:
        """Detach a publisher; credentials minted through it no longer cover its project."""

        def work(tx: Transaction) -> None:
            registry = find_registry(tx, slug)
            found = _find_publisher(tx, registry, publisher_id)
            tx.publishers.remove(publisher_id)
            facts = {"name": identify(found, ""), "id": publisher_id}
            self._note(tx, principal, "publisher-remove", registry.id, facts, found.project)

        await self._ledger.write(work)

    async def repin_publisher(
        self, slug: str, publisher_id: int, former: str, new: str, principal: Principal, claim: str = ""
    ) -> tuple[Publisher, str]:
        """Replace an id that a publisher has learned; the publisher and the claim. Raises `Rejected`."""

        def work(tx: Transaction) -> tuple[Publisher, str]:
            registry = find_registry(tx, slug)
            found = _find_publisher(tx, registry, publisher_id)
            changed, ids = pins.repinned(found.pins, former, new, claim)
            tx.publishers.set_pins(publisher_id, ids)
            # What the former identity was given ends with it.
            for each in tx.credentials.of_registry(registry.id, credentials.MINTED):
                if publisher_id in each.publishers:
                    tx.credentials.end(each.id, int(self._clock.now()))
            facts = {"name": identify(found, ""), "id": publisher_id, "claim": changed, "from": former, "to": new}
            self._note(tx, principal, "publisher-repin", registry.id, facts, found.project)
            return replace(found, pins=ids), changed

        return await self._ledger.write(work)

    async def overview(self, slug: str | None = None) -> list[tuple[Registry, list[Issuer], list[Publisher]]]:
        """Every registry, or one, with its issuers and publishers."""

        def work(tx: Transaction) -> list[tuple[Registry, list[Issuer], list[Publisher]]]:
            issuers = tx.issuers.every()
            registries = tx.registries.every() if slug is None else [find_registry(tx, slug)]
            return [
                (r, [i for i in issuers if i.registry_id == r.id], tx.publishers.of_registry(r.id)) for r in registries
            ]

        return await self._ledger.read(work)

    def _note(
        self,
        tx: Transaction,
        principal: Principal,
        action: str,
        registry_id: int | None,
        facts: Mapping[str, object],
        project: str = "",
    ) -> None:
        tx.audit.record(Event(int(self._clock.now()), principal, action, registry_id, project, facts=facts))


def _check_free(tx: Transaction, registry: Registry) -> None:
    """Raise `Rejected` when another registry has the name, audience or host of this one."""
    for other in tx.registries.every():
        for what in ("slug", "audience", "host"):
            value = getattr(registry, what)
            if other.id != registry.id and value is not None and getattr(other, what) == value:
                raise Rejected("invalid-trust", f"The registry {other.slug} has the {what} {value!r} already.")
    for issuer in tx.issuers.every():
        if issuer.audience == registry.audience:
            raise _taken(issuer, registry)


def _taken(issuer: Issuer, home: Registry) -> Rejected:
    return Rejected(
        "invalid-trust",
        f"The audience {issuer.audience!r} of the issuer {issuer.name} is that of the registry {home.slug}.",
        hint="Its tokens are made to publish there. Leave it out, or name the CI system's own.",
    )


def find_registry(tx: Transaction, slug: str) -> Registry:
    """The registry of this name, or `Rejected` with the names there are."""
    # Arguments of a command may hold bytes that are no text, which no ledger can look up.
    registry = tx.registries.find(slug) if slug.isascii() else None
    if registry is None:
        names = ", ".join(each.slug for each in tx.registries.every())
        raise Rejected(
            "invalid-trust",
            f"There is no registry {slug!r}.",
            hint=f"There are: {names}." if names else "Create one with `mintmark registry create NAME`.",
        )
    return registry


def _find_publisher(tx: Transaction, registry: Registry, publisher_id: int) -> Publisher:
    for publisher in tx.publishers.of_registry(registry.id):
        if publisher.id == publisher_id:
            return publisher
    raise Rejected(
        "invalid-trust",
        f"The registry {registry.slug} has no publisher {publisher_id}.",
        hint="`mintmark publisher list` shows them with their numbers.",
    )


def find_issuer(tx: Transaction, registry: Registry, name: str) -> Issuer:
    """The trust entry of this name, or `Rejected` with the names there are."""
    issuer = tx.issuers.find(registry.id, name) if name.isascii() else None
    if issuer is None:
        names = ", ".join(each.name for each in tx.issuers.every() if each.registry_id == registry.id)
        raise Rejected("invalid-trust", f"{registry.slug} has no issuer {name!r}.", hint=f"It has: {names or 'none'}.")
    return issuer


def requires_fields(provider: str) -> str:
    """The fields of a provider's publishers, for help texts."""
    return ", ".join(field.written + (" (required)" if field.required else "") for field in BY_SLUG[provider].fields)
