"""What a minted credential covers at this moment.

Owns following a credential's publishers to projects: by name, or by the patterns of registry-wide publishers and
readers. It is asked again for every file, since trust may have changed after the mint. Leaves who presents the
credential to `service.gate`.
"""

from __future__ import annotations

from mintmark.core.names import ProjectName, matches_pattern
from mintmark.core.records import Credential, Issuer, Publisher, Registry
from mintmark.service.ports import Transaction

EVERY = "*"
# Publishers that are looked at to name a few projects: several may be of one project.
LOOKED_AT_PER_NAME = 4


def uploading(tx: Transaction, credential: Credential, registry_id: int, name: ProjectName) -> list[Publisher]:
    """The live publishers through which it may upload to the project, whether that exists or not."""
    by_name = tx.publishers.live(registry_id, name, credential.publishers)
    return by_name + [p for p, issuer in _wide(tx, credential, registry_id) if _publishes(p, issuer, name)]


def may_read(tx: Transaction, credential: Credential, registry: Registry, project: str) -> bool:
    """Whether it reads a project, or with "" the list of them."""
    wide = _wide(tx, credential, registry.id)
    if any(publisher.reads and _reads(publisher, project) for publisher, _ in wide):
        return True
    if registry.publishers_read and _is_attached(tx, credential, registry.id, wide):
        return True
    if not project:
        return False
    name = ProjectName(project)
    if any(_publishes(publisher, issuer, name) for publisher, issuer in wide):
        return True
    return bool(tx.publishers.live(registry.id, name, credential.publishers))


def named(tx: Transaction, credential: Credential, registry_id: int, limit: int) -> list[str]:
    """Some of the projects, and patterns of projects, that it may upload to."""
    found = tx.publishers.attached(registry_id, credential.publishers, limit * LOOKED_AT_PER_NAME)
    names = dict.fromkeys(publisher.project for publisher, _ in found if not publisher.reads)
    return sorted(list(names)[:limit])


def _wide(tx: Transaction, credential: Credential, registry_id: int) -> list[tuple[Publisher, Issuer]]:
    if not credential.wide:
        return []
    return tx.publishers.attached(registry_id, credential.wide, len(credential.wide))


def _publishes(publisher: Publisher, issuer: Issuer, name: ProjectName) -> bool:
    # Invariant: a registry-wide publisher reaches no further than its issuer is trusted at this moment.
    return (
        not publisher.reads
        and matches_pattern(publisher.project, name)
        and any(matches_pattern(pattern, name) for pattern in issuer.projects)
    )


def _reads(publisher: Publisher, project: str) -> bool:
    # The list names every project, so that it is for those who read all of them.
    if not project:
        return publisher.project == EVERY
    return matches_pattern(publisher.project, ProjectName(project))


def _is_attached(
    tx: Transaction, credential: Credential, registry_id: int, wide: list[tuple[Publisher, Issuer]]
) -> bool:
    """Whether one of its publishers that upload is still there."""
    if any(not publisher.reads for publisher, _ in wide):
        return True
    by_name = tuple(set(credential.publishers).difference(credential.wide))
    return bool(tx.publishers.attached(registry_id, by_name, 1))
