"""One look at an issuer, for a report: its documents, its certificate, how fast it was.

Owns noting what was seen. Leaves every guard (addresses, sizes, redirects, TLS) to `store.issuer_http`, through which
the server asks as well, and judging to `core.issuer_report`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from mintmark.core.errors import Unavailable
from mintmark.core.issuer_probe import Answer, Conditions, Kind, Probe, Tls, Trouble
from mintmark.core.jwks import JWKS_MAX_BYTES, BadKeySet, KeySet, parse_key_set
from mintmark.service.ports import KeySource
from mintmark.store.address_guard import ForbiddenAddress, check_address, look_up
from mintmark.store.issuer_http import (
    DISCOVERY_MAX_BYTES,
    Fetched,
    FetchFailed,
    IssuerHttp,
    discovery_place,
    is_of_the_lab,
    keys_place,
    parse_discovery,
    reason_of,
)

TIMEOUT_SECONDS = 10.0
HEADER_MAX_CHARACTERS = 200
# Answers after which the same question may be answered well a little later.
_PASSING = frozenset({429, 500, 502, 503, 504})


class IssuerProbe:
    """Looks at issuers. Nothing is cached, and nothing that comes back is trusted by anybody."""

    def __init__(self, *, proxy: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        # It may look at issuers of a lab, since looking trusts nothing: the report says what they are.
        self._http = IssuerHttp(accept_lab=True, proxy=proxy)
        self._proxied = proxy is not None
        self._timeout_seconds = timeout_seconds

    async def __call__(self, conditions: Conditions) -> Probe:
        """What there is to see, bounded in time."""
        probe = Probe(conditions, lab_certificate=_marked(conditions.ca_pem))
        if conditions.jwks:
            return probe
        look = _Look(self._http, conditions)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await look.run()
        except (FetchFailed, ForbiddenAddress, aiohttp.ClientError, OSError) as error:
            look.trouble = _trouble(error, look.stage)
        private = () if self._proxied or look.trouble else await _private_addresses(conditions.url)
        return replace(
            probe, discovery=look.discovery, keys=look.keys, trouble=look.trouble, tls=look.tls, private=private
        )


class FreshKeys:
    """The keys of issuers for one command, fetched when they are asked for; see `service.ports.Keys`.

    Nothing is kept, and a caller waits as long as a fetch may take: for explanations only.
    """

    def __init__(self, *, accept_lab: bool, proxy: str | None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._http = IssuerHttp(accept_lab=accept_lab, proxy=proxy)
        self._timeout_seconds = timeout_seconds

    async def current(self, source: KeySource) -> KeySet:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                document = source.jwks.encode() if source.jwks else await self._http.fetch_keys(source)
            return parse_key_set(document)
        except (FetchFailed, ForbiddenAddress, BadKeySet, aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(
                "the issuer's keys cannot be fetched right now", private=reason_of(error), code="issuer-unavailable"
            ) from None

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        return than

    def watch(self, sources: Iterable[KeySource]) -> None:
        """Nothing is kept."""


class _Look:
    """The steps of one look; what it got to stays when a step fails."""

    def __init__(self, http: IssuerHttp, conditions: Conditions) -> None:
        self._http = http
        self._source = KeySource(
            conditions.url,
            ca_pem=conditions.ca_pem,
            networks=conditions.networks,
            allow_http=conditions.allow_http,
        )
        self.stage = "discovery"
        self.discovery: Answer | None = None
        self.keys: Answer | None = None
        self.trouble: Trouble | None = None
        self.tls: Tls | None = None

    async def run(self) -> None:
        source = self._source
        async with self._http.session(source, self._noting()) as session:
            self.discovery = await self._ask(session, discovery_place(source), DISCOVERY_MAX_BYTES)
            jwks_uri = parse_discovery(self.discovery.body).get("jwks_uri")
            self.stage = "keys"
            if not isinstance(jwks_uri, str):
                raise FetchFailed("the discovery document has no jwks_uri")
            # Also where the document names another issuer: the report says that, and what its keys are.
            self.keys = await self._ask(session, keys_place(source, jwks_uri), JWKS_MAX_BYTES)

    async def _ask(self, session: aiohttp.ClientSession, place: URL, max_bytes: int) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        fetched = await self._http.get(session, self._source, place, max_bytes)
        return _answer(fetched, round((loop.time() - began) * 1000))

    def _noting(self) -> ssl.SSLContext:
        """TLS as the server has it, that notes the verified certificate of the first connection."""
        pem = self._source.ca_pem
        # Read once by the server's own rules, so that bad certificates are refused in its words.
        if pem:
            self._http.context(pem)
        context = ssl.create_default_context(cadata=pem or None)

        class Noting(ssl.SSLObject):
            def do_handshake(noting) -> None:  # noqa: N805
                super().do_handshake()
                self.tls = self.tls or _tls(noting)

        context.sslobject_class = Noting
        return context


def _tls(connection: ssl.SSLObject) -> Tls:
    certificate: Mapping[str, object] = connection.getpeercert() or {}
    names = {key: value for part in _parts(certificate.get("issuer")) for key, value in part}
    until = certificate.get("notAfter")
    return Tls(
        connection.version() or "",
        names.get("organizationName") or names.get("commonName") or "",
        float(ssl.cert_time_to_seconds(until)) if isinstance(until, str) else 0.0,
    )


def _parts(name: object) -> tuple[tuple[tuple[str, str], ...], ...]:
    return name if isinstance(name, tuple) else ()


def _answer(fetched: Fetched, milliseconds: int) -> Answer:
    served_at = None
    with contextlib.suppress(ValueError, OverflowError):
        served_at = parsedate_to_datetime(fetched.headers.get("Date", "")).timestamp()
    cache_control = fetched.headers.get("Cache-Control", "")[:HEADER_MAX_CHARACTERS]
    return Answer(fetched.url, fetched.body, milliseconds, fetched.redirects, cache_control, served_at)


def _trouble(error: Exception, stage: str) -> Trouble:
    reason = reason_of(error)
    if isinstance(error, ForbiddenAddress):
        return Trouble(Kind.FORBIDDEN, stage, reason, _network(str(error)))
    if isinstance(error, FetchFailed):
        return Trouble(Kind.UNREACHABLE if error.status in _PASSING else Kind.UNUSABLE, stage, reason)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or type(error.certificate_error).__name__
        return Trouble(Kind.TLS, stage, f"its certificate is refused: {why}")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Trouble(Kind.TLS, stage, "it speaks no TLS that can be used")
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own message is for programmers; name and port are the operator's own words or a checked URL's.
        number = error.os_error.errno
        why = os.strerror(number) if number and number > 0 else error.os_error.strerror or "the name is not known"
        reason = f"no connection to {error.host}:{error.port}: {why}"
    return Trouble(Kind.UNREACHABLE, stage, reason)


def _network(reason: str) -> str:
    """The network of one address that a refusal begins with."""
    try:
        return str(ipaddress.ip_network(reason.partition(" ")[0]))
    except ValueError:
        return ""


async def _private_addresses(url: str) -> tuple[str, ...]:
    found = []
    parts = urlsplit(url)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for address in dict.fromkeys(await look_up(parts.hostname or "", parts.port or 443, 0)):
                try:
                    check_address(address, ())
                except ForbiddenAddress:
                    found.append(address)
    return tuple(found)


def _marked(ca_pem: str) -> bool:
    try:
        return is_of_the_lab(ca_pem)
    except ValueError:
        return False
