"""The child process that renders descriptions, one after another, until its standard input ends.

Owns its end of the pipe, the limits it puts on itself before it reads anything, and what counts as rendered. Leaves
starting, waiting and killing to `store.description_process`. Imports nothing of ours: it starts in every server.

A text comes as its length in four bytes (big endian) and UTF-8; the answer is one byte.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from collections.abc import Callable
from typing import BinaryIO

READY = b"."
VALID = b"y"
INVALID = b"n"
UNKNOWN = b"?"
LENGTH = struct.Struct(">I")

CPU_SECONDS = 10
"""For one text, if the parent should not come to kill it."""
MEMORY_BYTES = 512 << 20
"""Of address space, the interpreter included."""


def serve(texts: BinaryIO, answers: BinaryIO, render: Callable[[str], object]) -> None:
    """Answer until the input ends."""
    while len(header := texts.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        data = texts.read(length)
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_SECONDS)
        answers.write(_judge(data, render))
        answers.flush()


def _judge(data: bytes, render: Callable[[str], object]) -> bytes:
    try:
        return INVALID if render(data.decode("utf-8")) is None else VALID
    except Exception:  # noqa: BLE001 - a renderer that fails in whatever way has not judged the text
        return UNKNOWN


def _limit(kind: int, soft: int) -> None:
    """Lower a limit; the hard one stays as it is."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def main() -> None:
    """Render what comes. Nothing but answers reaches the pipe, whatever the renderer prints."""
    texts, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    # It opens its own modules and nothing for writing.
    _limit(resource.RLIMIT_FSIZE, 0)
    from readme_renderer import rst

    answers.write(READY)
    answers.flush()
    serve(texts, answers, rst.render)


if __name__ == "__main__":
    main()
    sys.exit(0)
