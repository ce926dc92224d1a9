"""What the use cases need from outside: storage, keys, time and chance, as small protocols.

Owns the guarantees, in prose; every implementation passes the conformance tests of `tests/store`. Leaves what a
transaction can do to `service.nouns` and all implementation to `store` and `lab`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar

from mintmark.core.jwks import KeySet
from mintmark.service.nouns import (
    Audit,
    Credentials,
    Files,
    Integrity,
    Issuers,
    Projects,
    Publishers,
    Registries,
    Releases,
    Replays,
)

T = TypeVar("T")


class Clock(Protocol):
    """The time. Tests freeze it."""

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""


class Entropy(Protocol):
    """Unpredictable bytes. Tests seed it."""

    def draw(self, count: int) -> bytes:
        """`count` bytes from a cryptographically secure source."""


# -- blobs and pages --------------------------------------------------------------------------------------------------


class Spool(Protocol):
    """A file on its way in: invisible until kept, gone after a crash. Called from one thread at a time."""

    def write(self, chunk: bytes) -> None:
        """Append. Raises `OSError` when there is no space."""

    def read_back(self) -> BinaryIO:
        """The bytes so far, seekable, for checks. Closed with the spool."""

    def keep(self, sha256: str) -> None:
        """Make it the blob of this digest.

        Guarantee: on return the blob survives a power failure, name and content. Keeping a digest that exists
        already changes nothing, but that the blob is as new as this call for `Blobs.remove`.
        """

    def discard(self) -> None:
        """Forget it; allowed at any time, more than once, and after `keep`."""


class BlobReader(Protocol):
    """An open blob. `file` is set where the kernel can send it; `chunks` always works."""

    size_bytes: int
    file: BinaryIO | None

    def chunks(self, start: int, count: int) -> AsyncIterator[bytes]:
        """Exactly `count` bytes from `start`, in bounded pieces."""

    def whole(self) -> BinaryIO:
        """All of it as a seekable file, valid until `close`. May block."""

    def close(self) -> None:
        """Release it."""


@dataclass(frozen=True, slots=True)
class BlobState:
    """A blob without its content. `modified_at` is the end of writing, in seconds since the epoch."""

    sha256: str
    size_bytes: int
    modified_at: float


class Blobs(Protocol):
    """Large immutable content, addressed by SHA-256. Knows nothing of registries."""

    def spool(self) -> Spool:
        """Begin a new file."""

    def open(self, sha256: str) -> BlobReader | None:
        """The blob, or None."""

    def every(self) -> Iterator[Sequence[BlobState]]:
        """All blobs in the order of their digests, in parts of bounded size. What comes or goes meanwhile may lack."""

    def size(self, sha256: str) -> int | None:
        """A blob's size, None when there is no blob."""

    def strays(self) -> Iterator[str]:
        """Names of what is stored among the blobs and is none, for people."""

    def remove(self, blobs: Sequence[BlobState], before: float) -> Sequence[BlobState] | None:
        """Remove those that were not kept since `before`; which those were.

        Guarantee: never one that somebody keeps at the same time, in whatever process. None when nothing was removed
        because somebody holds all blobs.
        """

    def hold(self) -> AbstractContextManager[None]:
        """While entered, nothing is removed, by no process; not even what nobody refers to any more."""

    def leftovers(self, before: float, *, remove: bool) -> int:
        """How many files on their way in nobody wrote to since `before`; removes them if asked to."""


@dataclass(frozen=True, slots=True)
class Page:
    """A rendered page: bytes, the same compressed (None when that saves nothing), and a strong validator of the
    uncompressed bytes."""

    body: bytes
    gzip: bytes | None
    etag: str


class Pages(Protocol):
    """Rendered pages, replaced whole.

    Guarantee: a reader sees the old page or the new one, never a mixture, and the new one from the moment
    `replace` returns, in every process.
    """

    def epoch(self) -> int:
        """Another number when all pages were thrown away since: after a power failure nobody knows what they show."""

    def find(self, registry: str, project: str, form: str) -> Page | None:
        """The page of a project, or of the registry's list when `project` is ""."""

    def replace(self, registry: str, project: str, changes: int, forms: Mapping[str, bytes]) -> None:
        """Replace the page in every given form by what it is after `changes` changes.

        Guarantee: never replaces a page by an older one, whoever renders where; then it does nothing.
        """

    def derived(self, registry: str, project: str, changes: int, form: str) -> Page | None:
        """What `derive` kept of the project as it is after exactly `changes` changes."""

    def derive(self, registry: str, project: str, changes: int, form: str, body: bytes) -> Page:
        """A further page about a project, made when somebody asks for it, and kept until the next `replace`.

        Guarantee: always gives the page, even when it cannot be kept (the project changed meanwhile, the disk is
        full). `form` is a short word of letters, digits and '-'.
        """

    def stored(self) -> Iterator[tuple[str, str]]:
        """Registry and project of every page there is, the registry's list as ""; also of those that are gone."""

    def shows(self, registry: str, project: str, forms: Mapping[str, bytes]) -> bool | None:
        """Whether the page as it is stored, past any cache, is exactly this in every form; None when there is none."""

    def changes(self, registry: str, project: str) -> int:
        """The count of changes the stored page claims to show, -1 for none."""

    def remove(self, registry: str, project: str, before: float | None = None) -> bool:
        """Remove a page in all its forms, unless it was replaced since `before`. It is rendered anew when asked for."""

    def leftovers(self, before: float, *, remove: bool) -> int:
        """How many half-written pages nobody is writing since `before`; removes them if asked to."""


# -- keys -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an issuer's keys come from, and on what conditions. Two trust entries with equal sources share a cache."""

    url: str
    jwks: str = ""
    ca_pem: str = ""
    networks: tuple[str, ...] = ()
    allow_http: bool = False
    keys_epoch: int = 0
    purge_epoch: int = 0


class Keys(Protocol):
    """The public keys of issuers.

    Guarantees: no caller waits longer than two seconds; one issuer never slows another; an issuer is asked at most
    once a minute, failures included; a failed fetch never removes good keys, and keys older than the limit are
    never used. Raises `Unavailable` with the code `issuer-unavailable`.
    """

    async def current(self, source: KeySource) -> KeySet:
        """The keys known now, fetched first if there are none."""

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        """Keys fetched after `than` if that is possible now; else `than` itself."""

    def watch(self, sources: Iterable[KeySource]) -> None:
        """The sources to keep fresh in the background, replacing the former list."""


# -- the ledger -------------------------------------------------------------------------------------------------------


class Transaction(Protocol):
    """The nouns of the ledger, inside one transaction."""

    @property
    def registries(self) -> Registries: ...
    @property
    def issuers(self) -> Issuers: ...
    @property
    def publishers(self) -> Publishers: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def replays(self) -> Replays: ...
    @property
    def projects(self) -> Projects: ...
    @property
    def releases(self) -> Releases: ...
    @property
    def files(self) -> Files: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def integrity(self) -> Integrity: ...


class Ledger(Protocol):
    """The only arbiter. Work is a plain function that gets a transaction; it must not keep it."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on one consistent snapshot; writing fails."""

    async def glance(self, work: Callable[[Transaction], T]) -> T:
        """Like `read` for one or two indexed look-ups on a hot path; each look-up is a snapshot of its own."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit.

        Guarantees: serialised with every other writer; all or nothing; on return the changes survive a power
        failure and are seen by every process. An exception of `work` undoes its changes and is raised. Several
        callers may share one commit; `work` may then run twice, of which one run counts. Raises `Unavailable`, or
        `Rejected("storage-full")` when the disk is full.
        """

    def version(self) -> int:
        """A number that is another one after any commit, by any process. Cheap."""

    def trust_version(self) -> int:
        """A number that is another one after any change to registries or issuers, by any process. Cheap."""

    async def close(self) -> None:
        """Finish pending writes and release everything."""
