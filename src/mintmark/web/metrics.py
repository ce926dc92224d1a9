"""Counters for Prometheus.

Owns their names. Children are bound once: looking up labels costs more than counting.
"""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest

from mintmark.core.errors import Rejected
from mintmark.web.context import may_read_metrics

REGISTRY = CollectorRegistry()
_ANSWERS = Counter("mintmark_failures", "Requests that did not succeed.", ["kind"], registry=REGISTRY)
ANSWERS = {kind: _ANSWERS.labels(kind) for kind in ("refused", "unavailable", "bug")}
MINTED = Counter("mintmark_minted", "Upload credentials minted.", registry=REGISTRY)
UPLOADED = Counter("mintmark_uploaded", "Files accepted.", registry=REGISTRY)
UPLOADED_BYTES = Counter("mintmark_uploaded_bytes", "Bytes of files accepted.", registry=REGISTRY)


async def metrics(request: web.Request) -> web.Response:
    """GET /-/metrics: for the configured networks only."""
    if not may_read_metrics(request):
        raise Rejected("not-found", "There is nothing here.")
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4"})
