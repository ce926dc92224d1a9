"""Who may read and who may upload (trusted-publishing contract, section 5).

Owns which answer a missing, wrong or insufficient credential gets. Only a 401 makes pip and uv ask their keyring, so
the read side says 401 to everything that is not a valid credential, and 404 to a valid one that may not see a thing.
Leaves the credential's text to `core.credentials`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from mintmark.core import credentials
from mintmark.core.credentials import Presented
from mintmark.core.errors import Rejected
from mintmark.core.match import allows_upload
from mintmark.core.names import ProjectName, matches_pattern
from mintmark.core.records import Credential, Principal, Project, Publisher, Registry
from mintmark.service import coverage
from mintmark.service.limits import Limit
from mintmark.service.ports import Clock, Ledger, Transaction

PROJECTS_NAMED = 5
# Bounds the memory for readers that ask again and again.
READERS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Uploader:
    """A live credential that may upload something. Made by `Gate.uploader` only."""

    credential: Credential

    @property
    def principal(self) -> Principal:
        """Who an upload with it is recorded for."""
        if self.credential.kind == credentials.MINTED:
            return Principal("publisher", self.credential.subject)
        return Principal("token", self.credential.name)


class Gate:
    """Judges the credentials of requests."""

    def __init__(self, ledger: Ledger, clock: Clock, *, failures_per_address: Limit) -> None:
        self._ledger = ledger
        self._clock = clock
        self._failures = failures_per_address
        # Who may read what, by the digest of the Authorization header, and until when; all of it holds for one
        # version of the ledger only.
        self._readers: dict[tuple[int, str, bytes], float] = {}
        self._readers_version = -1

    def remembers(self, version: int, registry: Registry, project: str, authorization: str | None) -> bool:
        """Whether `reader` let this credential read this page, and nothing was committed since."""
        if version != self._readers_version or not authorization:
            return False
        until = self._readers.get((registry.id, project, _digest(authorization)))
        return until is not None and self._clock.now() < until

    def _remember(self, version: int, key: tuple[int, str, bytes], until: float) -> None:
        if version != self._readers_version or len(self._readers) >= READERS_REMEMBERED:
            self._readers.clear()
            self._readers_version = version
        self._readers[key] = until

    async def reader(self, registry: Registry, project: str, authorization: str | None, address: str) -> None:
        """Let a reader of a page or file through, or raise. `project` is "" for the list of projects."""
        if not registry.private:
            return
        # Before anything is looked up: what is remembered must not outlive a commit that came in between.
        version = self._ledger.version()
        credential, problem = await self._present(authorization, address, "credential-invalid")
        if problem:
            raise self._failed(address, Rejected("credential-invalid", f"The credential {problem}."))
        now = int(self._clock.now())
        allowed = await self._ledger.glance(lambda tx: _may_read(tx, credential, registry, project, now))
        if not allowed:
            raise Rejected("not-found", "There is nothing here that this credential may see.")
        if authorization:
            until = math.inf if credential.expires_at is None else float(credential.expires_at)
            self._remember(version, (registry.id, project, _digest(authorization)), until)

    async def uploader(self, registry: Registry, authorization: str | None, address: str) -> Uploader:
        """The live credential of an upload, before its body is read. Raises `Rejected`."""
        credential, problem = await self._present(authorization, address, "credential-refused")
        if problem:
            raise self._failed(address, Rejected("credential-refused", f"The credential {problem}."))
        if credential.kind == credentials.MINTED:
            if credential.registry_id not in (None, registry.id):
                raise Rejected("not-allowed", f"The credential was minted for another registry than {registry.slug}.")
            # Invariant: what only readers let mint uploads nothing.
            if not credential.can_upload:
                raise Rejected(
                    "not-allowed",
                    "The credential only reads.",
                    hint="It was minted for an identity that is registered as a reader, not as a publisher.",
                )
        elif credential.registry_id != registry.id or not credential.can_upload:
            raise Rejected(
                "not-allowed", f"The API token {credential.name!r} does not allow uploads to {registry.slug}."
            )
        elif registry.trusted_publishing_only:
            raise _publishers_only(registry)
        return Uploader(credential)

    async def _present(self, authorization: str | None, address: str, refusal: str) -> tuple[Credential, str]:
        """The credential a request presents and, if it is not live, why."""
        presented = credentials.parse_authorization(authorization)
        if presented is None:
            raise Rejected(
                "credential-required",
                "This needs a credential.",
                hint="Use the user name __token__ and an upload credential or API token as password.",
            )
        self._failures.check(address)
        found = await self._find(presented)
        if found is None:
            problem = f"cannot be read: {presented.problem}" if presented.problem else "is unknown"
            raise self._failed(address, Rejected(refusal, f"The credential {problem}."))
        return found, ended(found, int(self._clock.now()))

    async def _find(self, presented: Presented) -> Credential | None:
        digest = presented.digest
        return None if digest is None else await self._ledger.glance(lambda tx: tx.credentials.find(digest))

    def _failed(self, address: str, refusal: Rejected) -> Rejected:
        try:
            self._failures.count(address)
        except Rejected as limited:
            return limited
        return refusal


def _digest(authorization: str) -> bytes:
    return hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()


def ended(credential: Credential, now: int) -> str:
    """Why a credential is not live any more, or ""."""
    if credential.ended_at is not None:
        return "was burned" if credential.kind == credentials.MINTED else "was revoked"
    if credential.expires_at is not None and now >= credential.expires_at:
        return "has expired"
    return ""


def _may_read(tx: Transaction, credential: Credential, registry: Registry, project: str, now: int) -> bool:
    if credential.registry_id not in (None, registry.id) or not credential.can_read or ended(credential, now):
        return False
    if credential.kind != credentials.MINTED:
        everything = "*" in credential.projects
        if not project:
            return everything
        return everything or any(matches_pattern(pattern, ProjectName(project)) for pattern in credential.projects)
    return coverage.may_read(tx, credential, registry, project)


def _publishers_only(registry: Registry) -> Rejected:
    return Rejected(
        "not-allowed",
        f"The registry {registry.slug} takes uploads from trusted publishers only, not with API tokens.",
        hint="Publish from CI with an identity token.",
    )


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for one file, found inside the transaction that will commit it."""

    publisher: Publisher | None
    home: Registry
    """The registry as it is at this moment."""


def grant_upload(
    tx: Transaction, uploader: Uploader, registry: Registry, name: ProjectName, version: str | None, now: int
) -> Grant:
    """Whether the credential, as it is at this moment, allows this file. Raises `Rejected`.

    With `version` None the constraints on versions are not judged yet.
    """
    home = tx.registries.find(registry.slug)
    if home is None or not home.enabled:
        raise Rejected("not-found", "There is no such registry here.")
    if uploader.credential.kind != credentials.MINTED and home.trusted_publishing_only:
        raise _publishers_only(home)
    credential = tx.credentials.find(uploader.credential.digest)
    problem = "is unknown" if credential is None else ended(credential, now)
    if credential is None or problem:
        raise Rejected("credential-refused", f"The credential {problem}.")
    return grant_project(tx, credential, home, name, version)


def grant_project(
    tx: Transaction, credential: Credential, registry: Registry, name: ProjectName, version: str | None
) -> Grant:
    """Whether a live credential covers this project and version. Raises `Rejected`."""
    project = tx.projects.find(registry.id, name)
    if project is not None and project.status not in {"active", "deprecated"}:
        raise Rejected(
            "not-allowed",
            f"The project {name} is {project.status} and takes no uploads.",
            hint="Ask the operator to make it active again.",
        )
    if credential.kind != credentials.MINTED:
        if not any(matches_pattern(pattern, name) for pattern in credential.projects):
            raise Rejected(
                "not-allowed",
                f"The API token {credential.name!r} does not cover the project {name}.",
                hint=f"It covers: {', '.join(credential.projects[:PROJECTS_NAMED])}.",
            )
        return Grant(None, registry)
    return _publisher_grant(tx, credential, registry, name, version, project)


def _publisher_grant(
    tx: Transaction,
    credential: Credential,
    registry: Registry,
    name: ProjectName,
    version: str | None,
    project: Project | None,
) -> Grant:
    live = coverage.uploading(tx, credential, registry.id, name)
    if not live:
        covered = coverage.named(tx, credential, registry.id, PROJECTS_NAMED)
        raise Rejected(
            "not-allowed",
            f"The credential does not cover the project {name}.",
            hint=f"It covers: {', '.join(covered)}." if covered else "Its publisher is gone or switched off.",
        )
    if version is None:
        return Grant(live[0], registry)
    reasons = []
    # A release consists of several files; the first one is not over with its first file.
    asked = any(publisher.constraints.allow == "create-only" for publisher in live)
    first = project is None or (asked and all(it.version == version for it in tx.files.of_project(project.id)))
    for publisher in live:
        reason = allows_upload(publisher.constraints, ref=credential.ref, version=version, first_release=first)
        if project is None and publisher.constraints.allow == "upload-only":
            # One that names its project is not registered before the project exists.
            reason = "its publisher never creates a project"
        if not reason:
            return Grant(publisher, registry)
        reasons.append(reason)
    raise Rejected("not-allowed", f"The credential covers {name}, but {reasons[0]}.")
