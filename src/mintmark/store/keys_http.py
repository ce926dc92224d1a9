"""The keys of issuers: OIDC discovery and JWKS over HTTP, cached, refreshed and bounded. Implements `Keys`.

Owns when an issuer is asked and how long its keys are trusted. Leaves asking, and what a document must look like, to
`store.issuer_http`, which keys are good enough to `core.jwks`, and the choice of issuers (and their epochs) to the
ledger.

Everything happens on one event loop. Every issuer has its own task, session and connections; issuers share nothing
that one of them could use up.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import aiohttp
import structlog

from mintmark.core.errors import Unavailable
from mintmark.core.jwks import BadKeySet, KeySet, parse_key_set
from mintmark.service.ports import Clock, KeySource
from mintmark.store.address_guard import ForbiddenAddress
from mintmark.store.issuer_http import FetchFailed, IssuerHttp, reason_of

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Entry:
    """What is known of one source. Two trust entries that differ in their epochs only share it."""

    source: KeySource
    keys_epochs: set[int]
    purge_epochs: set[int]
    keys: KeySet | None = None
    document: bytes = b""
    fetched_at: float = -math.inf
    asked_at: float = -math.inf
    forced: bool = False
    """An operator asked for a fetch: the next one ignores the cooldown."""
    failure: str = ""
    """Why the latest fetch failed; empty when it did not."""
    flight: asyncio.Task[None] | None = field(default=None, repr=False)


def _base(source: KeySource) -> KeySource:
    return replace(source, keys_epoch=0, purge_epoch=0)


class HttpKeys:
    """The keys of issuers, over HTTP, possibly through a proxy: see `store.issuer_http.IssuerHttp`."""

    def __init__(
        self,
        clock: Clock,
        *,
        refresh_seconds: float = 900,
        cooldown_seconds: float = 60,
        max_stale_seconds: float = 86400,
        wait_seconds: float = 2.0,
        fetch_timeout_seconds: float = 10.0,
        accept_lab: bool = False,
        proxy: str | None = None,
    ) -> None:
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._cooldown_seconds = cooldown_seconds
        self._max_stale_seconds = max_stale_seconds
        self._wait_seconds = wait_seconds
        self._fetch_timeout_seconds = fetch_timeout_seconds
        self._http = IssuerHttp(accept_lab=accept_lab, proxy=proxy)
        self._entries: dict[KeySource, _Entry] = {}
        self._watched: list[KeySource] = []
        self._static: dict[str, KeySet] = {}
        self._wake = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        # The loop holds tasks weakly; cancelled flights stay here until they are over.
        self._flights: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Begin to refresh the watched sources in the background."""
        if self._timer is None and not self._closed:
            self._timer = asyncio.create_task(self._refresh_forever(), name="mintmark-keys")

    async def close(self) -> None:
        """End every fetch. What is cached stays readable, nothing is fetched any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for entry in self._entries.values():
            self._abandon(entry)
        ending = [*self._flights, *([self._timer] if self._timer else [])]
        await asyncio.gather(*ending, return_exceptions=True)
        self._timer = None

    async def current(self, source: KeySource) -> KeySet:
        """The keys known now, fetched first if there are none."""
        if source.jwks:
            return self._parse_static(source)
        entry = self._entry(source)
        if entry.forced or self._usable(entry) is None:
            await self._ask(entry)
        keys = self._usable(entry)
        if keys is None:
            raise self._unavailable(entry)
        return keys

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        """Keys fetched after `than` if that is possible now; else `than` itself."""
        if source.jwks:
            return self._parse_static(source)
        entry = self._entry(source)
        known = self._usable(entry)
        if entry.forced or known is None or known is than:
            await self._ask(entry)
        return self._usable(entry) or than

    def watch(self, sources: Iterable[KeySource]) -> None:
        """The sources to keep fresh in the background, replacing the former list; what is not in it is forgotten."""
        self._watched = [source for source in sources if not source.jwks]
        kept = {_base(source) for source in self._watched}
        for gone in [base for base in self._entries if base not in kept]:
            self._abandon(self._entries.pop(gone))
        for source in self._watched:
            self._entry(source)
        self._http.forget()
        self._static.clear()
        self._wake.set()

    async def refresh_due(self) -> None:
        """One pass over the watched sources: fetch what is due, and wait for it no longer than a caller would."""
        now = self._clock.now()
        entries = [self._entry(source) for source in self._watched]
        for entry in entries:
            # After a failure the next try comes as soon as the cooldown allows: keys are fetched ahead of need.
            pause = self._cooldown_seconds if entry.failure else self._refresh_seconds
            if entry.forced or abs(now - entry.asked_at) >= pause:
                self._begin(entry)
        flights = [entry.flight for entry in entries if entry.flight is not None]
        if flights:
            await asyncio.wait(flights, timeout=self._wait_seconds)

    async def _refresh_forever(self) -> None:
        # Half a cooldown: late by at most that, and a pass over nothing due costs next to nothing.
        pause = max(1.0, min(self._refresh_seconds, self._cooldown_seconds) / 2)
        while True:
            self._wake.clear()
            await self.refresh_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    def _entry(self, source: KeySource) -> _Entry:
        base = _base(source)
        entry = self._entries.get(base)
        if entry is None:
            entry = _Entry(source, {source.keys_epoch}, {source.purge_epoch})
            self._entries[base] = entry
            return entry
        # An epoch counts once, when it is first seen: trust entries with different epochs take turns here.
        if source.purge_epoch not in entry.purge_epochs:
            entry.purge_epochs.add(source.purge_epoch)
            entry.keys, entry.document = None, b""
            entry.forced = True
        if source.keys_epoch not in entry.keys_epochs:
            entry.keys_epochs.add(source.keys_epoch)
            entry.forced = True
        if entry.forced:
            # What is under way may have been answered before the operator asked.
            self._abandon(entry)
        return entry

    def _abandon(self, entry: _Entry) -> None:
        if entry.flight is not None:
            entry.flight.cancel()
            entry.flight = None

    def _usable(self, entry: _Entry) -> KeySet | None:
        # Invariant: keys older than `max_stale_seconds` verify nothing. A clock that was set back is no excuse.
        fresh = abs(self._clock.now() - entry.fetched_at) <= self._max_stale_seconds
        return entry.keys if fresh else None

    def _parse_static(self, source: KeySource) -> KeySet:
        """The keys pinned by the operator; their issuer is never contacted."""
        keys = self._static.get(source.jwks)
        if keys is None:
            try:
                keys = _parse(source.jwks.encode("utf-8", "surrogatepass"))
            except (BadKeySet, FetchFailed) as error:
                raise _keys_unavailable(source.url, f"static key set: {error}") from None
            self._static[source.jwks] = keys
        return keys

    def _unavailable(self, entry: _Entry) -> Unavailable:
        left = self._cooldown_seconds - abs(self._clock.now() - entry.asked_at)
        if entry.flight is not None:
            return _keys_unavailable(entry.source.url, f"no answer within {self._wait_seconds} s")
        return _keys_unavailable(entry.source.url, entry.failure or "no fetch is possible", math.ceil(max(1.0, left)))

    def _begin(self, entry: _Entry) -> None:
        """Start a fetch, unless one is under way or the issuer was asked within the cooldown."""
        now = self._clock.now()
        # Invariant: an issuer is asked once per cooldown at most, failures included; a new epoch shortens it, once.
        if not entry.forced and abs(now - entry.asked_at) < self._cooldown_seconds:
            return
        if self._closed or entry.flight is not None:
            return
        entry.forced, entry.asked_at = False, now
        flight = asyncio.create_task(self._fly(entry, now), name=f"mintmark-keys {entry.source.url}")
        entry.flight = flight
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _ask(self, entry: _Entry) -> None:
        """Begin a fetch if one may begin; wait for the one under way, or that replaces it, `wait_seconds` at most."""
        self._begin(entry)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_seconds
        while entry.flight and not entry.flight.done() and (left := deadline - loop.time()) > 0:
            # Not awaited directly: a caller that gives up must not end the flight for the others.
            await asyncio.wait({entry.flight}, timeout=left)

    async def _fly(self, entry: _Entry, now: float) -> None:
        issuer = entry.source.url
        try:
            async with asyncio.timeout(self._fetch_timeout_seconds):
                document = await self._http.fetch_keys(entry.source)
            # An unchanged document stays the same set, so that `newer` does not take a repetition for news.
            keys = entry.keys if entry.keys is not None and document == entry.document else _parse(document)
        except (FetchFailed, ForbiddenAddress, BadKeySet, aiohttp.ClientError, OSError) as error:
            # Invariant: a failing fetch, an empty key set included, never removes keys that are still usable.
            entry.failure = reason_of(error)
            log.warning("key-fetch-failed", issuer=issuer, reason=entry.failure)
        except Exception:
            # A bug of ours; callers are told `Unavailable`, as the port promises.
            entry.failure = "internal error; see the log"
            log.exception("key-fetch-broken", issuer=issuer)
        else:
            if keys is not entry.keys:
                log.info("key-set-swapped", issuer=issuer, keys=len(keys.keys), skipped=list(keys.skipped))
            entry.keys, entry.document = keys, document
            entry.fetched_at, entry.failure = now, ""
        finally:
            if entry.flight is asyncio.current_task():
                entry.flight = None


def _keys_unavailable(issuer: str, reason: str, retry_after_seconds: int = 5) -> Unavailable:
    return Unavailable(
        "the issuer's keys cannot be fetched right now",
        private=f"{issuer}: {reason}",
        code="issuer-unavailable",
        retry_after_seconds=retry_after_seconds,
    )


def _parse(document: bytes) -> KeySet:
    keys = parse_key_set(document)
    if not keys.keys:
        raise FetchFailed(f"the key set has no usable key: {'; '.join(keys.skipped[:3]) or 'it is empty'}")
    return keys
