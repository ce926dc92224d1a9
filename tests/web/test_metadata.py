"""A wheel's metadata by itself (PEP 658): taken out of the wheel for its first reader, kept for the next."""

from __future__ import annotations

import asyncio
import hashlib

from support.dists import metadata, sdist, wheel
from support.wire import SIMPLE_JSON
from support.world import World


async def test_the_first_reader_gets_it_like_every_other(world: World) -> None:
    secret = await world.token()
    filename, data = wheel()
    assert (await world.upload(secret, (filename, data))).status == 200
    page = (await world.get("/acme/simple/widget/", auth=secret, headers=SIMPLE_JSON)).json["files"][0]
    blobs = world.index.directory_path / "blobs"
    digest = page["core-metadata"]["sha256"]
    assert not (blobs / digest[:2] / digest).exists()
    url = f"/acme/simple/widget/{page['url']}.metadata"
    answers = await asyncio.gather(*(world.get(url, auth=secret) for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {metadata("widget", "1.0").encode()}
    assert hashlib.sha256(answers[0].body).hexdigest() == digest
    assert (blobs / digest[:2] / digest).read_bytes() == answers[0].body


async def test_a_source_distribution_has_none(world: World) -> None:
    secret = await world.token()
    filename, data = sdist()
    assert (await world.upload(secret, (filename, data))).status == 200
    sha256 = hashlib.sha256(data).hexdigest()
    assert (await world.get(f"/acme/files/{sha256[:2]}/{sha256}/{filename}.metadata", auth=secret)).status == 404
