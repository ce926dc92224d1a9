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
from collections.abc import Sequence
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
    urls: Sequence[str]


def sign(
    folder: Path,
    signer: Signer,
    *,
    slices: int,
    count: int,
    publishers: int,
    urls: Sequence[str] = (ISSUER_URL,),
    name: str = "tokens",
) -> list[Slice]:
    """Slices of `count` tokens, each for one of so many identities by chance; on every core.

    `urls` are the issuers to which the identities are dealt out, as `seed.publishers` does.
    """
    orders = [_Order(signer, folder / f"{name}-{publishers}-{n}", count, publishers, urls) for n in range(slices)]
    # Forked, so that the key needs no serialising; this process has no threads.
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), _inherit, (orders,)) as pool:
        return pool.map(_fulfil, range(len(orders)), chunksize=1)


_ORDERS: list[_Order] = []


def _inherit(orders: list[_Order]) -> None:
    _ORDERS[:] = orders


def _fulfil(position: int) -> Slice:
    order = _ORDERS[position]
    dice = random.Random(f"{order.path.name} {os.getpid()} {time.time_ns()}")
    tokens = [token(order.signer, dice.randrange(order.publishers), dice, order.urls) for _ in range(order.count)]
    made = Slice(order.path.with_suffix(".txt"), order.path.with_suffix(".requests"))
    made.tokens.write_text("\n".join(tokens))
    bodies = (json.dumps({"token": token}).encode() for token in tokens)
    write_requests(made.requests, (post(MINT_PATH, body, Content_Type="application/json") for body in bodies))
    return made


def token(signer: Signer, number: int, dice: random.Random, urls: Sequence[str]) -> str:
    """A token of one identity, of the issuer that it was dealt out to."""
    provider, url = BY_SLUG["gitlab"], urls[number % len(urls)]
    claims = claims_for(
        provider,
        url,
        provider.issuer.server(url),
        publisher_config(number),
        now=time.time(),
        random=dice,
        audience=audience_of(REGISTRY),
    )
    return signer.sign(claims)
