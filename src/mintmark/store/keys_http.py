"""The keys of issuers: OIDC discovery and JWKS over HTTP, cached, refreshed and bounded. Implements `Keys`.

Owns when an issuer is asked, what a fetched document must look like, and how long its keys are trusted. Leaves which
addresses may be reached to `store.address_guard`, which keys are good enough to `core.jwks`, and the choice of issuers
(and their epochs) to the ledger.

Everything happens on one event loop. Every issuer has its own task, session and connections; issuers share nothing
that one of them could use up.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import math
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import aiohttp
import structlog
from yarl import URL

from mintmark.core import strict_json
from mintmark.core.errors import Unavailable
from mintmark.core.jwks import JWKS_MAX_BYTES, BadKeySet, KeySet, parse_key_set
from mintmark.service.ports import Clock, KeySource
from mintmark.store.address_guard import ForbiddenAddress, GuardedResolver, check_port, check_url, parse_networks

DISCOVERY_MAX_BYTES = 256 * 1024
WELL_KNOWN = "/.well-known/openid-configuration"
# Invariant: a redirect is followed only within one origin (scheme, host and port), and only so often.
REDIRECTS_MAX = 3
# Invariant: a discovery document or CA that carries the lab's mark is refused unless the server runs for the lab,
# since the lab signs whatever it is asked to.
LAB_MARK = "mintmark_lab"
LAB_ORGANIZATION = "Mintmark lab"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REASON_MAX_CHARACTERS = 300
_ANYWHERE = ("0.0.0.0/0", "::/0")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----(.*?)-----END ", re.DOTALL)
# An organizationName (2.5.4.10) of 12 bytes, in the encodings of RFC 5280 that write ASCII as it is.
_LAB_ORGANIZATION_DER = re.compile(rb"\x06\x03\x55\x04\x0a[\x0c\x13\x14\x16]\x0c" + LAB_ORGANIZATION.encode("ascii"))

log = structlog.get_logger(__name__)


class _FetchFailed(Exception):
    """No usable keys. The message is for the log, and quotes nothing that the issuer sent."""


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
    """The keys of issuers, over HTTP.

    With a `proxy`, the proxy resolves names and connects, so that only the addresses written in URLs can be checked
    here; the proxy has to keep internal networks out of reach. Proxy variables of the environment are ignored.
    """

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
        self._accept_lab = accept_lab
        self._proxy = proxy
        self._entries: dict[KeySource, _Entry] = {}
        self._watched: list[KeySource] = []
        self._static: dict[str, KeySet] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
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
        self._contexts.clear()
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
            except (BadKeySet, _FetchFailed) as error:
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
                document = await self._fetch(entry.source)
            # An unchanged document stays the same set, so that `newer` does not take a repetition for news.
            keys = entry.keys if entry.keys is not None and document == entry.document else _parse(document)
        except (_FetchFailed, ForbiddenAddress, BadKeySet, aiohttp.ClientError, OSError) as error:
            # Invariant: a failing fetch, an empty key set included, never removes keys that are still usable.
            entry.failure = _reason(error)
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

    async def _fetch(self, source: KeySource) -> bytes:
        """The bytes of the issuer's key set."""
        issuer = _checked(source.url, source)
        if issuer.raw_query_string or issuer.raw_fragment:
            raise _FetchFailed("the issuer's URL has a query or a fragment")
        # With a proxy the only name resolved here is the proxy's, which the operator chose.
        resolver = GuardedResolver(parse_networks(_ANYWHERE if self._proxy else source.networks))
        # True: aiohttp's own context, which trusts what the system trusts.
        tls = self._context(source.ca_pem) if source.ca_pem else True
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=tls, use_dns_cache=False)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mintmark"},
            # Invariant: nothing is decompressed, so that a size is a size; a compressed answer is refused.
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),  # bounded as a whole, in `_fly`
        ) as session:
            # OpenID Connect Discovery 1.0, section 4.1: one terminating slash is removed first.
            place = _checked(source.url.removesuffix("/") + WELL_KNOWN, source)
            jwks_uri = self._read_discovery(source, await self._get(session, source, place, DISCOVERY_MAX_BYTES))
            place = _checked(jwks_uri, source)
            check_port(issuer, place)
            return await self._get(session, source, place, JWKS_MAX_BYTES)

    async def _get(self, session: aiohttp.ClientSession, source: KeySource, url: URL, max_bytes: int) -> bytes:
        for _ in range(REDIRECTS_MAX + 1):
            async with session.get(url, allow_redirects=False, proxy=self._proxy) as response:
                if response.status not in _REDIRECTS:
                    return await _read_body(response, max_bytes)
                location = response.headers.get("Location", "")
            try:
                target = str(url.join(URL(location, encoded=True)))
            except ValueError:
                raise _FetchFailed("the issuer redirects to no URL") from None
            checked = _checked(target, source)
            if checked.origin() != url.origin():
                raise _FetchFailed("the issuer redirects to another origin")
            url = checked
        raise _FetchFailed("the issuer redirects too often")

    def _read_discovery(self, source: KeySource, document: bytes) -> str:
        """The `jwks_uri` of the issuer's own discovery document."""
        try:
            value = strict_json.parse(document)
        except strict_json.NotStrictJson as error:
            raise _FetchFailed(f"the discovery document is not strict JSON: {error}") from None
        if not isinstance(value, dict):
            raise _FetchFailed("the discovery document is no object")
        if value.get(LAB_MARK) and not self._accept_lab:
            raise _FetchFailed("the issuer belongs to Mintmark's lab; only a server for the lab trusts it")
        # Invariant: the document names the issuer byte for byte; else one host could answer for another's tokens.
        if value.get("issuer") != source.url:
            raise _FetchFailed("the discovery document is of another issuer")
        jwks_uri = value.get("jwks_uri")
        if not isinstance(jwks_uri, str):
            raise _FetchFailed("the discovery document has no jwks_uri")
        return jwks_uri

    def _context(self, ca_pem: str) -> ssl.SSLContext:
        """TLS that trusts these certificates only."""
        context = self._contexts.get(ca_pem)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=ca_pem)
                marked = _is_of_the_lab(ca_pem)
            except (ssl.SSLError, ValueError):
                raise _FetchFailed("the issuer's CA certificates cannot be read") from None
            if marked and not self._accept_lab:
                raise _FetchFailed("the issuer's CA belongs to Mintmark's lab; only a server for the lab trusts it")
            self._contexts[ca_pem] = context
        return context


def _checked(url: str, source: KeySource) -> URL:
    return check_url(url, parse_networks(source.networks), allow_http=source.allow_http)


def _keys_unavailable(issuer: str, reason: str, retry_after_seconds: int = 5) -> Unavailable:
    return Unavailable(
        "the issuer's keys cannot be fetched right now",
        private=f"{issuer}: {reason}",
        code="issuer-unavailable",
        retry_after_seconds=retry_after_seconds,
    )


def _reason(error: Exception) -> str:
    """Why a fetch failed, for the log; quotes nothing that the issuer sent."""
    if isinstance(error, TimeoutError):
        return "the issuer took too long"
    if isinstance(error, _FetchFailed | ForbiddenAddress | BadKeySet | aiohttp.ClientConnectorError):
        return str(error)[:_REASON_MAX_CHARACTERS]
    # Only the kind: messages of the HTTP parser quote the answer.
    return f"the issuer cannot be read: {type(error).__name__}"


def _parse(document: bytes) -> KeySet:
    keys = parse_key_set(document)
    if not keys.keys:
        raise _FetchFailed(f"the key set has no usable key: {'; '.join(keys.skipped[:3]) or 'it is empty'}")
    return keys


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise _FetchFailed(f"the issuer answered {response.status}")
    if any(value.strip().lower() != "identity" for value in response.headers.getall("Content-Encoding", [])):
        raise _FetchFailed("the issuer's answer is compressed")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise _FetchFailed(f"the issuer's answer is larger than {max_bytes} bytes")
    return bytes(body)


def _is_of_the_lab(ca_pem: str) -> bool:
    # By the bytes of the certificates, since the standard library decodes no certificate outside of a connection.
    return any(_LAB_ORGANIZATION_DER.search(binascii.a2b_base64(text)) for text in _PEM.findall(ca_pem))
