"""Trust as data: what an operator writes about registries, issuers and publishers.

Owns reading `trust.toml` and every rule that makes an entry safe; the single commands build the same mappings, so that
a file and a command can never disagree. Leaves the keys to `core.trust_keys`, comparing with the ledger to
`service.trust` and reading files to the command line.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from mintmark.core import jwks, trust_files
from mintmark.core.errors import Rejected
from mintmark.core.exchange import LIFETIME_MAX_SECONDS, LIFETIME_MIN_SECONDS
from mintmark.core.match import parse_constraints
from mintmark.core.names import (
    ProjectName,
    derive_audience,
    matches_pattern,
    parse_audience,
    parse_host,
    parse_issuer_name,
    parse_pattern,
    parse_project,
    parse_slug,
)
from mintmark.core.policy import BYTES_MAX, COUNT_MAX, PLATFORM_TAGS, SIMILAR_NAMES, Policy
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.core.records import Issuer, Publisher, Registry
from mintmark.core.trust_files import Load
from mintmark.core.trust_keys import ISSUER_KEYS, PUBLISHER_KEYS, REGISTRY_KEYS, Key

T = TypeVar("T")
TOKEN_LIFETIME_MAX_SECONDS = 30 * 86_400
ISSUER_URL_MAX_CHARACTERS = 500
TITLE_MAX_CHARACTERS = 200
# A publisher that waits for its project's first upload lapses after this time.
PENDING_SECONDS = 30 * 86_400
POLICY_BOUNDS = {
    "file-limit-bytes": BYTES_MAX,
    "project-limit-bytes": BYTES_MAX,
    "releases-limit": COUNT_MAX,
    "release-files-limit": COUNT_MAX,
}
POLICY_KEYS = ("projects", "platform-tags", "similar-names", "legacy-names", *POLICY_BOUNDS)
_SERVER = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class WantedPublisher:
    """A publisher as written, with the name of its issuer."""

    issuer: str
    publisher: Publisher
    lookup: str


def facts_of(wanted: WantedPublisher) -> tuple[object, ...]:
    """What makes a publisher another one."""
    publisher = wanted.publisher
    return wanted.issuer, publisher.project, tuple(sorted(publisher.config.items())), publisher.constraints


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


def parse_trust(document: Mapping[str, Any], host: Host, load: Load) -> tuple[WantedRegistry, ...]:
    """The whole of a trust file. Raises `Rejected("invalid-trust")` naming the entry."""
    unknown = sorted(document.keys() - {"registry"})
    if unknown:
        raise _wrong(unknown[0], "is no part of a trust file", "Write [registry.NAME] tables.")
    registries = document.get("registry", {})
    if not isinstance(registries, dict):
        raise _wrong("registry", "is not a table", "Write [registry.NAME] tables.")
    wanted = tuple(_parse_registry(slug, entry, host, load) for slug, entry in registries.items())
    homes: dict[tuple[str, str], str] = {}
    for registry in (each.registry for each in wanted):
        for key, value in (("audience", registry.audience), ("host", registry.host)):
            other = homes.setdefault((key, value), registry.slug) if value else registry.slug
            if other != registry.slug:
                raise _wrong(
                    f"registry.{registry.slug}.{key}",
                    f"is {value!r}, as that of registry.{other}",
                    f"Each registry needs {'an audience' if key == 'audience' else 'a host name'} of its own.",
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
    issuers = tuple(parse_issuer(name, value, host, load, within=f"{where}.") for name, value in issuers_entry.items())
    by_name = {issuer.name: issuer for issuer in issuers}
    urls = [issuer.url for issuer in issuers]
    if len(set(urls)) != len(urls):
        raise _wrong(
            f"{where}.issuer", "has one url twice", "A registry trusts an issuer once, on one set of conditions."
        )
    publishers = tuple(_parse_publisher_entry(where, n, value, by_name) for n, value in enumerate(publishers_entry, 1))
    first: dict[object, int] = {}
    for number, each in enumerate(publishers, 1):
        if first.setdefault(facts_of(each), number) != number:
            raise _wrong(
                f"{where}.publisher[{number}]", f"is the same as publisher[{first[facts_of(each)]}]", "Remove one."
            )
        check_welcome(f"{where}.publisher[{number}]", registry, each.publisher)
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
    slug = _at(where, parse_slug, slug)
    title = settings.get("title", "")
    if not title.isprintable() or len(title) > TITLE_MAX_CHARACTERS:
        raise _wrong(f"{where}.title", "is no title", f"Write one line of at most {TITLE_MAX_CHARACTERS} characters.")
    own = settings.get("host")
    if own is not None and _at(f"{where}.host", parse_host, own) == host.name:
        raise _wrong(f"{where}.host", "is the shared host's name", "A registry's own host name must be another one.")
    given = settings.get("audience")
    parse = partial(parse_audience, foreign=host.accept_lab)
    audience = _at(f"{where}.audience", parse, given) if given else derive_audience(host.name, slug)
    if audience == host.audience:
        raise _wrong(
            f"{where}.audience", f"is {audience!r}, as that of the whole host", "Leave it out, or choose another one."
        )
    return Registry(
        id=0,
        slug=slug,
        audience=audience,
        title=title,
        host=own,
        private=settings.get("private", True),
        enabled=settings.get("enabled", True),
        trusted_publishing=settings.get("trusted-publishing", True),
        trusted_publishing_only=settings.get("trusted-publishing-only", False),
        publishers_read=settings.get("publishers-read", False),
        host_mint=settings.get("host-mint", True),
        credential_lifetime_seconds=lifetime,
        policy=parse_policy(where, settings),
    )


def parse_policy(where: str, settings: Mapping[str, Any]) -> Policy:
    """A registry's policies: those of its settings that say what uploads must keep to. Types are checked before."""
    given = {name: settings[name] for name in POLICY_KEYS if name in settings}
    for name, allowed in (("platform-tags", PLATFORM_TAGS), ("similar-names", SIMILAR_NAMES)):
        if given.get(name, allowed[0]) not in allowed:
            raise _wrong(f"{where}.{name}", f"is {given[name]!r}", f"Use {' or '.join(allowed)}.")
    for name, most in POLICY_BOUNDS.items():
        if not 1 <= given.get(name, 1) <= most:
            raise _wrong(f"{where}.{name}", f"is {given[name]}", f"Use a number from 1 to {most}.")
    if "projects" in given:
        if not given["projects"]:
            raise _wrong(f"{where}.projects", "is empty", 'Leave it out, or write ["*"], to allow every project.')
        given["projects"] = tuple(_at(f"{where}.projects", parse_pattern, text) for text in given["projects"])
    return Policy(**{name.replace("-", "_"): value for name, value in given.items()})


def check_welcome(where: str, registry: Registry, publisher: Publisher) -> None:
    """Raise `Rejected` for a publisher of a project that the registry does not hold: it could never upload."""
    if not registry.policy.welcomes(ProjectName(publisher.project)):
        raise _wrong(
            where,
            f"is for {publisher.project}, but the registry {registry.slug} is for "
            f"{', '.join(registry.policy.projects)} only",
            "Widen the registry's projects, or remove the publisher.",
        )


def parse_issuer(name: str, settings: Any, host: Host, load: Load, *, within: str = "") -> Issuer:
    """A trust entry: complete, and safe by itself. `within` names the table it stands in."""
    where = f"{within}issuer.{name}"
    if not isinstance(settings, Mapping):
        raise _wrong(where, "is not a table", "Write it as [registry.NAME.issuer.NAME].")
    _check_keys(where, settings, ISSUER_KEYS)
    _at(where, parse_issuer_name, name)
    for key in ("provider", "url", "projects"):
        if not settings.get(key):
            raise _wrong(where, f"lacks {key}", f"{ISSUER_KEYS[key].meaning} Example: {ISSUER_KEYS[key].example}")
    provider = _provider(where, settings["provider"])
    url, allow_http = settings["url"], settings.get("allow-http", False)
    if not provider.issuer.pattern.fullmatch(url) or len(url) > ISSUER_URL_MAX_CHARACTERS:
        raise _wrong(
            f"{where}.url", f"{url!r} is no issuer of {provider.title}", f"Expected: {provider.issuer.explanation}"
        )
    if url.startswith("http://") and not allow_http:
        raise _wrong(f"{where}.url", "is not https", "Use https, or set allow-http = true in a network you trust.")
    server = settings.get("server") or provider.issuer.server(url)
    if settings.get("server") and not _SERVER.fullmatch(server):
        raise _wrong(
            f"{where}.server", f"is {server!r}", "Write host and path only, without https:// and without a last '/'."
        )
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
        server=server,
        projects=tuple(_at(f"{where}.projects", parse_pattern, pattern) for pattern in settings["projects"]),
        algorithms=tuple(algorithms),
        max_lifetime_seconds=lifetime,
        networks=tuple(_parse_network(where, text) for text in settings.get("networks", [])),
        allow_http=allow_http,
        ca_pem=_load_certificates(where, settings, host, load),
        jwks=_load(where, "jwks-file", settings, load, trust_files.problem_of_key_set),
        enabled=settings.get("enabled", True),
    )


def _provider(where: str, slug: str) -> Provider:
    provider = BY_SLUG.get(slug)
    if provider is None:
        raise _wrong(f"{where}.provider", f"is {slug!r}", f"Known providers: {', '.join(BY_SLUG)}.")
    if provider.audience == "fixed":
        # Its tokens are good wherever else that audience is believed; taking them needs a decision of the operator's
        # that there is no key for yet.
        raise _wrong(
            f"{where}.provider",
            f"is {slug!r}, whose jobs cannot ask for this index's audience",
            "This release cannot exchange their tokens; use an API token there.",
        )
    return provider


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


def _parse_publisher_entry(where: str, number: int, entry: Any, issuers: Mapping[str, Issuer]) -> WantedPublisher:
    where = f"{where}.publisher[{number}]"
    if not isinstance(entry, dict):
        raise _wrong(where, "is not a table", "Write it as [[registry.NAME.publisher]].")
    known = f"The registry's issuers are: {', '.join(issuers) or 'none'}."
    name = entry.get("issuer")
    if name is None:
        raise _wrong(where, "lacks issuer", known)
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise _wrong(f"{where}.issuer", f"is {name!r}, which the registry does not have", known)
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


def _at(where: str, parse: Callable[[str], T], text: str) -> T:
    """Read one value; what is wrong with it names the place."""
    try:
        return parse(text)
    except Rejected as error:
        raise Rejected("invalid-trust", f"{where}: {error.detail}", hint=error.hint) from None


def _parse_network(where: str, text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise _wrong(f"{where}.networks", f"{text!r} is no network", "Write it like 10.0.0.0/8.") from None
    if not network.prefixlen:
        raise _wrong(f"{where}.networks", f"{text!r} is every address there is", "Name the issuer's own network.")
    return str(network)


def _load(where: str, key: str, settings: Mapping[str, Any], load: Load, check: Callable[[str], str]) -> str:
    name = settings.get(key)
    if not name:
        return ""
    text, problem = trust_files.read(load, name)
    if problem:
        raise _wrong(f"{where}.{key}", f"{name!r} {problem}", "Give a path relative to the trust file.")
    problem = check(text)
    if problem:
        raise _wrong(f"{where}.{key}", f"{name!r} {problem}", ISSUER_KEYS[key].meaning)
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
