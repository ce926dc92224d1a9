"""The limits of a mint without HTTP, in a process of its own: `python -m bench.limits '{"home": …}'`.

The very use case that the server calls, from the same assembly. With `callers` 0 there is no queue and no thread
either: verify and one durable commit, one after the other, the most that one commit each allows. Otherwise so many
callers wait for their mints at the same time and share commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bench.seed import REGISTRY
from bench.server import settings_of
from mintmark.assemble import Index
from mintmark.core.exchange import MintRequest
from mintmark.service.ports import Transaction
from mintmark.store import data_dir
from mintmark.store.ledger.sqlite import SqliteLedger
from mintmark.web.context import SERVICES, Services

T = TypeVar("T")
WARM_UP = 100


class InlineLedger(SqliteLedger):
    """Commits each piece of work by itself, in the caller's thread."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        (outcome,) = await self._commit([work])
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    async def _in_writer(self, action: Callable[[], T]) -> T:
        return action()


async def measure(home: Path, tokens: list[str], callers: int, seconds: float) -> dict[str, float]:
    """Mint for some seconds, or until the tokens are used up."""
    settings = settings_of(home)
    index = Index(settings)
    if callers == 0:
        await index.ledger.close()
        index.ledger = InlineLedger(data_dir.prepare(Path(settings.data_dir)))
    try:
        services = index.application()[SERVICES]
        left = iter(tokens)
        for token, _ in zip(left, range(WARM_UP), strict=False):
            await _mint(services, token)
        started, cpu = time.perf_counter(), time.process_time()
        counts = await asyncio.gather(*(_call(services, left, started + seconds) for _ in range(max(callers, 1))))
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        count = sum(counts)
        return {"rate": count / elapsed, "cpu_us": cpu / count * 1e6, "ran_out": float(next(left, None) is None)}
    finally:
        await index.close()


async def _call(services: Services, tokens: Iterator[str], until: float) -> int:
    count = 0
    for token in tokens:
        await _mint(services, token)
        count += 1
        if time.perf_counter() >= until:
            break
    return count


async def _mint(services: Services, token: str) -> None:
    # What the endpoint does beside HTTP: find the registry, call the use case.
    snapshot = await services.directory.current()
    await services.mint(snapshot.by_slug[REGISTRY], MintRequest(token, single_use=False), "127.0.0.1")


def main() -> None:
    """Read the arguments, print the result as JSON."""
    order = json.loads(sys.argv[1])
    tokens = Path(order["tokens"]).read_text().splitlines()
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(measure(Path(order["home"]), tokens, order["callers"], order["seconds"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
