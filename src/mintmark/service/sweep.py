"""What nobody needs any more goes.

Owns what is swept, how long each kind is kept, and that sweeping is never in the way: blobs are looked up in bounded
batches, rows are removed in transactions of a bounded number. Leaves excluding an upload that keeps the same blob to
the `Blobs` port, and when to sweep to `assemble` and the command line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

from mintmark.core.records import SYSTEM, Event, Publisher
from mintmark.service.ports import Blobs, BlobState, Clock, Ledger, Pages, Transaction

T = TypeVar("T")
DAY_SECONDS = 86_400
# An upload makes its blob durable before the ledger names it. Nothing that is this old is on its way.
ORPHAN_SECONDS = DAY_SECONDS
# For people who ask why a credential of yesterday was refused.
MINTED_KEPT_SECONDS = DAY_SECONDS
TOKENS_KEPT_SECONDS = 90 * DAY_SECONDS
# A mint that checked the time may wait for its commit, and a clock may be set back a little.
REPLAYS_KEPT_SECONDS = 3600
# Rows of one transaction: a few milliseconds, in which nobody else can commit.
BATCH_ROWS = 500
# The audit log has the widest rows.
BATCH_EVENTS = 200
# Projects of one look-up.
BATCH_NAMES = 500

Progress = Callable[[str, int], None]
"""Called with what is being swept and how many were looked at or removed since the last call."""


def silent(_what: str, _count: int) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Swept:
    """How many of each kind were removed, or would be."""

    blobs: int = 0
    blob_bytes: int = 0
    credentials: int = 0
    tokens: int = 0
    replays: int = 0
    publishers: int = 0
    events: int = 0
    pages: int = 0
    leftovers: int = 0
    blobs_held: bool = False
    """Blobs were left alone, because a backup or a check is running."""

    @property
    def anything(self) -> bool:
        """Whether there was something to sweep."""
        return any(getattr(self, field.name) for field in fields(self) if field.name != "blobs_held")

    def facts(self) -> dict[str, object]:
        """For machines and logs."""
        return asdict(self)


class Sweep:
    """The use case. Several may run at the same time, here and in other processes."""

    def __init__(self, ledger: Ledger, blobs: Blobs, pages: Pages, clock: Clock, *, audit_days: int) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._pages = pages
        self._clock = clock
        self._audit_days = audit_days

    async def __call__(self, *, dry_run: bool = False, progress: Progress = silent) -> Swept:
        """Sweep everything once; with `dry_run` only count. Raises `Unavailable` when the ledger cannot be used."""
        swept = Swept()
        now = int(self._clock.now())
        await self._rows(swept, now, dry_run, progress)
        await self._sweep_blobs(swept, now - ORPHAN_SECONDS, dry_run, progress)
        await self._sweep_pages(swept, now - ORPHAN_SECONDS, dry_run, progress)
        return swept

    # -- rows ---------------------------------------------------------------------------------------------------------

    async def _rows(self, swept: Swept, now: int, dry_run: bool, progress: Progress) -> None:
        minted, replays = now - MINTED_KEPT_SECONDS, now - REPLAYS_KEPT_SECONDS
        events = now - self._audit_days * DAY_SECONDS if self._audit_days else 0
        if dry_run:
            swept.credentials = await self._ledger.read(lambda tx: tx.credentials.outlived_minted(minted))
            swept.replays = await self._ledger.read(lambda tx: tx.replays.outlived(replays))
            swept.events = await self._ledger.read(lambda tx: tx.audit.outlived(events))
        else:
            swept.credentials = await self._drain(
                "credentials", BATCH_ROWS, lambda tx, limit: tx.credentials.forget_minted(minted, limit), progress
            )
            swept.replays = await self._drain(
                "replay records", BATCH_ROWS, lambda tx, limit: tx.replays.forget(replays, limit), progress
            )
            swept.events = await self._drain(
                "audit events", BATCH_EVENTS, lambda tx, limit: tx.audit.forget(events, limit), progress
            )
        swept.tokens = await self._sweep_tokens(now - TOKENS_KEPT_SECONDS, dry_run, progress)
        swept.publishers = await self._sweep_publishers(now, dry_run, progress)

    async def _drain(self, what: str, batch: int, forget: Callable[[Transaction, int], int], progress: Progress) -> int:
        """Remove batch after batch; whoever waits for the ledger comes in between."""
        total = 0
        while True:
            removed = await self._ledger.write(lambda tx: forget(tx, batch))
            total += removed
            progress(what, removed)
            if removed < batch:
                return total

    async def _sweep_tokens(self, before: int, dry_run: bool, progress: Progress) -> int:
        total = 0
        while True:
            found = await self._ledger.read(lambda tx: tx.credentials.outlived_tokens(before, BATCH_ROWS))
            if dry_run or not found:
                return total + len(found)
            total += await self._ledger.write(
                lambda tx, ids=tuple(found): sum(tx.credentials.forget_token(each, before) for each in ids)  # type: ignore[misc]
            )
            progress("API tokens", len(found))

    async def _sweep_publishers(self, now: int, dry_run: bool, progress: Progress) -> int:
        total = 0
        while True:
            found = await self._ledger.read(lambda tx: tx.publishers.lapsed(now, BATCH_EVENTS))
            if dry_run or not found:
                return total + len(found)
            total += await self._ledger.write(lambda tx, found=tuple(found): _remove_lapsed(tx, found, now))  # type: ignore[misc]
            progress("lapsed publishers", len(found))

    # -- blobs and pages ----------------------------------------------------------------------------------------------

    async def _sweep_blobs(self, swept: Swept, before: int, dry_run: bool, progress: Progress) -> None:
        swept.leftovers += await _in_thread(lambda: self._blobs.leftovers(before, remove=not dry_run))
        parts = iter(self._blobs.every())
        while (part := await _in_thread(lambda: next(parts, None))) is not None:
            progress("blobs", len(part))
            old = [blob for blob in part if blob.modified_at < before]
            orphans = await self._orphans(old) if old else []
            if orphans and not dry_run:
                # What is kept again from here on is new, and stays.
                removed = await _in_thread(lambda found=orphans: self._blobs.remove(found, before))  # type: ignore[misc]
                swept.blobs_held = swept.blobs_held or removed is None
                orphans = list(removed or ())
            swept.blobs += len(orphans)
            swept.blob_bytes += sum(blob.size_bytes for blob in orphans)

    async def _orphans(self, blobs: Sequence[BlobState]) -> list[BlobState]:
        return await self._ledger.read(lambda tx: [blob for blob in blobs if not tx.files.referenced(blob.sha256)])

    async def _sweep_pages(self, swept: Swept, before: int, dry_run: bool, progress: Progress) -> None:
        swept.leftovers += await _in_thread(lambda: self._pages.leftovers(before, remove=not dry_run))
        stored = iter(self._pages.stored())
        while part := await _in_thread(lambda: [page for _, page in zip(range(BATCH_NAMES), stored, strict=False)]):
            progress("pages", len(part))
            for registry, project in await self._ledger.read(lambda tx, part=part: gone(tx, part)):  # type: ignore[misc]
                # A page that is made at this moment is new, and one that goes too early is rendered when asked for.
                if dry_run or await asyncio.to_thread(self._pages.remove, registry, project, before):
                    swept.pages += 1


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)


def _remove_lapsed(tx: Transaction, found: Sequence[Publisher], now: int) -> int:
    removed = [each for each in found if tx.publishers.remove_lapsed(each.id, now)]
    for each in removed:
        facts: dict[str, object] = {"publisher": each.id, "config": dict(each.config)}
        tx.audit.record(Event(now, SYSTEM, "publisher-lapsed", each.registry_id, each.project, facts=facts))
    return len(removed)


def gone(tx: Transaction, pages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pages whose registry or project does not exist."""
    ids = {registry.slug: registry.id for registry in tx.registries.every()}
    return [
        (slug, project)
        for slug, project in pages
        if slug not in ids or (project and tx.projects.find(ids[slug], project) is None)
    ]
