"""What one transaction of the ledger can do, noun by noun.

Owns the guarantees of each look-up and change, in prose. Leaves transactions themselves to `service.ports` and all SQL
to `store.ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mintmark.core.records import Credential, Event, File, FirstMint, Issuer, Project, Publisher, Registry, Release


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

    def candidates(self, issuer_id: int, lookups: Sequence[str]) -> list[Publisher]:
        """Publishers of an enabled issuer of an enabled registry, by any of a few lookup keys; the cost does not
        depend on how many others exist."""

    def of_registry(self, registry_id: int) -> list[Publisher]: ...
    def live(self, registry_id: int, project: str, among: tuple[int, ...]) -> list[Publisher]:
        """Those of `among` that still publish this active project by name: attached, issuer and registry enabled."""

    def attached(self, registry_id: int, among: Sequence[int], limit: int) -> list[tuple[Publisher, Issuer]]:
        """Those of `among` that exist, with issuer and registry enabled and, if they name one, an active project; by
        id, at most `limit`. The cost depends on how many come before them in `among` only."""

    def insert(self, publisher: Publisher, lookup: str) -> Publisher | None:
        """None when the registry has the same publisher for that project already."""

    def remove(self, publisher_id: int) -> None: ...
    def pending(self, registry_id: int, project: str) -> list[Publisher]:
        """Those that wait for this project, lapsed ones included."""

    def reify(self, publisher_id: int, project_id: int) -> None: ...
    def touch(self, publisher_ids: tuple[int, ...], at: int) -> None: ...
    def set_expiry(self, publisher_ids: tuple[int, ...], at: int) -> None:
        """They lapse at this time unless they are used."""

    def set_pins(self, publisher_id: int, pins: Mapping[str, str]) -> None:
        """What was learned. From now on it does not lapse."""

    def lapsed(self, now: int, limit: int) -> list[Publisher]:
        """Those that nobody used in time."""

    def remove_lapsed(self, publisher_id: int, now: int) -> bool:
        """Remove it if it is still lapsed."""


class Credentials(Protocol):
    """Upload credentials and API tokens by digest."""

    def find(self, digest: bytes) -> Credential | None: ...
    def by_id(self, credential_id: int) -> Credential | None: ...
    def insert(self, credential: Credential) -> Credential: ...
    def end(self, credential_id: int, at: int) -> None:
        """From now on refused, everywhere. Ending twice keeps the first time."""

    def spend(self, credential_id: int, sha256: str) -> bool:
        """Bind a single-use credential to one file; False when another file has it already."""

    def of_registry(self, registry_id: int, kind: str) -> list[Credential]: ...
    def end_minted(self, at: int) -> int:
        """End every minted credential that has not ended; how many."""

    def outlived_minted(self, before: int) -> int:
        """How many minted credentials expired before a time. All of them expire, burned ones too."""

    def forget_minted(self, before: int, limit: int) -> int:
        """Remove some of them, the oldest first; how many."""

    def outlived_tokens(self, before: int, limit: int) -> list[int]:
        """Ids of API tokens that were revoked or expired before a time. The cost depends on how many others exist."""

    def forget_token(self, token_id: int, before: int) -> bool:
        """Remove it if that is still so."""


class Replays(Protocol):
    """Which identity tokens were exchanged."""

    def claim(self, issuer_url: str, key: str, until: int) -> bool:
        """True for exactly one caller, over all processes, until the record may be forgotten at `until`."""

    def is_claimed(self, issuer_url: str, key: str) -> bool:
        """Whether `claim` would be False now. For explanations: whoever exchanges a token claims it."""

    def first(self, issuer_url: str, key: str) -> FirstMint | None:
        """What repetitions of this exchange are held to; None where none is allowed."""

    def set_first(self, issuer_url: str, key: str, first: FirstMint) -> None:
        """Keep it in the record that `claim` made."""

    def outlived(self, before: int) -> int:
        """How many records have an `until` before a time."""

    def forget(self, before: int, limit: int) -> int:
        """Remove some of them, the oldest first; how many."""

    def issued_after(self) -> int:
        """Identity tokens that were issued at this time or earlier may have been exchanged without a record."""

    def refuse_issued_until(self, at: int) -> None:
        """Raise `issued_after`, never lower it. Seen by `Ledger.trust_version`."""


class Projects(Protocol):
    """Projects by registry and normal name."""

    def find(self, registry_id: int, name: str) -> Project | None: ...
    def insert(self, registry_id: int, name: str, display_name: str, at: int) -> Project: ...
    def listed(self, registry_id: int) -> list[str]:
        """Names of the projects that have files, sorted."""

    def mark_changed(self, project_id: int) -> int:
        """Raise and return the count of visible changes: the dirty mark of the project's pages."""

    def mark_rendered(self, project_id: int, changes: int) -> None: ...
    def pages_epoch(self) -> int:
        """The epoch of the pages that the dirty marks are about; 0 at first."""

    def adopt_pages(self, epoch: int) -> None:
        """From now on the marks are about other pages, of which there are none yet."""

    def mark_none_rendered(self) -> None:
        """Give every project with pages a dirty mark: all pages are gone."""

    def mark_list_changed(self, registry_id: int) -> None:
        """The dirty mark of the registry's list of projects."""

    def list_changes(self, registry_id: int) -> int: ...
    def unrendered(self, limit: int) -> list[Project]: ...
    def count(self, registry_id: int) -> int: ...
    def every(self, registry_id: int, after_name: str, limit: int) -> list[tuple[Project, int, int]]:
        """The next projects by name, each with the numbers of its files and releases; deleted files do not count."""

    def similar(self, registry_id: int, key: str) -> list[str]:
        """Names of the projects with this `core.names.similarity_key`, sorted."""

    def set_status(self, project_id: int, status: str, reason: str) -> None: ...
    def rename(self, project_id: int, display_name: str) -> None: ...
    def releases_count(self, project_id: int) -> int:
        """Of all releases there ever were."""

    def bytes_of(self, project_id: int) -> int:
        """Of its files that are not deleted."""


class Releases(Protocol):
    """Versions of a project by their canonical text. `Files.insert` makes them; they stay when their files go."""

    def find(self, project_id: int, version: str) -> Release | None: ...
    def equal(self, project_id: int, spellings: Sequence[str]) -> tuple[Release, int] | None:
        """The first release whose version is one of a few spellings, with the number of its files in any state."""

    def of_project(self, project_id: int) -> list[tuple[Release, int]]:
        """In the order of creation, each with the number of its files that are not deleted."""

    def set_yanked(self, release_id: int, reason: str | None) -> None:
        """Yank the release as a whole, or with None no longer. Files that are there are `Files.set_state`'s."""


class Files(Protocol):
    """Files by registry and name; a name is never given twice."""

    def find(self, registry_id: int, filename: str) -> File | None:
        """In any state, deleted ones too."""

    def insert(self, file: File, *, uploaded_by: str, publisher_id: int | None) -> File | None:
        """Insert the file and, if it is the first, its release. None when the name is taken.

        Guarantee: a visible file of a release that is yanked as a whole is recorded, and returned, as yanked.
        """

    def with_project(self, registry_id: int, filename: str) -> tuple[File, Project] | None:
        """The file, in any state, and the project that it belongs to, in one look-up."""

    def of_project(self, project_id: int) -> list[File]:
        """Those that readers see (visible or yanked), in the order of their upload."""

    def all_of_project(self, project_id: int) -> list[File]:
        """In any state, deleted ones too, in the order of their upload."""

    def of_release(self, project_id: int, version: str) -> list[File]:
        """In any state, deleted ones too, in the order of their upload."""

    def set_state(self, file_id: int, state: str, yanked_reason: str | None) -> None: ...
    def referenced(self, sha256: str) -> bool:
        """Whether a file that is not deleted has this content, or metadata of this content."""

    def holding(self, sha256: str) -> list[File]:
        """Files of this content, in any registry, but deleted ones."""

    def holding_after(self, after_id: int, limit: int) -> list[File]:
        """The next files by id, of all registries, but deleted ones."""


class Integrity(Protocol):
    """Whether the ledger agrees with itself. For a check once in a while: the cost depends on how much there is."""

    def damage(self) -> list[str]:
        """What is wrong with the storage itself, in its own words."""

    def dangling(self, limit: int) -> list[tuple[str, int, str]]:
        """References that lead nowhere: table, row, and the table that lacks the other row."""

    def disagreements(self, limit: int) -> list[tuple[str, str]]:
        """Rows that contradict others, and how; at most `limit` of each kind."""

    def projects_after(self, after_id: int, limit: int) -> list[tuple[Project, str]]:
        """The next projects by id, each with its stored `core.names.similarity_key`."""

    def is_list_behind(self, registry_id: int) -> bool:
        """Whether a project of the registry has a dirty mark, so that the list may lack it."""


class Audit(Protocol):
    """What happened, by whom."""

    def record(self, event: Event) -> None: ...
    def latest(self, registry_id: int | None, limit: int) -> list[Event]: ...
    def mints(self, registry_id: int | None, since: int, *, failed: bool, limit: int) -> list[Event]:
        """The latest exchanges of identity tokens since a time, refused ones only if `failed`, newest first."""

    def outlived(self, before: int) -> int:
        """How many events happened before a time."""

    def forget(self, before: int, limit: int) -> int:
        """Remove those of them that are among the `limit` oldest; how many."""
