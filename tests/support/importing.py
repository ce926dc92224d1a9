"""What the tests of `mintmark import` share: an index to bring things into, and sources to bring them from."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from mintmark.assemble import Index
from mintmark.core.import_choice import Choice
from mintmark.core.policy import Policy
from mintmark.core.records import OPERATOR, File, Registry
from mintmark.core.trust import Host, parse_registry
from mintmark.service.import_report import Outcome, Progress, Report
from mintmark.service.import_source import ImportSource
from mintmark.service.steps import Reached, ignore
from mintmark.settings import Settings
from mintmark.store.import_folder import FolderSource
from mintmark.store.import_http import HttpSource
from support.clock import FrozenClock, SeededEntropy
from support.other_index import JSON_TYPE, OtherIndex


class Heard(Progress):
    """Everything that was told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.files = 0

    def found(self, files: int, size_bytes: int) -> None:
        self.files += files

    def told(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@dataclass
class Target:
    """An index with the registry `acme`, into which things are brought. It can be opened again after a crash."""

    directory: Path
    opened: list[Index] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)

    @property
    def index(self) -> Index:
        return self.opened[-1]

    def open(self, reached: Reached = ignore) -> Index:
        settings = msgspec.convert(
            {"data_dir": str(self.directory / "target"), "base_url": "http://localhost:8080"}, Settings
        )
        index = Index(settings, clock=FrozenClock(), entropy=SeededEntropy(), reached=reached)
        self.opened.append(index)
        return index

    async def run(
        self,
        source: ImportSource | Path,
        choice: Choice | None = None,
        *,
        jobs: int = 4,
        dry_run: bool = False,
        stop: asyncio.Event | None = None,
    ) -> Report:
        self.heard = Heard()
        opened = FolderSource(source) if isinstance(source, Path) else source
        try:
            return await self.index.importer()(
                "acme",
                opened,
                choice or Choice(),
                OPERATOR,
                jobs=jobs,
                dry_run=dry_run,
                progress=self.heard,
                stop=stop,
            )
        finally:
            await opened.close()

    def told(self, what: str) -> list[Outcome]:
        return sorted((o for o in self.heard.outcomes if o.what == what), key=lambda o: (o.filename, o.place))

    async def registry(self) -> Registry:
        found = await self.index.ledger.read(lambda tx: tx.registries.find("acme"))
        assert found is not None
        return found

    async def file(self, filename: str) -> File | None:
        home = await self.registry()
        return await self.index.ledger.read(lambda tx: tx.files.find(home.id, filename))

    async def policy(self, **values: object) -> None:
        home = await self.registry()
        changed = replace(home, policy=Policy(**values))  # type: ignore[arg-type]
        await self.index.ledger.write(lambda tx: tx.registries.update(changed))

    def page(self, project: str) -> list[str]:
        """The file names on a project's page."""
        page = self.index.pages.find("acme", project, "json")
        return sorted(item["filename"] for item in json.loads(page.body)["files"]) if page else []

    def names(self) -> list[str]:
        page = self.index.pages.find("acme", "", "json")
        return [item["name"] for item in json.loads(page.body)["projects"]] if page else []

    def blobs(self) -> set[str]:
        return {path.name for path in (self.directory / "target" / "blobs").glob("*/*")}

    async def close(self) -> None:
        for index in self.opened:
            await index.close()


@asynccontextmanager
async def target_in(directory: Path) -> AsyncIterator[Target]:
    target = Target(directory)
    index = target.open()
    await index.trust.add_registry(parse_registry("acme", {}, Host("localhost", "mintmark_localhost")), OPERATOR)
    try:
        yield target
    finally:
        await target.close()


def put(folder: Path, *files: tuple[str, bytes], at: float | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files:
        (folder / name).write_bytes(data)
        if at is not None:
            os.utime(folder / name, (at, at))
    return folder


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def serve(other: OtherIndex, project: str, *files: tuple[str, bytes], **more: object) -> list[dict[str, object]]:
    """A project of the other index; its entries, to be changed before they are served with `page`."""
    entries: list[dict[str, object]] = []
    for name, data in files:
        other.page(f"/files/{name}", data, "application/octet-stream")
        entries.append({"filename": name, "url": f"/files/{name}", "hashes": {"sha256": sha(data)}, "size": len(data)})
    page(other, project, entries, **more)
    return entries


def page(other: OtherIndex, project: str, entries: list[dict[str, object]], **more: object) -> None:
    other.page(f"/simple/{project}/", json.dumps({"files": entries} | more), JSON_TYPE)
    names = sorted({path.split("/")[2] for path in other.answers if path.startswith("/simple/") and path != "/simple/"})
    other.page("/simple/", json.dumps({"projects": [{"name": name} for name in names]}), JSON_TYPE)


def source_of(other: OtherIndex) -> HttpSource:
    return HttpSource(other.url + "simple/")
