"""Hostile requests over every route of the application, made by a seeded generator.

None of them may be accepted: every form and token has a fatal fault.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

from mintmark.web.app import build
from support.dists import sdist, wheel
from support.wire import form, part, segment
from support.world import SELF_HOSTED, World

ROUTES = sorted(
    {
        (route.method, route.resource.canonical)
        for route in build(cast("Any", None), cast("Any", None)).router.routes()
        if route.resource is not None
    }
)
# Where most can go wrong; asked more often than the others.
DEEP = [route for route in ROUTES if any(part in route[1] for part in ("/legacy", "/files/", "/mint-token"))]
FILE, SDIST = wheel(), sdist()
OWN_HOST = "own.example"
SLUGS = ("open", "acme", "own")
SETTINGS: Sequence[Mapping[str, Any]] = ({"private": False}, {}, {"host": OWN_HOST, "private": False})

Pick = random.Random


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire. `cut` ones end before they are whole."""

    method: str
    data: bytes
    cut: bool


@dataclass
class Target:
    """The index under fire, and what a hostile client knows of it."""

    world: World
    secrets: Sequence[str]
    tokens: Sequence[str]
    hosts: Sequence[str] = field(default_factory=list)


NASTY = (
    "", ".", "..", "...", "%", "%2", "%zz", "%00", "%2f", "%2F..%2F", "%5c", "%25", "%ff", "%c0%af", "%ed%a0%80",
    "%0d%0aX-Evil:%201", "%E2%84%AA", "*", "~", "'", '"', "<script>", "a" * 300, "a" * 5000, "-", "_", "-a", "a-",
    "{registry}", "index.html", ".changes", "derived", "\\..\\", "$(id)", "a;b", "a b", "a\tb", "\x7f", "\xff",
    "1'--", "%2e%2e%2f%2e%2e%2fmintmark.db", "%F0%9F%90%8D", "__proto__", "null", "0", "-1", "1e999",
)  # fmt: skip
GOOD: Mapping[str, Sequence[str]] = {
    "registry": ("open", "acme", "own", "OPEN", "nowhere"),
    "project": ("widget", "Widget", "nothing", "wid_get"),
    "version": ("1.0", "1", "2.0", "1.0+local", "1!1", "9" * 400),
    "prefix": ("00", hashlib.sha256(FILE[1]).hexdigest()[:2]),
    "sha256": (hashlib.sha256(FILE[1]).hexdigest(), hashlib.sha256(SDIST[1]).hexdigest(), "0" * 64),
    "filename": (FILE[0], SDIST[0], FILE[0] + ".metadata", SDIST[0] + ".metadata", ".metadata"),
}
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "QUERY",
    "get",
    "PRI",
    "G\x00",
)
LISTS = (
    "*/*", "text/html", "application/json", "application/vnd.pypi.simple.v1+json", "*/*;q=0", "text/*;q=2", ";;;",
    ",,,,", "a/b;q=0.0001", '"', 'text/html;x="', "\xff/\xfe", "x" * 5000, "gzip", "gzip;q=0", "*", "identity;q=0",
    "application/problem+json", "application/vnd.pypi.pytp.v1+json;q=0.1, image/png",
)  # fmt: skip
CONDITIONS = ('"x"', "*", 'W/"x"', '"', "", "x" * 3000, '"a", "b",', "\xff", "Wed, 21 Oct 2015 07:28:00 GMT")
RANGES = (
    "bytes=0-", "bytes=-1", "bytes=5-2", "bytes=0-0,2-3", "bytes=999999999999999-", "bytes=-0", "bytes=", "items=0-1",
    "bytes=0-" + "9" * 400, "bytes=a-b", "bytes=--1", "BYTES=1-1", "bytes = 1-2", "\xff=1-2",
)  # fmt: skip
TYPES = (
    "multipart/form-data; boundary=limit", "multipart/form-data", "multipart/form-data; boundary=", "application/json",
    'multipart/form-data; boundary="limit', "multipart/mixed; boundary=limit", "text/plain", "\xff", "x" * 3000,
    "multipart/form-data; boundary=" + "b" * 200, "application/x-www-form-urlencoded",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1e308, 2**70, "", "x", "\0", "\ud800", [], [[]], {}, {"token": "x"}, "a" * 5000, "💥",
    [None] * 50,
)  # fmt: skip


QUERIES = (
    "", "x", "discover=", *(f"discover={nasty}" for nasty in NASTY), ":action=file_upload", "&&==;", "%00=%FF",
    "a" * 3000, "discover=http%3A%2F%2F%5B", "discover=a&discover=b",
)  # fmt: skip
ODD_PARTS = (
    b"", b"\r\n", b"Content-Disposition: form-data\r\n\r\nx", b"X: y\r\n" * 200, b"\xff\xfe",
    b"Content-Disposition: attachment; name=x\r\n\r\n", b'Content-Disposition: form-data; name="\r\n\r\n',
)  # fmt: skip


def escaped(rng: Pick, text: str) -> str:
    """The text with some of its characters escaped for no reason."""
    return "".join(f"%{ord(c):02x}" if c.isascii() and rng.random() < 0.1 else c for c in text)


def path_of(rng: Pick, template: str) -> str:
    parts = []
    for piece in template.split("/"):
        name = piece[1:-1]
        if not piece.startswith("{"):
            parts.append(piece if rng.random() < 0.95 else escaped(rng, piece))
        elif rng.random() < 0.6:
            parts.append(quote(rng.choice(GOOD.get(name, ("x", "1"))), safe="+!"))
        else:
            parts.append(rng.choice(NASTY))
    path = "/".join(parts)
    chance = rng.random()
    if chance < 0.05:
        at = rng.randrange(len(path) + 1)
        path = path[:at] + rng.choice(NASTY) + path[at:]
    elif chance < 0.08:
        path = rng.choice(("", "*", "http://elsewhere.example", "//", "/../", "?")) + path
    return path if rng.random() < 0.8 else f"{path}?{rng.choice(QUERIES)}"


def authorization(rng: Pick, target: Target) -> str:
    secret = rng.choice((*target.secrets, *target.secrets, "mnt_x", "", "x" * 2000, rng.choice(target.tokens)))
    login = base64.b64encode(f"{rng.choice(('__token__', 'me', ''))}:{secret}".encode()).decode()
    return rng.choice(
        (f"Basic {login}", f"Bearer {secret}", f"Token {secret}", f"basic  {login}", "Basic", "Basic ====", "Bearer",
         f"Basic {login[:-3]}", "Basic " + base64.b64encode(b"\xff\xfe").decode(), "Negotiate abc", "\xff", ",",
         f"Basic {base64.b64encode(b'no colon').decode()}")
    )  # fmt: skip


def aimed(rng: Pick, target: Target, template: str) -> tuple[str, list[str]]:
    """A path that leads somewhere, and the headers that open the way: what is wrong comes later."""
    number = rng.randrange(len(SLUGS)) if "{registry}" in template else SLUGS.index("own")
    name, data = rng.choice((FILE, SDIST))
    sha256 = hashlib.sha256(data).hexdigest()
    values = {
        "registry": SLUGS[number], "project": "widget", "version": "1.0", "prefix": sha256[:2], "sha256": sha256,
        "filename": name + rng.choice(("", "", ".metadata")),
    }  # fmt: skip
    path = "/".join(values.get(piece[1:-1], piece) if piece.startswith("{") else piece for piece in template.split("/"))
    login = base64.b64encode(f"__token__:{target.secrets[number]}".encode()).decode()
    host = target.hosts["{registry}" not in template and not template.startswith(("/_", "/.well-known", "/-"))]
    return path, [f"Host: {host}", f"Authorization: Basic {login}"]


def headers_of(rng: Pick, target: Target) -> list[str]:
    host = rng.choice(target.hosts) if rng.random() < 0.9 else rng.choice(
        ("", "elsewhere.example", "[::1", "localhost:99999", "\xff", "localhost, localhost", "a" * 300, "own.example.")
    )  # fmt: skip
    found = [f"Host: {host}"]
    if rng.random() < 0.5:
        found.append(f"Authorization: {authorization(rng, target)}")
    return found


def more_headers(rng: Pick) -> list[str]:
    """Headers that any request may have."""
    choices: Sequence[tuple[float, Callable[[], str]]] = (
        (0.3, lambda: f"Accept: {rng.choice(LISTS)}"),
        (0.2, lambda: f"Accept-Encoding: {rng.choice(LISTS)}"),
        (0.15, lambda: f"If-None-Match: {rng.choice(CONDITIONS)}"),
        (0.05, lambda: f"If-Match: {rng.choice(CONDITIONS)}"),
        (0.05, lambda: f"If-Modified-Since: {rng.choice(CONDITIONS)}"),
        (0.2, lambda: f"Range: {rng.choice(RANGES)}"),
        (0.1, lambda: f"If-Range: {rng.choice(CONDITIONS)}"),
        (0.03, lambda: f"Expect: {rng.choice(('100-continue', 'miracles', ''))}"),
        (0.03, lambda: f"X-Forwarded-For: {rng.choice(('1.2.3.4', 'x', ',' * 500, '::1, fe80::1%eth0'))}"),
        (0.02, lambda: f"Upgrade: {rng.choice(('websocket', 'h2c'))}"),
        (0.02, lambda: f"Cookie: {'a=b;' * 400}"),
        (0.02, lambda: "Host: second.example"),
        (0.01, lambda: "Broken header line"),
        (0.01, lambda: " folded: yes"),
        (0.01, lambda: "X: " + "y" * 9000),
        (0.01, lambda: "Nul: a\0b"),
    )
    found = [make() for chance, make in choices if rng.random() < chance]
    # Twice, where only once makes sense.
    return found + ([rng.choice(found)] if found and rng.random() < 0.05 else [])


def upload_body(rng: Pick) -> bytes:
    """A form that names a project no credential covers, and which is broken in more ways."""
    fields: list[tuple[str, bytes]] = [
        (":action", b"file_upload"), ("protocol_version", b"1"), ("name", b"widget"), ("version", b"9.0"),
        ("sha256_digest", hashlib.sha256(FILE[1]).hexdigest().encode()), ("filetype", b"bdist_wheel"),
        ("pyversion", b"py3"), ("metadata_version", b"2.4"),
    ]  # fmt: skip
    parts = [part(name, value) for name, value in fields]
    name = rng.choice((FILE[0], "widget-9.0-py3-none-any.whl", "../../x.whl", "x", "", "\xff.whl", "a" * 400 + ".whl"))
    data = rng.choice((FILE[1], SDIST[1], b"", b"PK\x03\x04", rng.randbytes(300), b"\x1f\x8b" + rng.randbytes(100)))
    parts.append(part("content", data, filename=name))
    for _ in range(rng.randrange(4)):
        chance = rng.random()
        at = rng.randrange(len(parts)) if parts else 0
        if chance < 0.3 and parts:
            del parts[at]
        elif chance < 0.5:
            parts.insert(at, parts[at] if parts else b"")
        elif chance < 0.8:
            odd = rng.choice(("name", "version", "content", ":action", "sha256_digest", "", "\xff", "x" * 500, 'a"b'))
            parts.insert(at, part(odd, rng.randbytes(rng.randrange(60))))
        else:
            parts.insert(at, rng.choice(ODD_PARTS))
    body = form(parts)
    if rng.random() < 0.3:
        at = rng.randrange(len(body))
        body = body[:at] + rng.choice((b"", b"\0", b"\r\n--limit\r\n", b"--limit--", rng.randbytes(5))) + body[at + 3 :]
    return body[: rng.randrange(len(body))] if rng.random() < 0.2 else body


def exchange_body(rng: Pick, target: Target) -> bytes:
    token = rng.choice(
        (rng.choice(target.tokens), rng.choice(target.tokens)[:-5], rng.choice(target.secrets), "a.b.c", "..", "",
         ".".join(segment(rng.choice(VALUES[:-5])) for _ in range(3)),
         f"{segment({'alg': 'none'})}.{segment({'iss': SELF_HOSTED})}.")
    )  # fmt: skip
    value = rng.choice((token, token, token, rng.choice(VALUES)))
    whole: object = {"token": value, **rng.choice(({}, {}, {"features": rng.choice(VALUES)}, {"x": 1}))}
    text = json.dumps(rng.choice((whole, whole, whole, rng.choice(VALUES))))
    if rng.random() < 0.1:
        text = text.replace("}", ', "token": "twice"}') + rng.choice(("", "}", " x", "\0"))
    return text.encode() if rng.random() < 0.9 else rng.randbytes(rng.randrange(200))


def framed(rng: Pick, body: bytes) -> tuple[list[str], bytes, bool]:
    """Headers that say how long the body is, the body, and whether the server will wait for more of it."""
    chance = rng.random()
    if chance < 0.85:
        return [f"Content-Length: {len(body)}"], body, False
    if chance < 0.89:
        return [f"Content-Length: {len(body) + rng.randrange(1, 10**6)}"], body, True
    if chance < 0.93:
        return (
            ["Transfer-Encoding: chunked"],
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n",
            False,
        )
    if chance < 0.96:
        return ["Transfer-Encoding: chunked"], rng.choice((b"zz\r\n", b"5\r\nab", b"-1\r\n\r\n")) + body, True
    odd = rng.choice(("-1", "x", "", "1" * 40, "1, 2", "+5", "0x10", " "))
    return [f"Content-Length: {odd}"], body, True


def request_of(rng: Pick, target: Target) -> Request:
    method, template = rng.choice(ROUTES if rng.random() < 0.5 else DEEP)
    method = "GET" if method == "*" else method
    if rng.random() < 0.15:
        method = rng.choice(METHODS)
    path, fields = aimed(rng, target, template) if rng.random() < 0.4 else ("", headers_of(rng, target))
    path = path or path_of(rng, template)
    fields += more_headers(rng)
    body, cut = b"", False
    if method not in {"GET", "HEAD"} or rng.random() < 0.05:
        if "legacy" in template:
            body = upload_body(rng)
            fields.append(f"Content-Type: {TYPES[0] if rng.random() < 0.8 else rng.choice(TYPES)}")
        elif rng.random() < 0.8:
            body = exchange_body(rng, target)
        else:
            body = rng.randbytes(rng.randrange(300))
            fields.append(f"Content-Type: {rng.choice(TYPES)}")
        length, body, cut = framed(rng, body)
        fields += length
    if rng.random() < 0.02:
        fields.append("Content-Encoding: gzip")
    fields.append("Connection: close")
    version = "HTTP/1.1" if rng.random() < 0.98 else rng.choice(("HTTP/1.0", "HTTP/3.7", "HTTP", ""))
    line = f"{method} {path} {version}"
    data = ("\r\n".join([line, *fields]) + "\r\n\r\n").encode("latin-1", "replace") + body
    if rng.random() < 0.02:
        return Request(method, data[: rng.randrange(len(data))], cut=True)
    return Request(method, data, cut)
