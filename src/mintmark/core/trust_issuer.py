"""Trust entries: whose identity tokens a registry believes, and on what conditions.

Owns what makes an entry complete, and safe by itself. Leaves the keys to `core.trust_keys`, the publishers to
`core.trust` and fetching the issuer's documents to `store`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from mintmark.core import jwks, trust_files
from mintmark.core.errors import Rejected
from mintmark.core.names import parse_issuer_name, parse_pattern
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.core.records import Issuer
from mintmark.core.trust_entry import Host, at, check_keys, wrong
from mintmark.core.trust_files import Load
from mintmark.core.trust_keys import ISSUER_KEYS

TOKEN_LIFETIME_MAX_SECONDS = 30 * 86_400
ISSUER_URL_MAX_CHARACTERS = 500
# Audiences of tokens that are made for publishing or signing elsewhere. A CI system's own fixed one is none of them.
INDEX_AUDIENCES = frozenset({"pypi", "testpypi", "sigstore"})
_FIXED_AUDIENCE = re.compile(r"[!-~]{1,255}")
_SERVER = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*")


def parse_issuer(name: str, settings: Any, host: Host, load: Load, *, within: str = "") -> Issuer:
    """A trust entry: complete, and safe by itself. `within` names the table it stands in."""
    where = f"{within}issuer.{name}"
    if not isinstance(settings, Mapping):
        raise wrong(where, "is not a table", "Write it as [registry.NAME.issuer.NAME].")
    check_keys(where, settings, ISSUER_KEYS)
    at(where, parse_issuer_name, name)
    for key in ("provider", "url", "projects"):
        if not settings.get(key):
            raise wrong(where, f"lacks {key}", f"{ISSUER_KEYS[key].meaning} Example: {ISSUER_KEYS[key].example}")
    provider = _provider(where, settings["provider"], settings.get("audience"))
    url, allow_http = settings["url"], settings.get("allow-http", False)
    if not provider.issuer.pattern.fullmatch(url) or len(url) > ISSUER_URL_MAX_CHARACTERS:
        raise wrong(
            f"{where}.url", f"{url!r} is no issuer of {provider.title}", f"Expected: {provider.issuer.explanation}"
        )
    if url.startswith("http://") and not allow_http:
        raise wrong(f"{where}.url", "is not https", "Use https, or set allow-http = true in a network you trust.")
    server = settings.get("server") or provider.issuer.server(url)
    if settings.get("server") and not _SERVER.fullmatch(server):
        raise wrong(
            f"{where}.server", f"is {server!r}", "Write host and path only, without https:// and without a last '/'."
        )
    algorithms = settings.get("algorithms", ["RS256"])
    forbidden = sorted(set(algorithms) - jwks.ALGORITHMS)
    if forbidden or not algorithms:
        raise wrong(
            f"{where}.algorithms", f"cannot be {algorithms}", f"Choose from {', '.join(sorted(jwks.ALGORITHMS))}."
        )
    lifetime = settings.get("max-token-lifetime-seconds")
    if lifetime is not None and not 60 <= lifetime <= TOKEN_LIFETIME_MAX_SECONDS:
        raise wrong(f"{where}.max-token-lifetime-seconds", f"is {lifetime}", "Use 60 seconds to 30 days.")
    return Issuer(
        id=0,
        registry_id=0,
        name=name,
        provider=provider.slug,
        url=url,
        server=server,
        projects=tuple(at(f"{where}.projects", parse_pattern, pattern) for pattern in settings["projects"]),
        algorithms=tuple(algorithms),
        max_lifetime_seconds=lifetime,
        networks=tuple(_parse_network(where, text) for text in settings.get("networks", [])),
        allow_http=allow_http,
        ca_pem=_load_certificates(where, settings, host, load),
        jwks=_load(where, "jwks-file", settings, load, trust_files.problem_of_key_set),
        enabled=settings.get("enabled", True),
        audience=_parse_issuer_audience(where, settings, host),
        remint=settings.get("remint", False),
    )


def _parse_issuer_audience(where: str, settings: Mapping[str, Any], host: Host) -> str:
    """The audience of tokens that are not meant for this index: any text that an `aud` may be."""
    audience = settings.get("audience")
    if audience is None:
        return ""
    assert isinstance(audience, str)
    problem = ""
    if not _FIXED_AUDIENCE.fullmatch(audience):
        problem = f"is no audience: {audience!r}"
    elif audience == host.audience:
        problem = "is this host's own"
    elif audience in INDEX_AUDIENCES and not host.accept_lab:
        # Its tokens are made to publish elsewhere: whoever gets one there would publish here.
        problem = f"is {audience!r}, that of another package index or signing service"
    if problem:
        raise wrong(
            f"{where}.audience", problem, "Leave it out, or write the one audience that the CI system's tokens have."
        )
    return audience


def audience_warning(issuer: Issuer) -> str:
    """What an operator accepts with an audience that is not the index's, or ""."""
    if not issuer.audience:
        return ""
    return (
        f"the issuer {issuer.name} is believed with the audience {issuer.audience!r}, which is not this index's: every "
        "service that its jobs send such a token to can publish here with it until it expires."
    )


def _provider(where: str, slug: str, audience: str | None) -> Provider:
    provider = BY_SLUG.get(slug)
    if provider is None:
        raise wrong(f"{where}.provider", f"is {slug!r}", f"Known providers: {', '.join(BY_SLUG)}.")
    if provider.audience == "fixed" and audience is None:
        # Its tokens are good wherever else that audience is believed. Only the operator can decide to take them.
        raise wrong(
            f"{where}.provider",
            f"is {slug!r}, whose jobs cannot ask for this index's audience",
            f"If you accept that, name theirs: audience = {ISSUER_KEYS['audience'].example}.",
        )
    return provider


def _parse_network(where: str, text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise wrong(f"{where}.networks", f"{text!r} is no network", "Write it like 10.0.0.0/8.") from None
    if not network.prefixlen:
        raise wrong(f"{where}.networks", f"{text!r} is every address there is", "Name the issuer's own network.")
    return str(network)


def _load(where: str, key: str, settings: Mapping[str, Any], load: Load, check: Callable[[str], str]) -> str:
    name = settings.get(key)
    if not name:
        return ""
    text, problem = trust_files.read(load, name)
    if problem:
        raise wrong(f"{where}.{key}", f"{name!r} {problem}", "Give a path relative to the trust file.")
    problem = check(text)
    if problem:
        raise wrong(f"{where}.{key}", f"{name!r} {problem}", ISSUER_KEYS[key].meaning)
    return text


def _load_certificates(where: str, settings: Mapping[str, Any], host: Host, load: Load) -> str:
    pem = _load(where, "ca-file", settings, load, trust_files.problem_of_certificates)
    # The lab signs whatever it is asked to: its CA is no trust anchor of a real index.
    if trust_files.is_of_the_lab(pem) and not host.accept_lab:
        raise Rejected(
            "lab-issuer",
            f"{where}.ca-file: a certificate belongs to Mintmark's lab.",
            hint="Use it with serve --dev only.",
        )
    return pem
