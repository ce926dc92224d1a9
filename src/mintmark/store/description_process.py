"""Judges descriptions in a child process, since docutils on hostile text takes any time and memory.

Owns the life of that process and remembering its verdicts. There is one at most: it starts with the first text, stays
for a while after the last, and is killed when a text takes too long or it has done its share. Leaves rendering to
`store.description_child`. Implements `service.descriptions.Descriptions`.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import OrderedDict
from contextlib import suppress

from mintmark.store.description_child import INVALID, LENGTH, READY, UNKNOWN, VALID

TEXT_MAX_BYTES = 256 * 1024
"""A longer description is not judged. PyPI has a few; the largest that anybody reads are a tenth of it."""
RENDER_SECONDS = 5.0
START_SECONDS = 20.0
"""Importing docutils takes half a second, on a busy machine several."""
WAIT_SECONDS = 15.0
"""For those before; then the upload goes on without a verdict."""
USES_MAX = 200
"""Texts of one process: what docutils keeps in memory goes with it."""
IDLE_SECONDS = 60.0
"""Then its 40 MiB are given back."""
VERDICTS_MAX = 2_000

_VERDICTS = {VALID: True, INVALID: False, UNKNOWN: None}


class DescriptionProcess:
    """See `service.descriptions.Descriptions`. Belongs to one event loop."""

    def __init__(
        self,
        *,
        start_seconds: float = START_SECONDS,
        render_seconds: float = RENDER_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        uses_max: int = USES_MAX,
    ) -> None:
        self._start_seconds = start_seconds
        self._render_seconds = render_seconds
        self._wait_seconds = wait_seconds
        self._idle_seconds = idle_seconds
        self._uses_max = uses_max
        self._turn = asyncio.Lock()
        self._verdicts: OrderedDict[bytes, bool | None] = OrderedDict()
        self._child: Process | None = None
        self._uses = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """Of the running child."""
        return self._child.pid if self._child is not None else None

    async def renders(self, text: str) -> bool | None:
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            return False
        if len(data) > TEXT_MAX_BYTES or self._closed:
            return None
        key = hashlib.sha256(data).digest()
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            return self._verdicts[key]
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turn.acquire()
        except TimeoutError:
            return None
        try:
            # Whoever waited may have waited for the same text: a release's wheels come together.
            if key not in self._verdicts and not self._closed:
                await self._judge(key, data)
            return self._verdicts.get(key)
        finally:
            self._turn.release()

    async def close(self) -> None:
        self._closed = True
        async with self._turn:
            await self._end()

    async def _judge(self, key: bytes, data: bytes) -> None:
        """Put the verdict where it is remembered. Without a process there is none, and the next upload asks again."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            # A process that waited may have been killed by somebody else meanwhile: only a fresh one dies of the text.
            for _ in range(2):
                is_fresh = self._child is None
                child = self._child or await self._start()
                try:
                    answer = await self._ask(child, data)
                except TimeoutError:
                    answer = UNKNOWN
                if answer or is_fresh:
                    self._remember(key, _VERDICTS.get(answer))
                    break
        except (OSError, TimeoutError):
            await self._end()
        if self._child is not None:
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire)

    def _remember(self, key: bytes, verdict: bool | None) -> None:
        self._verdicts[key] = verdict
        while len(self._verdicts) > VERDICTS_MAX:
            self._verdicts.popitem(last=False)

    async def _ask(self, child: Process, data: bytes) -> bytes:
        """One text, one answer; empty when the process died. Raises `TimeoutError`."""
        answer = b""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            async with asyncio.timeout(self._render_seconds):
                with suppress(ConnectionError):
                    child.stdin.write(LENGTH.pack(len(data)) + data)
                    await child.stdin.drain()
                    answer = await child.stdout.read(1)
        finally:
            # Also when the caller goes away in the middle: an answer that nobody took would be the next one's.
            self._uses += 1
            if not answer or self._uses >= self._uses_max:
                await self._end()
        return answer

    async def _start(self) -> Process:
        # -I: neither the environment nor the working directory decides which modules it imports.
        self._child = child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "mintmark.store.description_child",
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
        )
        self._uses = 0
        assert child.stdout is not None
        async with asyncio.timeout(self._start_seconds):
            if await child.stdout.read(1) != READY:
                raise OSError("the renderer does not start")
        return child

    def _retire(self) -> None:
        """Nobody asked for a while."""
        child, self._child = self._child, None
        if child is not None:
            _kill(child)

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        child, self._child = self._child, None
        if child is not None:
            _kill(child)
            # The answer of `wait` is nothing that anybody needs; it must be called, so that no zombie stays.
            await child.wait()


def _kill(child: Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    with suppress(ProcessLookupError):
        child.kill()
