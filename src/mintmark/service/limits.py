"""How often somebody may try.

Owns counting in fixed windows of one minute, in this process's memory, bounded in entries: a limit protects this
process, it decides nothing. Leaves what is counted to the callers.
"""

from __future__ import annotations

from collections import OrderedDict

from mintmark.core.errors import Rejected
from mintmark.service.ports import Clock

WINDOW_SECONDS = 60
# Beyond this many addresses in one minute the oldest are forgotten, rather than the memory grow.
ENTRIES_MAX = 65_536


class Limit:
    """At most `per_minute` events for one key; 0 means no limit."""

    def __init__(self, clock: Clock, per_minute: int, what: str) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._what = what
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def count(self, key: str) -> None:
        """Count one event; raises `Rejected("rate-limited")` when the limit is exceeded."""
        if not self._per_minute:
            return
        now = self._clock.now()
        window = int(now // WINDOW_SECONDS)
        stored_window, count = self._counts.pop(key, (window, 0))
        count = count + 1 if stored_window == window else 1
        self._counts[key] = (window, count)
        if len(self._counts) > ENTRIES_MAX:
            self._counts.popitem(last=False)
        if count > self._per_minute:
            raise self._refusal(now)

    def check(self, key: str) -> None:
        """Refuse when the limit was reached, without counting."""
        now = self._clock.now()
        window, count = self._counts.get(key, (-1, 0))
        if self._per_minute and window == int(now // WINDOW_SECONDS) and count >= self._per_minute:
            raise self._refusal(now)

    def _refusal(self, now: float) -> Rejected:
        wait = max(1, int(WINDOW_SECONDS - now % WINDOW_SECONDS) + 1)
        return Rejected(
            "rate-limited",
            f"Too many {self._what}: at most {self._per_minute} a minute are taken.",
            hint=f"Try again in {wait} seconds.",
            retry_after_seconds=wait,
        )
