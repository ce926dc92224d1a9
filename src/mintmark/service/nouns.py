"""What one transaction of the ledger can do, noun by noun.

Owns the guarantees of each look-up and change, in prose. Leaves transactions themselves to `service.ports` and all SQL
to `store.ledger`.
"""

from __future__ import annotations

from typing import Protocol

from mintmark.core.records import Credential, Event, File, Issuer, Project, Publisher, Registry


class Registries(Protocol):
    """Registries by slug. Every change is seen by `Ledger.trust_version`."""

    def version(self) -> int:
        """`Ledger.trust_version` as it is inside this transaction."""

    def every(self) -> list[Registry]: ...
    def find(self, slug: str) -> Registry | None: ...
    def insert(self, registry: Registry) -> Registry: ...
    def update(self, registry: Registry) -> None: ...
    def remove(self, registry_id: int) -> None:
        """Remove an empty registry with its issuers and publishers; its projects must be gone."""


class Issuers(Protocol):
    """Trust entries. Every change is seen by `Ledger.trust_version`."""

    def every(self) -> list[Issuer]: ...
    def find(self, registry_id: int, name: str) -> Issuer | None: ...
    def insert(self, issuer: Issuer) -> Issuer: ...
    def update(self, issuer: Issuer) -> None: ...
    def remove(self, issuer_id: int) -> None:
        """Remove the entry and its publishers; credentials minted through them end at once."""


class Publishers(Protocol):
    """Publishers, regular and pending. Ids are never used again."""

    def candidates(self, issuer_id: int, lookup: str) -> list[Publisher]:
        """Publishers of an enabled issuer of an enabled registry; the cost does not depend on how many others exist."""

    def of_registry(self, registry_id: int) -> list[Publisher]: ...
    def live(self, registry_id: int, project: str, among: tuple[int, ...]) -> list[Publisher]:
        """Those of `among` that still publish this active project: attached, issuer and registry enabled."""

    def insert(self, publisher: Publisher, lookup: str) -> Publisher | None:
        """None when the registry has the same publisher for that project already."""

    def remove(self, publisher_id: int) -> None: ...
    def pending(self, registry_id: int, project: str) -> list[Publisher]:
        """Those that wait for this project, lapsed ones included."""

    def reify(self, publisher_id: int, project_id: int) -> None: ...
    def touch(self, publisher_ids: tuple[int, ...], at: int) -> None: ...
    def projects_of(self, publisher_ids: tuple[int, ...], limit: int) -> list[str]:
        """Names of the projects they publish, sorted, at most `limit`."""


class Credentials(Protocol):
    """Upload credentials and API tokens by digest."""

    def find(self, digest: bytes) -> Credential | None: ...
    def insert(self, credential: Credential) -> Credential: ...
    def end(self, credential_id: int, at: int) -> None:
        """From now on refused, everywhere. Ending twice keeps the first time."""

    def spend(self, credential_id: int, sha256: str) -> bool:
        """Bind a single-use credential to one file; False when another file has it already."""

    def of_registry(self, registry_id: int, kind: str) -> list[Credential]: ...


class Replays(Protocol):
    """Which identity tokens were exchanged."""

    def claim(self, issuer_url: str, key: str, until: int) -> bool:
        """True for exactly one caller, over all processes, until the record may be forgotten at `until`."""


class Projects(Protocol):
    """Projects by registry and normal name."""

    def find(self, registry_id: int, name: str) -> Project | None: ...
    def insert(self, registry_id: int, name: str, display_name: str, at: int) -> Project: ...
    def listed(self, registry_id: int) -> list[str]:
        """Names of the projects that have files, sorted."""

    def mark_changed(self, project_id: int) -> int:
        """Raise and return the count of visible changes: the dirty mark of the project's pages."""

    def mark_rendered(self, project_id: int, changes: int) -> None: ...
    def mark_list_changed(self, registry_id: int) -> None:
        """The dirty mark of the registry's list of projects."""

    def list_changes(self, registry_id: int) -> int: ...
    def unrendered(self, limit: int) -> list[Project]: ...
    def count(self, registry_id: int) -> int: ...


class Files(Protocol):
    """Files by registry and name; a name is never given twice."""

    def find(self, registry_id: int, filename: str) -> File | None:
        """In any state, deleted ones too."""

    def insert(self, file: File, *, uploaded_by: str, publisher_id: int | None) -> File | None:
        """Insert the file and, if it is the first, its release. None when the name is taken."""

    def of_project(self, project_id: int) -> list[File]:
        """Those that readers see (visible or yanked), in the order of their upload."""


class Audit(Protocol):
    """What happened, by whom."""

    def record(self, event: Event) -> None: ...
    def latest(self, registry_id: int | None, limit: int) -> list[Event]: ...
