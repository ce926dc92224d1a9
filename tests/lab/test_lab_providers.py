"""The simulated issuers on loopback, over TLS, as an index and a CI client see them."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from mintmark.core import jwt
from mintmark.core.jwks import parse_key_set
from mintmark.core.match import Match, match
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.signer import Signer

AUDIENCE = "mintmark_example"
GITHUB = {"repository": "octo-org/octo-repo", "workflow": "release.yml"}
GITLAB = {"project-path": "group/project", "workflow": ".gitlab-ci.yml"}
CONFIGS = {
    **{p.slug: {field.name: field.example for field in p.fields if field.required} for p in PROVIDERS},
    "github": GITHUB,
    "gitlab": GITLAB,
}
SLUGS = [provider.slug for provider in PROVIDERS]


class Caller:
    """A client of the lab that knows its secret and nothing else."""

    def __init__(self, session: aiohttp.ClientSession, lab: LabProviders) -> None:
        self.session = session
        self.lab = lab

    async def get(self, url: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(url, headers=headers) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def post(self, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-Lab-Secret": self.lab.secret, **headers}
        async with self.session.post(self.lab.base_url + path, data=data, headers=headers) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def token(self, slug: str, **order: Any) -> str:
        body = {"ci": slug, "config": CONFIGS[slug], "audience": AUDIENCE, **order}
        status, answer = await self.post("/-/lab/token", body)
        assert status == 200, answer
        return str(answer["token"])

    async def keys(self, slug: str) -> bytes:
        """Through discovery, as an index finds them."""
        _, document = await self.get(self.lab.issuer_url(slug) + "/.well-known/openid-configuration")
        assert document["issuer"] == self.lab.issuer_url(slug)
        async with self.session.get(document["jwks_uri"]) as response:
            return await response.read()


@pytest_asyncio.fixture
async def caller(lab: LabProviders, trusting: ssl.SSLContext) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        yield Caller(session, lab)


def judge(lab: LabProviders, slug: str, token: str, keys: bytes, now: float) -> object:
    """What an index that trusts the lab's issuer does with a token."""
    provider, url = BY_SLUG[slug], lab.issuer_url(slug)
    algorithms = frozenset({"RS256", "ES256"})
    rules = jwt.TokenRules(
        algorithms, provider.max_lifetime_seconds, provider.types, requires_jti=provider.requires_jti
    )
    fixed = lab.places[slug].kind.fixed_audience
    audience = AUDIENCE if fixed is None else fixed(url)
    verified = jwt.verify(jwt.read(token), parse_key_set(keys), rules, audience, now)
    issuer = Issuer(1, 1, "lab", slug, url, server=provider.issuer.server(url))
    return match(issuer, Publisher(1, 1, 1, "project", 1, CONFIGS[slug], Constraints(), 0), verified)


@pytest.mark.parametrize("slug", SLUGS)
async def test_an_issuer_can_be_trusted_and_its_token_matches(lab: LabProviders, caller: Caller, slug: str) -> None:
    assert BY_SLUG[slug].issuer.pattern.fullmatch(lab.issuer_url(slug))
    token, keys = await caller.token(slug), await caller.keys(slug)
    assert isinstance(judge(lab, slug, token, keys, 1_795_000_000), Match)


@pytest.mark.parametrize("slug", SLUGS)
async def test_discovery(lab: LabProviders, caller: Caller, slug: str) -> None:
    status, document = await caller.get(lab.issuer_url(slug) + "/.well-known/openid-configuration")
    assert status == 200
    assert document["mintmark_lab"] is True
    assert document["id_token_signing_alg_values_supported"] == [lab.signers[slug].algorithm]
    assert set(document["claims_supported"]) == BY_SLUG[slug].known
    assert document["response_types_supported"] == ["id_token"]
    assert document["subject_types_supported"] == ["public"]


@pytest.mark.parametrize("same_kid", [False, True])
async def test_rotation_shows_in_the_served_keys(lab: LabProviders, caller: Caller, same_kid: bool) -> None:
    old_keys = await caller.keys("gitlab")
    lab.signers["gitlab"].rotate(same_kid=same_kid)
    token = await caller.token("gitlab")
    with pytest.raises(jwt.BadSignature if same_kid else jwt.UnknownKey):
        judge(lab, "gitlab", token, old_keys, 1_795_000_000)
    assert isinstance(judge(lab, "gitlab", token, await caller.keys("gitlab"), 1_795_000_000), Match)


async def test_tokens_are_fresh_and_differ_as_ordered(caller: Caller) -> None:
    first = jwt.read(await caller.token("gitlab", claims={"pipeline_source": "web", "sha": None}, ref="refs/tags/v1"))
    second = jwt.read(await caller.token("gitlab"))
    assert first.claims["jti"] != second.claims["jti"]
    assert (first.claims["pipeline_source"], first.claims["ref"]) == ("web", "v1")
    assert "sha" not in first.claims
    old = jwt.read(await caller.token("github", old_subject=True))
    assert old.claims["sub"] == "repo:octo-org/octo-repo:ref:refs/heads/main"


# -- GitHub's token request -------------------------------------------------------------------------------------------


async def github_job(caller: Caller, **order: Any) -> tuple[str, str]:
    status, answer = await caller.post("/-/lab/job", {"ci": "github", "config": GITHUB, **order})
    assert status == 200, answer
    variables = answer["variables"]
    assert variables.keys() == {
        "CI",
        "GITHUB_ACTIONS",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    }
    assert variables["GITHUB_ACTIONS"] == "true"
    assert "?" in variables["ACTIONS_ID_TOKEN_REQUEST_URL"]
    return variables["ACTIONS_ID_TOKEN_REQUEST_URL"], variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
async def test_a_job_asks_for_tokens_as_often_as_it_likes(lab: LabProviders, caller: Caller, scheme: str) -> None:
    url, bearer = await github_job(caller)
    answers = [await caller.get(f"{url}&audience={AUDIENCE}", Authorization=f"{scheme} {bearer}") for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]
    tokens = [answer["value"] for _, answer in answers]
    assert tokens[0] != tokens[1]
    assert answers[0][1]["count"] == len(tokens[0])
    keys = await caller.keys("github")
    assert all(isinstance(judge(lab, "github", token, keys, 1_795_000_000), Match) for token in tokens)


async def test_tokens_follow_the_clock(caller: Caller, clock: Any) -> None:
    url, bearer = await github_job(caller)
    clock.at += 1000
    _, answer = await caller.get(f"{url}&audience={AUDIENCE}", Authorization=f"Bearer {bearer}")
    assert jwt.read(answer["value"]).claims["iat"] == 1_795_001_000


async def test_only_the_job_gets_its_token(lab: LabProviders, caller: Caller) -> None:
    url, bearer = await github_job(caller)
    other_url, _ = await github_job(caller)
    unknown = f"{lab.base_url}/github/actions/oidc-token?run=unknown"
    missing = f"{lab.base_url}/github/actions/oidc-token?api-version=2.0"
    for address, authorization in [
        (url, ""),
        (url, bearer),
        (url, f"Basic {bearer}"),
        (url, f"Bearer {bearer}x"),
        (url, "Bearer "),
        (url, "Bearer \u00e9"),
        (other_url, f"Bearer {bearer}"),
        (unknown, f"Bearer {bearer}"),
        (missing, f"Bearer {bearer}"),
    ]:
        status, answer = await caller.get(f"{address}&audience={AUDIENCE}", Authorization=authorization)
        assert status == 401
        assert answer["message"]
        assert bearer not in answer["message"]


@pytest.mark.parametrize("query", ["", "&audience=", "&audience=a&audience=b", "&audience=" + "x" * 1001])
async def test_a_request_names_one_audience(caller: Caller, query: str) -> None:
    url, bearer = await github_job(caller)
    status, answer = await caller.get(url + query, Authorization=f"Bearer {bearer}")
    assert status == 400
    assert "audience" in answer["message"]


async def test_old_jobs_are_forgotten(rsa_signer: Signer, clock: Any) -> None:
    few = LabProviders(clock=clock, signers={"github": rsa_signer, "gitlab": Signer("ES256")}, jobs_max=2)
    async with few, aiohttp.ClientSession() as session:
        caller = Caller(session, few)
        jobs = [await github_job(caller) for _ in range(3)]
        answers = [await caller.get(f"{url}&audience=a", Authorization=f"Bearer {bearer}") for url, bearer in jobs]
        assert [status for status, _ in answers] == [401, 200, 200]


# -- control ----------------------------------------------------------------------------------------------------------


async def test_a_gitlab_job_has_its_token_in_a_variable(lab: LabProviders, caller: Caller) -> None:
    body = {"ci": "gitlab", "config": GITLAB, "audience": AUDIENCE}
    status, answer = await caller.post("/-/lab/job", body)
    assert status == 200
    variables = answer["variables"]
    assert variables.keys() == {"CI", "GITLAB_CI", "MINTMARK_EXAMPLE_ID_TOKEN"}
    keys = await caller.keys("gitlab")
    assert isinstance(judge(lab, "gitlab", variables["MINTMARK_EXAMPLE_ID_TOKEN"], keys, 1_795_000_000), Match)


@pytest.mark.parametrize("path", ["/-/lab/token", "/-/lab/job"])
@pytest.mark.parametrize("secret", ["", "wrong", "\u00e9"])
async def test_control_needs_the_secret(caller: Caller, path: str, secret: str) -> None:
    body = {"ci": "gitlab", "config": GITLAB, "audience": AUDIENCE}
    status, answer = await caller.post(path, body, **{"X-Lab-Secret": secret})
    assert status == 401
    assert "X-Lab-Secret" in answer["message"]


def order(**changes: Any) -> dict[str, Any]:
    return {"ci": "gitlab", "config": GITLAB, "audience": AUDIENCE, **changes}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"x": value}
    return value


BAD: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b'{"ci": "gitlab", "ci": "github"}',
    b'{"claims": NaN}',
    b'{"claims": ' + b"[" * 30_000 + b"}",
    gzip.compress(b"{}"),
    {},
    order(ci=None),
    order(ci="travis"),
    order(ci=["gitlab"]),
    order(ci={}),
    order(config=None),
    order(config=[]),
    order(config={}),
    order(config={**GITLAB, "project-id": 7}),
    order(config={**GITLAB, "project-path": "no-group"}),
    order(config={**GITLAB, "colour": "red"}),
    order(config={**GITLAB, "workflow": "\ud800"}),
    order(claims=[]),
    order(claims="x"),
    order(claims=nested(33)),
    order(audience=7),
    order(audience=""),
    order(audience=["a"]),
    order(audience="x" * 1001),
    order(ref=None),
    order(ref=7),
    order(ref="main"),
    order(ref="refs/heads/" + "x" * 1000),
    order(old_subject="yes"),
    order(same_token=1),
    order(issuer="gitlab"),
    order(audiences=["a"]),
    {"ci": "gitlab", "config": GITLAB, "audiences": "a"},
    {"ci": "gitlab", "config": GITLAB, "audiences": ["a", 7]},
    {"ci": "gitlab", "config": GITLAB, "audiences": [str(number) for number in range(21)]},
    order(colour="red"),
]


@pytest.mark.parametrize("path", ["/-/lab/token", "/-/lab/job"])
@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
async def test_malformed_orders_get_a_sentence(caller: Caller, path: str, body: Any) -> None:
    encoding = {"Content-Encoding": "gzip"} if isinstance(body, bytes) and body.startswith(b"\x1f") else {}
    status, answer = await caller.post(path, body, **encoding)
    assert status == 400, answer
    assert answer.keys() == {"message"}
    assert " " in answer["message"]


async def test_orders_that_only_one_endpoint_refuses(caller: Caller) -> None:
    without = {"ci": "github", "config": GITHUB}
    assert (await caller.post("/-/lab/token", without))[0] == 400
    assert (await caller.post("/-/lab/job", without))[0] == 200
    assert (await caller.post("/-/lab/job", {"ci": "gitlab", "config": GITLAB}))[0] == 400
    for audience in ("7eleven", "https://idx.example"):
        assert (await caller.post("/-/lab/token", order(audience=audience)))[0] == 200
        status, answer = await caller.post("/-/lab/job", order(audience=audience))
        assert (status, "variable" in answer["message"]) == (400, True)


async def test_mistakes_of_github_jobs_are_told_when_they_are_ordered(caller: Caller) -> None:
    status, answer = await caller.post("/-/lab/job", {"ci": "github", "config": GITHUB, "ref": "main"})
    assert status == 400
    assert "refs/heads/" in answer["message"]


@pytest.mark.parametrize(
    "claims",
    [
        {"text": "\ud800"},
        {"\ud800": 1},
        {"number": 10**400},
        {"exp": "soon", "iat": None, "aud": ["a", "b"], "iss": "https://elsewhere.example"},
        nested(31),
    ],
    ids=range(5),
)
async def test_odd_claims_are_signed_as_ordered(caller: Caller, claims: dict[str, Any]) -> None:
    token = await caller.token("gitlab", claims=claims, ref="refs/heads/\ud800")
    assert jwt.read(token).claims.keys() >= {name for name, value in claims.items() if value is not None}


async def test_bodies_are_bounded(caller: Caller) -> None:
    status, answer = await caller.post("/-/lab/token", order(claims={"x": "y" * 70_000}))
    assert status == 413
    assert "65536" in answer["message"]


async def test_other_paths_and_methods(lab: LabProviders, caller: Caller) -> None:
    assert (await caller.get(lab.base_url + "/"))[0] == 404
    assert (await caller.get(lab.base_url + "/-/lab/token"))[0] == 405
    assert (await caller.post("/gitlab/.well-known/openid-configuration", {}))[0] == 405


# -- the server -------------------------------------------------------------------------------------------------------


async def test_it_listens_on_loopback_and_stops(lab: LabProviders, trusting: ssl.SSLContext) -> None:
    assert lab.port > 0
    assert lab.base_url == f"https://localhost:{lab.port}"
    await lab.close()
    await lab.close()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(lab.base_url)


async def test_plain_http_serves_gitlab(clock: Any) -> None:
    signers = {slug: Signer("ES256") for slug in SLUGS}
    async with LabProviders(clock=clock, signers=signers) as plain, aiohttp.ClientSession() as session:
        caller = Caller(session, plain)
        assert plain.issuer_url("gitlab").startswith("http://localhost:")
        token, keys = await caller.token("gitlab"), await caller.keys("gitlab")
        assert isinstance(judge(plain, "gitlab", token, keys, 1_795_000_000), Match)
        assert not BY_SLUG["github"].issuer.pattern.fullmatch(plain.issuer_url("github"))
