"""The only place where everything meets: settings, stores, use cases, application.

Owns the wiring and the order of starting and stopping. No other module constructs a store or a service.
"""

from __future__ import annotations

import asyncio
import ipaddress
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from mintmark.core.errors import Rejected, Unavailable
from mintmark.service.directory import Directory
from mintmark.service.limits import Limit
from mintmark.service.ports import Clock, Entropy, Keys
from mintmark.service.renderer import Renderer
from mintmark.service.steps import Reached, ignore
from mintmark.service.tokens import Tokens
from mintmark.service.trust import Trust
from mintmark.settings import Settings
from mintmark.store import data_dir
from mintmark.store.blobs_dir import DirectoryBlobs
from mintmark.store.ledger.sqlite import open_ledger
from mintmark.store.pages_dir import DirectoryPages
from mintmark.store.system import SystemClock, SystemEntropy

if TYPE_CHECKING:
    from aiohttp import web

    from mintmark.store.keys_http import HttpKeys
    from mintmark.web.context import Services

LOG = structlog.get_logger("mintmark")
# Enough to keep several disks' queues busy; each thread holds at most one piece of a file.
RECEIVING_THREADS = 8
# How long a page may stay behind when its writer died beside a running server, or when the disk was full.
HEAL_SECONDS = 30.0


class Index:
    """One index over one data directory. `administer` use cases work beside a running server."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        reached: Reached = ignore,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.entropy = entropy or SystemEntropy()
        self._reached = reached
        self.directory_path = Path(settings.data_dir)
        self.ledger = open_ledger(data_dir.prepare(self.directory_path))
        self.pages = DirectoryPages(self.directory_path)
        self.renderer = Renderer(self.ledger, self.pages, reached=reached)
        self.trust = Trust(self.ledger, self.clock)
        self.tokens = Tokens(self.ledger, self.clock, self.entropy)
        self._keys: HttpKeys | None = None
        self._receiving: ThreadPoolExecutor | None = None
        self._healing: asyncio.Task[None] | None = None

    def application(self, keys: Keys | None = None, *, accept_lab: bool = False) -> web.Application:
        """The web application. `keys` replaces fetching, for the lab; `accept_lab` is for `serve --dev` only."""
        from mintmark.store.keys_http import HttpKeys
        from mintmark.web.app import build

        settings = self.settings
        if keys is None:
            keys = self._keys = HttpKeys(
                self.clock,
                refresh_seconds=settings.keys_refresh_seconds,
                max_stale_seconds=settings.keys_max_stale_seconds,
                accept_lab=accept_lab,
                proxy=settings.outbound_proxy or None,
            )
        self._receiving = ThreadPoolExecutor(RECEIVING_THREADS, thread_name_prefix="receive")
        app = build(self._services(keys, self._receiving), self._receiving)
        app.on_startup.append(self._start)
        return app

    def _services(self, keys: Keys, receiving: ThreadPoolExecutor) -> Services:
        from mintmark.service.browse import Browse
        from mintmark.service.burn import Burn
        from mintmark.service.exchange import Exchange
        from mintmark.service.gate import Gate
        from mintmark.service.mint import Mint
        from mintmark.service.upload import Upload
        from mintmark.web.context import Services, Wire

        settings, clock = self.settings, self.clock
        directory = Directory(self.ledger, keys)
        per_address = Limit(clock, settings.mints_per_address_per_minute, "exchanges from this address")
        failures = Limit(
            clock, settings.failed_credentials_per_address_per_minute, "wrong credentials from this address"
        )
        gate = Gate(self.ledger, clock, failures_per_address=failures)
        blobs = DirectoryBlobs(self.directory_path)
        return Services(
            wire=Wire(
                base_url=settings.base_url,
                host=settings.host,
                form_field_limit_bytes=settings.form_field_limit_bytes,
                form_fields_limit=settings.form_fields_limit,
                file_limit_bytes=settings.file_limit_bytes,
                body_idle_seconds=settings.body_idle_seconds,
                trusted_proxies=tuple(ipaddress.ip_network(text) for text in settings.trusted_proxies),
                metrics_networks=tuple(ipaddress.ip_network(text) for text in settings.metrics_networks),
                proxied_only=bool(settings.trusted_proxies) and not settings.tls,
            ),
            ledger=self.ledger,
            directory=directory,
            exchange=Exchange(directory, base_url=settings.base_url, host_audience=settings.host_audience),
            mint=Mint(
                self.ledger,
                keys,
                clock,
                self.entropy,
                directory,
                reached=self._reached,
                per_address=per_address,
                per_issuer=Limit(clock, settings.mints_per_issuer_per_minute, "exchanges for this issuer"),
                host_audience=settings.host_audience,
                host_union=settings.host_mint == "union",
                base_url=settings.base_url,
            ),
            burn=Burn(self.ledger, clock, per_address=per_address),
            gate=gate,
            upload=Upload(
                self.ledger,
                blobs,
                clock,
                self.renderer,
                receiving,
                reached=self._reached,
                file_limit_bytes=settings.file_limit_bytes,
            ),
            browse=Browse(self.ledger, blobs, self.pages, gate, self.renderer, receiving),
        )

    async def _start(self, _app: web.Application) -> None:
        if self._keys is not None:
            await self._keys.start()
        await self._heal()
        self._healing = asyncio.create_task(self._heal_forever(), name="mintmark-heal")

    async def _heal(self) -> None:
        try:
            healed = await self.renderer.heal()
        except (Rejected, Unavailable) as error:
            # A full disk keeps no reader from the pages there are; the next round tries again.
            LOG.warning("pages are behind", private=error.private)
        except Exception:
            # One project that cannot be rendered is no reason to serve none.
            LOG.exception("pages are behind")
        else:
            if healed:
                LOG.info("pages rendered again", pages=healed)

    async def _heal_forever(self) -> None:
        while True:
            await asyncio.sleep(HEAL_SECONDS)
            await self._heal()

    async def close(self) -> None:
        """Stop everything this index started, in the opposite order, whatever fails on the way."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.ledger.close)
            last_first.push_async_callback(self.renderer.close)
            if self._receiving is not None:
                last_first.callback(self._receiving.shutdown)
            if self._keys is not None:
                last_first.push_async_callback(self._keys.close)
            if self._healing is not None:
                self._healing.cancel()
                await asyncio.gather(self._healing, return_exceptions=True)
