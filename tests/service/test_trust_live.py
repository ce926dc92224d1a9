"""Changes of trust beside a running server: effective on the next request."""

from __future__ import annotations

import tomllib

from mintmark.assemble import Index
from mintmark.core.records import OPERATOR
from mintmark.core.trust import parse_trust
from support.dists import wheel
from support.world import GITHUB, SELF_HOSTED, World

WITHOUT = f"""
[registry.acme]
audience = "mintmark_localhost_acme"
[registry.acme.issuer.gitlab]
provider = "gitlab"
url = "{SELF_HOSTED}"
projects = ["*"]
"""
WITH = (
    WITHOUT
    + """
[[registry.acme.publisher]]
project = "widget"
issuer = "gitlab"
project-path = "foo/bar"
workflow = ".gitlab-ci.yml"
"""
)


async def apply(world: World, text: str) -> None:
    """As the command line does it: another index over the same data directory."""
    beside = Index(world.index.settings, clock=world.clock)
    try:
        wanted = parse_trust(tomllib.loads(text), world.host, lambda name: name)
        await beside.trust.apply(wanted, await beside.trust.plan(wanted), OPERATOR)
    finally:
        await beside.close()


async def test_a_publisher_added_beside_a_running_server(world: World) -> None:
    assert (await world.mint(world.identity_token())).code == "invalid-publisher"
    await apply(world, WITH)
    secret = await world.credential()
    assert (await world.upload(secret, wheel())).status == 200


async def test_a_publisher_removed_beside_a_running_server(world: World) -> None:
    await apply(world, WITH)
    secret = await world.credential()
    await apply(world, WITHOUT)
    assert (await world.upload(secret, wheel())).status == 403
    assert (await world.mint(world.identity_token())).code == "invalid-publisher"


async def test_an_issuer_removed_and_disabled_beside_a_running_server(world: World) -> None:
    await apply(world, WITH)
    # The file does not name GitHub, which the registry trusted before.
    assert (await world.mint(world.identity_token(GITHUB))).code == "invalid-payload"
    secret = await world.credential()
    await apply(world, WITH.replace('["*"]', '["*"]\nenabled = false'))
    assert (await world.mint(world.identity_token())).code == "not-enabled"
    assert (await world.upload(secret, wheel())).status == 403
    await apply(world, WITH)
    assert (await world.upload(secret, wheel())).status == 200


async def test_a_registry_made_private_public_and_disabled_beside_a_running_server(world: World) -> None:
    await apply(world, WITH)
    assert (await world.get("/acme/simple/")).status == 401
    await apply(world, WITH.replace("[registry.acme]\n", "[registry.acme]\nprivate = false\n"))
    assert (await world.get("/acme/simple/")).status == 200
    await apply(world, WITH.replace("[registry.acme]\n", "[registry.acme]\nenabled = false\n"))
    assert (await world.get("/acme/simple/")).status == 404
    assert (await world.get("/new/simple/")).status == 404
    await apply(world, WITH + "[registry.new]\nprivate = false\n")
    assert (await world.get("/new/simple/")).status == 200
