"""What the servers know before they are measured: registries, trust, publishers, tokens, pages.

Owns filling an index through its own use cases and, where there is a lot of it, its own ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from bench.server import AUDIENCE, settings_file, settings_of
from mintmark.assemble import Index
from mintmark.core import simple
from mintmark.core.records import OPERATOR, File, Issuer, Project, Registry
from mintmark.core.trust import Host, parse_issuer, parse_publisher, parse_registry
from mintmark.service.ports import Transaction

T = TypeVar("T")
REGISTRY, PRIVATE = "bench", "secret"
ISSUER_URL = "https://gitlab.example.com"
WORKFLOW = ".gitlab-ci.yml"
_BATCH = 5000
_UPLOADED_AT = 1_790_000_000


def create(home: Path, fill: Callable[[Index], Awaitable[T]]) -> T:
    """A new index below `home`, filled and closed."""
    home.mkdir(parents=True, exist_ok=True)
    settings_file(home)

    async def session() -> T:
        index = Index(settings_of(home))
        try:
            return await fill(index)
        finally:
            await index.close()

    return asyncio.run(session())


async def registry(index: Index, slug: str = REGISTRY, *, private: bool = True) -> Registry:
    """A registry."""
    entry = {"private": private, "audience": audience_of(slug)}
    return await index.trust.add_registry(parse_registry(slug, entry, _host(index)), OPERATOR)


def audience_of(slug: str) -> str:
    """The audience of a registry's identity tokens."""
    return f"mintmark_registry_{slug}"


async def publishers(
    index: Index, jwks: bytes, count: int, *, urls: Sequence[str] = (ISSUER_URL,), projects_each: int = 1
) -> None:
    """The registry `bench` with issuers, and publishers of that many existing projects, dealt out to the issuers.

    Without `jwks` the issuers' keys are fetched. `projects_each`: so many projects have the same identity.
    """
    home = await registry(index)
    issuers = [await _issuer(index, f"gitlab-{place}", url, jwks) for place, url in enumerate(urls)]

    def insert(tx: Transaction, numbers: range) -> None:
        for number in numbers:
            name = f"project-{number}"
            identity = number // projects_each
            issuer = issuers[identity % len(issuers)]
            wanted = parse_publisher("bench", {"project": name, **publisher_config(identity)}, issuer)
            project = tx.projects.insert(home.id, name, name, _UPLOADED_AT)
            record = replace(
                wanted.publisher,
                registry_id=home.id,
                issuer_id=issuer.id,
                project_id=project.id,
                created_at=_UPLOADED_AT,
            )
            tx.publishers.insert(record, wanted.lookup)

    for start in range(0, count, _BATCH):
        numbers = range(start, min(start + _BATCH, count))
        await index.ledger.write(partial(insert, numbers=numbers))


async def _issuer(index: Index, name: str, url: str, jwks: bytes) -> Issuer:
    entry: dict[str, object] = {"provider": "gitlab", "url": url, "projects": ["*"]}
    if jwks:
        entry["jwks-file"] = "keys.json"
    else:
        entry |= {"allow-http": True, "networks": ["127.0.0.0/8"]}
    parsed = parse_issuer(name, entry, _host(index), lambda _name: jwks.decode())
    return await index.trust.add_issuer(REGISTRY, parsed, OPERATOR)


def publisher_config(number: int) -> dict[str, str]:
    """The CI project of a publisher."""
    return {"project-path": f"group/project-{number}", "workflow": WORKFLOW}


async def token(index: Index, slug: str = REGISTRY) -> str:
    """An API token for everything in a registry."""
    secret, _ = await index.tokens.create(
        slug, "bench", ["*"], can_upload=True, can_read=True, lifetime_seconds=None, principal=OPERATOR
    )
    return secret


async def pages(index: Index, slug: str, *, private: bool, projects: int, files: int) -> list[str]:
    """A registry of projects with that many wheels each, rendered; the projects' names. The wheels' bytes do not
    exist: only pages are read."""
    home = await registry(index, slug, private=private)
    # As a server does when it starts; else the first one would render everything again.
    await index.renderer.adopt()
    names = [f"project-{number}" for number in range(projects)]

    def insert(tx: Transaction, some: Sequence[str]) -> list[Project]:
        inserted = []
        for name in some:
            project = tx.projects.insert(home.id, name, name, _UPLOADED_AT)
            for minor in range(files):
                tx.files.insert(_wheel(home.id, project.id, name, f"1.{minor}"), uploaded_by="bench", publisher_id=None)
            inserted.append(replace(project, changes=tx.projects.mark_changed(project.id)))
        tx.projects.mark_list_changed(home.id)
        return inserted

    def render(tx: Transaction, some: Sequence[Project]) -> None:
        for project in some:
            forms = simple.render_project(project, tx.files.of_project(project.id))
            index.pages.replace(slug, project.name, project.changes, forms)

    def mark(tx: Transaction, some: Sequence[Project]) -> None:
        for project in some:
            tx.projects.mark_rendered(project.id, project.changes)

    for start in range(0, projects, _BATCH):
        some = await index.ledger.write(partial(insert, some=names[start : start + _BATCH]))
        # As the renderer does it, but for syncing each page. Without the marks a server would do it all again when it
        # starts.
        await index.ledger.read(partial(render, some=some))
        await index.ledger.write(partial(mark, some=some))
    await index.renderer.listing(home)
    return names


def _wheel(registry_id: int, project_id: int, name: str, version: str) -> File:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    digest = sha256(filename.encode()).hexdigest()
    return File(
        id=0,
        registry_id=registry_id,
        project_id=project_id,
        version=version,
        filename=filename,
        kind="wheel",
        state="visible",
        size_bytes=123_456,
        sha256=digest,
        blake2_256=digest,
        metadata_sha256=sha256(digest.encode()).hexdigest(),
        requires_python=">=3.9",
        uploaded_at=_UPLOADED_AT,
    )


def _host(index: Index) -> Host:
    return Host(index.settings.host, AUDIENCE)
