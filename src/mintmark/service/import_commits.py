"""The commits of an import: many files share one, and pages follow now and then.

Owns how many, how long the first waits, and when pages are rendered. Leaves what a transaction decides to
`service.import_record`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from packaging.version import Version

from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.import_choice import Choice
from mintmark.core.records import Principal, Registry
from mintmark.service.import_record import Batch, Ready
from mintmark.service.import_report import Outcome, Progress, Report
from mintmark.service.ports import Clock, Ledger, Transaction
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached, Step

BATCH_MAX = 64
"""Files of one commit."""
BATCH_SECONDS = 0.25
"""How long the first file of a batch waits for the others."""
SHOW_SECONDS = 5.0
"""How often pages are rendered meanwhile; at the end they are in any case."""


class Commits:
    """Records the files that are put, one batch after the other, until it is told the end."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        renderer: Renderer,
        registry: Registry,
        choice: Choice,
        label: str,
        principal: Principal,
        progress: Progress,
        report: Report,
        *,
        reached: Reached,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._renderer = renderer
        self._registry = registry
        self._choice = choice
        self._label = label
        self._principal = principal
        self._progress = progress
        self._report = report
        self._reached = reached
        # Bounded: whoever fetches files waits for the commits.
        self._queue: asyncio.Queue[Ready | None] = asyncio.Queue(2 * BATCH_MAX)

    async def put(self, ready: Ready | None) -> None:
        """Hand over a file, or None at the end. Waits while too many are waiting."""
        await self._queue.put(ready)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        shown_at, more, dirty = loop.time(), True, False
        while more:
            batch, more = await self._batch()
            if batch:
                await self._commit(batch)
                dirty = True
            if dirty and (not more or loop.time() - shown_at >= SHOW_SECONDS):
                await self._show()
                shown_at, dirty = loop.time(), False

    async def _batch(self) -> tuple[list[Ready], bool]:
        """The next files, and whether there may be more."""
        first = await self._queue.get()
        if first is None:
            return [], False
        batch = [first]
        deadline = asyncio.get_running_loop().time() + BATCH_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while len(batch) < BATCH_MAX:
                    following = await self._queue.get()
                    if following is None:
                        return batch, False
                    batch.append(following)
        return batch, True

    async def _commit(self, ready: Sequence[Ready]) -> None:
        now = int(self._clock.now())
        batch = Batch(self._registry, ready, self._label, self._principal, now)

        def work(tx: Transaction) -> list[Outcome]:
            outcomes = batch.run(tx)
            self._reached(Step.UPLOAD_RECORDED)
            return outcomes

        outcomes = await self._ledger.write(work)
        self._reached(Step.UPLOAD_COMMITTED)
        for each, outcome in zip(ready, outcomes, strict=True):
            pin = self._choice.pin_of(each.name, Version(each.file.version))
            if pin is not None and outcome.what in ("imported", "there"):
                self._report.pins_found.add(str(pin))
            self._progress.tell(outcome, self._report)

    async def _show(self) -> None:
        """Render what changed. Trouble keeps nothing back: the dirty marks stay for whoever serves."""
        try:
            await self._renderer.heal()
            self._report.behind = ""
        except Unavailable as error:
            self._report.behind = error.what
        except Rejected as error:
            self._report.behind = error.sentence
