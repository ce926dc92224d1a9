"""An issuer on loopback, honest until told otherwise, for the tests of `store.keys_http`.

Owns one HTTP server, its answers by path, a count of what it was asked, and the ways in which it can misbehave; the
frozen clock; and the opening and closing of what a test needs.
"""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey

from mintmark.core.errors import Unavailable
from mintmark.core.jwks import KeySet
from mintmark.service.ports import Keys, KeySource
from mintmark.store.keys_http import HttpKeys

DISCOVERY = "/.well-known/openid-configuration"
LOOPBACK = ("127.0.0.0/8", "::1/128")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def key_set(*kids: str) -> bytes:
    """A JWK Set of fresh keys; with the same kid it is another key each time."""
    return json.dumps(
        {"keys": [ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=False) for kid in kids]}
    ).encode()


@dataclass
class IssuerStub:
    """`answers` maps a path to what it answers: bytes (200, JSON) or a handler; anything else is 404."""

    url: str = ""
    answers: dict[str, bytes | Handler] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def fetches(self) -> int:
        """How often somebody began to fetch the keys."""
        return self.asked[DISCOVERY]

    def serve_keys(self, document: bytes) -> None:
        self.answers["/jwks"] = document

    def describe(self, **changes: object) -> None:
        """The discovery document, with some members changed; None removes one."""
        members = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **changes}
        kept = {name: value for name, value in members.items() if value is not None}
        self.answers[DISCOVERY] = json.dumps(kept).encode()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=404)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return await answer(request)


@asynccontextmanager
async def running_issuer(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[IssuerStub]:
    """A stub on a free port of 127.0.0.1, with a good document and one key of the kid `one`."""
    stub = IssuerStub()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        stub.url = f"{'https' if tls else 'http'}://{host}:{port}"
        stub.describe()
        stub.serve_keys(key_set("one"))
        yield stub
    finally:
        await runner.cleanup()


@dataclass
class FrozenClock:
    """Time that passes only when a test says so."""

    seconds: float = 1_800_000_000.0

    def now(self) -> float:
        return self.seconds


class World:
    """A clock, and as many issuers and key caches as a test needs, all closed at its end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = FrozenClock()
        self._stack = stack

    async def issuer(self, host: str = "127.0.0.1") -> IssuerStub:
        return await self._stack.enter_async_context(running_issuer(host=host))

    def keys(
        self,
        *,
        wait_seconds: float = 5.0,
        fetch_timeout_seconds: float = 10.0,
        accept_lab: bool = False,
        proxy: str = "",
    ) -> HttpKeys:
        keys = HttpKeys(
            self.clock,
            wait_seconds=wait_seconds,
            fetch_timeout_seconds=fetch_timeout_seconds,
            accept_lab=accept_lab,
            proxy=proxy or None,
        )
        self._stack.push_async_callback(keys.close)
        return keys


def source_of(issuer: IssuerStub) -> KeySource:
    return KeySource(issuer.url, networks=LOOPBACK, allow_http=True)


def kids(keys: KeySet) -> list[str | None]:
    return [key.kid for key in keys.keys]


async def refused(keys: Keys, source: KeySource) -> str:
    """The private reason of a refusal."""
    with pytest.raises(Unavailable) as caught:
        await keys.current(source)
    assert caught.value.code.name == "issuer-unavailable"
    assert source.url not in caught.value.what
    return caught.value.private


def authority(organization: str) -> tuple[str, ssl.SSLContext]:
    """A CA of this organization as PEM, and a server context with a certificate of it for localhost."""
    ca, private, certificate = authority_files(organization)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        chain = Path(directory, "chain.pem")
        chain.write_bytes(private + certificate)
        context.load_cert_chain(chain)
    return ca, context


def authority_files(organization: str) -> tuple[str, bytes, bytes]:
    """A CA of this organization, and key and certificate of a server at localhost, all as PEM."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

    def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        builder(ca_name, ca_key)
        .add_extension(ca_id, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost")]
    server = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]), server_key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem).decode("ascii"), private, server.public_bytes(pem)


# -- misbehaviour -----------------------------------------------------------------------------------------------------

# Changes of the discovery document, and a part of the reason for which it is refused.
BAD_DISCOVERY: list[tuple[dict[str, object], str]] = [
    ({"issuer": "https://issuer.example"}, "another issuer"),
    ({"issuer": None}, "another issuer"),
    ({"issuer": ["x"]}, "another issuer"),
    ({"jwks_uri": None}, "no jwks_uri"),
    ({"jwks_uri": 5}, "no jwks_uri"),
    ({"jwks_uri": "/jwks"}, "not https"),
    ({"jwks_uri": "file:///etc/passwd"}, "not https"),
    ({"jwks_uri": "http://10.0.0.1/jwks"}, "not on the public internet"),
    ({"jwks_uri": "http://169.254.169.254/latest"}, "not on the public internet"),
    ({"jwks_uri": "http://2130706433/jwks"}, "canonical"),
    ({"jwks_uri": "http://0x7f.1/jwks"}, "canonical"),
    ({"jwks_uri": "http://[::ffff:10.0.0.1]/jwks"}, "not on the public internet"),
    ({"jwks_uri": "http://[fe80::1%25lo]/jwks"}, "zone"),
    ({"jwks_uri": "http://a:b@127.0.0.1/jwks"}, "user name"),
    ({"jwks_uri": "http://127.0.0.2:6379/jwks"}, "neither 443 nor"),
    ({"mintmark_lab": True}, "lab"),
    ({"mintmark_lab": {"version": 1}}, "lab"),
]
# Path, body, and a part of the reason for which it is refused.
BAD_BODIES: list[tuple[str, bytes, str]] = [
    (DISCOVERY, b"{", "not strict JSON"),
    (DISCOVERY, b"[]", "no object"),
    (DISCOVERY, b'{"issuer": "a", "issuer": "b"}', "twice"),
    (DISCOVERY, b'"\xff"', "UTF-8"),
    (DISCOVERY, b" " * (256 * 1024 + 1), "larger than"),
    (DISCOVERY, b"[" * 100_000, "nested"),
    ("/jwks", b'{"keys": {}}', "no array"),
    ("/jwks", b" " * (512 * 1024 + 1), "larger than"),
    ("/jwks", json.dumps({"keys": [{"kty": "EC"}] * 10_000}).encode(), "more than"),
    ("/jwks", b'{"keys": []}', "no usable key"),
]


def hanging(asked: asyncio.Event, gone: asyncio.Event | None = None) -> Handler:
    """Never answer; say when somebody asked, and when they gave up."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            (gone or asked).set()
        raise AssertionError

    return handler


def held_back(body: bytes, go: asyncio.Event) -> Handler:
    """Answer when told to."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=body)

    return handler


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    return await hanging(asyncio.Event())(request)


async def drip(request: web.Request) -> web.StreamResponse:
    """A byte now and then, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def endless(request: web.Request) -> web.StreamResponse:
    """As many bytes as are taken, without a length."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(65_536))


async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Another protocol than HTTP."""
    writer.write(b"220 mail.example ESMTP\r\n")
    writer.close()


def answering(status: int) -> Handler:
    """An empty answer with this status."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    return handler


def compressed(encoding: str) -> Handler:
    """A small answer that would unpack to 10 MB, although nobody asked for compression."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": encoding})

    return handler


def redirect(place: str) -> Handler:
    """A redirect to this place."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": place})

    return handler


def short_id(value: object) -> str:
    """Names of test cases without the bodies."""
    return value if isinstance(value, str) else ""


# What answers, and a part of the reason for which it is refused.
BAD_ANSWERS: list[tuple[Handler, str]] = [
    *((answering(status), f"answered {status}") for status in (201, 204, 304, 404, 500, 503)),
    *((compressed(encoding), "compressed") for encoding in ("gzip", "br", "x-unknown", "identity, gzip")),
    (endless, "larger than"),
]
