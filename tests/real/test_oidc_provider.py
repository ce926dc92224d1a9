"""An OpenID provider that is not ours as the issuer: discovery, both algorithms, key rotation, and its going down."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from mintmark.core.jwt import read
from mintmark.core.records import OPERATOR
from mintmark.core.trust import parse_issuer, parse_publisher
from mintmark.store.keys_http import HttpKeys
from real.openid import OpenIdProvider, running_provider
from real.production import BIN, running_server
from support.clock import FrozenClock
from support.dists import wheel
from support.world import HOST_AUDIENCE, Answer, World, running_world

pytestmark = pytest.mark.real

OTHER_AUDIENCE = "somebody_else"
JOB = {"sub": "team/widget", "environment": "release", "run": {"number": 17, "protected": True}}
ANOTHER_RUN = {"run": {"number": 18, "protected": True}}
COOLDOWN_SECONDS = 60
TRUST = """\
[registry.acme]

[registry.acme.issuer.openid]
provider = "generic"
url = "{url}"
projects = ["*"]
networks = ["127.0.0.0/8", "::1/128"]
ca-file = "{ca}"

[[registry.acme.publisher]]
project = "widget"
issuer = "openid"
immutable-id = "sub"

[[registry.acme.publisher.rule]]
claim = "sub"
equals = "team/widget"
"""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[OpenIdProvider]:
    with running_provider(tmp_path, HOST_AUDIENCE, OTHER_AUDIENCE) as started:
        yield started


@pytest.fixture
async def index(tmp_path: Path, provider: OpenIdProvider) -> AsyncIterator[World]:
    """An index that trusts the provider by discovery; its clock goes on only when told to."""
    clock = FrozenClock(time.time())
    keys = HttpKeys(clock, wait_seconds=20)
    try:
        async with running_world(tmp_path, {}, clock=clock, keys=keys) as world:
            await world.registry("acme")
            yield world
    finally:
        await keys.close()


async def trust(world: World, provider: OpenIdProvider, *algorithms: str) -> None:
    """Trust it, and one job of it for the project `widget`."""
    entry = {
        "provider": "generic",
        "url": provider.url,
        "projects": ["*"],
        "algorithms": list(algorithms),
        "networks": ["127.0.0.0/8", "::1/128"],
        "ca-file": str(provider.ca),
    }
    issuer = parse_issuer("openid", entry, world.host, lambda path: Path(path).read_text())
    await world.index.trust.add_issuer("acme", issuer, OPERATOR)
    publisher = {
        "project": "widget",
        "immutable-id": "sub",
        "rule": [
            {"claim": "sub", "equals": "team/widget"},
            {"claim": "environment", "in": ["release", "staging"]},
            {"claim": ["run", "protected"], "equals": True},
        ],
    }
    await world.index.trust.add_publisher(
        "acme", "openid", lambda found: parse_publisher("test", publisher, found), OPERATOR
    )


async def token_of(
    provider: OpenIdProvider, changes: Mapping[str, object] | None = None, audience: str = HOST_AUDIENCE
) -> str:
    """An identity token of the trusted job, or of one that differs."""
    return await asyncio.to_thread(provider.identity_token, audience, **{**JOB, **(changes or {})})


async def rotate(provider: OpenIdProvider, algorithm: str) -> str:
    return await asyncio.to_thread(provider.rotate, algorithm)


def refused(answer: Answer) -> str:
    assert answer.status in {403, 422, 503}, answer.body
    return answer.code


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_mint_and_upload(index: World, provider: OpenIdProvider, algorithm: str) -> None:
    await rotate(provider, algorithm)
    await trust(index, provider, algorithm)
    token = await token_of(provider)
    assert read(token).header == {"alg": algorithm, "kid": provider.kid}
    minted = await index.mint(token)
    assert minted.status == 200, minted.body
    uploaded = await index.upload(minted.json["token"], wheel())
    assert uploaded.status == 200, uploaded.body
    assert (await index.get("/acme/simple/widget/", auth=minted.json["token"])).status == 200
    # Once is enough for a token without a jti too.
    assert "jti" not in read(token).claims
    assert refused(await index.mint(token)) == "invalid-reuse-token"


async def test_what_is_not_for_this_index_is_refused(index: World, provider: OpenIdProvider) -> None:
    await trust(index, provider, "RS256")
    assert refused(await index.mint(await token_of(provider, audience=OTHER_AUDIENCE))) == "invalid-token"
    # An access token says so in its header (RFC 9068); it is for calling an interface, and no identity.
    access = await asyncio.to_thread(provider.access_token, HOST_AUDIENCE, **JOB)
    assert read(access).header["typ"] == "at+jwt"
    assert refused(await index.mint(access)) == "invalid-token"
    forged = (await token_of(provider))[:-8] + "AAAAAAAA"
    assert refused(await index.mint(forged)) == "invalid-token"


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "team/widget2"},
        {"sub": "Team/widget"},
        {"environment": "test"},
        {"environment": ["release"]},
        {"run": {"protected": "true"}},
        {"run": {}},
    ],
    ids=str,
)
async def test_another_job_is_refused(index: World, provider: OpenIdProvider, changes: dict[str, object]) -> None:
    await trust(index, provider, "RS256")
    assert refused(await index.mint(await token_of(provider, changes))) == "invalid-publisher"


async def test_an_algorithm_that_was_not_allowed(index: World, provider: OpenIdProvider) -> None:
    await rotate(provider, "ES256")
    await trust(index, provider, "RS256")
    assert refused(await index.mint(await token_of(provider))) == "invalid-token"


@pytest.mark.parametrize("algorithms", [("RS256", "RS256"), ("RS256", "ES256"), ("ES256", "RS256")], ids="-".join)
async def test_rotation_while_the_index_runs(index: World, provider: OpenIdProvider, algorithms: Sequence[str]) -> None:
    await trust(index, provider, *set(algorithms))
    await rotate(provider, algorithms[0])
    assert (await index.mint(await token_of(provider))).status == 200
    of_the_old_key = await token_of(provider, ANOTHER_RUN)
    former = provider.kid
    assert await rotate(provider, algorithms[1]) != former
    first = await token_of(provider)
    assert refused(await index.mint(first)) == "invalid-token", "asked a moment ago"
    assert (await index.mint(of_the_old_key)).status == 200, "the index does not know yet"
    index.clock.advance(COOLDOWN_SECONDS)
    answer = await index.mint(first)
    assert answer.status == 200, answer.body
    # The old key is gone from the key set, and with it what it signed: this would be a replay otherwise.
    assert read(of_the_old_key).header["kid"] == former
    assert refused(await index.mint(of_the_old_key)) == "invalid-token"


async def test_going_down(index: World, provider: OpenIdProvider) -> None:
    await trust(index, provider, "RS256")
    assert (await index.mint(await token_of(provider))).status == 200
    later = await token_of(provider, ANOTHER_RUN)
    await asyncio.to_thread(provider.stop)
    index.clock.advance(2 * COOLDOWN_SECONDS)
    assert (await index.mint(later)).status == 200, "the keys are known"
    assert refused(await index.mint(later)) == "invalid-reuse-token"
    index.clock.advance(86_400)
    unavailable = await index.mint(later)
    assert (unavailable.status, unavailable.code) == (503, "issuer-unavailable"), "keys are not believed for ever"


def test_uv_publishes_to_a_server_that_trusts_it(provider: OpenIdProvider, tmp_path: Path) -> None:
    """As an operator and a job do it: `serve`, a trust file, `apply`, `uv publish`."""
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server", proxied=False) as server:
        (server.directory / "trust.toml").write_text(TRUST.format(url=provider.url, ca=provider.ca))
        server.mintmark("apply", "--yes", "trust.toml")
        name, data = wheel()
        (server.directory / name).write_bytes(data)
        token = provider.identity_token(HOST_AUDIENCE, **JOB)
        words = (str(BIN / "uv"), "publish", "--trusted-publishing", "always")
        more = {
            "UV_PUBLISH_URL": f"{server.base_url}/acme/legacy/",
            "GITLAB_CI": "true",
            f"{HOST_AUDIENCE.upper()}_ID_TOKEN": token,
        }
        done = server.run(*words, name, more=more)
        assert done.returncode == 0, done.stdout + done.stderr
        again = server.run(*words, name, more=more)
        assert again.returncode != 0
        assert "invalid-reuse-token" in again.stdout + again.stderr
        listed = server.mintmark("project", "list", "acme")
        assert "widget" in listed


def check(provider: OpenIdProvider, *options: str) -> tuple[int, str]:
    """The report card of `mintmark issuer check`."""
    command = [sys.executable, "-m", "mintmark", "issuer", "check", provider.url, "--provider", "generic"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_report_of_a_platform_engineer(provider: OpenIdProvider) -> None:
    """Without an index: what it offers, what is wrong with it, and what to write into the trust file."""
    code, told = check(provider, "--network", "127.0.0.0/8", "--network", "::1/128", "--ca-file", str(provider.ca))
    assert code == 0, told
    assert provider.url in told
    code, told = check(provider, "--network", "127.0.0.0/8", "--ca-file", str(provider.ca), "--json")
    grades = {line["topic"]: line["grade"] for line in json.loads(told)["lines"]}
    assert code == 0
    assert {grades[topic] for topic in ("discovery reached", "keys reached", "issuer", "jwks_uri", "keys")} == {"ok"}
    # Its certificate was made for one day.
    assert {topic: grade for topic, grade in grades.items() if grade not in {"ok", "note"}} == {"TLS": "warning"}
    # On a private network, and behind a CA of its own: each is told with its cure.
    code, told = check(provider, "--ca-file", str(provider.ca))
    assert (code, "-> Add --network 127.0.0.1/32" in told) == (2, True)
    code, told = check(provider, "--network", "127.0.0.0/8")
    assert (code, "-> Name the certificates that signed it with --ca-file" in told) == (2, True)
    provider.stop()
    assert check(provider, "--network", "127.0.0.0/8", "--ca-file", str(provider.ca))[0] == 75
