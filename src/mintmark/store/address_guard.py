"""Which addresses and URLs the server may fetch an issuer's documents from (SSRF), and a resolver that obeys.

Owns the rules for addresses, for the host and port of URLs, and the resolver that hands aiohttp checked addresses.
Leaves the requests themselves and redirects to `store.issuer_http`, and the choice of the networks to the operator.
Only the resolver touches the network; everything else is a function of its arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int, int], Awaitable[list[str]]]

URL_MAX_CHARACTERS = 2000

# Invariant: an address in one of these networks, or that `ipaddress` calls not global, is only reached when the
# operator named it for that very issuer. The list repeats what `is_global` knows on some Python versions and not on
# others, so that an upgrade changes nothing.
FORBIDDEN_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host: connects to loopback on Linux
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also a cloud's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, yet the host agent of every virtual machine in Azure
        "169.254.0.0/16",  # link-local: metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Invariant: of IPv6 only global unicast is reached at all. Everything else (loopback, unique local, link- and
# site-local, multicast, discard, local-use NAT64 64:ff9b:1::/48, whatever will be invented) lies outside of it.
GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
FORBIDDEN_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "3fff::/20",
    )
)
# Invariant: an address that carries an IPv4 address is judged as that IPv4 address and as nothing else, so that no
# spelling widens what is allowed. Network and the distance of the IPv4 address from the right end, in bits.
WRAPPERS = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (SIIT)
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
# `::` and `::1` lie in ::/96 but are addresses of their own right.
_NOT_WRAPPED = (IPv6Address("::"), IPv6Address("::1"))

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?\Z")
# A last label like these makes getaddrinfo (inet_aton) read the host as a number: `2130706433`, `0x7f.1`, `0177.1`.
_NUMERIC_LABEL = re.compile(r"[0-9]+\Z|0[xX][0-9A-Fa-f]*\Z")
_PRINTABLE_ASCII = re.compile(r"[!-~]+\Z")


class ForbiddenAddress(ValueError):
    """The address or URL must not be fetched from. The message is for the operator's log, not for callers."""


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The operator's allow-list; raises `ForbiddenAddress` when an entry is no CIDR network."""
    try:
        return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts)
    except ValueError as error:
        raise ForbiddenAddress(f"the issuer's networks cannot be read: {error}") from None


def bare(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address, where there is one; else the address itself."""
    if isinstance(address, IPv6Address) and address not in _NOT_WRAPPED:
        for network, shift in WRAPPERS:
            if address in network:
                return IPv4Address((int(address) >> shift) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether everyone on the internet may be asked at this address."""
    address = bare(address)
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in FORBIDDEN_V4)
    return address in GLOBAL_UNICAST_V6 and not any(address in network for network in FORBIDDEN_V6)


def check_address(text: str, networks: Iterable[Network]) -> None:
    """Raise `ForbiddenAddress` unless the address is public or in one of the issuer's networks."""
    if "%" in text:
        raise ForbiddenAddress(f"{text} has a zone id")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ForbiddenAddress(f"{text} is no address in its canonical form") from None
    inner = bare(address)
    if any(inner in network for network in networks if network.version == inner.version):
        return
    if not is_public(inner):
        raise ForbiddenAddress(f"{text} is not on the public internet and not in the issuer's networks")


def check_url(text: str, networks: Iterable[Network], *, allow_http: bool) -> URL:
    """The URL, when its scheme, its form and, where it holds an address instead of a name, its address are allowed.

    What comes back is what aiohttp must get: parsed once, not requoted, so that nothing reads it differently later.
    """
    # Before parsing: IDNA folds full-width digits into addresses, and parsers disagree on spaces and backslashes.
    if len(text) > URL_MAX_CHARACTERS or not _PRINTABLE_ASCII.match(text) or "\\" in text:
        raise ForbiddenAddress("the URL is too long or has characters that do not belong into URLs")
    try:
        url = URL(text, encoded=True)
        host, port = url.raw_host, url.port
    except ValueError:
        raise ForbiddenAddress("the URL cannot be parsed") from None
    if url.scheme != "https" and not (url.scheme == "http" and allow_http):
        raise ForbiddenAddress("the URL is not https")
    if not host or not port:
        raise ForbiddenAddress("the URL has no host or a bad port")
    authority = text.split("/")[2]
    if "@" in authority:
        raise ForbiddenAddress("the URL has a user name")
    if authority.startswith("["):
        check_address(host, networks)
    elif not _HOST_NAME.match(host):
        raise ForbiddenAddress("the URL's host is no host name")
    elif _NUMERIC_LABEL.match(host.rstrip(".").rpartition(".")[2]):
        # Only the dotted quad is read as an address; every other number is refused, wherever it points.
        check_address(host, networks)
    return url


def check_port(issuer: URL, jwks: URL) -> None:
    """Any port within the issuer's origin; elsewhere 443 or the issuer's, so that no document scans ports."""
    if jwks.origin() != issuer.origin() and jwks.port not in {443, issuer.port}:
        raise ForbiddenAddress("the jwks_uri has a port that is neither 443 nor the issuer's")


async def look_up(host: str, port: int, family: int) -> list[str]:
    """All addresses of a name, as the system resolves it; raises `OSError`.

    Each look-up has a thread of its own, not one of a shared pool: a name server that hangs must not hold up the
    names of other issuers. Their number is bounded by what `keys_http` starts: one flight per issuer and minute.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def deliver(addresses: list[str], error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def work() -> None:
        addresses: list[str] = []
        failure: OSError | None = None
        try:
            for *_, place in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
                # A fourth element other than 0 is the zone, which `check_address` refuses.
                zone = f"%{place[3]}" if len(place) == 4 and place[3] else ""
                addresses.append(f"{str(place[0]).partition('%')[0]}{zone}")
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError("the host name cannot be encoded")
        # The loop may be gone when a slow answer comes.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, addresses, failure)

    try:
        threading.Thread(target=work, name="mintmark-look-up", daemon=True).start()
    except RuntimeError:
        raise OSError("no thread for the look-up") from None
    return await answer


class GuardedResolver(AbstractResolver):
    """Resolves a name once and returns checked addresses, which are the ones aiohttp then connects to.

    Invariant: when one address of a name is forbidden, none is returned; a name that points inside and outside at
    once is an attack or a mistake. aiohttp does not ask a resolver about addresses in URLs: `check_url` does those.
    """

    def __init__(self, networks: Iterable[Network], lookup: Lookup = look_up) -> None:
        self._networks = tuple(networks)
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._lookup(host, port, family)))
        if not addresses:
            raise OSError("the name has no address")
        for address in addresses:
            check_address(address, self._networks)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""
