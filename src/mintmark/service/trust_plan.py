"""What has to change for the ledger to hold exactly what is wanted.

Owns the comparison, the lines that a person reads before agreeing, and the operations behind the lines. Leaves
transactions and agreement to `service.trust`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mintmark.core import pins
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName
from mintmark.core.policy import Policy
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.records import Issuer, Project, Publisher, Registry
from mintmark.core.trust import PENDING_SECONDS, WantedPublisher, WantedRegistry
from mintmark.core.trust_warnings import warnings_for
from mintmark.service.ports import Transaction

NAMED_MAX = 5
"""Projects that a sentence names."""
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


# As people fill them in, whatever order a file or the ledger has.
# A name that several providers have keeps the place it has in the first.
_ORDER = {field.name: place for provider in reversed(PROVIDERS) for place, field in enumerate(provider.fields)}


def identify(publisher: Publisher, issuer: str) -> str:
    """A publisher for people: `widget from gitlab (project-path=group/widget, workflow=.gitlab-ci.yml)`."""
    facts = [
        f"{key}={publisher.config[key]}"
        for key in sorted(publisher.config, key=lambda key: (_ORDER.get(key, len(_ORDER)), key))
    ]
    limits = publisher.constraints
    facts += [f"ref={limits.ref}"] if limits.ref else []
    facts += ["protected-ref"] if limits.protected_ref else []
    facts += [f"tag={limits.tag}"] if limits.tag else []
    facts += [f"allow={limits.allow}"] if limits.allow != "any" else []
    facts += ["reads"] if publisher.reads else []
    return f"{publisher.project} from {issuer} ({', '.join(facts)})"


def learned(publisher: Publisher) -> str:
    """The ids that a publisher has learned, for people, or ""."""
    return ", ".join(f"{claim}={value}" for claim, value in sorted(publisher.pins.items()))


class Planner:
    """Compares inside one transaction; collects lines and the operations behind them. Operations get the
    transaction, and the ids of registries (`acme`) and issuers (`acme/gitlab`) known so far."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self._tx = tx
        self._now = now
        self.changes: list[Change] = []
        self.warnings: list[str] = []
        self.operations: list[Operation] = []
        # Run first, since a new entry may take a name, URL, host or audience that a former one had.
        self.removals: list[Operation] = []

    def plan(self, wanted: Sequence[WantedRegistry]) -> None:
        """Compare everything."""
        existing = {registry.slug: registry for registry in self._tx.registries.every()}
        for each in wanted:
            current = existing.pop(each.registry.slug, None)
            self._registry(each.registry, current)
            self._inside(each, current)
        for registry in existing.values():
            self._remove_registry(registry)

    def _registry(self, wanted: Registry, current: Registry | None) -> None:
        slug = wanted.slug
        if current is None:
            self._add(
                Change("add", "registry", slug, f"audience {wanted.audience}"),
                lambda tx, ids: ids.update({slug: tx.registries.insert(wanted).id}),
            )
            return
        self.operations.append(lambda _tx, ids: ids.update({slug: current.id}))
        updated = replace(wanted, id=current.id)
        if updated == current:
            return
        note = left_out(self._tx, current, updated)
        self.warnings += [f"{slug}: {note}"] if note else []
        if (updated.host, updated.audience) != (current.host, current.audience):
            # Two registries may swap theirs: both let go before either takes. No audience begins with '-'.
            free = replace(current, host=None, audience=f"-{current.id}")
            self.removals.append(lambda tx, _ids: tx.registries.update(free))
        self._add(
            Change("change", "registry", slug, difference(current, updated)),
            lambda tx, _ids: tx.registries.update(updated),
        )

    def _remove_registry(self, registry: Registry) -> None:
        check_empty(self._tx, registry, "is not in the file but")
        self._remove(Change("remove", "registry", registry.slug), lambda tx, _ids: tx.registries.remove(registry.id))
        names = {i.id: i.name for i in self._tx.issuers.every() if i.registry_id == registry.id}
        self.changes += [
            Change("remove", "issuer", f"{registry.slug}/{name}", "goes with its registry") for name in names.values()
        ]
        for publisher in self._tx.publishers.of_registry(registry.id):
            label = f"{registry.slug}/{identify(publisher, names[publisher.issuer_id])}"
            self.changes.append(Change("remove", kind_of(publisher), label, "goes with its registry"))

    def _inside(self, wanted: WantedRegistry, registry: Registry | None) -> None:
        slug = wanted.registry.slug
        registry_id = registry.id if registry else -1
        issuers = {i.name: i for i in self._tx.issuers.every() if i.registry_id == registry_id}
        publishers = self._tx.publishers.of_registry(registry_id)
        kept = self._issuers(slug, wanted.issuers, issuers)
        names = {issuer.id: name for name, issuer in issuers.items()}
        for publisher in publishers:
            if publisher.issuer_id not in kept:
                label = f"{slug}/{identify(publisher, names[publisher.issuer_id])}"
                self.changes.append(Change("remove", kind_of(publisher), label, "goes with its issuer"))
        by_name = {issuer.name: issuer for issuer in wanted.issuers}
        # Of issuers that go as well: under another name an issuer is the same one.
        pinned: dict[tuple[str, str, str], list[Publisher]] = {}
        homes = {issuer.id: issuer for issuer in issuers.values()}
        for publisher in publishers:
            if publisher.pins:
                home = homes[publisher.issuer_id]
                pinned.setdefault((home.provider, home.url, publisher.project), []).append(publisher)
        new = [_inheriting(each, pinned, by_name[each.issuer]) for each in wanted.publishers]
        self._publishers(slug, registry_id, new, [p for p in publishers if p.issuer_id in kept], issuers)
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
                Change("change", "issuer", key, difference(former, updated)),
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
        missing: list[tuple[WantedPublisher, Publisher | None]] = []
        for each in wanted:
            former = left.pop((each.issuer, each.publisher.project, _facts(each.publisher)), None)
            if former is None or not self._is_current(registry_id, former):
                missing.append((each, former))
        for each, same in missing:
            if same is not None:
                self._remove_publisher(slug, same, each.issuer)
            self._insert_publisher(slug, registry_id, each)
        for (name, _, _), former in left.items():
            self._remove_publisher(slug, former, name)

    def _is_current(self, registry_id: int, former: Publisher) -> bool:
        """Whether a publisher can still do what it was registered for: it may have lapsed, or come too late."""
        if former.expires_at is not None and former.expires_at <= self._now:
            return False
        return not former.is_pending or self._tx.projects.find(registry_id, former.project) is None

    def _insert_publisher(self, slug: str, registry_id: int, each: WantedPublisher) -> None:
        project = self._tx.projects.find(registry_id, each.publisher.project)
        _check_creates(each.publisher, project)
        label = f"{slug}/{identify(each.publisher, each.issuer)}"
        pending = project is None and each.publisher.is_pending
        details = ["creates the project at its first use, within 30 days"] if pending else []
        details += [f"keeps the learned {learned(each.publisher)}"] if each.publisher.pins else []
        kind = "pending publisher" if pending else "publisher"
        self._add(Change("add", kind, label, "; ".join(details)), _insert_publisher(slug, each, self._now))

    def _remove_publisher(self, slug: str, former: Publisher, issuer: str) -> None:
        detail = f"had learned {learned(former)}" if former.pins else ""
        self._remove(
            Change("remove", kind_of(former), f"{slug}/{identify(former, issuer)}", detail),
            lambda tx, _ids: tx.publishers.remove(former.id),
        )

    def _add(self, change: Change, operation: Operation) -> None:
        self.changes.append(change)
        self.operations.append(operation)

    def _remove(self, change: Change, operation: Operation) -> None:
        self.changes.append(change)
        self.removals.append(operation)


def _facts(publisher: Publisher) -> tuple[object, ...]:
    return tuple(sorted(publisher.config.items())), publisher.constraints, publisher.reads


def _inheriting(
    wanted: WantedPublisher, pinned: Mapping[tuple[str, str, str], Sequence[Publisher]], issuer: Issuer
) -> WantedPublisher:
    """A publisher beside, or instead of, others of the same identity and project has learned what they have.

    Invariant: rewriting an entry of the file never lets somebody else have its name.
    """
    kept: dict[str, str] = {}
    provider = BY_SLUG[issuer.provider]
    for sibling in pinned.get((issuer.provider, issuer.url, wanted.publisher.project), ()):
        if provider.same_identity(sibling.config, wanted.publisher.config):
            kept |= pins.kept(provider, wanted.publisher.config, sibling.pins)
    return replace(wanted, publisher=replace(wanted.publisher, pins=kept)) if kept else wanted


def _insert_issuer(slug: str, key: str, issuer: Issuer) -> Operation:
    def run(tx: Transaction, ids: dict[str, int]) -> None:
        ids[key] = tx.issuers.insert(replace(issuer, registry_id=ids[slug])).id

    return run


def _insert_publisher(slug: str, each: WantedPublisher, now: int) -> Operation:
    def run(tx: Transaction, ids: dict[str, int]) -> None:
        issuer = tx.issuers.find(ids[slug], each.issuer)
        assert issuer is not None
        add_publisher(tx, each, ids[slug], issuer, now)

    return run


def add_publisher(tx: Transaction, wanted: WantedPublisher, registry_id: int, issuer: Issuer, now: int) -> Publisher:
    """Insert a publisher, pending if its project does not exist. Raises `Rejected` when it is there already."""
    former = wanted.publisher
    project = None if former.is_wide else tx.projects.find(registry_id, former.project)
    _check_creates(former, project)
    lapses = pins.may_lapse(BY_SLUG[issuer.provider], former.config, former.pins)
    publisher = replace(
        former, registry_id=registry_id, issuer_id=issuer.id, project_id=project.id if project else None, created_at=now
    )
    if publisher.is_pending:
        publisher = replace(publisher, expires_at=now + PENDING_SECONDS)
    elif lapses:
        publisher = replace(publisher, expires_at=now + pins.UNPROTECTED_SECONDS)
    inserted = tx.publishers.insert(publisher, wanted.lookup)
    if inserted is None:
        raise Rejected("invalid-trust", f"The publisher {identify(publisher, wanted.issuer)} is registered already.")
    return inserted


def _check_creates(publisher: Publisher, project: Project | None) -> None:
    if project is None and publisher.is_pending and publisher.constraints.allow == "upload-only":
        raise Rejected(
            "invalid-trust",
            f"The project {publisher.project} does not exist, and an upload-only publisher never creates it.",
            hint="Upload it once by other means, or leave allow out.",
        )


def kind_of(publisher: Publisher) -> str:
    """What a publisher is called."""
    return "pending publisher" if publisher.is_pending else "publisher"


def check_empty(tx: Transaction, registry: Registry, reason: str = "") -> None:
    """Raise `Rejected` when a registry that is to be removed holds projects."""
    count = tx.projects.count(registry.id)
    if count:
        holds = " ".join(filter(None, (reason, f"holds {count} project{'s' if count > 1 else ''}")))
        raise Rejected(
            "invalid-trust",
            f"The registry {registry.slug} {holds}.",
            hint="Nothing that holds packages is removed. To switch it off, keep it with enabled = false.",
        )


def left_out(tx: Transaction, former: Registry, updated: Registry) -> str:
    """A sentence about projects that a registry has and, by its new patterns, no longer takes files for; or ""."""
    if former.policy.projects == updated.policy.projects:
        return ""
    found = [name for name in tx.projects.listed(former.id) if not updated.policy.welcomes(ProjectName(name))]
    if not found:
        return ""
    named = ", ".join(found[:NAMED_MAX]) + (" and others" if len(found) > NAMED_MAX else "")
    what = "1 project of it is" if len(found) == 1 else f"{len(found)} projects of it are"
    return f"{what} outside of its patterns now: {named}. What is published stays; nothing can be added."


def difference(former: object, updated: object) -> str:
    """What changed between two records, for people."""
    changed: list[str] = []
    for name in former.__slots__:  # type: ignore[attr-defined]
        before, after = getattr(former, name), getattr(updated, name)
        if isinstance(before, Policy):
            changed += filter(None, [difference(before, after)])
        elif before != after:
            # Certificates and key sets are too long to show.
            long = name in {"ca_pem", "jwks"}
            changed.append(name.replace("_", "-") + ("" if long else f": {_brief(before)} -> {_brief(after)}"))
    return ", ".join(changed)


def _brief(value: object) -> str:
    if value is None or value == "":
        return "none" if value is None else '""'
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
