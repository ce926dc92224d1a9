"""What every endpoint has at hand: the use cases, and which registry a request is for.

Owns the reading of host, address and registry from a request. Server-made URLs never come from here: they are made
from configured base URLs.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.core.records import Registry
from mintmark.service.browse import Browse
from mintmark.service.burn import Burn
from mintmark.service.directory import Directory
from mintmark.service.exchange import Exchange
from mintmark.service.gate import Gate
from mintmark.service.mint import Mint
from mintmark.service.ports import Ledger
from mintmark.service.upload import Upload

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# The smallest network that a provider gives a customer: to count single addresses of it would count nothing.
IPV6_CLIENT_BITS = 64


@dataclass(frozen=True, slots=True)
class Wire:
    """Limits and addresses of the wire."""

    base_url: str
    host: str
    form_field_limit_bytes: int
    form_fields_limit: int
    file_limit_bytes: int
    body_idle_seconds: int
    trusted_proxies: tuple[Network, ...]
    metrics_networks: tuple[Network, ...]
    proxied_only: bool
    """Plain HTTP behind a proxy that ends TLS: nobody else may connect."""


@dataclass(frozen=True, slots=True)
class Services:
    """Every use case an endpoint may call."""

    wire: Wire
    ledger: Ledger
    directory: Directory
    exchange: Exchange
    mint: Mint
    burn: Burn
    gate: Gate
    upload: Upload
    browse: Browse


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
# The registry whose own host name a request names, or None on the shared host. Set by `web.boundary`.
OWN_REGISTRY: web.RequestKey[Registry | None] = web.RequestKey("own_registry", object)  # type: ignore[arg-type]


def services(request: web.Request) -> Services:
    """The use cases."""
    return request.app[SERVICES]


def host_name(header: str) -> str:
    """The host of a Host header, in lower case and without a port."""
    if header.startswith("["):
        address, bracket, _ = header[1:].partition("]")
        return address.lower() if bracket and ":" in address else ""
    return header.partition(":")[0].lower()


async def registry_of(request: web.Request) -> Registry:
    """The registry of a route, by its own host name or by the path's first segment. Raises `Rejected`."""
    slug = request.match_info.get("registry")
    own = request[OWN_REGISTRY]
    if slug is None:
        registry = own
    elif own is None:
        snapshot = await services(request).directory.current()
        registry = snapshot.by_slug.get(slug)
    else:
        registry = None
    if registry is None or not registry.enabled:
        raise Rejected("not-found", "There is no such registry here.")
    return registry


@lru_cache(maxsize=4096)
def _inside(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in networks)


def address_of(request: web.Request) -> str:
    """Who a request counts for: the client's address, or the network of those that one client has (IPv6)."""
    return _counted(_client_address(request))


@lru_cache(maxsize=4096)
def _counted(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip.packed, IPV6_CLIENT_BITS), strict=False))


def _client_address(request: web.Request) -> str:
    """The connection's address, or behind trusted proxies the last one they did not add themselves."""
    wire = services(request).wire
    address = request.remote or ""
    if wire.trusted_proxies and _inside(address, wire.trusted_proxies):
        # Every line of it: some proxies write one of their own behind that of the client.
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for part in reversed(forwarded.split(",")):
            hop = part.strip()
            if not hop:
                break
            address = hop
            if not _inside(hop, wire.trusted_proxies):
                break
    return address[:64]


def may_connect_from(address: str, wire: Wire) -> bool:
    """Whether a connection from this address may be here at all."""
    return not wire.proxied_only or _inside(address, wire.trusted_proxies)


def may_read_metrics(request: web.Request) -> bool:
    """Whether the connection may read the metrics."""
    return _inside(_client_address(request), services(request).wire.metrics_networks)
