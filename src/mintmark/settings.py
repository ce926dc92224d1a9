"""The server's settings: one frozen structure, read once from a TOML file and the environment.

Owns every setting's name, default, meaning and safety. `docs/settings.md` is made from this module. A setting that is
missing or unsafe is `Misconfigured`, with the cure in the message; nothing is guessed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.names import derive_audience, parse_audience, parse_host

ENVIRONMENT_PREFIX = "MINTMARK_"
CONFIG_VARIABLE = "MINTMARK_CONFIG"
DEFAULT_CONFIG = "mintmark.toml"
_LISTS = frozenset({"trusted_proxies", "metrics_networks"})


def _says(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


def _number(text: str, low: int, high: int) -> msgspec.Meta:
    return msgspec.Meta(description=text, ge=low, le=high)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything an operator decides about one server."""

    data_dir: Annotated[
        str, _says("Folder of the ledger, the blobs and the pages. Relative paths start at the settings file.")
    ]
    base_url: Annotated[
        str,
        _says("Public URL of the index, without a path: `https://pkgs.example.com`. Every URL is made from it."),
    ]
    listen: Annotated[str, _says("Address and port to listen on.")] = "127.0.0.1:8080"
    tls_certificate: Annotated[str, _says("Certificate chain (PEM), when this server ends TLS itself.")] = ""
    tls_key: Annotated[str, _says("Private key (PEM) of the certificate.")] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        _says(
            "Networks of the proxies that end TLS in front of this server. Only they may connect, and only their "
            "`X-Forwarded-For` is believed."
        ),
    ] = ()
    audience: Annotated[
        str,
        _says("Audience of the host-wide exchange. Empty: made from the host name, so that no two hosts share one."),
    ] = ""
    host_mint: Annotated[
        str,
        _says(
            "What the host-wide exchange does with an identity that matches several registries: `single` refuses, "
            "`union` covers all of them."
        ),
    ] = "single"
    file_limit_bytes: Annotated[int, _number("Largest file taken.", 1, 2**40)] = 1024 * 1024 * 1024
    form_field_limit_bytes: Annotated[int, _number("Largest text field of an upload form.", 1024, 2**26)] = (
        4 * 1024 * 1024
    )
    form_fields_limit: Annotated[int, _number("Most fields of an upload form.", 30, 100_000)] = 4096
    body_idle_seconds: Annotated[
        int, _number("How long an upload may stand still, and how long the body of an exchange may take.", 1, 3600)
    ] = 60
    mints_per_address_per_minute: Annotated[
        int, _number("Mint and burn requests taken from one address in a minute; 0 means no limit.", 0, 10**9)
    ] = 120
    mints_per_issuer_per_minute: Annotated[
        int, _number("Mint requests taken for one trusted issuer in a minute; 0 means no limit.", 0, 10**9)
    ] = 1200
    failed_credentials_per_address_per_minute: Annotated[
        int, _number("Wrong credentials taken from one address in a minute; 0 means no limit.", 0, 10**9)
    ] = 60
    keys_refresh_seconds: Annotated[int, _number("How often issuers' keys are fetched ahead of need.", 60, 86_400)] = (
        900
    )
    keys_max_stale_seconds: Annotated[
        int, _number("How old keys may become when an issuer cannot be reached.", 900, 604_800)
    ] = 86_400
    outbound_proxy: Annotated[
        str, _says("Proxy for fetching issuers' documents. The environment's proxy variables are ignored.")
    ] = ""
    audit_keep_days: Annotated[
        int, _number("How many days events of the audit log are kept; 0 keeps them for ever.", 0, 36_500)
    ] = 400
    metrics_networks: Annotated[tuple[str, ...], _says("Networks that may read `/-/metrics`.")] = (
        "127.0.0.0/8",
        "::1/128",
    )
    log_format: Annotated[str, _says("`text` for people or `json` for machines.")] = "text"

    @property
    def host(self) -> str:
        """The public host name."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def host_audience(self) -> str:
        """The audience of the host-wide exchange."""
        return self.audience or derive_audience(self.host)

    @property
    def tls(self) -> bool:
        """Whether this server ends TLS itself."""
        return bool(self.tls_certificate)


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read settings from a file and `MINTMARK_*` variables, which win. Raises `Misconfigured`."""
    if path is None:
        named = environment.get(CONFIG_VARIABLE)
        path = Path(named or DEFAULT_CONFIG)
        if not named and not path.exists():
            path = None
    values: dict[str, Any] = _read(path) if path else {}
    for name in Settings.__struct_fields__:
        text = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if text is not None:
            parts = [part.strip() for part in text.split(",")]
            values[name] = [part for part in parts if part] if name in _LISTS else text
    for name in ("data_dir", "base_url"):
        if not values.get(name):
            raise Misconfigured(
                name,
                f"It is not set ({'in ' + str(path) if path else 'there is no ' + DEFAULT_CONFIG}).",
                f'Write {name} = "…" into {path or DEFAULT_CONFIG}, or set {ENVIRONMENT_PREFIX}{name.upper()}. '
                "To try Mintmark out, run `mintmark serve --dev`.",
            )
    base = path.resolve().parent if path else Path.cwd()
    for name in ("data_dir", "tls_certificate", "tls_key"):
        if isinstance(values.get(name), str) and values[name]:
            values[name] = str(base / values[name])
    try:
        # Not strict: a variable's "8" is the number 8; a file's types are checked by the same rules.
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error)) from None
    check(settings)
    return settings


def _wrong_value(message: str) -> Misconfigured:
    """Which setting has a value of the wrong kind, or does not exist."""
    unknown = re.search(r"unknown field `(.*)`", message)
    place = re.search(r" - at `\$\.?([a-z_]*).*`$", message)
    problem = "There is no such setting." if unknown else f"{message[: place.start()] if place else message}."
    name = unknown[1] if unknown else place[1] if place else ""
    return Misconfigured(name or "settings", problem, "docs/settings.md lists every setting with its type.")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(
            "settings",
            f"{path} cannot be read: {error.strerror}.",
            f"Name an existing file with --config or {CONFIG_VARIABLE}.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured("settings", f"{path} is not TOML: {error}.", "Correct the line it names.") from None


def is_loopback(host: str) -> bool:
    """Whether a host of a URL or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT`, IPv6 in brackets. Raises `Misconfigured`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise Misconfigured("listen", f"{text!r} is no address and port.", "Write it like 127.0.0.1:8080.")
    return host, int(port)


def check(settings: Settings) -> None:
    """Refuse what is unsafe. Raises `Misconfigured`."""
    _check_base_url(settings)
    _check_transport(settings)
    _check_networks(settings)
    for name, allowed in (("host_mint", ("single", "union")), ("log_format", ("text", "json"))):
        if getattr(settings, name) not in allowed:
            raise Misconfigured(name, f"{getattr(settings, name)!r} is unknown.", f"Use {' or '.join(allowed)}.")
    if settings.audience:
        try:
            parse_audience(settings.audience)
        except Rejected as error:
            raise Misconfigured("audience", error.detail, error.hint) from None
    if settings.keys_max_stale_seconds < settings.keys_refresh_seconds:
        raise Misconfigured(
            "keys_max_stale_seconds",
            f"It is shorter than keys_refresh_seconds ({settings.keys_refresh_seconds}): keys would lapse in between.",
            "Raise it, or lower keys_refresh_seconds.",
        )
    if settings.outbound_proxy and not _is_proxy(settings.outbound_proxy):
        raise Misconfigured(
            "outbound_proxy",
            "It is no URL of a proxy.",
            "Write it like http://proxy.example.com:3128.",
        )


def _check_networks(settings: Settings) -> None:
    for name in sorted(_LISTS):
        for text in getattr(settings, name):
            try:
                network = ipaddress.ip_network(text)
            except ValueError:
                raise Misconfigured(name, f"{text!r} is no network.", "Write it like 10.0.0.0/8.") from None
            # Invariant: only a proxy may say who the client is. If everybody is one, everybody may lie.
            if name == "trusted_proxies" and not network.prefixlen:
                raise Misconfigured(
                    name,
                    f"{text} is every address there is: anyone could connect without TLS and name any address.",
                    "Name the address of the proxy, like 10.0.0.5/32.",
                )


def _is_proxy(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0 and url.path in {"", "/"}
    except ValueError:
        return False


def _check_base_url(settings: Settings) -> None:
    try:
        url = urlsplit(settings.base_url)
        host, port = url.hostname or "", url.port
    except ValueError:
        url, host, port = urlsplit(""), "", None
    literal = f"[{host}]" if ":" in host else host
    # Every URL is made by appending to this text, so it must be the only way to write that host.
    only = f"{url.scheme}://{literal}{'' if port is None else f':{port}'}"
    if not host or url.scheme not in {"http", "https"} or settings.base_url != only:
        raise Misconfigured(
            "base_url",
            f"{settings.base_url!r} is no URL of a host.",
            "Write it like https://pkgs.example.com, in lower case, without a path or a '/' at the end.",
        )
    if not is_loopback(host):
        try:
            parse_host(host)
        except Rejected as error:
            raise Misconfigured("base_url", error.detail, error.hint) from None
        # Invariant (PEP 807, a MUST): every URL the index hands out has a trustworthy origin.
        if url.scheme != "https":
            raise Misconfigured(
                "base_url", "It is not https.", "Credentials would cross the network in the clear: use https."
            )


def _check_transport(settings: Settings) -> None:
    address, _ = parse_listen(settings.listen)
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise Misconfigured(
            "tls_certificate", "Certificate and key belong together.", "Set tls_certificate and tls_key."
        )
    for name in ("tls_certificate", "tls_key"):
        path = getattr(settings, name)
        if path and not os.access(path, os.R_OK):
            raise Misconfigured(name, f"{path} cannot be read.", "Correct the path or its permissions.")
    https = settings.base_url.startswith("https://")
    if settings.tls and not https:
        raise Misconfigured("base_url", "It is http, but this server speaks TLS.", "Write https.")
    if not settings.tls and not settings.trusted_proxies:
        if https:
            raise Misconfigured(
                "trusted_proxies",
                "base_url is https, but this server has neither a certificate nor a proxy in front of it.",
                "Set tls_certificate and tls_key, or the network of the proxy that ends TLS.",
            )
        if not is_loopback(address):
            raise Misconfigured("listen", f"{address} is reachable by others, without TLS.", "Listen on 127.0.0.1.")
