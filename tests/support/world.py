"""A whole index on loopback with simulated identity providers, for tests of the wire.

The index is the real one: SQLite and folders below a temporary directory, a real socket. The other side is the lab:
signers whose keys stand for public issuers (`lab.keys.LabKeys`), and claims made from the provider tables.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from mintmark.assemble import Index
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import OPERATOR, Issuer
from mintmark.core.trust import Host, parse_issuer, parse_publisher, parse_registry
from mintmark.lab.identity import claims_for
from mintmark.lab.keys import LabKeys
from mintmark.lab.signer import Signer
from mintmark.service.ports import Keys
from mintmark.service.steps import Reached, ignore
from mintmark.settings import Settings
from mintmark.web.server import listening
from support.clock import FrozenClock, SeededEntropy
from support.ports import free_port

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
SELF_HOSTED = "https://gitlab.example.com"
HOST_AUDIENCE = "mintmark_localhost"

IDENTITIES: Mapping[str, Mapping[str, str]] = {
    GITHUB: {"repository": "foo/bar", "workflow": "release.yml"},
    GITLAB: {"project-path": "foo/bar", "workflow": ".gitlab-ci.yml"},
    SELF_HOSTED: {"project-path": "foo/bar", "workflow": ".gitlab-ci.yml"},
}
PROVIDER_OF = {GITHUB: "github", GITLAB: "gitlab", SELF_HOSTED: "gitlab"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.json["errors"][0]["code"])

    @property
    def description(self) -> str:
        return str(self.json["errors"][0]["description"])


@dataclass
class World:
    """The running index and its surroundings."""

    index: Index
    url: str
    http: aiohttp.ClientSession
    clock: FrozenClock
    signers: Mapping[str, Signer]
    random: random.Random = field(default_factory=lambda: random.Random(1))

    # -- administering ------------------------------------------------------------------------------------------------

    async def registry(self, slug: str = "acme", **settings: object) -> None:
        """Create a registry (private unless said otherwise)."""
        entry = {name.replace("_", "-"): value for name, value in settings.items()}
        await self.index.trust.add_registry(parse_registry(slug, entry, self.host), OPERATOR)

    async def issuer(self, slug: str = "acme", url: str = SELF_HOSTED, name: str = "", **settings: object) -> Issuer:
        """Trust one of the public issuers in a registry."""
        entry: dict[str, object] = {"provider": PROVIDER_OF[url], "url": url, "projects": ["*"]}
        entry |= {key.replace("_", "-"): value for key, value in settings.items()}
        issuer = parse_issuer(name or _name_of(url), entry, self.host, lambda path: Path(path).read_text())
        return await self.index.trust.add_issuer(slug, issuer, OPERATOR)

    async def publisher(
        self, project: str, slug: str = "acme", url: str = SELF_HOSTED, issuer: str = "", **settings: object
    ) -> int:
        """Register a publisher of the usual identity, or with other fields and constraints; returns its id."""
        entry: dict[str, object] = {**IDENTITIES[url], "project": project}
        entry |= {key.replace("_", "-"): value for key, value in settings.items()}
        added = await self.index.trust.add_publisher(
            slug, issuer or _name_of(url), lambda found: parse_publisher("test", entry, found), OPERATOR
        )
        return added.id

    async def token(self, slug: str = "acme", *, upload: bool = True, read: bool = True, **more: Any) -> str:
        """An API token."""
        secret, _ = await self.index.tokens.create(
            slug,
            more.get("name", "test"),
            more.get("projects", ("*",)),
            can_upload=upload,
            can_read=read,
            lifetime_seconds=more.get("lifetime_seconds"),
            principal=OPERATOR,
        )
        return secret

    @property
    def host(self) -> Host:
        return Host(self.index.settings.host, self.index.settings.host_audience)

    # -- the CI system ------------------------------------------------------------------------------------------------

    def claims(
        self, url: str = SELF_HOSTED, audience: str = HOST_AUDIENCE, ref: str = "refs/heads/main", **more: Any
    ) -> dict[str, object]:
        """Claims of a fresh job. `config` replaces who it is; other keywords replace claims, None removes one."""
        provider = BY_SLUG[PROVIDER_OF[url]]
        config = {**IDENTITIES[url], **more.pop("config", {})}
        return claims_for(
            provider,
            url,
            provider.issuer.server(url),
            config,
            overrides=more,
            ref=ref,
            now=self.clock.now(),
            random=self.random,
            audience=audience,
        )

    def identity_token(self, url: str = SELF_HOSTED, audience: str = HOST_AUDIENCE, **more: Any) -> str:
        """A fresh signed identity token."""
        return self.signers[url].sign(self.claims(url, audience, **more))

    # -- the client ---------------------------------------------------------------------------------------------------

    async def request(self, method: str, path: str, **more: Any) -> Answer:
        """One request. `auth` is a credential for Basic authentication."""
        headers = dict(more.pop("headers", {}))
        secret = more.pop("auth", None)
        if secret is not None:
            headers["Authorization"] = aiohttp.encode_basic_auth("__token__", secret)
        # aiohttp would add `Accept: */*`.
        skip = () if "Accept" in headers else ("Accept",)
        target = path if "://" in path else self.url + path
        async with self.http.request(
            method, target, headers=headers, skip_auto_headers=skip, allow_redirects=False, **more
        ) as response:
            return Answer(response.status, response.reason or "", response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def mint(self, token: object, path: str = "/_/oidc/mint-token", **more: Any) -> Answer:
        """Exchange an identity token."""
        body = {"token": token, **more.pop("extra", {})}
        return await self.request("POST", path, data=json.dumps(body).encode(), **more)

    async def credential(self, url: str = SELF_HOSTED, **more: Any) -> str:
        """A minted upload credential of the usual identity."""
        answer = await self.mint(self.identity_token(url, **more))
        assert answer.status == 200, answer.body
        return str(answer.json["token"])

    async def upload(self, secret: str | None, file: tuple[str, bytes], slug: str = "acme", **more: Any) -> Answer:
        """Upload a file as uv does; `fields` replaces form fields, None removes one."""
        form = upload_form(file, **more.pop("fields", {}))
        return await self.request("POST", more.pop("path", f"/{slug}/legacy/"), auth=secret, data=form, **more)


def upload_form(file: tuple[str, bytes], **fields: Any) -> aiohttp.FormData:
    """A multipart form as uv sends it."""
    filename, data = file
    name, version = [*filename.split("-"), "", ""][:2]
    kind = "bdist_wheel" if filename.endswith(".whl") else "sdist"
    values: dict[str, Any] = {
        ":action": "file_upload",
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "protocol_version": "1",
        "metadata_version": "2.4",
        "name": name.replace("_", "-"),
        "version": version.removesuffix(".tar.gz"),
        "filetype": kind,
        "pyversion": "py3" if kind == "bdist_wheel" else "source",
        "requires_python": "",
    } | fields
    # Quoting would turn the "+" of a local version into "%2B", which no uploader does.
    form = aiohttp.FormData(quote_fields="+" not in filename, default_to_multipart=True)
    for key, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                form.add_field(key, each)
    form.add_field("content", io.BytesIO(data), filename=filename, content_type="application/octet-stream")
    return form


def _name_of(url: str) -> str:
    return {GITHUB: "github", GITLAB: "gitlab-com", SELF_HOSTED: "gitlab"}[url]


@asynccontextmanager
async def running_world(
    directory: Path,
    signers: Mapping[str, Signer],
    *,
    reached: Reached = ignore,
    clock: FrozenClock | None = None,
    keys: Keys | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Start an index below `directory` and stop it afterwards. Keywords replace settings, `keys` the lab's keys."""
    port = free_port()
    values = {
        "data_dir": str(directory / "data"),
        "base_url": f"http://localhost:{port}",
        "listen": f"127.0.0.1:{port}",
        "audience": HOST_AUDIENCE,
        "mints_per_address_per_minute": 0,
        "mints_per_issuer_per_minute": 0,
        "failed_credentials_per_address_per_minute": 0,
    } | settings
    index = Index(
        msgspec.convert(values, Settings), clock=clock or FrozenClock(), entropy=SeededEntropy(), reached=reached
    )
    assert isinstance(index.clock, FrozenClock)
    try:
        async with (
            listening(index.application(keys or LabKeys(signers)), index.settings) as bound,
            aiohttp.ClientSession(headers={"Host": f"localhost:{bound}"}) as http,
        ):
            yield World(index, f"http://127.0.0.1:{bound}", http, index.clock, signers)
    finally:
        await index.close()
        await asyncio.sleep(0)
