"""Identity tokens, signed before anything is measured: signing one costs more than the whole mint.

Owns slices of fresh tokens on disk, as lines for runs inside a process and as requests for wrk. Every token is used
once for each ledger.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import post, write_requests
from bench.seed import ISSUER_URL, REGISTRY, audience_of, publisher_config
from mintmark.core.providers import BY_SLUG
from mintmark.lab.identity import claims_for
from mintmark.lab.signer import Signer

MINT_PATH = f"/{REGISTRY}/_/oidc/mint-token"


@dataclass(frozen=True)
class Slice:
    """Tokens for one run."""

    tokens: Path
    requests: Path


@dataclass(frozen=True)
class _Order:
    signer: Signer
    path: Path
    count: int
    publishers: int


def sign(folder: Path, signer: Signer, *, slices: int, count: int, publishers: int) -> list[Slice]:
    """Slices of `count` tokens, each for one of so many publishers by chance; on every core."""
    orders = [_Order(signer, folder / f"tokens-{publishers}-{n}", count, publishers) for n in range(slices)]
    # Forked, so that the key needs no serialising; this process has no threads.
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), _inherit, (orders,)) as pool:
        return pool.map(_fulfil, range(len(orders)), chunksize=1)


_ORDERS: list[_Order] = []


def _inherit(orders: list[_Order]) -> None:
    _ORDERS[:] = orders


def _fulfil(position: int) -> Slice:
    order = _ORDERS[position]
    dice = random.Random(f"{order.path.name} {os.getpid()} {time.time_ns()}")
    tokens = [_token(order.signer, dice.randrange(order.publishers), dice) for _ in range(order.count)]
    made = Slice(order.path.with_suffix(".txt"), order.path.with_suffix(".requests"))
    made.tokens.write_text("\n".join(tokens))
    bodies = (json.dumps({"token": token}).encode() for token in tokens)
    write_requests(made.requests, (post(MINT_PATH, body, Content_Type="application/json") for body in bodies))
    return made


def _token(signer: Signer, number: int, dice: random.Random) -> str:
    provider = BY_SLUG["gitlab"]
    claims = claims_for(
        provider,
        ISSUER_URL,
        provider.issuer.server(ISSUER_URL),
        publisher_config(number),
        now=time.time(),
        random=dice,
        audience=audience_of(REGISTRY),
    )
    return signer.sign(claims)
