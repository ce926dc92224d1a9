"""Trust as data: what an operator writes about registries, issuers and publishers.

Owns the keys of `trust.toml`, their meaning and every rule that makes an entry safe; the single commands build the
same mappings, so that a file and a command can never disagree. Leaves comparing with the ledger to `service.trust`
and reading files to the command line.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mintmark.core import jwks
from mintmark.core.errors import Rejected
from mintmark.core.exchange import LIFETIME_MAX_SECONDS, LIFETIME_MIN_SECONDS
from mintmark.core.match import parse_constraints
from mintmark.core.names import (
    ProjectName,
    derive_audience,
    matches_pattern,
    parse_audience,
    parse_host,
    parse_pattern,
    parse_project,
    parse_slug,
)
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Constraints, Issuer, Publisher, Registry

TOKEN_LIFETIME_MAX_SECONDS = 30 * 86_400
ISSUER_URL_MAX_CHARACTERS = 500
# The subject organization of the lab's CA, which marks everything it signs.
LAB_ORGANIZATION = "Mintmark lab"
FILE_MAX_CHARACTERS = 256 * 1024
# A publisher that waits for its project's first upload lapses after this time.
PENDING_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an entry: its type, and a sentence for the reference page."""

    kind: type
    meaning: str
    example: str


REGISTRY_KEYS: Mapping[str, Key] = {
    "title": Key(str, "A name for people.", '"Packages of team Acme"'),
    "host": Key(
        str, "A host name of its own, besides the path `/NAME/` on the shared host.", '"acme.pkgs.example.com"'
    ),
    "audience": Key(
        str,
        "The audience of its identity tokens. Leave it out: it is then made from the host's name.",
        '"mintmark_acme"',
    ),
    "private": Key(bool, "Reading needs a credential. Default: true.", "true"),
    "enabled": Key(bool, "Off: the registry answers nothing. Default: true.", "true"),
    "trusted-publishing": Key(bool, "Identity tokens are exchanged. Default: true.", "true"),
    "trusted-publishing-only": Key(bool, "API tokens cannot upload. Default: false.", "false"),
    "publishers-read": Key(
        bool, "Minted credentials read the whole registry, not only the projects they cover. Default: false.", "false"
    ),
    "host-mint": Key(bool, "Takes part in the host-wide exchange that uv and others use. Default: true.", "true"),
    "credential-lifetime-seconds": Key(int, "Life of a minted credential, 900 to 21600. Default: 900.", "900"),
}

ISSUER_KEYS: Mapping[str, Key] = {
    "provider": Key(str, "The kind of CI system: one of the providers.", '"gitlab"'),
    "url": Key(str, "The issuer, exactly as the tokens' `iss` spells it.", '"https://gitlab.example.com"'),
    "server": Key(
        str,
        "Host and root path of the CI server, where its issuer is configured apart from it.",
        '"gitlab.example.com"',
    ),
    "projects": Key(list, 'Patterns of the projects it may publish. Required; `["*"]` is written out.', '["acme-*"]'),
    "algorithms": Key(list, 'Allowed signature algorithms. Default: `["RS256"]`.', '["RS256"]'),
    "max-token-lifetime-seconds": Key(int, "Longest life of an identity token; default: the provider's.", "3600"),
    "networks": Key(list, "Private networks where its documents may be fetched.", '["10.0.0.0/8"]'),
    "allow-http": Key(bool, "Fetch its documents without TLS. Default: false.", "false"),
    "ca-file": Key(str, "Certificates to trust for it instead of the system's (PEM).", '"corp-ca.pem"'),
    "jwks-file": Key(str, "A static key set; nothing is fetched then.", '"keys.json"'),
    "enabled": Key(bool, "Off: its tokens are refused and credentials minted from them end. Default: true.", "true"),
}

PUBLISHER_KEYS: Mapping[str, Key] = {
    "project": Key(
        str, "The project it publishes. It is created by the first upload if it does not exist.", '"acme-widget"'
    ),
    "issuer": Key(str, "The name of one of the registry's issuers.", '"gitlab"'),
    "ref": Key(str, "Only from refs that match this pattern; `*` does not cross `/`.", '"refs/heads/release-*"'),
    "protected-ref": Key(bool, "Only from a protected branch or tag. Default: false.", "true"),
    "tag": Key(str, "Only from the tag that belongs to the uploaded version.", '"v{version}"'),
    "allow": Key(str, "`any`, `create-only` (the first release) or `upload-only` (never creates it).", '"any"'),
}


@dataclass(frozen=True, slots=True)
class WantedPublisher:
    """A publisher as written, with the name of its issuer."""

    issuer: str
    publisher: Publisher
    lookup: str


@dataclass(frozen=True, slots=True)
class WantedRegistry:
    """A registry as written. Ids of the records are 0."""

    registry: Registry
    issuers: tuple[Issuer, ...]
    publishers: tuple[WantedPublisher, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """What entries need to know about the host they are for."""

    name: str
    """The public host name."""
    audience: str
    accept_lab: bool = False


Load = Callable[[str], str]
"""Reads a file that an entry names."""


def parse_trust(document: Mapping[str, Any], host: Host, load: Load) -> tuple[WantedRegistry, ...]:
    """The whole of a trust file. Raises `Rejected("invalid-trust")` naming the entry."""
    unknown = sorted(document.keys() - {"registry"})
    if unknown:
        raise _wrong(unknown[0], "is no part of a trust file", "Write [registry.NAME] tables.")
    registries = document.get("registry", {})
    if not isinstance(registries, dict):
        raise _wrong("registry", "is not a table", "Write [registry.NAME] tables.")
    wanted = tuple(_parse_registry(slug, entry, host, load) for slug, entry in registries.items())
    audiences = [host.audience, *(each.registry.audience for each in wanted)]
    twice = sorted({name for name in audiences if audiences.count(name) > 1})
    if twice:
        raise _wrong(
            f"audience {twice[0]!r}", "is used twice on this host", "Each registry needs an audience of its own."
        )
    return wanted


def _parse_registry(slug: str, entry: Any, host: Host, load: Load) -> WantedRegistry:
    where = f"registry.{slug}"
    if not isinstance(entry, dict):
        raise _wrong(where, "is not a table", "Write it as [registry.NAME].")
    settings = {key: value for key, value in entry.items() if key not in {"issuer", "publisher"}}
    registry = parse_registry(slug, settings, host)
    issuers_entry, publishers_entry = entry.get("issuer", {}), entry.get("publisher", [])
    if not isinstance(issuers_entry, dict):
        raise _wrong(f"{where}.issuer", "is not a table", f"Write [{where}.issuer.NAME].")
    if not isinstance(publishers_entry, list):
        raise _wrong(f"{where}.publisher", "is not an array of tables", f"Write [[{where}.publisher]].")
    issuers = tuple(parse_issuer(name, value, host, load) for name, value in issuers_entry.items())
    by_name = {issuer.name: issuer for issuer in issuers}
    urls = [issuer.url for issuer in issuers]
    if len(set(urls)) != len(urls):
        raise _wrong(
            f"{where}.issuer", "has one url twice", "A registry trusts an issuer once, on one set of conditions."
        )
    publishers = tuple(_parse_publisher_entry(where, n, value, by_name) for n, value in enumerate(publishers_entry, 1))
    return WantedRegistry(registry, issuers, publishers)


def parse_registry(slug: str, settings: Mapping[str, Any], host: Host) -> Registry:
    """A registry's settings. The audience defaults to a function of the host name and the slug."""
    where = f"registry.{slug}"
    _check_keys(where, settings, REGISTRY_KEYS)
    lifetime = settings.get("credential-lifetime-seconds", LIFETIME_MIN_SECONDS)
    if not LIFETIME_MIN_SECONDS <= lifetime <= LIFETIME_MAX_SECONDS:
        raise _wrong(
            f"{where}.credential-lifetime-seconds",
            f"is {lifetime}",
            f"PEP 807 allows {LIFETIME_MIN_SECONDS} to {LIFETIME_MAX_SECONDS}.",
        )
    slug = parse_slug(slug)
    own = settings.get("host")
    if own is not None and parse_host(own) == host.name:
        raise _wrong(f"{where}.host", "is the shared host's name", "A registry's own host name must be another one.")
    given = settings.get("audience")
    return Registry(
        id=0,
        slug=slug,
        audience=parse_audience(given) if given else derive_audience(host.name, slug),
        title=settings.get("title", ""),
        host=own,
        private=settings.get("private", True),
        enabled=settings.get("enabled", True),
        trusted_publishing=settings.get("trusted-publishing", True),
        trusted_publishing_only=settings.get("trusted-publishing-only", False),
        publishers_read=settings.get("publishers-read", False),
        host_mint=settings.get("host-mint", True),
        credential_lifetime_seconds=lifetime,
    )


def parse_issuer(name: str, settings: Any, host: Host, load: Load) -> Issuer:
    """A trust entry: complete, and safe by itself."""
    where = f"issuer.{name}"
    if not isinstance(settings, Mapping):
        raise _wrong(where, "is not a table", "Write it as [registry.NAME.issuer.NAME].")
    _check_keys(where, settings, ISSUER_KEYS)
    parse_slug(name)
    for key in ("provider", "url", "projects"):
        if not settings.get(key):
            raise _wrong(where, f"lacks {key}", f"{ISSUER_KEYS[key].meaning} Example: {ISSUER_KEYS[key].example}")
    provider = BY_SLUG.get(settings["provider"])
    if provider is None:
        raise _wrong(f"{where}.provider", f"is {settings['provider']!r}", f"Known providers: {', '.join(BY_SLUG)}.")
    url, allow_http = settings["url"], settings.get("allow-http", False)
    if not provider.issuer.pattern.fullmatch(url) or len(url) > ISSUER_URL_MAX_CHARACTERS:
        raise _wrong(
            f"{where}.url", f"{url!r} is no issuer of {provider.title}", f"Expected: {provider.issuer.explanation}"
        )
    if url.startswith("http://") and not allow_http:
        raise _wrong(f"{where}.url", "is not https", "Use https, or set allow-http = true in a network you trust.")
    algorithms = settings.get("algorithms", ["RS256"])
    forbidden = sorted(set(algorithms) - jwks.ALGORITHMS)
    if forbidden or not algorithms:
        raise _wrong(
            f"{where}.algorithms", f"cannot be {algorithms}", f"Choose from {', '.join(sorted(jwks.ALGORITHMS))}."
        )
    lifetime = settings.get("max-token-lifetime-seconds")
    if lifetime is not None and not 60 <= lifetime <= TOKEN_LIFETIME_MAX_SECONDS:
        raise _wrong(f"{where}.max-token-lifetime-seconds", f"is {lifetime}", "Use 60 seconds to 30 days.")
    return Issuer(
        id=0,
        registry_id=0,
        name=name,
        provider=provider.slug,
        url=url,
        server=settings.get("server") or provider.issuer.server(url),
        projects=tuple(parse_pattern(pattern) for pattern in settings["projects"]),
        algorithms=tuple(algorithms),
        max_lifetime_seconds=lifetime,
        networks=tuple(_parse_network(where, text) for text in settings.get("networks", [])),
        allow_http=allow_http,
        ca_pem=_refuse_lab(where, _load(where, "ca-file", settings, load, _check_ca), host),
        jwks=_load(where, "jwks-file", settings, load, _check_jwks),
        enabled=settings.get("enabled", True),
    )


def parse_publisher(where: str, settings: Mapping[str, Any], issuer: Issuer) -> WantedPublisher:
    """A publisher: the provider's fields beside the common keys."""
    provider = BY_SLUG[issuer.provider]
    common = {key: value for key, value in settings.items() if key in PUBLISHER_KEYS}
    _check_keys(where, common, PUBLISHER_KEYS)
    if not common.get("project"):
        raise _wrong(where, "lacks project", PUBLISHER_KEYS["project"].meaning)
    given = {key: value for key, value in settings.items() if key not in PUBLISHER_KEYS}
    for key, value in given.items():
        if not isinstance(value, str):
            raise _wrong(f"{where}.{key}", "is not a string", "Write it in quotes, numbers too.")
    try:
        project = parse_project(common["project"])
        config = provider.parse_config(given)
        constraints = parse_constraints(
            common.get("ref", ""), common.get("protected-ref", False), common.get("tag", ""), common.get("allow", "any")
        )
    except Rejected as error:
        raise Rejected("invalid-trust", f"{where}: {error.detail}", hint=error.hint) from None
    if not any(matches_pattern(pattern, ProjectName(project)) for pattern in issuer.projects):
        raise _wrong(
            where,
            f"is for {project}, but the issuer {issuer.name} is trusted for {', '.join(issuer.projects)} only",
            "Widen the issuer's projects, or use another issuer.",
        )
    publisher = Publisher(0, 0, 0, project, None, config, constraints, 0)
    return WantedPublisher(issuer.name, publisher, provider.lookup_of_config(config))


def warnings_for(wanted: Sequence[WantedPublisher], issuers: Mapping[str, Issuer]) -> list[str]:
    """Sentences about publishers that are allowed but weaker than they look."""
    found = []
    for each in wanted:
        provider = BY_SLUG[issuers[each.issuer].provider]
        ids = [field.name for field in provider.fields if field.immutable_id]
        label = f"{each.publisher.project} from {each.lookup}"
        if ids and not any(each.publisher.config.get(name) for name in ids):
            found.append(f"{label}: no immutable id is given ({' or '.join(ids)}); a re-registered name would match.")
        for other in wanted:
            if other is not each and _covers(other, each):
                found.append(f"{label}: another publisher of the project asks for less, so its demands mean nothing.")
                break
    return found


def _covers(wide: WantedPublisher, narrow: WantedPublisher) -> bool:
    """Whether whoever satisfies `narrow` also satisfies `wide`, and not the other way round."""
    if (wide.issuer, wide.publisher.project) != (narrow.issuer, narrow.publisher.project):
        return False
    demands = [(p.publisher.config, p.publisher.constraints) for p in (wide, narrow)]
    (config, constraints), (narrow_config, narrow_constraints) = demands
    if demands[0] == demands[1] or not config.items() <= narrow_config.items():
        return False
    free = Constraints()
    return all(
        getattr(constraints, name) in (getattr(narrow_constraints, name), getattr(free, name))
        for name in ("ref", "protected_ref", "tag", "allow")
    )


def _parse_publisher_entry(where: str, number: int, entry: Any, issuers: Mapping[str, Issuer]) -> WantedPublisher:
    where = f"{where}.publisher[{number}]"
    if not isinstance(entry, dict):
        raise _wrong(where, "is not a table", "Write it as [[registry.NAME.publisher]].")
    issuer = issuers.get(entry.get("issuer", ""))
    if issuer is None:
        raise _wrong(
            where,
            f"names the issuer {entry.get('issuer')!r}",
            f"The registry's issuers are: {', '.join(issuers) or 'none'}.",
        )
    return parse_publisher(where, entry, issuer)


def _wrong(where: str, problem: str, cure: str) -> Rejected:
    return Rejected("invalid-trust", f"{where} {problem}.", hint=cure)


def _check_keys(where: str, settings: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    for name, value in settings.items():
        key = keys.get(name)
        if key is None:
            raise _wrong(where, f"has an unknown key {name!r}", f"Its keys are: {', '.join(keys)}.")
        # bool is an int in Python, not in TOML.
        if not isinstance(value, key.kind) or (key.kind is int and isinstance(value, bool)):
            raise _wrong(f"{where}.{name}", f"is not of the right type: {value!r}", f"Example: {name} = {key.example}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise _wrong(f"{where}.{name}", "is not a list of strings", f"Example: {name} = {key.example}")


def _parse_network(where: str, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise _wrong(f"{where}.networks", f"{text!r} is no network", "Write it like 10.0.0.0/8.") from None


def _load(where: str, key: str, settings: Mapping[str, Any], load: Load, check: Callable[[str], str]) -> str:
    name = settings.get(key)
    if not name:
        return ""
    try:
        text = load(name)
    except (OSError, ValueError) as error:
        raise _wrong(
            f"{where}.{key}", f"{name!r} cannot be read: {error}", "Give a path relative to the trust file."
        ) from None
    problem = "is too large" if len(text) > FILE_MAX_CHARACTERS else check(text)
    if problem:
        raise _wrong(f"{where}.{key}", f"{name!r} {problem}", ISSUER_KEYS[key].meaning)
    return text


def _refuse_lab(where: str, pem: str, host: Host) -> str:
    """The lab signs whatever it is asked to: its CA is no trust anchor of a real index."""
    body = "".join(line for line in pem.splitlines() if line and not line.startswith("-----"))
    try:
        of_the_lab = LAB_ORGANIZATION.encode() in base64.b64decode(body)
    except ValueError:
        raise _wrong(f"{where}.ca-file", "holds no PEM certificate", ISSUER_KEYS["ca-file"].meaning) from None
    if of_the_lab and not host.accept_lab:
        raise Rejected(
            "lab-issuer", f"{where}: the CA belongs to Mintmark's lab.", hint="Use it with serve --dev only."
        )
    return pem


def _check_ca(text: str) -> str:
    return "" if "-----BEGIN CERTIFICATE-----" in text else "holds no PEM certificate"


def _check_jwks(text: str) -> str:
    try:
        keys = jwks.parse_key_set(text.encode())
    except jwks.BadKeySet as error:
        return f"is no key set: {error}"
    return "" if keys.keys else f"holds no usable key: {'; '.join(keys.skipped) or 'it is empty'}"
