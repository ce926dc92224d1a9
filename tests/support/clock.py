"""A clock that stands still until it is told to move."""

from __future__ import annotations

START = 1_790_000_000.0


class FrozenClock:
    """See `service.ports.Clock`."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class SeededEntropy:
    """Different bytes at every draw, the same in every run."""

    def __init__(self) -> None:
        self._drawn = 0

    def draw(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(8, "big").rjust(count, b"\x5a")
