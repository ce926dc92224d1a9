"""One file of an import: taken from its source, compared with what was stated, judged, and made durable.

Owns the order of these steps. Leaves what is a valid distribution to `core`, and its place in the registry to
`service.import_record`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from mintmark.core.checks.examine import examine, take
from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.gather import gather
from mintmark.core.errors import Rejected
from mintmark.core.import_choice import Choice
from mintmark.core.records import File, Registry
from mintmark.service.import_record import Ready
from mintmark.service.import_source import Offer
from mintmark.service.incoming import Incoming
from mintmark.service.steps import Reached, Step


class Arrival:
    """A file on its way in; see `service.import_source.Sink`.

    Without `begin` nothing is kept: the file is only hashed, to be compared with one that is there. More than
    `limit_bytes` are not taken then; otherwise `Incoming` has the limit.
    """

    def __init__(self, offer: Offer, begin: Callable[[], Incoming] | None, *, limit_bytes: int) -> None:
        self._offer = offer
        self._limit_bytes = limit_bytes
        self._begin = begin
        self._taken_bytes = 0
        self._incoming: Incoming | None = None
        self._hashes: dict[str, hashlib._Hash] = {}
        self.restart()

    @property
    def taken_bytes(self) -> int:
        return self._taken_bytes

    def write(self, chunk: bytes) -> None:
        self._taken_bytes += len(chunk)
        if self._incoming is not None:
            self._incoming.write(chunk)
        elif self._taken_bytes > self._limit_bytes:
            raise Rejected("too-large", f"The file is larger than {self._limit_bytes} bytes.")
        for each in self._hashes.values():
            each.update(chunk)

    def restart(self) -> None:
        self.discard()
        self._taken_bytes = 0
        self._incoming = self._begin() if self._begin is not None else None
        # The first is computed there already.
        wanted = (
            self._offer.hashes.keys() - {"sha256"} if self._incoming is not None else {*self._offer.hashes, "sha256"}
        )
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in wanted}

    def discard(self) -> None:
        """Forget the bytes, unless they were kept."""
        if self._incoming is not None:
            self._incoming.discard()

    @property
    def incoming(self) -> Incoming:
        """What holds the bytes of a file that is to be kept."""
        assert self._incoming is not None
        return self._incoming

    def sha256(self) -> str:
        """Of all that was taken."""
        return self._incoming.digests().sha256 if self._incoming is not None else self._hashes["sha256"].hexdigest()

    def check_stated(self) -> None:
        """Raise `Rejected` (`digest-mismatch`) when these are not the bytes that the source announced."""
        offer = self._offer
        if offer.size_bytes is not None and offer.size_bytes != self._taken_bytes:
            raise _mismatch(f"The source says {offer.size_bytes} bytes and sent {self._taken_bytes}: {offer.place}.")
        for name, stated in offer.hashes.items():
            found = self.sha256() if name == "sha256" else self._hashes[name].hexdigest()
            if found != stated:
                raise _mismatch(f"The source states the {name} {stated}, the file has {found}: {offer.place}.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be brought in. Several offers have its name; the first good one counts."""

    facts: FilenameFacts
    offers: tuple[Offer, ...]
    status: str
    status_reason: str
    """What the source says of the project."""
    existing: File | None
    """What the registry has under the name; then the offers are only compared with it."""


def settle(
    arrival: Arrival, wanted: Wanted, offer: Offer, registry: Registry, choice: Choice, now: int, reached: Reached
) -> Ready | None:
    """Judge a complete file and make it durable; None when the choice is for other bytes. Runs in a thread.

    Raises `Rejected`; then nothing of it is kept.
    """
    arrival.check_stated()
    facts, digests = wanted.facts, arrival.incoming.digests()
    if not choice.wants_digest(facts.name, facts.version, digests.sha256):
        return None
    # Leniently: what only a new file must not have is told. Whether a description can be shown is not asked: the file
    # exists, and rendering takes longer than all the rest.
    examined = examine(gather(arrival.incoming.read_back(), facts), registry.policy)
    metadata = take(examined, examined.findings, lenient=True)
    reached(Step.UPLOAD_CHECKED)
    arrival.incoming.keep()
    reached(Step.UPLOAD_BLOB_DURABLE)
    known = offer.uploaded_at is not None
    file = File(
        id=0,
        registry_id=registry.id,
        project_id=0,
        version=str(facts.version),
        filename=facts.filename,
        kind=facts.kind,
        state="visible" if offer.yanked is None else "yanked",
        size_bytes=digests.size_bytes,
        sha256=digests.sha256,
        blake2_256=digests.blake2_256,
        metadata_sha256=examined.metadata_sha256,
        requires_python=metadata.requires_python,
        uploaded_at=offer.uploaded_at if offer.uploaded_at is not None else now,
        yanked_reason=offer.yanked,
        upload_microseconds=offer.upload_microseconds if known else 0,
    )
    return Ready(offer, facts.name, file, metadata.name, wanted.status, wanted.status_reason, examined.findings)


def _mismatch(sentence: str) -> Rejected:
    return Rejected("digest-mismatch", sentence, hint="Import again; if it happens twice, ask who runs the source.")
