"""Many callers, few trips: whoever waits while a trip is under way shares the next one.

Owns the queue. A trip is what costs much and hardly more for several: a commit, a hand-over to another thread. Leaves
the trip itself to whoever makes the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
# More would lengthen the wait of the first without saving much.
GROUP_MAX = 64


@dataclass(slots=True)
class Outcome:
    """What became of one item: a value or an exception."""

    value: Any = None
    error: BaseException | None = None


class Group(Generic[Item]):
    """Awaits `act(items)` for everything that is pending, one group at a time.

    `act` returns one outcome for each item, in order; or raises, and everybody gets the error.
    """

    def __init__(self, act: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]]) -> None:
        self._act = act
        self._pending: list[tuple[Item, asyncio.Future[Any]]] = []
        self._drain: asyncio.Task[None] | None = None

    async def run(self, item: Item) -> Any:
        """Queue the item and wait for its outcome. Cancelling the caller does not undo anything."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append((item, future))
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
            try:
                outcomes = await self._act([item for item, _ in group])
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
