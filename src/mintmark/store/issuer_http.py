"""An issuer's documents over HTTP: where they are, how they are asked for, and what an answer must look like.

Owns the guarded session, sizes, redirects, TLS, and the reading of a discovery document. Leaves which addresses may be
reached to `store.address_guard`, when an issuer is asked and for how long its keys are trusted to `store.keys_http`,
and a report on an issuer to `store.issuer_probe`. Both ask through this module, so that a report and the server judge
alike.
"""

from __future__ import annotations

import binascii
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from mintmark.core import strict_json
from mintmark.core.jwks import JWKS_MAX_BYTES, BadKeySet
from mintmark.service.ports import KeySource
from mintmark.store.address_guard import (
    ForbiddenAddress,
    GuardedResolver,
    Lookup,
    check_port,
    check_url,
    look_up,
    parse_networks,
)

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


class FetchFailed(Exception):
    """No usable document. The message is for the log, and quotes nothing that the issuer sent."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        """The HTTP status, where that is the reason."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of 200, read whole. `url` is the last one of its redirects."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    redirects: int


class IssuerHttp:
    """Asks issuers for their documents.

    With a `proxy`, the proxy resolves names and connects, so that only the addresses written in URLs can be checked
    here; the proxy has to keep internal networks out of reach. Proxy variables of the environment are ignored.
    """

    def __init__(self, *, accept_lab: bool = False, proxy: str | None = None, lookup: Lookup = look_up) -> None:
        self._accept_lab = accept_lab
        self._proxy = proxy
        self._lookup = lookup
        self._contexts: dict[str, ssl.SSLContext] = {}

    def forget(self) -> None:
        """Let go of the contexts of former sources."""
        self._contexts.clear()

    async def fetch_keys(self, source: KeySource) -> bytes:
        """The bytes of the issuer's key set."""
        async with self.session(source) as session:
            discovery = await self.get(session, source, discovery_place(source), DISCOVERY_MAX_BYTES)
            place = keys_place(source, self.read_discovery(source, discovery.body))
            return (await self.get(session, source, place, JWKS_MAX_BYTES)).body

    @asynccontextmanager
    async def session(
        self, source: KeySource, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """A session of its own for one source. `tls` replaces the context that its certificates ask for."""
        # With a proxy the only name resolved here is the proxy's, which the operator chose.
        resolver = GuardedResolver(parse_networks(_ANYWHERE if self._proxy else source.networks), self._lookup)
        # True: aiohttp's own context, which trusts what the system trusts.
        context = tls or (self.context(source.ca_pem) if source.ca_pem else True)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, ssl=context, use_dns_cache=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mintmark"},
            # Invariant: nothing is decompressed, so that a size is a size; a compressed answer is refused.
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),  # bounded as a whole, by whoever asks
        ) as session:
            yield session

    async def get(self, session: aiohttp.ClientSession, source: KeySource, url: URL, max_bytes: int) -> Fetched:
        """The document at a checked URL. Raises `FetchFailed` and `ForbiddenAddress`."""
        for redirects in range(REDIRECTS_MAX + 1):
            async with session.get(url, allow_redirects=False, proxy=self._proxy) as response:
                if response.status not in _REDIRECTS:
                    return Fetched(str(url), await _read_body(response, max_bytes), response.headers, redirects)
                location = response.headers.get("Location", "")
            try:
                target = str(url.join(URL(location, encoded=True)))
            except ValueError:
                raise FetchFailed("the issuer redirects to no URL") from None
            checked = _checked(target, source)
            if checked.origin() != url.origin():
                raise FetchFailed("the issuer redirects to another origin")
            url = checked
        raise FetchFailed("the issuer redirects too often")

    def read_discovery(self, source: KeySource, document: bytes) -> str:
        """The `jwks_uri` of the issuer's own discovery document."""
        value = parse_discovery(document)
        if value.get(LAB_MARK) and not self._accept_lab:
            raise FetchFailed("the issuer belongs to Mintmark's lab; only a server for the lab trusts it")
        # Invariant: the document names the issuer byte for byte; else one host could answer for another's tokens.
        if value.get("issuer") != source.url:
            raise FetchFailed("the discovery document is of another issuer")
        jwks_uri = value.get("jwks_uri")
        if not isinstance(jwks_uri, str):
            raise FetchFailed("the discovery document has no jwks_uri")
        return jwks_uri

    def context(self, ca_pem: str) -> ssl.SSLContext:
        """TLS that trusts these certificates only."""
        context = self._contexts.get(ca_pem)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=ca_pem)
                marked = is_of_the_lab(ca_pem)
            except (ssl.SSLError, ValueError):
                raise FetchFailed("the issuer's CA certificates cannot be read") from None
            if marked and not self._accept_lab:
                raise FetchFailed("the issuer's CA belongs to Mintmark's lab; only a server for the lab trusts it")
            self._contexts[ca_pem] = context
        return context


def discovery_place(source: KeySource) -> URL:
    """Where the discovery document is. Raises `FetchFailed` and `ForbiddenAddress`."""
    issuer = _checked(source.url, source)
    if issuer.raw_query_string or issuer.raw_fragment:
        raise FetchFailed("the issuer's URL has a query or a fragment")
    # OpenID Connect Discovery 1.0, section 4.1: one terminating slash is removed first.
    return _checked(source.url.removesuffix("/") + WELL_KNOWN, source)


def keys_place(source: KeySource, jwks_uri: str) -> URL:
    """Where the key set is, if keys may be there. Raises `ForbiddenAddress`."""
    place = _checked(jwks_uri, source)
    check_port(_checked(source.url, source), place)
    return place


def parse_discovery(document: bytes) -> Mapping[str, object]:
    """The members of a discovery document, whoever it is of. Raises `FetchFailed`."""
    try:
        value = strict_json.parse(document)
    except strict_json.NotStrictJson as error:
        raise FetchFailed(f"the discovery document is not strict JSON: {error}") from None
    if not isinstance(value, dict):
        raise FetchFailed("the discovery document is no object")
    return value


def reason_of(error: Exception) -> str:
    """Why a fetch failed, for the log; quotes nothing that the issuer sent."""
    if isinstance(error, TimeoutError):
        return "the issuer took too long"
    if isinstance(error, FetchFailed | ForbiddenAddress | BadKeySet | aiohttp.ClientConnectorError):
        return str(error)[:_REASON_MAX_CHARACTERS]
    # Only the kind: messages of the HTTP parser quote the answer.
    return f"the issuer cannot be read: {type(error).__name__}"


def is_of_the_lab(ca_pem: str) -> bool:
    """Whether a certificate carries the lab's mark. Raises `ValueError` for what is no certificate."""
    # By the bytes of the certificates, since the standard library decodes no certificate outside of a connection.
    return any(_LAB_ORGANIZATION_DER.search(binascii.a2b_base64(text)) for text in _PEM.findall(ca_pem))


def _checked(url: str, source: KeySource) -> URL:
    return check_url(url, parse_networks(source.networks), allow_http=source.allow_http)


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise FetchFailed(f"the issuer answered {response.status}", response.status)
    if any(value.strip().lower() != "identity" for value in response.headers.getall("Content-Encoding", [])):
        raise FetchFailed("the issuer's answer is compressed")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"the issuer's answer is larger than {max_bytes} bytes")
    return bytes(body)
