"""The only place where everything meets: settings, stores, use cases, application.

Owns the wiring and the order of starting and stopping. No other module constructs a store or a service.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.report_card import Line, bad, note
from mintmark.service.directory import Directory
from mintmark.service.fsck import Fsck
from mintmark.service.limits import Limit
from mintmark.service.ports import Clock, Entropy, Keys
from mintmark.service.projects import LifeCycle
from mintmark.service.renderer import Renderer
from mintmark.service.restore import after_restore
from mintmark.service.steps import Reached, ignore
from mintmark.service.sweep import DAY_SECONDS, Progress, Sweep
from mintmark.service.tokens import Tokens
from mintmark.service.trust import Trust
from mintmark.settings import Settings
from mintmark.store import backup, data_dir
from mintmark.store.backup import Made
from mintmark.store.blobs_dir import DirectoryBlobs
from mintmark.store.description_process import DescriptionProcess
from mintmark.store.ledger.sqlite import open_ledger
from mintmark.store.pages_dir import DirectoryPages
from mintmark.store.system import SystemClock, SystemEntropy

if TYPE_CHECKING:
    from aiohttp import web

    from mintmark.service.explain import Explain
    from mintmark.service.importing import Import
    from mintmark.service.mint_log import MintLog
    from mintmark.store.issuer_probe import IssuerProbe
    from mintmark.store.keys_http import HttpKeys
    from mintmark.web.context import Services

LOG = structlog.get_logger("mintmark")
# Enough to keep several disks' queues busy; each thread holds at most one piece of a file.
RECEIVING_THREADS = 8
# As many as an import may have jobs: they wait for the disk more than they compute.
IMPORTING_THREADS = 32
# How long a page may stay behind when its writer died beside a running server, or when the disk was full.
HEAL_SECONDS = 30.0
# How long a start waits for pages that a crash left behind.
HEAL_FIRST_SECONDS = 5.0
# Not at the start, when there is enough to do.
FIRST_SWEEP_SECONDS = 600.0


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
        self.life_cycle = LifeCycle(self.ledger, self.clock, self.renderer, reached=reached)
        self._descriptions = DescriptionProcess()
        self._keys: HttpKeys | None = None
        self._receiving: ThreadPoolExecutor | None = None
        self._importing: ThreadPoolExecutor | None = None
        self._healing: asyncio.Task[None] | None = None
        self._healed_once = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    @cached_property
    def blobs(self) -> DirectoryBlobs:
        """Made when it is needed: most commands have nothing to do with files."""
        return DirectoryBlobs(self.directory_path)

    @cached_property
    def sweep(self) -> Sweep:
        """Removes what nobody needs any more."""
        return Sweep(self.ledger, self.blobs, self.pages, self.clock, audit_days=self.settings.audit_keep_days)

    @cached_property
    def fsck(self) -> Fsck:
        """Compares everything with everything."""
        return Fsck(self.ledger, self.blobs, self.pages, self.renderer, self.clock)

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

    @cached_property
    def explain(self) -> Explain:
        """A dry run of an exchange."""
        from mintmark.service.explain import Explain

        return Explain(self.ledger, self.clock, self.settings.host_audience)

    @cached_property
    def mint_log(self) -> MintLog:
        """What became of identity tokens."""
        from mintmark.service.mint_log import MintLog

        return MintLog(self.ledger, self.clock)

    def importer(self) -> Import:
        """The use case of bringing in an existing index, with threads of its own; beside a running server too."""
        from mintmark.service.importing import Import

        if self._importing is None:
            self._importing = ThreadPoolExecutor(IMPORTING_THREADS, thread_name_prefix="import")
        return Import(
            self.ledger,
            self.blobs,
            self.clock,
            self.renderer,
            self._importing,
            reached=self._reached,
            file_limit_bytes=self.settings.file_limit_bytes,
        )

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
        blobs = self.blobs
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
                self._descriptions,
                receiving,
                reached=self._reached,
                file_limit_bytes=settings.file_limit_bytes,
            ),
            browse=Browse(self.ledger, blobs, self.pages, gate, self.renderer, receiving),
        )

    async def _start(self, _app: web.Application) -> None:
        if self._keys is not None:
            await self._keys.start()
        pages_are_new = await self._adopt_pages()
        self._healing = asyncio.create_task(self._heal_forever(), name="mintmark-heal")
        if not pages_are_new:
            # Pages that are behind would be served. Absent ones are rendered when somebody asks for them, so nobody
            # waits for all pages of a large index after a restart of the machine.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._healed_once.wait(), HEAL_FIRST_SECONDS)
        self._sweeping = asyncio.create_task(self._sweep_forever(), name="mintmark-sweep")

    async def _heal(self) -> None:
        try:
            # Again, should the ledger have been busy at the start.
            await self.renderer.adopt()
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

    async def _adopt_pages(self) -> bool:
        try:
            return await self.renderer.adopt()
        except (Rejected, Unavailable) as error:
            LOG.warning("pages are behind", private=error.private)
            return False

    async def _heal_forever(self) -> None:
        while True:
            await self._heal()
            self._healed_once.set()
            await asyncio.sleep(HEAL_SECONDS)

    async def _sweep_forever(self) -> None:
        await asyncio.sleep(FIRST_SWEEP_SECONDS)
        while True:
            try:
                swept = await self.sweep()
            except Exception:
                # What is left lying around keeps nobody from working; tomorrow is another day.
                LOG.exception("sweeping failed")
            else:
                if swept.anything:
                    LOG.info("swept", **swept.facts())
            await asyncio.sleep(DAY_SECONDS)

    async def close(self) -> None:
        """Stop everything this index started, in the opposite order, whatever fails on the way."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.ledger.close)
            last_first.push_async_callback(self.renderer.close)
            last_first.push_async_callback(self._descriptions.close)
            if self._receiving is not None:
                last_first.callback(self._receiving.shutdown)
            if self._importing is not None:
                last_first.callback(self._importing.shutdown)
            if self._keys is not None:
                last_first.push_async_callback(self._keys.close)
            running = [task for task in (self._healing, self._sweeping) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def fresh_keys(settings: Settings, *, accept_lab: bool) -> Keys:
    """The issuers' keys, fetched once for one command."""
    from mintmark.store.issuer_probe import FreshKeys

    return FreshKeys(accept_lab=accept_lab, proxy=settings.outbound_proxy or None)


def issuer_probe(proxy: str = "") -> IssuerProbe:
    """What looks at an issuer for a report; without any index."""
    from mintmark.store.issuer_probe import IssuerProbe

    return IssuerProbe(proxy=proxy or None)


async def diagnose(
    settings: Settings, *, development: bool, offline: bool, backups: Sequence[Path], clock: Clock | None = None
) -> list[Line]:
    """Everything that `mintmark doctor` looks at. Opens the ledger only where that migrates nothing."""
    from mintmark.service import doctor_host
    from mintmark.service.doctor import Doctor
    from mintmark.store import surroundings

    clock = clock or SystemClock()
    now = clock.now()
    lines = [*doctor_host.on_settings(settings, development=development)]
    if settings.tls:
        chain, problem = surroundings.read_chain(Path(settings.tls_certificate), Path(settings.tls_key))
        lines += doctor_host.on_certificate(settings, chain, problem, now)
    facts = await asyncio.to_thread(surroundings.look_at_data_dir, Path(settings.data_dir))
    lines += doctor_host.on_data_dir(settings.data_dir, facts, now)
    for folder in backups:
        try:
            lines.append(doctor_host.on_backup(str(folder), surroundings.latest_backup(folder), now))
        except Rejected as error:
            lines.append(bad("backup", error.detail, error.hint))
    if not backups:
        lines.append(note("backup", "Where backups go is not known here.", "Name the folder with --backup."))
    # Another user's ledger would get journals that its server cannot write.
    if facts.problem or facts.revision != facts.head or not facts.is_mine:
        return lines
    ledger = open_ledger(Path(settings.data_dir) / data_dir.LEDGER_NAME)
    try:
        look = None if offline else issuer_probe(settings.outbound_proxy)
        return [*lines, *await Doctor(ledger, clock, settings.host_audience, look, lab=development)()]
    finally:
        await ledger.close()


async def restore_backup(
    source: Path,
    snapshot: str,
    directory: Path,
    *,
    incomplete: bool,
    progress: Progress,
    clock: Clock | None = None,
) -> Made:
    """Make a data directory of a backup: copied, migrated, safe to use, and only then an index."""
    made = await asyncio.to_thread(backup.unpack, source, snapshot, directory, incomplete=incomplete, progress=progress)
    now = int((clock or SystemClock()).now())
    ledger = await asyncio.to_thread(open_ledger, directory / backup.UNFINISHED_LEDGER)
    try:
        await ledger.write(lambda tx: after_restore(tx, now, made.name))
    finally:
        await ledger.close()
    await asyncio.to_thread(backup.finish, directory)
    return made
