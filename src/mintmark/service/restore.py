"""What must be true of a ledger that comes from a backup, before anybody uses it.

Owns what an older ledger does not know and must not be believed about: credentials, exchanged identity tokens, pages.
Leaves copying and verifying to `store.backup`.
"""

from __future__ import annotations

from mintmark.core.jwt import LEEWAY_SECONDS
from mintmark.core.records import OPERATOR, Event
from mintmark.service.ports import Transaction


def after_restore(tx: Transaction, now: int, snapshot: str) -> int:
    """Make a restored ledger safe to use; the number of minted credentials that ended."""
    # Invariant: no credential minted before a restore is good after it: it may have been burned or spent since the
    # backup was made, or its publisher removed.
    ended = tx.credentials.end_minted(now)
    # Identity tokens exchanged since the backup have no record here. Whatever was exchanged until now was issued until
    # now, by a clock that may be ahead by the leeway.
    tx.replays.refuse_issued_until(now + LEEWAY_SECONDS)
    # There are no pages in a backup.
    tx.projects.mark_none_rendered()
    facts: dict[str, object] = {"snapshot": snapshot, "credentials_ended": ended}
    tx.audit.record(Event(now, OPERATOR, "restore", facts=facts))
    return ended
