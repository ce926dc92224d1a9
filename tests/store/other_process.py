"""Another process on the same data, for tests of what processes see of each other.

`other_process.py COMMAND ENGINE PLACE [MORE]`; each command prints what it found.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from engines import OPEN, issuer, registry

from mintmark.service.ports import Ledger, Transaction
from mintmark.store import data_dir
from mintmark.store.blobs_dir import DirectoryBlobs
from mintmark.store.ledger.sqlite import open_ledger
from mintmark.store.pages_dir import DirectoryPages


async def claim(ledger: Ledger, count: str) -> None:
    """Claim the tokens 0 to `count`; which were ours. Begins when it is told to, so that two processes compete."""
    await asyncio.to_thread(sys.stdin.readline)

    async def one(number: int) -> bool:
        return await ledger.write(lambda tx: tx.replays.claim("https://issuer.example.com", str(number), 1))

    won = await asyncio.gather(*(one(number) for number in range(int(count))))
    print(" ".join(str(number) for number, mine in enumerate(won) if mine))


async def trust(ledger: Ledger, slug: str) -> None:
    """Change trust: a registry with one issuer."""

    def work(tx: Transaction) -> None:
        issuer(tx, registry(tx, slug))

    await ledger.write(work)


async def names(ledger: Ledger) -> None:
    """The slugs of all registries."""
    print(" ".join(each.slug for each in await ledger.read(lambda tx: tx.registries.every())))


LEDGER_COMMANDS: Mapping[str, Callable[..., Awaitable[None]]] = {"claim": claim, "trust": trust, "names": names}


async def with_ledger(command: str, engine: str, place: str, *more: str) -> None:
    ledger = OPEN[engine](place)
    try:
        await LEDGER_COMMANDS[command](ledger, *more)
    finally:
        await ledger.close()


def prepare(_engine: str, place: str) -> None:
    """Open a data directory as a server does, when told to."""
    sys.stdin.readline()
    ledger = open_ledger(data_dir.prepare(Path(place)))
    DirectoryBlobs(Path(place))
    asyncio.run(ledger.close())
    print("opened")


def spool(_engine: str, place: str) -> None:
    """Begin a blob and die."""
    DirectoryBlobs(Path(place)).spool().write(b"half of a file")
    os.kill(os.getpid(), signal.SIGKILL)


def pages(_engine: str, place: str, first: str, count: str) -> None:
    """Replace a page many times, with every second number from `first`."""
    store = DirectoryPages(Path(place))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(first), int(first) + 2 * int(count), 2):
        body = page_body(number)
        store.replace("acme", "widget", number, {"json": body, "html": body})


def page_body(number: int) -> bytes:
    """A page that shows whether it is whole, and which one it is."""
    return b"%08d" % number * 5000


PLAIN_COMMANDS: Mapping[str, Callable[..., None]] = {"prepare": prepare, "spool": spool, "pages": pages}


if __name__ == "__main__":
    if sys.argv[1] in PLAIN_COMMANDS:
        PLAIN_COMMANDS[sys.argv[1]](*sys.argv[2:])
    else:
        asyncio.run(with_ledger(*sys.argv[1:]))
