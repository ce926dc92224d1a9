"""An existing index, brought into a registry.

Owns the way of its files: looked up in the ledger, fetched and judged several at a time, made durable, recorded many in
one commit, shown on the pages. Nothing that is there is replaced, and what is there is not fetched again, so that an
import which was stopped or crashed goes on where it was. Leaves one file's way to `service.import_receive`, the
transactions to `service.import_commits`, and where files come from to an `ImportSource`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from mintmark.core.checks.finding import refusal, shown
from mintmark.core.dist.filename import parse_filename
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.import_choice import Choice
from mintmark.core.records import File, Principal, Registry
from mintmark.service.admission import NOT_WELCOME
from mintmark.service.import_commits import Commits
from mintmark.service.import_receive import Arrival, Wanted, settle
from mintmark.service.import_record import Ready, compare
from mintmark.service.import_report import Outcome, Progress, Report
from mintmark.service.import_source import ImportSource, Offer, Offers
from mintmark.service.incoming import Incoming
from mintmark.service.ports import Blobs, Clock, Ledger
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached
from mintmark.service.trust import find_registry

T = TypeVar("T")
LOOKED_UP_MAX = 500
"""Names looked up in one snapshot."""
FAILURES_IN_A_ROW_MAX = 20
"""So many failed fetches in a row are a source that is down."""
JOBS_MAX = 32


class Import:
    """The use case."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        clock: Clock,
        renderer: Renderer,
        executor: Executor,
        *,
        reached: Reached,
        file_limit_bytes: int,
    ) -> None:
        self.ledger = ledger
        self.blobs = blobs
        self.clock = clock
        self.renderer = renderer
        self.executor = executor
        self.reached = reached
        self.file_limit_bytes = file_limit_bytes

    async def __call__(
        self,
        slug: str,
        source: ImportSource,
        choice: Choice,
        principal: Principal,
        *,
        jobs: int = 4,
        dry_run: bool = False,
        progress: Progress | None = None,
        stop: asyncio.Event | None = None,
    ) -> Report:
        """Bring in what the choice wants of the source. A single file's trouble is told and keeps no other back.

        Raises `Rejected` or `Unavailable` when the run cannot go on; what was recorded before stays. When `stop` is
        set, files that are complete are recorded still, and the run ends.
        """
        registry = await self.ledger.read(lambda tx: find_registry(tx, slug))
        run = _Run(self, registry, source, choice, principal, dry_run=dry_run, progress=progress or Progress())
        return await run(min(max(1, jobs), JOBS_MAX), stop or asyncio.Event())


class _Run:
    """One run."""

    def __init__(
        self,
        uses: Import,
        registry: Registry,
        source: ImportSource,
        choice: Choice,
        principal: Principal,
        *,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._uses = uses
        self._registry = registry
        self._source = source
        self._choice = choice
        self._principal = principal
        self._dry_run = dry_run
        self._progress = progress
        self._report = Report()
        self._limit_bytes = min(uses.file_limit_bytes, registry.policy.file_limit_bytes or uses.file_limit_bytes)
        # Bounded: a fast source waits for the checks.
        self._wanted: asyncio.Queue[Wanted | None] = asyncio.Queue(2 * JOBS_MAX)
        self._failures_in_a_row = 0
        self._commits = Commits(
            uses.ledger,
            uses.clock,
            uses.renderer,
            registry,
            choice,
            source.label,
            principal,
            progress,
            self._report,
            reached=uses.reached,
        )

    async def __call__(self, jobs: int, stop: asyncio.Event) -> Report:
        loop = asyncio.get_running_loop()
        receiving, recording = loop.create_task(self._receive(jobs)), loop.create_task(self._commits.run())
        stopping = loop.create_task(stop.wait())
        try:
            await asyncio.wait({receiving, recording, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._report.stopped = stop.is_set() and not receiving.done()
            await _end(receiving)
            if not recording.done():
                # Full only while the recorder takes from it.
                ending = loop.create_task(self._commits.put(None))
                await asyncio.wait({recording, ending}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({recording})
        finally:
            for task in (stopping, receiving, recording):
                await _end(task)
        for task in (recording, receiving):
            _raise(task)
        if not self._report.stopped:
            self._tell_missing()
        return self._report

    def _tell(self, outcome: Outcome) -> None:
        self._progress.tell(outcome, self._report)

    def _tell_missing(self) -> None:
        for pins in self._choice.pins.values():
            for pin in pins:
                if str(pin) not in self._report.pins_found:
                    sentence = f"The source has no file of {pin}" + (" with one of the digests." if pin.sha256 else ".")
                    self._tell(Outcome("missing", str(pin), pin.name, self._source.label, detail=sentence))

    # -- what is wanted -----------------------------------------------------------------------------------------------

    async def _receive(self, jobs: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(jobs):
                tasks.create_task(self._work())
            async with aclosing(self._source.projects(self._choice)) as found:  # type: ignore[type-var]
                async for offers in found:
                    await self._sort(offers)
            for _ in range(jobs):
                await self._wanted.put(None)

    async def _sort(self, found: Offers) -> None:
        """Look up what the registry has already, and hand on the rest."""
        self._report.skipped.update(found.skipped)
        if found.failure:
            self._tell(Outcome("failed", "", found.project, self._source.label, detail=found.failure))
        elif found.absent and found.project not in self._choice.pins:
            sentence = f"The source has no project {found.project}."
            self._tell(Outcome("missing", "", found.project, self._source.label, detail=sentence))
        by_name: dict[str, list[Offer]] = {}
        for offer in found.offers:
            by_name.setdefault(offer.filename, []).append(offer)
        wanted = [each for offers in by_name.values() if (each := self._parse(found, offers)) is not None]
        for start in range(0, len(wanted), LOOKED_UP_MAX):
            part = wanted[start : start + LOOKED_UP_MAX]
            existing = await self._uses.ledger.read(
                lambda tx, part=part: [tx.files.find(self._registry.id, each.facts.filename) for each in part]  # type: ignore[misc]
            )
            await self._hand_on(part, existing)

    def _parse(self, found: Offers, offers: Sequence[Offer]) -> Wanted | None:
        """A file by its name; None when it is not wanted, or refused at once."""
        try:
            facts = parse_filename(offers[0].filename, legacy=True)
            if not self._choice.wants_release(facts.name, facts.version):
                return None
            if not self._registry.policy.welcomes(facts.name):
                # Said before anything is fetched; what counts is the same question inside the commit.
                raise refusal([NOT_WELCOME.found(f"The registry {self._registry.slug} holds no project {facts.name}.")])
        except Rejected as refused:
            self._refuse(offers, found.project, refused)
            return None
        if found.project and facts.name != found.project:
            # Installers would not take it either: the page is another project's.
            self._report.skipped["file of another project"] += len(offers)
            return None
        # What the source does not state is known only when the file is here.
        chosen = [
            offer
            for offer in offers
            if "sha256" not in offer.hashes
            or self._choice.wants_digest(facts.name, facts.version, offer.hashes["sha256"])
        ]
        if len(chosen) < len(offers):
            self._report.skipped["other digest than pinned"] += len(offers) - len(chosen)
        return Wanted(facts, tuple(chosen), found.status, found.status_reason, None) if chosen else None

    async def _hand_on(self, part: Sequence[Wanted], existing: Sequence[File | None]) -> None:
        for wanted, file in zip(part, existing, strict=True):
            self._progress.found(len(wanted.offers), sum(offer.size_bytes or 0 for offer in wanted.offers))
            left = []
            for offer in wanted.offers:
                stated = offer.hashes.get("sha256")
                if file is not None and stated:
                    self._compared(wanted, offer, file, stated)
                elif self._dry_run:
                    # With another size it cannot be what is there.
                    what = "wanted" if file is None else "there" if offer.size_bytes == file.size_bytes else "conflict"
                    self._tell(_outcome(what, wanted, offer, stated or ""))
                    self._count_pin(wanted)
                elif offer.size_bytes is not None and offer.size_bytes > self._limit_bytes:
                    self._refuse([offer], wanted.facts.name, _too_large(self._limit_bytes))
                else:
                    left.append(offer)
            if left:
                await self._wanted.put(replace(wanted, offers=tuple(left), existing=file))

    def _refuse(self, offers: Iterable[Offer], project: str, refused: Rejected) -> None:
        for offer in offers:
            self._tell(_refused(offer, project, refused))

    def _compared(self, wanted: Wanted, offer: Offer, file: File, sha256: str) -> None:
        what, refused = compare(file, sha256)
        self._tell(_outcome(what, wanted, offer, sha256, refused))
        self._count_pin(wanted)

    def _count_pin(self, wanted: Wanted) -> None:
        pin = self._choice.pin_of(wanted.facts.name, wanted.facts.version)
        if pin is not None:
            self._report.pins_found.add(str(pin))

    # -- fetching and judging -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while (wanted := await self._wanted.get()) is not None:
            taken: File | None = wanted.existing
            for offer in wanted.offers:
                if taken is None:
                    taken = await self._bring(wanted, offer)
                else:
                    await self._compare(wanted, offer, taken)

    async def _bring(self, wanted: Wanted, offer: Offer) -> File | None:
        """One file as far as the recorder; None when it was not taken."""

        def begin() -> Incoming:
            return Incoming(self._uses.blobs, self._limit_bytes, md5=False)

        def finish() -> Ready | None:
            return settle(arrival, wanted, offer, self._registry, self._choice, now, self._uses.reached)

        now = int(self._uses.clock.now())
        arrival = Arrival(offer, begin, limit_bytes=self._limit_bytes)
        try:
            if not await self._fetched(wanted, offer, arrival):
                return None
            ready = await self._in_thread(finish)
        except Rejected as refused:
            if refused.code.name == "storage-full":
                # Nothing that comes next would find a place.
                raise
            self._refuse([offer], wanted.facts.name, refused)
            return None
        finally:
            arrival.discard()
        if ready is None:
            self._report.skipped["other digest than pinned"] += 1
            return None
        await self._commits.put(ready)
        return ready.file

    async def _compare(self, wanted: Wanted, offer: Offer, file: File) -> None:
        """A file whose name is taken: nothing of it is kept, whatever it holds."""
        arrival = Arrival(offer, None, limit_bytes=max(self._limit_bytes, file.size_bytes))
        try:
            if await self._fetched(wanted, offer, arrival):
                arrival.check_stated()
                self._compared(wanted, offer, file, arrival.sha256())
        except Rejected as refused:
            self._refuse([offer], wanted.facts.name, refused)

    async def _fetched(self, wanted: Wanted, offer: Offer, arrival: Arrival) -> bool:
        try:
            await self._source.fetch(offer, arrival)
        except Unavailable as error:
            self._tell(_outcome("failed", wanted, offer, "", detail=error.what))
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_IN_A_ROW_MAX:
                raise Unavailable(
                    f"{self._source.label} failed {FAILURES_IN_A_ROW_MAX} times in a row; what came before is kept."
                ) from error
            return False
        self._failures_in_a_row = 0
        return True

    async def _in_thread(self, action: Callable[[], T]) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._uses.executor, action)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # The thread still uses the file.
            await asyncio.wait([working])
            raise


def _outcome(
    what: str, wanted: Wanted, offer: Offer, sha256: str, refused: Rejected | None = None, *, detail: str = ""
) -> Outcome:
    return Outcome(
        what,
        wanted.facts.filename,
        wanted.facts.name,
        offer.place,
        offer.size_bytes,
        sha256,
        refused.code.name if refused else "",
        refused.sentence if refused else detail,
    )


def _refused(offer: Offer, project: str, refused: Rejected) -> Outcome:
    # A name that was refused may hold anything.
    filename = offer.filename if offer.filename.isascii() and offer.filename.isprintable() else shown(offer.filename)
    stated = offer.hashes.get("sha256", "")
    return Outcome(
        "refused", filename, project, offer.place, offer.size_bytes, stated, refused.code.name, refused.sentence
    )


def _too_large(limit_bytes: int) -> Rejected:
    return Rejected("too-large", f"The file is larger than {limit_bytes} bytes.")


async def _end(task: asyncio.Task[T]) -> None:
    """Cancel a task, and wait until it is over; what it raised is asked for later."""
    task.cancel()
    await asyncio.wait({task})


def _raise(task: asyncio.Task[None]) -> None:
    """Raise what ended a task, without the groups around it."""
    if task.cancelled():
        return
    error: BaseException | None = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
