"""The real clock and the real entropy."""

from __future__ import annotations

import os
import time


class SystemClock:
    """See `service.ports.Clock`."""

    def now(self) -> float:
        return time.time()


class SystemEntropy:
    """See `service.ports.Entropy`."""

    def draw(self, count: int) -> bytes:
        return os.urandom(count)
