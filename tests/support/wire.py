"""What a well-behaved client never sends, and what every refusal must look like."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from mintmark.core.codes import CODES
from mintmark.core.errors import Unavailable
from mintmark.core.jwks import KeySet
from mintmark.core.records import Event, Publisher
from mintmark.lab.keys import LabKeys
from mintmark.lab.signer import Signer
from mintmark.service.ports import KeySource, Transaction
from mintmark.store.data_dir import LEDGER_NAME
from support.clock import FrozenClock
from support.world import GITHUB, SELF_HOSTED, Answer, World

PYTP = "application/vnd.pypi.pytp.v1+json"
PROBLEM = "application/problem+json"
SIMPLE_JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


# -- reading answers --------------------------------------------------------------------------------------------------


def refused(answer: Answer, code: str, *secrets: object) -> str:
    """Check everything that every refusal promises; returns the description. `secrets` must not be in it."""
    expected = CODES[code]
    assert answer.status == expected.status, (answer.status, answer.body)
    body = answer.json
    assert body["type"].endswith(f"/-/errors#{code}")
    assert (body["title"], body["status"]) == (expected.title, expected.status)
    description = str(body["errors"][0]["description"])
    assert body["errors"] == [{"code": code, "description": description}]
    # uv prints the whole body of a JSON refusal: there the long form stands once.
    legacy = answer.headers["Content-Type"] == "application/json"
    assert description.startswith(body["detail"]) if legacy else description == body["detail"]
    assert body["detail"]
    assert isinstance(body["message"], str)
    assert body["message"]
    # uv would print a top-level code instead of the sentence.
    assert "code" not in body
    assert answer.headers["Content-Type"] in {PROBLEM, "application/json"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert 0 < len(answer.reason) <= 200
    assert all(" " <= character <= "~" for character in answer.reason)
    line = " ".join(description.split())
    assert answer.reason == line or len(line) > 200 or not line.isascii()
    for name, statuses in (("Retry-After", {429, 503}), ("WWW-Authenticate", {401}), ("Allow", {405})):
        assert (name in answer.headers) == (answer.status in statuses)
    everything = answer.body.decode() + answer.reason + repr(dict(answer.headers))
    for secret in secrets:
        if isinstance(secret, str) and len(secret) > 20:
            assert secret not in everything
            signature = secret.rpartition(".")[2]
            assert len(signature) < 20 or signature not in everything
    return description


async def raw(world: World, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes on a connection of their own and read until the server closes it."""
    host, _, port = world.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def head(world: World, method: str, path: str, *fields: str, host: str | None = None) -> bytes:
    """A request's head with `Connection: close`. Fields may hold any bytes, as Latin-1."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or world.http.headers['Host']}", "Connection: close", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer_of(data: bytes) -> Answer:
    """The answer in the bytes that `raw` returned."""
    start, _, body = data.partition(b"\r\n\r\n")
    line, *fields = start.decode("latin-1").split("\r\n")
    _, status, reason = line.split(" ", 2)
    return Answer(int(status), reason, dict(field.split(": ", 1) for field in fields), body)


# -- forms ------------------------------------------------------------------------------------------------------------


def part(name: str, value: bytes, *, filename: str | None = None, more: str = "") -> bytes:
    """One part of a form, headers and all."""
    suffix = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{suffix}\r\n{more}\r\n'.encode() + value


def form(parts: Iterable[bytes], boundary: bytes = b"limit") -> bytes:
    """A multipart body."""
    return b"".join(b"--" + boundary + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + boundary + b"--\r\n"


FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=limit"}


# -- tokens -----------------------------------------------------------------------------------------------------------


def segment(value: object) -> str:
    """Base64url of JSON, or of bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# -- the issuers' side of the network ---------------------------------------------------------------------------------


class Network(LabKeys):
    """The lab's keys behind a network with faults: see `service.ports.Keys`."""

    def __init__(self, signers: Mapping[str, Signer]) -> None:
        super().__init__(signers)
        self.cut: set[str] = set()
        """Issuers that cannot be reached, and whose keys are not known."""
        self.cut_pinned = False
        """Entries with certificates of their own cannot be reached either."""
        self.known: KeySet | None = None
        """What was fetched earlier; `newer` fetches again."""
        self.slow: tuple[FrozenClock, float] | None = None
        """A clock, and by how much it moves on while keys are fetched."""
        self.asked: list[str] = []

    async def current(self, source: KeySource) -> KeySet:
        self._travel(source)
        return self.known or await super().current(source)

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        self._travel(source)
        return await super().newer(source, than)

    def _travel(self, source: KeySource) -> None:
        self.asked.append(source.url)
        if self.slow is not None:
            clock, seconds = self.slow
            clock.advance(seconds)
        if source.url in self.cut or (self.cut_pinned and source.allow_http):
            raise Unavailable("The issuer's keys cannot be fetched.", code="issuer-unavailable", private="cut")


# -- a registry of one's own in a shared world ------------------------------------------------------------------------


@dataclass
class Room:
    """A registry that one test has for itself, in a world that a whole module shares.

    It takes no part in the host-wide exchange, so that rooms never meet. The clock is shared: it only moves on.
    """

    world: World
    slug: str

    @property
    def audience(self) -> str:
        return f"mintmark_localhost_{self.slug.replace('-', '_')}"

    @property
    def mint_path(self) -> str:
        return f"/{self.slug}/_/oidc/mint-token"

    @property
    def clock(self) -> FrozenClock:
        return self.world.clock

    async def publisher(self, project: str, **more: Any) -> int:
        return await self.world.publisher(project, self.slug, **more)

    async def token(self, **more: Any) -> str:
        return await self.world.token(self.slug, **more)

    def identity_token(self, url: str = SELF_HOSTED, **more: Any) -> str:
        return self.world.identity_token(url, **{"audience": self.audience, **more})

    async def mint(self, token: object, **more: Any) -> Answer:
        return await self.world.mint(token, more.pop("path", self.mint_path), **more)

    async def credential(self, url: str = SELF_HOSTED, **more: Any) -> str:
        answer = await self.mint(self.identity_token(url, **more))
        assert answer.status == 200, answer.body
        return str(answer.json["token"])

    async def upload(self, secret: str | None, file: tuple[str, bytes], **more: Any) -> Answer:
        return await self.world.upload(secret, file, self.slug, **more)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.world.get(f"/{self.slug}{path}", **more)

    async def names(self, secret: str | None, project: str) -> list[str]:
        """The files on a project's page; none when there is no page."""
        page = await self.get(f"/simple/{project}/", auth=secret, headers=SIMPLE_JSON)
        return [file["filename"] for file in page.json["files"]] if page.status == 200 else []

    async def publishers(self) -> list[Publisher]:
        found = {registry.slug: entries for registry, _, entries in await self.world.index.trust.overview()}
        return found[self.slug]

    async def events(self, action: str, outcome: str = "") -> list[Event]:
        def work(tx: Transaction) -> list[Event]:
            registry = tx.registries.find(self.slug)
            assert registry is not None
            return [
                event
                for event in tx.audit.latest(registry.id, 1000)
                if event.action == action and outcome in ("", event.outcome)
            ]

        return await self.world.index.ledger.read(work)

    async def change(self, **settings: Any) -> None:
        """Change the registry as `apply` does."""

        def work(tx: Transaction) -> None:
            registry = tx.registries.find(self.slug)
            assert registry is not None
            tx.registries.update(replace(registry, **settings))

        await self.world.index.ledger.write(work)

    def set_status(self, project: str, status: str) -> None:
        """Archive or quarantine a project behind the running server's back; its pages stay as they are."""
        self.execute("UPDATE projects SET status = ?", status, project=project)

    def execute(self, update: str, *values: str, project: str = "widget") -> None:
        """Change rows of a project of this registry behind the running server's back."""
        where = "name = ?" if "projects" in update else "project_id IN (SELECT id FROM projects WHERE name = ?)"
        ledger = self.world.index.directory_path / LEDGER_NAME
        with closing(sqlite3.connect(ledger)) as connection, connection:
            connection.execute(
                f"{update} WHERE {where} AND registry_id = (SELECT id FROM registries WHERE slug = ?)",
                (*values, project, self.slug),
            )


async def open_room(world: World, slug: str, **settings: Any) -> Room:
    """A new registry that trusts the self-hosted GitLab and github.com."""
    await world.registry(slug, **{"host_mint": False, **settings})
    for url in (SELF_HOSTED, GITHUB):
        await world.issuer(slug, url)
    return Room(world, slug)
