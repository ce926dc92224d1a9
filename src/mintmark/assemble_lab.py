"""A whole lab: the index, its front, the simulated identity providers and the proxy, in one temporary directory.

Owns the order in which they start, what trusts what, and that nothing stays behind. Leaves every piece to its own
module, what is asked of a running lab to `lab_control`, and options, signals and printing to the command line.

The index in it is the unmodified product behind a front that only the lab has: what an uploader meets here is what it
meets in production, until a fault is switched on.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mintmark.assemble import Index
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.import_choice import Choice
from mintmark.core.names import parse_host
from mintmark.core.records import SYSTEM
from mintmark.core.trust import Host, WantedRegistry, parse_trust
from mintmark.lab.authority import LOOPBACK, Authority
from mintmark.lab.connect_proxy import ConnectProxy
from mintmark.lab.faults import Faults
from mintmark.lab.front import Front
from mintmark.lab.home import Lab, announce
from mintmark.lab.hosts import Impersonation
from mintmark.lab.journal import Journal
from mintmark.lab.places import LAB_PLACES, Place
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.signer import Signer
from mintmark.lab.temporary import LabDirectory, sweep_dead
from mintmark.lab_control import Clerk
from mintmark.settings import Settings, load
from mintmark.store.import_folder import FolderSource
from mintmark.store.system import SystemClock
from mintmark.web.server import listening

REGISTRY = "demo"
NAME_OF_TOKENS = "lab"
MIRROR_REGISTRY = "pypi"
PORTS = 5
_LOOPBACK_NETWORKS = ["127.0.0.0/8", "::1/128"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of a lab. Ports are consecutive from `port` on, or free ones."""

    port: int = 0
    impersonations: tuple[Impersonation, ...] = ()
    mirror: Path | None = None
    pass_through: tuple[str, ...] = ()
    known_token: str = field(default="", repr=False)
    """A token that a script has built in; impersonated indexes take it like the API token of their registry."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running lab. `facts` is what `--json` prints; it holds paths of secrets and no secret."""

    directory: Path
    facts: Mapping[str, object]
    swept: Sequence[Path]
    mirrored: int
    stop: asyncio.Event
    """Set by `mintmark lab down`."""


@asynccontextmanager
async def running_lab(wishes: Wishes, signers: Mapping[str, Signer] | None = None) -> AsyncIterator[Running]:
    """A lab that lives while the block runs. Raises `Misconfigured` or `Rejected`; nothing stays behind then either.

    `signers` of its places may be in the making already.
    """
    _check(wishes)
    swept = await asyncio.to_thread(sweep_dead, SystemClock().now())
    async with AsyncExitStack() as last_first:
        home = last_first.enter_context(LabDirectory())
        lab = _Lab(wishes, home.path, last_first, signers or {})
        await lab.start()
        yield Running(home.path, lab.facts(), swept, lab.mirrored, lab.stop)


def _check(wishes: Wishes) -> None:
    for each in wishes.impersonations:
        if each.host in _issuer_hosts():
            raise Rejected(
                "invalid-request",
                f"{each.host} is the host of a CI system that the lab plays; it cannot play an index there as well.",
                hint="Let the command under test use another host for its index.",
            )
        if each.registry == REGISTRY:
            raise Rejected(
                "invalid-request",
                f"{REGISTRY} is the lab's own registry, under the lab's own address.",
                hint=f"Name another one: --impersonate {each.host}{each.prefix}=REGISTRY.",
            )
    played = {*_issuer_hosts(), *(each.host for each in wishes.impersonations)}
    for host in wishes.pass_through:
        parse_host(host)
        if host in played:
            raise Rejected(
                "invalid-request",
                f"{host} is played by the lab, so that nobody can be let through to the real one.",
                hint="Leave --pass-through out, or name another host.",
            )
    if wishes.known_token and not wishes.impersonations:
        raise Rejected(
            "invalid-request", "A known token is for played indexes, and there are none.", hint="Add --impersonate."
        )


class _Lab:
    """The pieces of one lab. Everything that is started goes onto the stack first."""

    def __init__(
        self, wishes: Wishes, directory: Path, last_first: AsyncExitStack, signers: Mapping[str, Signer]
    ) -> None:
        self._wishes = wishes
        self._directory = directory
        self._last_first = last_first
        self._tokens: dict[str, Path] = {}
        self.mirrored = 0
        self.stop = asyncio.Event()
        clock = SystemClock()
        self._journal = Journal(clock, directory / "journal.jsonl")
        last_first.callback(self._journal.close)
        self._faults = Faults()
        self._authority = Authority.open(directory / "tls", clock.now())
        self._clerk = Clerk(self.stop)
        self._providers = LabProviders(
            clock=clock,
            ssl_context=self._tls((*LOOPBACK, *_issuer_hosts())),
            places=LAB_PLACES,
            signers=signers,
            port=self._port(1),
            plain=True,
            plain_port=self._port(2),
            journal=self._journal,
            faults=self._faults,
            control=self._clerk.actions(),
            on_documents=self._clerk.forget_keys,
        )
        self._front = Front(
            0,
            wishes.impersonations,
            self._journal,
            self._faults,
            self._tls((*LOOPBACK, *(each.host for each in wishes.impersonations))),
            port=self._port(0),
            plain_port=self._port(3),
        )

    def _port(self, place: int) -> int:
        return self._wishes.port + place if self._wishes.port else 0

    def _tls(self, names: Sequence[str]) -> ssl.SSLContext:
        return self._authority.server_context(tuple(dict.fromkeys(names)))

    async def start(self) -> None:
        """Everything, in the order in which one needs the other."""
        for part in (self._providers, self._front):
            self._last_first.push_async_callback(part.close)
            await _listen(part)
        self._proxy = ConnectProxy(
            self._journal,
            {each.host: ("127.0.0.1", self._front.port) for each in self._wishes.impersonations}
            | dict.fromkeys(_issuer_hosts(), ("127.0.0.1", self._providers.port)),
            pass_through=self._wishes.pass_through,
            own_ports=(self._front.port, self._front.plain_port, self._providers.port, self._providers.plain_port),
            port=self._port(4),
        )
        self._last_first.push_async_callback(self._proxy.close)
        await _listen(self._proxy)
        making = asyncio.create_task(self._make_keys(), name="mintmark-lab-keys")
        self._last_first.callback(making.cancel)
        settings = self._settings()
        wanted = self._wanted(settings)
        # Invariant: the mark of a lab is there before anything in its data trusts the lab.
        self._announce(settings, wanted)
        index = self._index = Index(settings)
        self._last_first.push_async_callback(index.close)
        await self._trust(wanted)
        app = index.application(accept_lab=True)
        self._front.upstream_port = await self._last_first.enter_async_context(listening(app, settings))
        self._clerk.open(index, self._entries, self._host(settings))
        # Ready means: the first job can publish. The index waits two seconds for keys, and they would not be made yet.
        await making

    async def _make_keys(self) -> None:
        """Ahead of need, beside the start of the index: all of them take a second."""
        await asyncio.gather(*(asyncio.to_thread(each.prepare) for each in self._providers.signers.values()))

    def _settings(self) -> Settings:
        lines = (
            "# Written by `mintmark lab up`. It goes when the lab ends.",
            'data_dir = "data"',
            f'base_url = "{self._front.base_url}"',
            'listen = "127.0.0.1:0"',
            'trusted_proxies = ["127.0.0.0/8"]',
            f'outbound_proxy = "{self._proxy.url}"',
            # One machine publishes for everybody here, as fast as it can.
            "mints_per_address_per_minute = 0",
            "mints_per_issuer_per_minute = 0",
            "failed_credentials_per_address_per_minute = 0",
        )
        path = self._directory / "mintmark.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load(path, {})

    def _announce(self, settings: Settings, wanted: Sequence[WantedRegistry]) -> None:
        self._audiences = {"": settings.host_audience}
        self._audiences |= {each.registry.slug: each.registry.audience for each in wanted}
        announce(
            self._directory,
            Lab(
                self._providers.base_url,
                self._providers.secret,
                self._ca_path,
                self._front.base_url,
                self._proxy.url,
                self._audiences,
                os.getpid(),
            ),
        )

    @cached_property
    def _ca_path(self) -> Path:
        """What clients trust: the lab's CA, and the system's only where they are let through to the world."""
        if not self._wishes.pass_through:
            return self._authority.ca_path
        path = self._directory / "tls" / "bundle.pem"
        system = ssl.get_default_verify_paths().cafile
        others = Path(system).read_text(encoding="utf-8") if system else ""
        path.write_text(f"{others}\n{self._authority.ca_pem}", encoding="utf-8")
        return path

    # -- what trusts what ---------------------------------------------------------------------------------------------

    def _host(self, settings: Settings) -> Host:
        return Host(settings.host, settings.host_audience, accept_lab=True)

    def _entries(self) -> dict[str, object]:
        """Trust in every place; for an audience of its own where its jobs cannot ask for an index's."""
        return {place.name: self._entry(place) for place in LAB_PLACES}

    def _entry(self, place: Place) -> dict[str, object]:
        url = self._providers.issuer_url(place.name)
        entry: dict[str, object] = {
            "provider": place.provider,
            "url": url,
            "projects": ["*"],
            "networks": _LOOPBACK_NETWORKS,
            "ca-file": str(self._authority.ca_path),
        }
        fixed = place.kind.fixed_audience
        return entry if fixed is None else {**entry, "audience": fixed(url)}

    def _wanted(self, settings: Settings) -> tuple[WantedRegistry, ...]:
        registries: dict[str, dict[str, object]] = {REGISTRY: {"title": "Of the lab"}}
        for each in self._wishes.impersonations:
            entry = registries.setdefault(each.registry, {"host": each.registry_host, "host-mint": False})
            if each.audience:
                entry["audience"] = each.audience
        entries = self._entries()
        shared = {"private": False, "issuer": entries}
        document = {"registry": {slug: entry | shared for slug, entry in registries.items()}}
        return parse_trust(document, self._host(settings), lambda name: Path(name).read_text(encoding="utf-8"))

    async def _trust(self, wanted: Sequence[WantedRegistry]) -> None:
        trust = self._index.trust
        await trust.apply(wanted, await trust.plan(wanted), SYSTEM)
        folder = self._directory / "tokens"
        folder.mkdir(mode=0o700)
        for slug in (each.registry.slug for each in wanted):
            secret, _ = await self._index.tokens.create(
                slug, NAME_OF_TOKENS, ("*",), can_upload=True, can_read=True, lifetime_seconds=None, principal=SYSTEM
            )
            path = self._tokens[slug] = folder / slug
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secret)
        if self._wishes.known_token:
            self._front.know(self._wishes.known_token, self._token_at)
        if self._wishes.mirror is not None:
            await self._mirror(self._wishes.mirror, [each.registry.slug for each in wanted])

    def _token_at(self, registry: str) -> str:
        return self._tokens[registry].read_text(encoding="ascii")

    async def _mirror(self, folder: Path, slugs: Sequence[str]) -> None:
        """Bring the files of a folder in: where build backends are looked for, else wherever there is."""
        homes = [MIRROR_REGISTRY] if MIRROR_REGISTRY in slugs else [slug for slug in slugs if slug != REGISTRY] or slugs
        for slug in homes:
            source = FolderSource(folder)
            try:
                report = await self._index.importer()(slug, source, Choice(), SYSTEM, jobs=4)
            finally:
                await source.close()
            self.mirrored += report.outcomes["imported"]
        if not self.mirrored:
            raise Rejected(
                "invalid-import",
                f"No file of {folder} could be mirrored.",
                hint="Fill it with `pip download -d FOLDER setuptools hatchling …` and name it again.",
            )

    # -- what is told -------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, object]:
        """For machines."""
        base, plain = self._front.base_url, f"http://localhost:{self._front.plain_port}"
        impersonated = [
            {
                "host": each.host,
                "registry": each.registry,
                "upload_url": f"https://{each.host}{each.prefix}/legacy/",
                "simple_url": f"https://{each.host}{each.prefix}/simple/",
                "audience": self._audiences[each.registry],
            }
            for each in self._wishes.impersonations
        ]
        return {
            "directory": str(self._directory),
            "index": {
                "url": base,
                "plain_url": plain,
                "registry": REGISTRY,
                "upload_url": f"{base}/{REGISTRY}/legacy/",
                "plain_upload_url": f"{plain}/{REGISTRY}/legacy/",
                "simple_url": f"{base}/{REGISTRY}/simple/",
                "audience": self._audiences[""],
            },
            "proxy": self._proxy.url,
            "ca": str(self._ca_path),
            "control": self._providers.base_url,
            "config": str(self._directory / "mintmark.toml"),
            "impersonated": impersonated,
            "api_tokens": {slug: str(path) for slug, path in self._tokens.items()},
            "places": [place.name for place in LAB_PLACES],
            "environment": {
                "MINTMARK_LAB": str(self._directory),
                "MINTMARK_CONFIG": str(self._directory / "mintmark.toml"),
            },
        }


def _issuer_hosts() -> tuple[str, ...]:
    """The hosts of CI vendors that the lab plays."""
    return tuple(dict.fromkeys(place.host for place in LAB_PLACES if place.host))


async def _listen(part: LabProviders | Front | ConnectProxy) -> None:
    try:
        await part.start()
    except OSError as error:
        # It names the port, where the system does not.
        problem = error.strerror or os.strerror(error.errno or 0)
        raise _no_port(f"A port of the lab cannot be listened on: {problem}.") from None
    except Misconfigured as error:
        raise _no_port(error.problem) from None


def _no_port(problem: str) -> Misconfigured:
    cure = f"Leave --port out to use free ones, or choose another one: the lab uses {PORTS} from there on."
    return Misconfigured("port", problem, cure)


def print_facts(facts: Mapping[str, object]) -> str:
    """One line of JSON."""
    return json.dumps(facts, separators=(",", ":"))
