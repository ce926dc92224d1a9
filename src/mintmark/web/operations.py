"""For operators and their tools: is it alive, is it ready.

Owns the two probes. They answer whatever the Host header says, since load balancers probe by address.
"""

from __future__ import annotations

from aiohttp import web

from mintmark.web.answers import json_answer
from mintmark.web.context import services
from mintmark.web.metrics import metrics


async def health(_request: web.Request) -> web.Response:
    """GET /-/health: the process answers."""
    return json_answer({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """GET /-/ready: the ledger can be read; 503 otherwise."""
    await services(request).ledger.read(lambda tx: tx.registries.every())
    return json_answer({"status": "ready"})


ROUTES = (web.get("/-/health", health), web.get("/-/ready", ready), web.get("/-/metrics", metrics))
