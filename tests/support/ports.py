"""Ports for servers that tests start as processes of their own.

Below the range from which the kernel takes ports for outgoing connections, so that no client of another test has one by
chance; each process looks in an order of its own.
"""

from __future__ import annotations

import os
import random
import socket

RANGE = range(20_000, 32_000, 2)
_ORDER = random.Random(os.getpid())
_used: set[int] = set()


def free_port() -> int:
    """A port that is free, and so is the one behind it. Never the same one twice in a process."""
    return free_ports(2)


def free_ports(number: int) -> int:
    """The first of so many free ports side by side. Never the same ones twice in a process."""
    for _ in range(1000):
        port = _ORDER.choice(RANGE)
        wanted = set(range(port, port + number))
        if not wanted & _used and all(map(_is_free, wanted)):
            _used.update(wanted)
            return port
    raise AssertionError(f"no {number} free ports side by side")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
