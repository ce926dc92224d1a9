"""Many writers, few commits.

Owns the queue in front of the one writing connection: whoever waits while a commit is on its way to the disk shares
the next one. Leaves opening the transaction to the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mintmark.service.ports import Transaction

T = TypeVar("T")
Work = Callable[[Transaction], Any]
# More would lengthen the wait of the first without saving much of the disk's time.
GROUP_MAX = 64


@dataclass(slots=True)
class Outcome:
    """What became of one piece of work: a value or an exception."""

    value: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Awaits `commit(works)` for everything that is pending, one group at a time.

    `commit` returns one outcome for each work, in order, after the commit; or raises, and everybody gets the error.
    """

    def __init__(self, commit: Callable[[Sequence[Work]], Awaitable[Sequence[Outcome]]]) -> None:
        self._commit = commit
        self._pending: list[tuple[Work, asyncio.Future[Any]]] = []
        self._drain: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Queue the work and wait for its commit. Cancelling the caller does not undo the work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending.append((work, future))
        if self._drain is None or self._drain.done():
            self._drain = loop.create_task(self._drain_pending())
        return await future

    async def finish(self) -> None:
        """Wait until nothing is pending."""
        while self._drain is not None and not self._drain.done():
            await asyncio.shield(self._drain)

    async def _drain_pending(self) -> None:
        while self._pending:
            group, self._pending = self._pending[:GROUP_MAX], self._pending[GROUP_MAX:]
            works = [work for work, _ in group]
            try:
                outcomes = await self._commit(works)
            except BaseException as error:  # noqa: BLE001 - handed to every waiting caller
                outcomes = [Outcome(error=error) for _ in group]
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if future.cancelled():
                    continue
                if isinstance(outcome.error, StopIteration):
                    # No future takes this one; refusing it here would leave everybody else of the group waiting.
                    future.set_exception(RuntimeError("the work raised StopIteration"))
                elif outcome.error is not None:
                    future.set_exception(outcome.error)
                else:
                    future.set_result(outcome.value)
