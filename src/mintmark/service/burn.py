"""An upload credential ends before its time.

Owns that every string gets the same answer: whoever asks learns nothing about a credential that is not theirs.
"""

from __future__ import annotations

from mintmark.core import credentials
from mintmark.core.records import Event, Principal
from mintmark.service.limits import Limit
from mintmark.service.ports import Clock, Ledger, Transaction


class Burn:
    """The use case. Long-lived API tokens are not burned here."""

    def __init__(self, ledger: Ledger, clock: Clock, *, per_address: Limit) -> None:
        self._ledger = ledger
        self._clock = clock
        self._per_address = per_address

    async def __call__(self, text: str, address: str) -> None:
        """End the credential if it is a live minted one; otherwise do nothing."""
        self._per_address.count(address)
        digest = credentials.digest(text)
        if digest is None:
            return
        now = int(self._clock.now())

        def work(tx: Transaction) -> None:
            found = tx.credentials.find(digest)
            if found is None or found.kind != credentials.MINTED or found.ended_at is not None:
                return
            tx.credentials.end(found.id, now)
            tx.audit.record(Event(now, Principal("publisher", found.subject), "credential-burned", found.registry_id))

        await self._ledger.write(work)
