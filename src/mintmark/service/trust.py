"""Registries, issuers and publishers: declared as a whole, or changed one by one.

Owns the comparison of what is wanted with what the ledger holds, and applying the difference in one transaction.
Leaves the meaning of an entry to `core.trust` and talking to people to the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Event, Issuer, Principal, Publisher, Registry
from mintmark.core.trust import PENDING_SECONDS, WantedPublisher, WantedRegistry, warnings_for
from mintmark.service.ports import Clock, Ledger, Transaction

Operation = Callable[[Transaction, dict[str, int]], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan. `action` is add, change or remove; `kind` is registry, issuer, publisher or
    pending publisher."""

    action: str
    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying would do, and sentences worth reading before."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def identify(publisher: Publisher, issuer: str) -> str:
    """A publisher for people: `widget from gitlab (project-path=group/widget, workflow=.gitlab-ci.yml)`."""
    facts = [f"{key}={value}" for key, value in publisher.config.items()]
    limits = publisher.constraints
    facts += [f"ref={limits.ref}"] if limits.ref else []
    facts += ["protected-ref"] if limits.protected_ref else []
    facts += [f"tag={limits.tag}"] if limits.tag else []
    facts += [f"allow={limits.allow}"] if limits.allow != "any" else []
    return f"{publisher.project} from {issuer} ({', '.join(facts)})"


class _Planner:
    """Compares inside one transaction; collects lines and the operations behind them."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self._tx = tx
        self._now = now
        self.changes: list[Change] = []
        self.warnings: list[str] = []
        self.operations: list[Operation] = []
        # Run first, since a new entry may take a name or URL that a removed one had.
        self.removals: list[Operation] = []

    def plan(self, wanted: Sequence[WantedRegistry]) -> None:
        """Compare everything."""
        existing = {registry.slug: registry for registry in self._tx.registries.every()}
        for each in wanted:
            current = existing.pop(each.registry.slug, None)
            self._registry(each.registry, current)
            self._inside(each, current)
        for registry in existing.values():
            self.remove_registry(registry)

    def _registry(self, wanted: Registry, current: Registry | None) -> None:
        slug = wanted.slug
        if current is None:
            self._add(
                Change("add", "registry", slug, f"audience {wanted.audience}"),
                lambda tx, ids: ids.update({slug: tx.registries.insert(wanted).id}),
            )
            return
        self.operations.append(lambda _tx, ids: ids.update({slug: current.id}))
        if replace(wanted, id=current.id) != current:
            detail = _difference(current, replace(wanted, id=current.id))
            self._add(
                Change("change", "registry", slug, detail),
                lambda tx, _ids: tx.registries.update(replace(wanted, id=current.id)),
            )

    def remove_registry(self, registry: Registry) -> None:
        """Plan a removal; raises `Rejected` when the registry holds projects."""
        count = self._tx.projects.count(registry.id)
        if count:
            raise Rejected(
                "invalid-trust",
                f"The registry {registry.slug} is not in the file but holds {count} projects.",
                hint="Nothing that holds packages is removed. Put it back, with enabled = false to switch it off.",
            )
        self._remove(Change("remove", "registry", registry.slug), lambda tx, _ids: tx.registries.remove(registry.id))

    def _inside(self, wanted: WantedRegistry, registry: Registry | None) -> None:
        slug = wanted.registry.slug
        registry_id = registry.id if registry else -1
        issuers = {i.name: i for i in self._tx.issuers.every() if i.registry_id == registry_id}
        publishers = self._tx.publishers.of_registry(registry_id)
        kept = self._issuers(slug, wanted.issuers, issuers)
        names = {issuer.id: name for name, issuer in issuers.items()}
        for publisher in publishers:
            if publisher.issuer_id not in kept:
                kind = "pending publisher" if publisher.project_id is None else "publisher"
                label = f"{slug}/{identify(publisher, names[publisher.issuer_id])}"
                self.changes.append(Change("remove", kind, label, "goes with its issuer"))
        self._publishers(slug, registry_id, wanted.publishers, [p for p in publishers if p.issuer_id in kept], issuers)
        by_name = {issuer.name: issuer for issuer in wanted.issuers}
        self.warnings += [f"{slug}: {text}" for text in warnings_for(wanted.publishers, by_name)]

    def _issuers(self, slug: str, wanted: Sequence[Issuer], current: dict[str, Issuer]) -> set[int]:
        """Plan the issuers; returns the ids of those that stay."""
        left, kept = dict(current), set()
        for issuer in wanted:
            former = left.pop(issuer.name, None)
            key = f"{slug}/{issuer.name}"
            # Another provider is another meaning of every publisher: not a change, but a removal and an addition.
            if former is not None and former.provider == issuer.provider and former.url == issuer.url:
                kept.add(former.id)
                self._keep_issuer(key, issuer, former)
                continue
            if former is not None:
                self._remove_issuer(key, former)
            self._add(
                Change("add", "issuer", key, f"{issuer.provider} {issuer.url}"), _insert_issuer(slug, key, issuer)
            )
        for name, former in left.items():
            self._remove_issuer(f"{slug}/{name}", former)
        return kept

    def _keep_issuer(self, key: str, wanted: Issuer, former: Issuer) -> None:
        updated = replace(
            wanted,
            id=former.id,
            registry_id=former.registry_id,
            keys_epoch=former.keys_epoch,
            purge_epoch=former.purge_epoch,
        )
        self.operations.append(lambda _tx, ids: ids.update({key: former.id}))
        if updated != former:
            self._add(
                Change("change", "issuer", key, _difference(former, updated)),
                lambda tx, _ids: tx.issuers.update(updated),
            )

    def _remove_issuer(self, key: str, former: Issuer) -> None:
        self._remove(Change("remove", "issuer", key, former.url), lambda tx, _ids: tx.issuers.remove(former.id))

    def _publishers(
        self,
        slug: str,
        registry_id: int,
        wanted: Sequence[WantedPublisher],
        current: Sequence[Publisher],
        issuers: dict[str, Issuer],
    ) -> None:
        names = {issuer.id: name for name, issuer in issuers.items()}
        left = {(names[p.issuer_id], p.project, _facts(p)): p for p in current}
        for each in wanted:
            former = left.pop((each.issuer, each.publisher.project, _facts(each.publisher)), None)
            lapsed = former is not None and former.expires_at is not None and former.expires_at <= self._now
            if former is not None and not lapsed:
                continue
            if former is not None:
                self._remove_publisher(slug, former, each.issuer)
            self._insert_publisher(slug, registry_id, each)
        for (issuer, _, _), former in left.items():
            self._remove_publisher(slug, former, issuer)

    def _insert_publisher(self, slug: str, registry_id: int, each: WantedPublisher) -> None:
        project = self._tx.projects.find(registry_id, each.publisher.project)
        label = f"{slug}/{identify(each.publisher, each.issuer)}"
        kind = "publisher" if project else "pending publisher"
        detail = "" if project else "creates the project at its first use, within 30 days"
        self._add(Change("add", kind, label, detail), _insert_publisher(slug, each, self._now))

    def _remove_publisher(self, slug: str, former: Publisher, issuer: str) -> None:
        kind = "pending publisher" if former.project_id is None else "publisher"
        self._remove(
            Change("remove", kind, f"{slug}/{identify(former, issuer)}"),
            lambda tx, _ids: tx.publishers.remove(former.id),
        )

    def _add(self, change: Change, operation: Operation) -> None:
        self.changes.append(change)
        self.operations.append(operation)

    def _remove(self, change: Change, operation: Operation) -> None:
        self.changes.append(change)
        self.removals.append(operation)


def _facts(publisher: Publisher) -> tuple[object, ...]:
    return tuple(sorted(publisher.config.items())), publisher.constraints


def _insert_issuer(slug: str, key: str, issuer: Issuer) -> Operation:
    def run(tx: Transaction, ids: dict[str, int]) -> None:
        ids[key] = tx.issuers.insert(replace(issuer, registry_id=ids[slug])).id

    return run


def _insert_publisher(slug: str, each: WantedPublisher, now: int) -> Operation:
    def run(tx: Transaction, ids: dict[str, int]) -> None:
        add_publisher(tx, each, ids[slug], ids[f"{slug}/{each.issuer}"], now)

    return run


def add_publisher(tx: Transaction, wanted: WantedPublisher, registry_id: int, issuer_id: int, now: int) -> Publisher:
    """Insert a publisher, pending if its project does not exist. Raises `Rejected` when it is there already."""
    project = tx.projects.find(registry_id, wanted.publisher.project)
    if project is None and wanted.publisher.constraints.allow == "upload-only":
        raise Rejected(
            "invalid-trust",
            f"The project {wanted.publisher.project} does not exist, and an upload-only publisher never creates it.",
            hint="Upload it once by other means, or leave allow out.",
        )
    publisher = replace(
        wanted.publisher,
        registry_id=registry_id,
        issuer_id=issuer_id,
        project_id=project.id if project else None,
        created_at=now,
        expires_at=None if project else now + PENDING_SECONDS,
    )
    inserted = tx.publishers.insert(publisher, wanted.lookup)
    if inserted is None:
        raise Rejected("invalid-trust", f"The publisher {identify(publisher, wanted.issuer)} is registered already.")
    return inserted


def _difference(former: object, updated: object) -> str:
    changed = []
    for name in former.__slots__:  # type: ignore[attr-defined]
        before, after = getattr(former, name), getattr(updated, name)
        if before != after:
            # Certificates and key sets are too long to show.
            long = name in {"ca_pem", "jwks"}
            changed.append(name.replace("_", "-") + ("" if long else f": {_brief(before)} -> {_brief(after)}"))
    return ", ".join(changed)


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
                facts = {"name": change.name, "detail": change.detail}
                event = Event(int(self._clock.now()), principal, f"{change.kind}-{change.action}", facts=facts)
                tx.audit.record(event)

        await self._ledger.write(work)

    def _planner(self, tx: Transaction, wanted: Sequence[WantedRegistry]) -> _Planner:
        planner = _Planner(tx, int(self._clock.now()))
        planner.plan(wanted)
        return planner

    # -- one by one ---------------------------------------------------------------------------------------------------

    async def add_registry(self, registry: Registry, principal: Principal) -> Registry:
        """Create a registry; raises `Rejected` when slug, audience or host are taken."""

        def work(tx: Transaction) -> Registry:
            for other in tx.registries.every():
                for what in ("slug", "audience", "host"):
                    value = getattr(registry, what)
                    if value is not None and getattr(other, what) == value:
                        raise Rejected("invalid-trust", f"The registry {other.slug} has the {what} {value!r} already.")
            self._note(tx, principal, "registry-add", None, {"name": registry.slug})
            return tx.registries.insert(registry)

        return await self._ledger.write(work)

    async def remove_registry(self, slug: str, principal: Principal) -> None:
        """Remove an empty registry."""

        def work(tx: Transaction) -> None:
            registry = find_registry(tx, slug)
            planner = _Planner(tx, int(self._clock.now()))
            planner.remove_registry(registry)
            planner.removals[0](tx, {})
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
                {"name": name, "detail": _difference(issuer, updated)},
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
            publisher = add_publisher(tx, wanted, registry.id, issuer.id, int(self._clock.now()))
            label = identify(publisher, issuer.name)
            self._note(tx, principal, "publisher-add", registry.id, {"name": label}, publisher.project)
            return publisher

        return await self._ledger.write(work)

    async def remove_publisher(self, slug: str, publisher_id: int, principal: Principal) -> None:
        """Detach a publisher; credentials minted through it no longer cover its project."""

        def work(tx: Transaction) -> None:
            registry = find_registry(tx, slug)
            found = [p for p in tx.publishers.of_registry(registry.id) if p.id == publisher_id]
            if not found:
                raise Rejected(
                    "invalid-trust",
                    f"The registry {slug} has no publisher {publisher_id}.",
                    hint="`mintmark publisher list` shows them with their numbers.",
                )
            tx.publishers.remove(publisher_id)
            facts = {"name": identify(found[0], ""), "id": publisher_id}
            self._note(tx, principal, "publisher-remove", registry.id, facts, found[0].project)

        await self._ledger.write(work)

    async def overview(self) -> list[tuple[Registry, list[Issuer], list[Publisher]]]:
        """Every registry with its issuers and publishers."""

        def work(tx: Transaction) -> list[tuple[Registry, list[Issuer], list[Publisher]]]:
            issuers = tx.issuers.every()
            return [
                (r, [i for i in issuers if i.registry_id == r.id], tx.publishers.of_registry(r.id))
                for r in tx.registries.every()
            ]

        return await self._ledger.read(work)

    def _note(
        self,
        tx: Transaction,
        principal: Principal,
        action: str,
        registry_id: int | None,
        facts: dict[str, object],
        project: str = "",
    ) -> None:
        tx.audit.record(Event(int(self._clock.now()), principal, action, registry_id, project, facts=facts))


def find_registry(tx: Transaction, slug: str) -> Registry:
    """The registry of this name, or `Rejected` with the names there are."""
    registry = tx.registries.find(slug)
    if registry is None:
        names = ", ".join(each.slug for each in tx.registries.every())
        raise Rejected(
            "invalid-trust",
            f"There is no registry {slug!r}.",
            hint=f"There are: {names}." if names else "Create one with `mintmark registry create NAME`.",
        )
    return registry


def find_issuer(tx: Transaction, registry: Registry, name: str) -> Issuer:
    """The trust entry of this name, or `Rejected` with the names there are."""
    issuer = tx.issuers.find(registry.id, name)
    if issuer is None:
        names = ", ".join(each.name for each in tx.issuers.every() if each.registry_id == registry.id)
        raise Rejected("invalid-trust", f"{registry.slug} has no issuer {name!r}.", hint=f"It has: {names or 'none'}.")
    return issuer


def requires_fields(provider: str) -> str:
    """The fields of a provider's publishers, for help texts."""
    return ", ".join(field.name + (" (required)" if field.required else "") for field in BY_SLUG[provider].fields)
