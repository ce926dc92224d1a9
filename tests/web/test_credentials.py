"""Minted credentials in use: group H of the behavioural cases; their life, and burning them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core import credentials
from mintmark.core.records import OPERATOR
from mintmark.lab.signer import Signer
from support.dists import sdist, wheel
from support.wire import Network, Room, open_room, refused
from support.world import SELF_HOSTED, Answer, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURN = "/_/oidc/burn-token"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def send(room: Room, authorization: str, version: str = "1.0") -> Answer:
    return await room.upload(None, wheel(version=version), headers={"Authorization": authorization})


async def burn(room: Room, token: object, path: str = BURN) -> Answer:
    return await room.world.request("POST", path, json={"token": token})


async def test_h01_ways_to_present_it(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    for number, authorization in enumerate(
        (
            basic("__token__", secret),
            basic("__token__", f" {secret}\n"),
            basic(" __token__ ", secret),
            f"Bearer {secret}",
            f"bearer  {secret} ",
            f"BASIC {basic('__token__', secret)[6:]}",
        )
    ):
        assert (await send(room, authorization, f"{number}.0")).status == 200, authorization
    # Deviation: PyPI's `token` scheme is not one.
    refused(await send(room, f"token {secret}"), "credential-refused", secret)


@pytest.mark.parametrize("user", ["x", "", "__Token__", "__token__x", "token", "\u00e9"])
async def test_h02_another_user_name(room: Room, user: str) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    refused(await send(room, basic(user, secret)), "credential-refused", secret)
    page = await room.get("/simple/", headers={"Authorization": basic(user, secret)})
    refused(page, "credential-invalid", secret)


async def test_h03_no_credential(room: Room) -> None:
    # Deviation: 401, so that clients ask whoever knows one, where PyPI says 403.
    answer = await room.upload(None, wheel())
    refused(answer, "credential-required")
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')


async def test_h04_life_ends_when_it_was_said_to(room: Room) -> None:
    await room.publisher("widget")
    answer = await room.mint(room.identity_token())
    secret, expires = answer.json["token"], answer.json["expires"]
    room.clock.advance(expires - room.clock.now() - 0.5)
    assert (await room.upload(secret, wheel(version="1.0"))).status == 200
    assert (await room.get("/simple/widget/", auth=secret)).status == 200
    room.clock.advance(0.5)
    detail = refused(await room.upload(secret, wheel(version="2.0")), "credential-refused", secret)
    assert detail == "The credential has expired."
    refused(await room.get("/simple/widget/", auth=secret), "credential-invalid", secret)
    room.clock.advance(0.5)


async def test_h05_project_that_is_not_covered(room: Room) -> None:
    await room.publisher("widget")
    assert (await room.upload(await room.token(), wheel("gadget"))).status == 200
    secret = await room.credential()
    detail = refused(await room.upload(secret, wheel("gadget", "2.0")), "not-allowed", secret)
    assert detail == "The credential does not cover the project gadget. It covers: widget."


async def test_h08_used_many_times(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    for number in range(10):
        assert (await room.upload(secret, wheel(version=f"{number}.0"))).status == 200


async def test_h11_event_of_a_mint(room: Room) -> None:
    await room.publisher("widget")
    await room.publisher("gadget")
    token = room.identity_token()
    answer = await room.mint(token)
    (event,) = await room.events("mint", "minted")
    assert event.facts["projects"] == ["gadget", "widget"]
    assert event.facts["expires"] == answer.json["expires"]
    assert event.principal.kind == "publisher"
    assert "foo/bar" in event.principal.name
    for secret in (token, answer.json["token"], token.rpartition(".")[2]):
        assert secret not in repr(event)


# -- single use -------------------------------------------------------------------------------------------------------


async def single_use(room: Room) -> str:
    await room.publisher("widget")
    answer = await room.mint(room.identity_token(), extra={"features": ["single-use-token"]})
    return str(answer.json["token"])


async def test_single_use_is_spent_by_the_first_accepted_file(room: Room) -> None:
    secret = await single_use(room)
    name, data = wheel()
    # Nothing refused spends it.
    refused(await room.upload(secret, wheel("gadget")), "not-allowed", secret)
    refused(await room.upload(secret, (name, data), fields={"sha256_digest": "0" * 64}), "digest-mismatch", secret)
    refused(await room.upload(secret, (name, b"no wheel")), "invalid-distribution", secret)
    refused(await room.upload(secret, (name, data), fields={"version": "2.0"}), "invalid-metadata", secret)
    assert (await room.upload(secret, (name, data))).status == 200
    detail = refused(await room.upload(secret, sdist()), "credential-refused", secret)
    assert detail == "The credential was for a single file."
    # The answer was lost: the same file again.
    assert (await room.upload(secret, (name, data))).status == 200
    refused(await room.upload(secret, wheel(body=b"other")), "file-exists", secret)
    assert await room.names(secret, "widget") == [name]


async def test_single_use_is_not_spent_by_what_is_there_already(room: Room) -> None:
    assert (await room.upload(await room.token(), wheel())).status == 200
    secret = await single_use(room)
    assert (await room.upload(secret, wheel())).status == 200
    assert (await room.upload(secret, sdist())).status == 200
    refused(await room.upload(secret, sdist(version="2.0")), "credential-refused", secret)


async def test_single_use_means_one_file_not_one_content(room: Room) -> None:
    secret = await single_use(room)
    name, data = wheel()
    assert (await room.upload(secret, (name, data))).status == 200
    same_bytes = name.replace("-py3-", "-1-py3-"), data
    refused(await room.upload(secret, same_bytes), "credential-refused", secret)


# -- lifetimes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifetime", [900, 901, 3600, 21_599, 21_600])
async def test_expires(room: Room, lifetime: int) -> None:
    """PEP 807 (a MUST): 900 to 21,600 seconds after the request, whatever fraction of a second it is."""
    await room.change(credential_lifetime_seconds=lifetime)
    await room.publisher("widget")
    for fraction in (0.0, 0.001, 0.25, 0.499, 0.5, 0.999, 0.999_999):
        room.clock.advance(1 - room.clock.now() % 1 + fraction)
        asked = room.clock.now()
        expires = (await room.mint(room.identity_token())).json["expires"]
        assert type(expires) is int
        assert 900 <= expires - asked <= 21_600
        assert lifetime - 1 <= expires - asked <= lifetime + 1


async def test_life_is_counted_from_the_request(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    network = Network(signers)
    async with running_world(tmp_path, signers, keys=network) as world:
        room = await open_room(world, "acme", credential_lifetime_seconds=21_600)
        await room.publisher("widget")
        network.slow = (world.clock, 1.9)
        token, asked = room.identity_token(), world.clock.now()
        expires = (await room.mint(token)).json["expires"]
        assert expires - asked == 21_600


# -- burning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [BURN, "/acme/_/oidc/burn-token"], ids=["host", "registry"])
async def test_h09_burned_credential_is_refused_at_once(room: Room, path: str) -> None:
    await room.publisher("widget")
    secret, other = await room.credential(), await room.credential()
    assert (await room.upload(secret, wheel())).status == 200
    answer = await burn(room, secret, path)
    assert (answer.status, answer.json) == (202, {"message": "Accepted"})
    assert answer.headers["Content-Type"] == "application/json"
    for file in (wheel(), wheel(version="2.0")):
        detail = refused(await room.upload(secret, file), "credential-refused", secret)
        assert detail == "The credential was burned."
    refused(await room.get("/simple/widget/", auth=secret), "credential-invalid", secret)
    assert (await room.upload(other, wheel(version="2.0"))).status == 200


async def test_h09_every_string_gets_the_same_answer(room: Room) -> None:
    await room.publisher("widget")
    secret, spent = await room.credential(), await room.credential()
    expired = await room.credential()
    api = await room.token()
    room.clock.advance(901)
    unknown = credentials.compose(credentials.MINTED, b"\1" * 32)
    answers = []
    for text in (secret, secret, spent, expired, api, unknown, unknown[:-1] + "!", "", "x" * 20_000, "\0", "\ud800"):
        answer = await burn(room, text)
        answers.append((answer.status, answer.body, {**answer.headers, "Date": ""}))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 202
    # An API token is not burned here.
    assert (await room.upload(api, wheel())).status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'"x"', b'{"token": 1}', b'{"token": null}', b'{"token": ["x"]}', b"token=x", b"\xff"]
)
async def test_burn_without_a_string(room: Room, body: bytes) -> None:
    for path in (BURN, "/acme/_/oidc/burn-token"):
        refused(await room.world.request("POST", path, data=body), "invalid-payload")
    refused(await room.world.request("POST", "/nothing/_/oidc/burn-token", data=body), "not-found")


async def test_burn_leaves_one_event(room: Room) -> None:
    await room.publisher("widget")
    secret = await room.credential()
    for _ in range(3):
        await burn(room, secret)
    (event,) = await room.events("credential-burned")
    assert event.principal.kind == "publisher"
    assert secret not in repr(event)


# -- API tokens -------------------------------------------------------------------------------------------------------


async def test_api_token_covers_what_it_says(room: Room) -> None:
    token = await room.token(projects=("acme-*", "gadget"))
    for name in ("acme-widget", "gadget"):
        assert (await room.upload(token, wheel(name))).status == 200
    detail = refused(await room.upload(token, wheel("widget")), "not-allowed", token)
    assert "covers: acme-*, gadget" in detail
    reader = await room.token(upload=False, name="reader")
    refused(await room.upload(reader, wheel("gadget", "2.0")), "not-allowed", reader)
    writer = await room.token(read=False)
    assert (await room.upload(writer, wheel("gadget", "2.0"))).status == 200
    refused(await room.get("/simple/gadget/", auth=writer), "not-found", writer)


async def test_api_token_expires_and_is_revoked(room: Room) -> None:
    token = await room.token(lifetime_seconds=60)
    assert (await room.upload(token, wheel())).status == 200
    room.clock.advance(60)
    assert "has expired" in refused(await room.upload(token, wheel()), "credential-refused", token)
    other = await room.token()
    (known,) = [it for it in await room.world.index.tokens.every(room.slug) if it.expires_at is None]
    await room.world.index.tokens.revoke(room.slug, known.id, OPERATOR)
    assert "was revoked" in refused(await room.upload(other, wheel()), "credential-refused", other)
    refused(await room.get("/simple/", auth=other), "credential-invalid", other)


async def test_registry_for_trusted_publishers_only(room: Room) -> None:
    await room.publisher("widget")
    token = await room.token()
    await room.change(trusted_publishing_only=True)
    assert "identity token" in refused(await room.upload(token, wheel()), "not-allowed", token)
    assert (await room.upload(await room.credential(SELF_HOSTED), wheel())).status == 200
    assert (await room.get("/simple/widget/", auth=token)).status == 200
