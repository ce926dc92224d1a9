"""Where an import takes its files from, as a small protocol.

Owns the guarantees of a source, in prose. Leaves folders and other indexes to `store.import_folder` and
`store.import_http`, and everything that happens to a file after it came to `service.importing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mintmark.core.import_choice import Choice


@dataclass(frozen=True, slots=True)
class Offer:
    """One file that a source has, as far as it is known without the file's bytes."""

    filename: str
    place: str
    """Where it is, for people: never with a credential."""
    address: str
    """Where it is, for the source."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Digests the source states (`core.import_listing.DIGESTS`); the bytes must have each of them."""
    size_bytes: int | None = None
    uploaded_at: int | None = None
    upload_microseconds: int = 0
    yanked: str | None = None
    """The reason, possibly ""; None when it is not yanked."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What a source has of one project, or a part of a folder's files. `skipped` is the rest, by what it is.

    With a `failure` (a sentence) the project could not be looked up, and may be next time.
    """

    project: str
    offers: tuple[Offer, ...] = ()
    status: str = "active"
    status_reason: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""
    absent: bool = False
    """The source says that it has no such project."""


class Sink(Protocol):
    """Takes a file's bytes. Called from one thread at a time, and may block for the disk."""

    @property
    def taken_bytes(self) -> int:
        """How many bytes it has."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Rejected` when they are too many or do not fit on the disk."""

    def restart(self) -> None:
        """Forget what was taken; the file begins again."""


class ImportSource(Protocol):
    """A folder or another index."""

    @property
    def label(self) -> str:
        """Its name for people and for the ledger, without credentials."""

    def projects(self, choice: Choice) -> AsyncIterator[Offers]:
        """What it has of the projects that may be wanted, each project once.

        A project that cannot be looked up is told and keeps no other one back. Raises `Unavailable` or `Rejected` when
        the source as a whole cannot be read.
        """

    async def fetch(self, offer: Offer, sink: Sink) -> None:
        """Write the whole file into the sink.

        Raises `Unavailable` when that may work another time, `Rejected` when it will not.
        """

    async def close(self) -> None:
        """Release what it holds."""
