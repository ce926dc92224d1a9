"""The ledger's engines, for the conformance tests of `service.ports`.

Another engine is one more entry here: every test of `test_ledger` and `test_nouns` then runs against it as well.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mintmark.core.records import Constraints, Credential, File, Issuer, Project, Publisher, Registry
from mintmark.service.ports import Ledger, Transaction
from mintmark.store.ledger.sqlite import open_ledger

OTHER_PROCESS = Path(__file__).with_name("other_process.py")
NOW = 1_790_000_000

OPEN: Mapping[str, Callable[[str], Ledger]] = {"sqlite": lambda place: open_ledger(Path(place))}
"""By engine: opens the ledger at a place, migrated."""
PLACE: Mapping[str, Callable[[Path], str]] = {"sqlite": lambda directory: str(directory / "mintmark.db")}
"""By engine: a place of its own for one test."""


@dataclass
class Store:
    """One ledger that may be opened several times, here and in other processes."""

    engine: str
    place: str
    _opened: list[Ledger] = field(default_factory=list)

    def open(self) -> Ledger:
        """Another instance on the same data; closed with the store."""
        ledger = OPEN[self.engine](self.place)
        self._opened.append(ledger)
        return ledger

    def begin_elsewhere(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of `other_process.py` on the same data."""
        command = [sys.executable, str(OTHER_PROCESS), words[0], self.engine, self.place, *words[1:]]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def elsewhere(self, *words: str) -> str:
        """Run a command of `other_process.py` on the same data; what it printed."""
        return finish(self.begin_elsewhere(*words))

    async def close(self) -> None:
        for ledger in self._opened:
            await ledger.close()


@asynccontextmanager
async def opened(engine: str, directory: Path) -> AsyncIterator[Store]:
    """A new store, closed afterwards."""
    store = Store(engine, PLACE[engine](directory))
    try:
        yield store
    finally:
        await store.close()


def finish(process: subprocess.Popen[str], said: str | None = None) -> str:
    """Wait for a process that must succeed; what it printed."""
    with process:
        try:
            printed, _ = process.communicate(said, timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0
    return printed


# -- records ----------------------------------------------------------------------------------------------------------


def registry(tx: Transaction, slug: str = "acme", **values: object) -> Registry:
    return tx.registries.insert(replace(Registry(0, slug, f"audience_{slug}"), **values))  # type: ignore[arg-type]


def issuer(tx: Transaction, of: Registry, name: str = "gitlab", **values: object) -> Issuer:
    plain = Issuer(0, of.id, name, "gitlab", f"https://{name}.example.com")
    return tx.issuers.insert(replace(plain, **values))  # type: ignore[arg-type]


def publisher(tx: Transaction, of: Issuer, project: str = "widget", **values: object) -> Publisher:
    inserted = maybe_publisher(tx, of, project, **values)
    assert inserted is not None
    return inserted


def maybe_publisher(tx: Transaction, of: Issuer, project: str = "widget", **values: object) -> Publisher | None:
    plain = Publisher(0, of.registry_id, of.id, project, None, {"repository": "foo/bar"}, Constraints(), NOW)
    return tx.publishers.insert(replace(plain, **values), "foo/bar")  # type: ignore[arg-type]


def project(tx: Transaction, of: Registry, name: str = "widget") -> Project:
    return tx.projects.insert(of.id, name, name, NOW)


def wheel_of(of: Project, version: str = "1.0", **values: object) -> File:
    name = f"{of.name}-{version}-py3-none-any.whl"
    digest = hashlib.sha256(name.encode()).hexdigest()
    plain = File(
        0, of.registry_id, of.id, version, name, "wheel", "visible", 7, digest, digest, digest, ">=3.8", NOW, None
    )
    return replace(plain, **values)  # type: ignore[arg-type]


def credential(digest: bytes = b"d" * 32, **values: object) -> Credential:
    plain = Credential(
        0, digest, "minted", None, "", (1, 2), ("*",), True, True, False, None, "refs/tags/v1", NOW, NOW + 900, None
    )
    return replace(plain, **values)  # type: ignore[arg-type]
