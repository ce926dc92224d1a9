"""Acknowledged means durable and visible: the server is killed at every named step, and at random ones.

Not acknowledged means wholly there or not at all; the same request again succeeds.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import resource
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from e2e.crash_server import Nursery, Server, nursery
from mintmark.assemble import Index
from mintmark.lab.signer import Signer
from mintmark.service.steps import Step
from support.clock import FrozenClock
from support.dists import sdist, wheel
from support.world import SELF_HOSTED, World, running_world

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
HTML = {"Accept": "text/html"}
UPLOAD_STEPS = [step for step in Step if step.startswith("upload-")]
MINT_STEPS = [step for step in Step if step.startswith("mint-")]
COMMITTED = {Step.UPLOAD_COMMITTED, Step.UPLOAD_PAGES_REPLACED, Step.UPLOAD_PAGES_MARKED, Step.MINT_COMMITTED}
# After the answer.
ACKNOWLEDGED = {Step.UPLOAD_PAGES_MARKED}
UPLOADERS = 4


@dataclass(frozen=True)
class Template:
    """A closed data directory that every test copies: the project `widget` with one file, trust, an API token."""

    data_dir: Path
    index: Index
    signer: Signer
    secret: str


@pytest.fixture(scope="session")
def servers() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    directory = tmp_path_factory.mktemp("crash")
    # Its own thread, since its event loop is not the tests'.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, prepare(directory)).result()


async def prepare(directory: Path) -> Template:
    signer = Signer("ES256")
    keys = directory / "keys.json"
    keys.write_bytes(signer.jwks())
    async with running_world(directory, {}, clock=FrozenClock(time.time())) as world:
        await world.registry("acme")
        await world.issuer("acme", SELF_HOSTED, jwks_file=str(keys), algorithms=["ES256"])
        secret = await world.token()
        assert (await world.upload(secret, sdist())).status == 200
        await world.publisher("widget")
        await world.publisher("pending")
    return Template(directory / "data", world.index, signer, secret)


@pytest.fixture
def data_dir(template: Template, tmp_path: Path) -> Path:
    return shutil.copytree(template.data_dir, tmp_path / "data")


@asynccontextmanager
async def talking(server: Server, template: Template) -> AsyncIterator[World]:
    """The client's half of a world, against a server elsewhere."""
    async with aiohttp.ClientSession(headers={"Host": "localhost"}) as http:
        clock = FrozenClock(time.time())
        yield World(template.index, server.url, http, clock, {SELF_HOSTED: template.signer})


async def visible(world: World, secret: str, file: tuple[str, bytes]) -> bool:
    """Whether a file is wholly there: on its pages, in the list, with the right bytes; or nothing of it is."""
    filename, data = file
    project = filename.split("-")[0]
    found = []
    for headers in (JSON, HTML):
        page = await world.get(f"/acme/simple/{project}/", auth=secret, headers=headers)
        assert page.status in {200, 404}
        found.append(page.status == 200 and filename.encode() in page.body)
        names = await world.get("/acme/simple/", auth=secret, headers=headers)
        # widget is listed for another file already.
        listed = f'"{project}"'.encode() in names.body or f">{project}<".encode() in names.body
        assert listed == (page.status == 200)
    sha256 = hashlib.sha256(data).hexdigest()
    for suffix in ("", ".metadata"):
        got = await world.get(f"/acme/files/{sha256[:2]}/{sha256}/{filename}{suffix}", auth=secret)
        assert got.status in {200, 404}
        found.append(got.status == 200 and (bool(suffix) or got.body == data))
    assert len(set(found)) == 1, found
    return found[0]


def test_every_step_is_covered() -> None:
    assert {*UPLOAD_STEPS, *MINT_STEPS, Step.CHANGE_COMMITTED} == set(Step)


def left_over(data_dir: Path) -> list[str]:
    """Files on their way in, and halves of pages."""
    return [str(path) for folder in ("incoming", "pages") for path in (data_dir / folder).rglob("*~")] + [
        str(path) for path in (data_dir / "incoming").iterdir()
    ]


# -- every step of an upload ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["widget", "newcomer"])
@pytest.mark.parametrize("step", UPLOAD_STEPS)
async def test_killed_while_uploading(
    servers: Nursery, template: Template, data_dir: Path, step: Step, project: str
) -> None:
    file, secret = wheel(project), template.secret
    server = servers.start(data_dir, step)
    async with talking(server, template) as world:
        if step in ACKNOWLEDGED:
            assert (await world.upload(secret, file)).status == 200
        else:
            with pytest.raises(aiohttp.ClientError):
                await world.upload(secret, file)
    assert server.ended() == -signal.SIGKILL
    server = servers.start(data_dir)
    assert left_over(data_dir) == []
    async with talking(server, template) as world:
        assert await visible(world, secret, file) == (step in COMMITTED)
        assert (await world.upload(secret, file)).status == 200
        assert await visible(world, secret, file)
        # What was there before is there still.
        assert await visible_sdist(world, secret)
    server.stop()


async def visible_sdist(world: World, secret: str) -> bool:
    filename, data = sdist()
    page = await world.get("/acme/simple/widget/", auth=secret, headers=JSON)
    sha256 = hashlib.sha256(data).hexdigest()
    file = await world.get(f"/acme/files/{sha256[:2]}/{sha256}/{filename}", auth=secret)
    return filename.encode() in page.body and file.body == data


async def test_killed_while_healing(servers: Nursery, template: Template, data_dir: Path) -> None:
    file = wheel("newcomer")
    server = servers.start(data_dir, Step.UPLOAD_COMMITTED)
    async with talking(server, template) as world:
        with pytest.raises(aiohttp.ClientError):
            await world.upload(template.secret, file)
    assert server.ended() == -signal.SIGKILL
    server = servers.begin(data_dir, Step.UPLOAD_PAGES_MARKED)
    assert (server.url, server.ended()) == ("", -signal.SIGKILL)
    server = servers.start(data_dir)
    async with talking(server, template) as world:
        assert await visible(world, template.secret, file)
    server.stop()


# -- a change of what is there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a server"])
async def test_killed_while_yanking(servers: Nursery, template: Template, data_dir: Path, beside: bool) -> None:
    other = servers.start(data_dir) if beside else None
    assert servers.yank(data_dir, "widget", "1.0", Step.CHANGE_COMMITTED).ended() == -signal.SIGKILL
    if other is not None:
        # Its page is behind until somebody heals it; a server does so by itself, at the latest when it starts.
        other.stop()
    server = servers.start(data_dir)
    async with talking(server, template) as world:
        page = await world.get("/acme/simple/widget/", auth=template.secret, headers=JSON)
        assert [each["yanked"] for each in page.json["files"]] == ["broken"]
        assert await visible_sdist(world, template.secret)
    server.stop()


# -- every step of a mint ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", MINT_STEPS)
async def test_killed_while_minting(servers: Nursery, template: Template, data_dir: Path, step: Step) -> None:
    mint = "/acme/_/oidc/mint-token"
    server = servers.start(data_dir, step)
    async with talking(server, template) as world:
        audience = (await world.get("/acme/_/oidc/audience")).json["audience"]
        token = world.identity_token(SELF_HOSTED, audience)
        with pytest.raises(aiohttp.ClientError):
            await world.mint(token, mint)
    assert server.ended() == -signal.SIGKILL
    server = servers.start(data_dir)
    async with talking(server, template) as world:
        again = await world.mint(token, mint)
        if step in COMMITTED:
            # Spent, and its credential is lost with the answer. The hint says what the job can do.
            assert (again.status, again.code) == (422, "invalid-reuse-token")
            assert "id_tokens" in again.description
            again = await world.mint(world.identity_token(SELF_HOSTED, audience, jti="another"), mint)
        assert again.status == 200, again.body
        # The credential covers both publishers, so the pending one has its project.
        for file in (wheel(), wheel("pending")):
            assert (await world.upload(again.json["token"], file)).status == 200
            assert await visible(world, template.secret, file)
    server.stop()


# -- at any moment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_under_concurrent_uploads(servers: Nursery, template: Template, data_dir: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, tuple[str, bytes]] = {}

    async def upload_on(world: World, uploader: int, killed: asyncio.Event, quota: int, round_: int) -> None:
        for number in range(1000):
            # Projects of their own and one that all share.
            name = "shared" if number % 2 else f"project{uploader}"
            file = wheel(name, f"{round_}.{uploader}.{number}", body=chance.randbytes(chance.randrange(20_000)))
            try:
                answer = await world.upload(template.secret, file)
            except (aiohttp.ClientError, ConnectionError):
                return
            assert answer.status == 200, answer.body
            acknowledged[file[0]] = file
            if len(acknowledged) >= quota:
                killed.set()

    for round_ in range(4):
        server = servers.start(data_dir)
        async with talking(server, template) as world:
            killed, quota = asyncio.Event(), len(acknowledged) + chance.randrange(1, 25)
            uploading = [asyncio.create_task(upload_on(world, n, killed, quota, round_)) for n in range(UPLOADERS)]
            await asyncio.wait_for(killed.wait(), 20)
            # The others are in the middle of something.
            server.kill()
            await asyncio.gather(*uploading)
    server = servers.start(data_dir)
    assert left_over(data_dir) == []
    async with talking(server, template) as world:
        for file in acknowledged.values():
            assert await visible(world, template.secret, file)
    server.stop()


# -- a full disk ------------------------------------------------------------------------------------------------------


@contextmanager
def full(server: Server, size_bytes: int) -> Iterator[None]:
    """Meanwhile no file of the server gets larger than this: the kernel refuses, as on a full disk."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    former = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, former)


def blobs(data_dir: Path) -> set[str]:
    return {path.name for path in (data_dir / "blobs").rglob("*") if path.is_file()}


async def test_no_space_for_the_file(servers: Nursery, template: Template, data_dir: Path) -> None:
    file, before = wheel("newcomer", body=random.Random(1).randbytes(600_000)), blobs(data_dir)
    server = servers.start(data_dir)
    async with talking(server, template) as world:
        with full(server, 300_000):
            for _ in range(2):
                refused = await world.upload(template.secret, file)
                sentence = "The index has no space for this file; nothing of it was kept."
                assert (refused.status, refused.reason) == (507, sentence)
                assert refused.json["detail"] == sentence
            assert not await visible(world, template.secret, file)
        assert (left_over(data_dir), blobs(data_dir)) == ([], before)
        assert (await world.upload(template.secret, file)).status == 200
        assert await visible(world, template.secret, file)
    server.stop()


async def test_no_space_in_the_ledger(servers: Nursery, template: Template, data_dir: Path) -> None:
    server = servers.start(data_dir)
    async with talking(server, template) as world:
        # Its log grows beyond the limit, so that nothing can be added to it.
        assert (await world.upload(template.secret, wheel("first"))).status == 200
        assert (data_dir / "mintmark.db-wal").stat().st_size > 20_000
        file = wheel("newcomer")
        with full(server, 20_000):
            for _ in range(2):
                refused = await world.upload(template.secret, file)
                sentence = "The ledger has no space left; nothing was changed."
                assert (refused.status, refused.reason) == (507, sentence)
            assert not await visible(world, template.secret, file)
            assert await visible(world, template.secret, wheel("first"))
        assert (await world.upload(template.secret, file)).status == 200
        assert await visible(world, template.secret, file)
    server.stop()
