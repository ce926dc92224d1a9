"""Ten thousand hostile requests over every route: no 5xx, every refusal whole, nothing kept.

The routes come from the application, so that one that is added later is covered; the requests are the same in every
run.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from mintmark.core.codes import CODES
from mintmark.lab.signer import Signer
from mintmark.store.data_dir import LEDGER_NAME
from mintmark.store.ledger.schema import METADATA
from support.hostile import FILE, OWN_HOST, SDIST, SETTINGS, SLUGS, Request, Target, request_of
from support.wire import SIMPLE_JSON, answer_of
from support.world import SELF_HOSTED, Answer, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARDS = 10
REQUESTS_A_SHARD = 1_000
ANSWER_SECONDS = 20
# At once: enough for requests to meet each other, few enough to tell which one did what.
TOGETHER = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory, signers: Mapping[str, Signer]) -> AsyncIterator[Target]:
    """An index with a public, a private and a registry of its own host, all with files."""
    async with running_world(tmp_path_factory.mktemp("fuzz"), signers) as world:
        for slug, more in zip(SLUGS, SETTINGS, strict=True):
            await world.registry(slug, **more)
            await world.issuer(slug, SELF_HOSTED)
            token = await world.token(slug, name="seed")
            for each in (FILE, SDIST):
                assert (await world.upload(token, each, slug)).status == 200
        await world.publisher("widget")
        found = Target(
            world,
            # Genuine ones, which cover another project than every form names.
            [await world.token(slug, name="other", projects=("other-*",)) for slug in SLUGS],
            # Of the last one there are more, since it gets furthest.
            [hostile_token(world, min(number, 12)) for number in range(30)],
            [str(world.http.headers["Host"]), OWN_HOST],
        )
        await warm(world)
        yield found


def hostile_token(world: World, number: int) -> str:
    """Signed by a trusted issuer, and worth nothing."""
    claims: dict[str, object] = dict(world.claims())
    name, value = [
        ("aud", "elsewhere"), ("aud", ["mintmark_localhost", "x"]), ("exp", 1), ("exp", "soon"), ("iat", -1),
        ("iss", 7), ("jti", ["x"]), ("project_path", {"a": 1}), ("ci_config_ref_uri", "\0"), ("nbf", 2**80),
        ("project_path", "a" * 5000), ("sub", None), ("namespace_path", "nobody"),
    ][number]  # fmt: skip
    claims[name] = value
    if name == "namespace_path":
        claims["project_path"] = "nobody/nothing"
    if name in {"project_path", "ci_config_ref_uri", "sub", "jti"}:
        claims["aud"] = "elsewhere"
    return world.signers[SELF_HOSTED].sign(claims)


async def warm(world: World) -> None:
    """Ask for everything that is made when somebody first asks for it."""
    for slug in SLUGS:
        secret = await world.token(slug, name="warm", upload=False)
        for path in ("simple/", "simple/widget/", "pypi/widget/json", "pypi/widget/1.0/json"):
            assert (await world.get(f"/{slug}/{path}", auth=secret)).status == 200
        page = await world.get(f"/{slug}/simple/widget/", auth=secret, headers=SIMPLE_JSON)
        for entry in page.json["files"]:
            if entry["core-metadata"]:
                place = f"/{slug}/{entry['url'].removeprefix('../../')}.metadata"
                assert (await world.get(place, auth=secret)).status == 200
    for path in ("pypi/widget/json", "pypi/widget/1.0/json"):
        assert (await world.get(f"/{path}", headers={"Host": OWN_HOST})).status == 200


# -- what is kept -----------------------------------------------------------------------------------------------------


def rows(world: World) -> dict[str, int]:
    with closing(sqlite3.connect(world.index.directory_path / LEDGER_NAME)) as connection:
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in sorted(METADATA.tables)
        }


def stored(world: World) -> dict[str, int]:
    """Every file of the data directory with its size, but the ledger's own."""
    top: Path = world.index.directory_path
    return {
        str(path.relative_to(top)): path.stat().st_size
        for path in sorted(top.rglob("*"))
        if path.is_file() and not path.name.startswith(LEDGER_NAME)
    }


# -- the test ---------------------------------------------------------------------------------------------------------


async def exchanged(world: World, request: Request) -> bytes:
    host, _, port = world.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request.data)
        if request.cut:
            # The server is told that no more will come, and need not answer.
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def judge(request: Request, data: bytes) -> int | None:
    """Everything that an answer to a hostile request promises; its status, None without an answer."""
    # What asks for more is no answer yet.
    while data.startswith(b"HTTP/1.1 100 "):
        data = data.partition(b"\r\n\r\n")[2]
    if not data:
        # Nobody waits for an answer to half a request.
        assert request.cut, "no answer"
        return None
    answer = answer_of(data)
    assert 200 <= answer.status < 500, answer
    assert answer.headers["Server"] == "Mintmark"
    assert "X-Evil" not in answer.headers
    if answer.status < 400:
        # Ending a credential that does not exist is a success, for who asks (PEP 807).
        assert request.method in {"GET", "HEAD"} or answer.status in {202, 301, 304}, answer
        return answer.status
    if request.method != "HEAD":
        whole_refusal(answer)
    return answer.status


def whole_refusal(answer: Answer) -> None:
    """Code, sentence and where to read on, whoever refuses."""
    assert answer.headers["Content-Type"] in {"application/problem+json", "application/json"}, answer
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json
    url, hash_sign, code = body["type"].partition("#")
    assert url.endswith("/-/errors")
    assert hash_sign
    assert CODES[code].status == answer.status == body["status"]
    assert body["title"] == CODES[code].title
    assert body["errors"][0]["code"] == code
    assert body["errors"][0]["description"]
    assert body["detail"]
    assert body["message"]


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_hostile_requests(target: Target, shard: int) -> None:
    world, rng = target.world, random.Random(shard)
    before = rows(world), stored(world)
    statuses: list[int | None] = []
    for _ in range(0, REQUESTS_A_SHARD, TOGETHER):
        requests = [request_of(rng, target) for _ in range(TOGETHER)]
        for request, data in zip(
            requests, await asyncio.gather(*(exchanged(world, each) for each in requests)), strict=True
        ):
            try:
                statuses.append(judge(request, data))
            except (AssertionError, KeyError, ValueError) as error:
                raise AssertionError(f"{error!r}\n{request.data[:3000]!r}\n{data[:3000]!r}") from error
    grown = {name: count - before[0][name] for name, count in rows(world).items() if count != before[0][name]}
    # A genuine identity without a publisher is on record: its issuer is trusted, so a stranger cannot make it.
    assert grown.keys() <= {"events"}
    assert grown.get("events", 0) <= statuses.count(422)
    after = stored(world)
    assert after == before[1]
    assert not [name for name in after if name.startswith("incoming/")]
    # It must have been a mixture, or it tests nothing.
    found = set(statuses)
    assert {None, 200, 202, 301, 400, 401, 403, 404, 405, 406, 421, 422} <= found, sorted(map(str, found))
    page = await world.get("/open/simple/widget/", headers=SIMPLE_JSON)
    assert [entry["filename"] for entry in page.json["files"]] == [FILE[0], SDIST[0]]
