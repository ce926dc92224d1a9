"""The main job over the wire: discovery, audience, mint, upload, install, burn."""

from __future__ import annotations

from support.dists import sdist, wheel
from support.world import GITHUB, SELF_HOSTED, World

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


async def test_publish_and_install(world: World) -> None:
    await world.publisher("widget")
    found = await world.get("/.well-known/pytp?discover=%2Facme%2Flegacy%2F")
    assert found.status == 200
    audience = (await world.get(found.json["audience-endpoint"].replace("localhost", "127.0.0.1"))).json["audience"]
    minted = await world.mint(
        world.identity_token(SELF_HOSTED, audience),
        found.json["token-mint-endpoint"].replace("localhost", "127.0.0.1"),
    )
    assert minted.status == 200, minted.body
    secret = minted.json["token"]
    for file in (wheel(), sdist()):
        assert (await world.upload(secret, file)).status == 200
    page = await world.get("/acme/simple/widget/", auth=secret, headers=JSON)
    assert [entry["filename"] for entry in page.json["files"]] == ["widget-1.0-py3-none-any.whl", "widget-1.0.tar.gz"]
    _, data = wheel()
    got = await world.get(f"/acme/simple/widget/{page.json['files'][0]['url']}", auth=secret)
    assert (got.status, got.body) == (200, data)
    burned = await world.request("POST", "/_/oidc/burn-token", json={"token": secret})
    assert (burned.status, burned.json) == (202, {"message": "Accepted"})
    assert (await world.upload(secret, wheel(version="2.0"))).status == 403


async def test_github_publishes_by_the_host_wide_exchange(world: World) -> None:
    await world.publisher("widget", url=GITHUB)
    secret = await world.credential(GITHUB)
    assert (await world.upload(secret, wheel())).status == 200
