"""The simulated CI installations: which there are, and where their issuers live.

Owns the table. Leaves what a job of each looks like to its kind in `lab.kinds`, and serving it to
`lab.provider_server`.

A vendor's place has the vendor's own issuer: its documents are served by Host header, to whoever comes through the
lab's proxy. The other places live below the lab's own URL, in the shape of an installation of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.lab.kinds import BY_SLUG as KIND_OF
from mintmark.lab.kinds import KINDS
from mintmark.lab.kinds.model import Kind

ORGANIZATION_UUID = "a64b0a19-f221-4291-b000-8d24bd842b72"


@dataclass(frozen=True, slots=True)
class Place:
    """One simulated CI installation. `issuer` is a vendor's whole URL, or a path below the lab's own URL."""

    name: str
    title: str
    provider: str
    """The slug of its provider table."""
    kind: Kind
    issuer: str
    keys: str = ""
    """The path of its keys on its host. Not given: where its kind has them, seen from the issuer."""
    old_subject: bool = False
    """Whether its tokens never have the `sub` with ids."""

    @property
    def host(self) -> str:
        """The vendor's host; empty for a place below the lab's own URL."""
        return urlsplit(self.issuer).hostname or ""

    @property
    def issuer_path(self) -> str:
        """The path of the issuer on its host."""
        return urlsplit(self.issuer).path

    @property
    def discovery_path(self) -> str:
        """The path of the discovery document on its host."""
        return f"{self.issuer_path}/.well-known/openid-configuration"

    @property
    def keys_path(self) -> str:
        """The path of the key set on its host."""
        if self.keys or not self.host:
            return self.keys or self.kind.paths.jwks
        return self.issuer_path + self.kind.paths.jwks.removeprefix(self.kind.paths.issuer)

    @property
    def table(self) -> Provider:
        """Its provider table."""
        return BY_SLUG[self.provider]


def by_name(places: Iterable[Place]) -> Mapping[str, Place]:
    """The places by their names. Raises `ValueError` for two of one name or one URL."""
    found: dict[str, Place] = {}
    urls: set[tuple[str, str]] = set()
    for place in places:
        own = {(place.host, place.discovery_path), (place.host, place.keys_path)}
        if place.name in found or urls & own:
            raise ValueError(f"the place {place.name!r} has the name or a URL of another one")
        found[place.name] = place
        urls |= own
    return found


def _here(kind: str, name: str = "", title: str = "", *, old_subject: bool = False) -> Place:
    found = KIND_OF[kind]
    return Place(name or kind, title or BY_SLUG[kind].title, kind, found, found.paths.issuer, old_subject=old_subject)


def _vendor(kind: str, issuer: str, keys: str = "", title: str = "") -> Place:
    return Place(kind, title or BY_SLUG[kind].title, kind, KIND_OF[kind], issuer, keys)


DEV_PLACES: tuple[Place, ...] = tuple(_here(kind.slug) for kind in KINDS)
"""Of `mintmark serve --dev`: one a kind, all on loopback, named like their provider."""

_NAMED: tuple[Place, ...] = (
    _vendor("github", "https://token.actions.githubusercontent.com", title="GitHub Actions (github.com)"),
    # No Enterprise Server has ids in `sub`.
    _here("github", "github-server", "GitHub Actions (Enterprise Server)", old_subject=True),
    _vendor("gitlab", "https://gitlab.com", title="GitLab CI (gitlab.com)"),
    _here("gitlab", "gitlab-self-hosted", "GitLab CI (self-managed)"),
    _vendor("buildkite", "https://agent.buildkite.com"),
    # The issuer that all organizations share: it is the one that clients ask `circleci` for.
    _vendor("circleci", "https://oidc.circleci.com"),
    _here("forgejo"),
    _vendor("azure-devops", f"https://vstoken.dev.azure.com/{ORGANIZATION_UUID}", "/.well-known/jwks"),
    _vendor("bitbucket", "https://api.bitbucket.org/2.0/workspaces/lab/pipelines-config/identity/oidc"),
    _vendor("semaphore", "https://lab.semaphoreci.com"),
    _here("jenkins"),
    _vendor("codefresh", "https://oidc.codefresh.io"),
    _here("kubernetes"),
    _here("vault"),
    _vendor("google", "https://accounts.google.com", "/oauth2/v3/certs"),
)
# Every other kind is an installation of one's own.
LAB_PLACES: tuple[Place, ...] = _NAMED + tuple(
    _here(kind.slug) for kind in KINDS if kind.slug not in {place.provider for place in _NAMED}
)
"""Of `mintmark lab up`: the vendors under their own names, and installations of one's own."""
BY_NAME: Mapping[str, Place] = by_name(LAB_PLACES)
"""Every place there is; those of `serve --dev` have names of these."""
