"""The nouns of one transaction together."""

from __future__ import annotations

from mintmark.store.ledger.audit import Audit
from mintmark.store.ledger.credentials import Credentials
from mintmark.store.ledger.files import Files
from mintmark.store.ledger.integrity import Integrity
from mintmark.store.ledger.issuers import Issuers
from mintmark.store.ledger.projects import Projects
from mintmark.store.ledger.publishers import Publishers
from mintmark.store.ledger.registries import Registries
from mintmark.store.ledger.releases import Releases
from mintmark.store.ledger.replays import Replays
from mintmark.store.ledger.session import Session


class SqlTransaction:
    """See `service.ports.Transaction`."""

    __slots__ = (
        "audit",
        "credentials",
        "files",
        "integrity",
        "issuers",
        "projects",
        "publishers",
        "registries",
        "releases",
        "replays",
        "session",
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.registries = Registries(session)
        self.issuers = Issuers(session)
        self.publishers = Publishers(session)
        self.credentials = Credentials(session)
        self.replays = Replays(session)
        self.projects = Projects(session)
        self.releases = Releases(session)
        self.files = Files(session)
        self.audit = Audit(session)
        self.integrity = Integrity(session)
