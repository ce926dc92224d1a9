"""Trust as data: what an operator writes about registries, issuers and publishers.

Owns reading `trust.toml` and every rule that makes an entry safe; the single commands build the same mappings, so that
a file and a command can never disagree. Leaves trust entries to `core.trust_issuer`, the keys to
`core.trust_keys`, comparing with the ledger to `service.trust` and reading files to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mintmark.core.breadth import refuse_breadth
from mintmark.core.errors import Rejected
from mintmark.core.exchange import LIFETIME_MAX_SECONDS, LIFETIME_MIN_SECONDS
from mintmark.core.match import check_constraints, parse_constraints
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
from mintmark.core.policy import BYTES_MAX, COUNT_MAX, PLATFORM_TAGS, SIMILAR_NAMES, Policy
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Issuer, Publisher, Registry
from mintmark.core.trust_entry import Host, at, check_keys, wrong
from mintmark.core.trust_files import Load
from mintmark.core.trust_issuer import ISSUER_URL_MAX_CHARACTERS, parse_issuer
from mintmark.core.trust_keys import PUBLISHER_KEYS, REGISTRY_KEYS

# Imported from here by whoever reads trust.
__all__ = ["ISSUER_URL_MAX_CHARACTERS", "Host", "parse_issuer"]

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


@dataclass(frozen=True, slots=True)
class WantedPublisher:
    """A publisher as written, with the name of its issuer."""

    issuer: str
    publisher: Publisher
    lookup: str


def facts_of(wanted: WantedPublisher) -> tuple[object, ...]:
    """What makes a publisher another one."""
    publisher = wanted.publisher
    config = tuple(sorted(publisher.config.items()))
    return wanted.issuer, publisher.project, config, publisher.constraints, publisher.reads


@dataclass(frozen=True, slots=True)
class WantedRegistry:
    """A registry as written. Ids of the records are 0."""

    registry: Registry
    issuers: tuple[Issuer, ...]
    publishers: tuple[WantedPublisher, ...]


def parse_trust(document: Mapping[str, Any], host: Host, load: Load) -> tuple[WantedRegistry, ...]:
    """The whole of a trust file. Raises `Rejected("invalid-trust")` naming the entry."""
    unknown = sorted(document.keys() - {"registry"})
    if unknown:
        raise wrong(unknown[0], "is no part of a trust file", "Write [registry.NAME] tables.")
    registries = document.get("registry", {})
    if not isinstance(registries, dict):
        raise wrong("registry", "is not a table", "Write [registry.NAME] tables.")
    wanted = tuple(_parse_registry(slug, entry, host, load) for slug, entry in registries.items())
    homes: dict[tuple[str, str], str] = {}
    for registry in (each.registry for each in wanted):
        for key, value in (("audience", registry.audience), ("host", registry.host)):
            other = homes.setdefault((key, value), registry.slug) if value else registry.slug
            if other != registry.slug:
                raise wrong(
                    f"registry.{registry.slug}.{key}",
                    f"is {value!r}, as that of registry.{other}",
                    f"Each registry needs {'an audience' if key == 'audience' else 'a host name'} of its own.",
                )
    for each in wanted:
        for issuer in each.issuers:
            whose = homes.get(("audience", issuer.audience))
            if whose:
                raise wrong(
                    f"registry.{each.registry.slug}.issuer.{issuer.name}.audience",
                    f"is {issuer.audience!r}, as that of registry.{whose}",
                    "Its tokens are made to publish there. Leave it out, or name the CI system's own.",
                )
    return wanted


def _parse_registry(slug: str, entry: Any, host: Host, load: Load) -> WantedRegistry:
    where = f"registry.{slug}"
    if not isinstance(entry, dict):
        raise wrong(where, "is not a table", "Write it as [registry.NAME].")
    settings = {key: value for key, value in entry.items() if key not in {"issuer", "publisher"}}
    registry = parse_registry(slug, settings, host)
    issuers_entry, publishers_entry = entry.get("issuer", {}), entry.get("publisher", [])
    if not isinstance(issuers_entry, dict):
        raise wrong(f"{where}.issuer", "is not a table", f"Write [{where}.issuer.NAME].")
    if not isinstance(publishers_entry, list):
        raise wrong(f"{where}.publisher", "is not an array of tables", f"Write [[{where}.publisher]].")
    issuers = tuple(parse_issuer(name, value, host, load, within=f"{where}.") for name, value in issuers_entry.items())
    by_name = {issuer.name: issuer for issuer in issuers}
    urls = [issuer.url for issuer in issuers]
    if len(set(urls)) != len(urls):
        raise wrong(
            f"{where}.issuer", "has one url twice", "A registry trusts an issuer once, on one set of conditions."
        )
    publishers = tuple(_parse_publisher_entry(where, n, value, by_name) for n, value in enumerate(publishers_entry, 1))
    first: dict[object, int] = {}
    for number, each in enumerate(publishers, 1):
        if first.setdefault(facts_of(each), number) != number:
            raise wrong(
                f"{where}.publisher[{number}]", f"is the same as publisher[{first[facts_of(each)]}]", "Remove one."
            )
        check_welcome(f"{where}.publisher[{number}]", registry, each.publisher)
    return WantedRegistry(registry, issuers, publishers)


def parse_registry(slug: str, settings: Mapping[str, Any], host: Host) -> Registry:
    """A registry's settings. The audience defaults to a function of the host name and the slug."""
    where = f"registry.{slug}"
    check_keys(where, settings, REGISTRY_KEYS)
    lifetime = settings.get("credential-lifetime-seconds", LIFETIME_MIN_SECONDS)
    if not LIFETIME_MIN_SECONDS <= lifetime <= LIFETIME_MAX_SECONDS:
        raise wrong(
            f"{where}.credential-lifetime-seconds",
            f"is {lifetime}",
            f"PEP 807 allows {LIFETIME_MIN_SECONDS} to {LIFETIME_MAX_SECONDS}.",
        )
    slug = at(where, parse_slug, slug)
    title = settings.get("title", "")
    if not title.isprintable() or len(title) > TITLE_MAX_CHARACTERS:
        raise wrong(f"{where}.title", "is no title", f"Write one line of at most {TITLE_MAX_CHARACTERS} characters.")
    own = settings.get("host")
    if own is not None and at(f"{where}.host", parse_host, own) == host.name:
        raise wrong(f"{where}.host", "is the shared host's name", "A registry's own host name must be another one.")
    given = settings.get("audience")
    parse = partial(parse_audience, foreign=host.accept_lab)
    audience = at(f"{where}.audience", parse, given) if given else derive_audience(host.name, slug)
    if audience == host.audience:
        raise wrong(
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
            raise wrong(f"{where}.{name}", f"is {given[name]!r}", f"Use {' or '.join(allowed)}.")
    for name, most in POLICY_BOUNDS.items():
        if not 1 <= given.get(name, 1) <= most:
            raise wrong(f"{where}.{name}", f"is {given[name]}", f"Use a number from 1 to {most}.")
    if "projects" in given:
        if not given["projects"]:
            raise wrong(f"{where}.projects", "is empty", 'Leave it out, or write ["*"], to allow every project.')
        given["projects"] = tuple(at(f"{where}.projects", parse_pattern, text) for text in given["projects"])
    return Policy(**{name.replace("-", "_"): value for name, value in given.items()})


def check_welcome(where: str, registry: Registry, publisher: Publisher) -> None:
    """Raise `Rejected` for a publisher of projects that the registry does not hold: it could never upload them."""
    # A pattern is within another one if it fits it as a text: a star is matched by a star only.
    if not publisher.reads and not registry.policy.welcomes(ProjectName(publisher.project)):
        raise wrong(
            where,
            f"is for {publisher.project}, but the registry {registry.slug} is for "
            f"{', '.join(registry.policy.projects)} only",
            "Widen the registry's projects, or remove the publisher.",
        )


def parse_publisher(where: str, settings: Mapping[str, Any], issuer: Issuer) -> WantedPublisher:
    """A publisher: the provider's fields beside the common keys."""
    provider = BY_SLUG[issuer.provider]
    common = {key: value for key, value in settings.items() if key in PUBLISHER_KEYS}
    check_keys(where, common, PUBLISHER_KEYS)
    if not common.get("project"):
        raise wrong(where, "lacks project", PUBLISHER_KEYS["project"].meaning)
    given = {key: value for key, value in settings.items() if key not in PUBLISHER_KEYS}
    for key, value in given.items():
        if not isinstance(value, str) and not provider.takes(key):
            raise wrong(f"{where}.{key}", "is not a string", "Write it in quotes, numbers too.")
    try:
        project, reads = _parse_projects(common["project"]), common.get("reads", False)
        config = provider.parse_config(given)
        constraints = parse_constraints(
            common.get("ref", ""), common.get("protected-ref", False), common.get("tag", ""), common.get("allow", "any")
        )
        check_constraints(provider, constraints)
        refuse_breadth(issuer, provider, config)
    except Rejected as error:
        raise Rejected("invalid-trust", f"{where}: {error.detail}", hint=error.hint) from None
    if reads and (constraints.tag or constraints.allow != "any"):
        raise wrong(
            where, "reads, but has a tag or allow", "Those are about uploads: leave them out, or leave out reads."
        )
    # What an issuer may publish is limited; what its jobs may read is this entry's own decision.
    if not reads and not any(matches_pattern(pattern, ProjectName(project)) for pattern in issuer.projects):
        raise wrong(
            where,
            f"is for {project}, but the issuer {issuer.name} is trusted for {', '.join(issuer.projects)} only",
            "Widen the issuer's projects, or use another issuer.",
        )
    publisher = Publisher(0, 0, 0, project, None, config, constraints, 0, reads=reads)
    return WantedPublisher(issuer.name, publisher, provider.lookup_of_config(config))


def _parse_projects(text: str) -> str:
    """The normal name of a project, or a pattern of names."""
    return parse_pattern(text) if "*" in text else parse_project(text)


def _parse_publisher_entry(where: str, number: int, entry: Any, issuers: Mapping[str, Issuer]) -> WantedPublisher:
    where = f"{where}.publisher[{number}]"
    if not isinstance(entry, dict):
        raise wrong(where, "is not a table", "Write it as [[registry.NAME.publisher]].")
    known = f"The registry's issuers are: {', '.join(issuers) or 'none'}."
    name = entry.get("issuer")
    if name is None:
        raise wrong(where, "lacks issuer", known)
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise wrong(f"{where}.issuer", f"is {name!r}, which the registry does not have", known)
    return parse_publisher(where, entry, issuer)
