"""Plain records: what the ledger holds and the rules read.

Owns their shapes. Leaves how they are stored to `store.ledger`. Times are whole seconds since the epoch (UTC),
sizes are bytes, digests are lower-case hex of SHA-256 unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mintmark.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Registry:
    """One isolated package registry."""

    id: int
    slug: str
    audience: str
    title: str = ""
    host: str | None = None
    """Host name of its own, under which its paths exist without the slug."""
    private: bool = True
    enabled: bool = True
    trusted_publishing: bool = True
    trusted_publishing_only: bool = False
    """API tokens cannot upload."""
    publishers_read: bool = False
    """Minted credentials read the whole registry instead of only the projects they cover."""
    host_mint: bool = True
    """Takes part in the host-rooted exchange of a shared host."""
    credential_lifetime_seconds: int = 900
    policy: Policy = field(default_factory=Policy)
    """What uploads must keep to."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One trust entry: a registry trusts the tokens of this issuer, for these projects, on these conditions."""

    id: int
    registry_id: int
    name: str
    provider: str
    url: str
    """The exact string that `iss` must equal; never normalised."""
    server: str = ""
    """Host and root path of the CI server, where claims are built from it rather than from the issuer."""
    projects: tuple[str, ...] = ("*",)
    algorithms: tuple[str, ...] = ("RS256",)
    max_lifetime_seconds: int | None = None
    """Overrides the provider's limit on `exp - iat`."""
    networks: tuple[str, ...] = ()
    """Networks beyond the public internet where its documents may be fetched (CIDR)."""
    allow_http: bool = False
    ca_pem: str = ""
    """Certificates trusted for this issuer instead of the system's."""
    jwks: str = ""
    """A static key set (JSON); nothing is fetched then."""
    enabled: bool = True
    keys_epoch: int = 0
    """Raised by `issuer refresh`: every process fetches the keys anew."""
    purge_epoch: int = 0
    """Raised by `issuer purge-keys`: every process forgets the keys it has."""
    audience: str = ""
    """The audience its tokens must have instead of the index's; "" for the index's."""
    remint: bool = False
    """The same identity token may be exchanged again until it expires."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a publisher demands beyond its identity."""

    ref: str = ""
    """Anchored pattern of the full ref, e.g. `refs/heads/release-*`; `*` does not cross `/`."""
    protected_ref: bool = False
    tag: str = ""
    """Pattern of the tag, tied to the uploaded version: `v{version}`."""
    allow: str = "any"
    """`any`, `create-only` (the project's first release) or `upload-only` (never creates the project)."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who may publish a project, all projects that fit a pattern, or with `reads` only read them."""

    id: int
    registry_id: int
    issuer_id: int
    project: str
    """Name of a project; for a registry-wide publisher or a reader it may be a pattern of names."""
    project_id: int | None
    config: Mapping[str, str]
    constraints: Constraints
    created_at: int
    expires_at: int | None = None
    """When it lapses if nobody uses it: pending publishers, and those that no immutable id protects."""
    last_used_at: int | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    """Immutable ids learned at the first use, by claim; required from then on."""
    reads: bool = False
    """A reader: lets a job read the projects, and never upload."""

    @property
    def is_wide(self) -> bool:
        """Whether it names no single project to upload to."""
        return self.reads or "*" in self.project

    @property
    def is_pending(self) -> bool:
        """Whether its first use creates its project."""
        return self.project_id is None and not self.is_wide


@dataclass(frozen=True, slots=True)
class Credential:
    """An upload credential or API token. The secret itself is nowhere; `digest` is its SHA-256."""

    id: int
    digest: bytes
    kind: str
    registry_id: int | None
    """None only for a union over several registries (`host-mint = "union"`)."""
    name: str
    publishers: tuple[int, ...]
    """Minted credentials: the publishers it stays tied to."""
    projects: tuple[str, ...]
    """API tokens: patterns of project names."""
    can_upload: bool
    can_read: bool
    single_use: bool
    spent_on: str | None
    """SHA-256 of the file that consumed a single-use credential."""
    ref: str
    """Full ref of the job, for constraints that depend on the uploaded version."""
    created_at: int
    expires_at: int | None
    ended_at: int | None
    """When it was burned or revoked."""
    issuer_url: str = ""
    subject: str = ""
    """For people: the identity it was minted for."""
    wide: tuple[int, ...] = ()
    """Those of `publishers` that name no single project to upload to."""


@dataclass(frozen=True, slots=True)
class FirstMint:
    """What repetitions of an exchange are held to. In the ledger it is part of the replay record."""

    digest: str
    """SHA-256 of the identity token's signed part: another token of the same id is no repetition."""
    registry_id: int
    publishers: tuple[int, ...]
    """What the first credential covered; none covers more."""
    credential_id: int
    """The latest credential, which the next repetition ends."""
    repetitions: int = 0


@dataclass(frozen=True, slots=True)
class Project:
    """A project of a registry. `changes` counts what readers can see; `rendered` is the count its pages show."""

    id: int
    registry_id: int
    name: str
    display_name: str
    status: str
    changes: int
    rendered: int
    created_at: int
    status_reason: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A distribution file of a release."""

    id: int
    registry_id: int
    project_id: int
    version: str
    filename: str
    kind: str
    """`wheel` or `sdist`."""
    state: str
    """`staged`, `visible`, `yanked` or `deleted`; every read path filters on it."""
    size_bytes: int
    sha256: str
    blake2_256: str
    metadata_sha256: str | None
    requires_python: str | None
    uploaded_at: int
    yanked_reason: str | None = None
    upload_microseconds: int = 0
    """The rest of `uploaded_at`, for files that were uploaded elsewhere first."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a project. With a reason (possibly "") it is yanked as a whole, files that come later too."""

    id: int
    project_id: int
    version: str
    created_at: int
    yanked_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who did something: `operator`, `publisher`, `token` or `system`, with a name for people."""

    kind: str
    name: str


OPERATOR = Principal("operator", "command line")
SYSTEM = Principal("system", "mintmark")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log. `facts` never holds a token or credential."""

    at: int
    principal: Principal
    action: str
    registry_id: int | None = None
    project: str = ""
    outcome: str = "done"
    facts: Mapping[str, object] = field(default_factory=dict)
