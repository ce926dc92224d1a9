"""How far a long command is.

Owns showing progress on standard error, and only where that is a terminal: logs and scripts see nothing of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int], None]
"""Called with what is being worked on and how many more are done."""


@contextmanager
def metering() -> Iterator[Progress]:
    """A line that counts, gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _what, _count: None
        return
    from rich.console import Console

    counts: dict[str, int] = {}
    with Console(stderr=True).status("Beginning") as status:

        def progress(what: str, count: int) -> None:
            counts[what] = counts.get(what, 0) + count
            status.update(", ".join(f"{number:,} {each}" for each, number in counts.items() if number))

        yield progress


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
