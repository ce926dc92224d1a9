"""Places: vendors under their own names, the second listener, the same token again, faults, and control of it all."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from mintmark.core import jwt
from mintmark.core.errors import Rejected
from mintmark.core.jwks import parse_key_set
from mintmark.core.providers import PROVIDERS
from mintmark.lab.authority import Authority
from mintmark.lab.faults import Faults
from mintmark.lab.journal import Journal
from mintmark.lab.orders import Order
from mintmark.lab.places import DEV_PLACES, LAB_PLACES, by_name
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.signer import Signer

AUDIENCE = "mintmark_example"
CONFIGS = {p.slug: {field.name: field.example for field in p.fields if field.required} for p in PROVIDERS}
NAMES = [place.name for place in LAB_PLACES]
VENDORS = [place for place in LAB_PLACES if place.host]


class Caller:
    """A client of a lab with all its places."""

    def __init__(self, session: aiohttp.ClientSession, lab: LabProviders, faults: Faults, journal: Journal) -> None:
        self.session = session
        self.lab = lab
        self.faults = faults
        self.journal = journal

    async def get(self, path: str, host: str | None = None, **headers: str) -> tuple[int, Any]:
        """From this URL, or as a vendor's host."""
        headers |= {"Host": host} if host else {}
        url = path if "://" in path else self.lab.base_url + path
        async with self.session.get(url, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: object = None, host: str | None = None) -> tuple[int, Any]:
        headers = {"X-Lab-Secret": self.lab.secret, **({"Host": host} if host else {})}
        data = b"" if body is None else json.dumps(body).encode()
        async with self.session.post(self.lab.base_url + path, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def control(self, path: str, body: object = None) -> dict[str, Any]:
        status, answer = await self.post(f"/-/lab/{path}", body)
        assert status == 200, answer
        return dict(answer)

    async def token(self, ci: str, **changes: Any) -> str:
        order = {"ci": ci, "config": CONFIGS[self.lab.places[ci].provider], "audience": AUDIENCE, **changes}
        return str((await self.control("token", order))["token"])

    async def job(self, ci: str, **changes: Any) -> dict[str, str]:
        order = {"ci": ci, "config": CONFIGS[self.lab.places[ci].provider], "audience": AUDIENCE, **changes}
        return dict((await self.control("job", order))["variables"])

    async def keys(self, ci: str) -> bytes:
        """As an index finds them, which comes through the proxy to a vendor's host."""
        place = self.lab.places[ci]
        _, document = await self.get(place.discovery_path, place.host)
        assert document["issuer"] == self.lab.issuer_url(ci)
        path = document["jwks_uri"].removeprefix(f"https://{place.host}" if place.host else self.lab.base_url)
        _, keys = await self.get(path, place.host)
        return json.dumps(keys).encode()

    def verify(self, ci: str, token: str, keys: bytes) -> Mapping[str, object]:
        rules = jwt.TokenRules(frozenset({"ES256"}), 86_400, requires_jti=False)
        return jwt.verify(jwt.read(token), parse_key_set(keys), rules, self.audience(ci), 1_795_000_000).claims

    def audience(self, ci: str) -> str:
        """What its tokens are for, whatever was ordered where a job cannot choose."""
        fixed = self.lab.places[ci].kind.fixed_audience
        return AUDIENCE if fixed is None else fixed(self.lab.issuer_url(ci))


Control = dict[str, Callable[[dict[str, Any]], Any]]


async def echo(body: dict[str, Any]) -> dict[str, object]:
    if body.get("refuse"):
        raise Rejected("invalid-request", "No.", hint="Ask for something else.")
    return {"got": body}


@pytest_asyncio.fixture
async def caller(authority: Authority, clock: Any, trusting: ssl.SSLContext) -> AsyncIterator[Caller]:
    faults, journal = Faults(), Journal(clock)
    providers = LabProviders(
        clock=clock,
        ssl_context=authority.server_context(),
        places=LAB_PLACES,
        signers={name: Signer("ES256") for name in NAMES},
        random=Random(1),
        plain=True,
        journal=journal,
        faults=faults,
        control={"echo": echo, "further/down": echo},
    )
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with providers, aiohttp.ClientSession(connector=connector) as session:
        yield Caller(session, providers, faults, journal)


def test_a_lab_is_made_without_a_key(clock: Any) -> None:
    lab = LabProviders(clock=clock, places=LAB_PLACES)
    assert list(lab.signers) == NAMES
    assert not any(signer.is_made for signer in lab.signers.values())


# -- issuers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ci", NAMES)
async def test_every_place_has_a_key_of_its_own(caller: Caller, ci: str) -> None:
    token = await caller.token(ci)
    claims = caller.verify(ci, token, await caller.keys(ci))
    assert claims["iss"] == caller.lab.issuer_url(ci)
    other = "gitlab" if ci != "gitlab" else "github"
    with pytest.raises((jwt.UnknownKey, jwt.BadSignature)):
        caller.verify(ci, token, await caller.keys(other))


async def test_a_vendors_host_has_nothing_else(caller: Caller) -> None:
    at = "/.well-known/openid-configuration"
    for host in ("gitlab.com", "GitLab.com", "gitlab.com:443"):
        assert (await caller.get(at, host))[1]["issuer"] == "https://gitlab.com"
    for path in ("/", "/gitlab" + at, "/github/actions/oidc-token?run=1&audience=a", "/-/lab/faults"):
        status, answer = await caller.get(path, "gitlab.com")
        assert (status, "gitlab.com and nothing else" in answer["message"]) == (404, True)
    assert (await caller.post(at, {}, "gitlab.com"))[0] == 405
    assert (await caller.post("/-/lab/token", {}, "gitlab.com"))[0] == 404
    assert (await caller.get(at))[0] == 404
    assert (await caller.get(at, "gitlab.com.evil.example"))[0] == 404
    assert (await caller.get("/gitlab" + at))[1]["issuer"] == f"{caller.lab.base_url}/gitlab"


async def test_an_enterprise_server_has_no_ids_in_the_subject(caller: Caller) -> None:
    subjects = [jwt.read(await caller.token(ci)).claims["sub"] for ci in ("github", "github-server")]
    assert "@" in subjects[0]
    assert "@" not in subjects[1]


# -- the plain listener -----------------------------------------------------------------------------------------------


async def test_jobs_ask_without_tls_when_they_may(caller: Caller) -> None:
    plain = f"http://localhost:{caller.lab.plain_port}/"
    assert caller.lab.plain_port not in (0, caller.lab.port)
    for ci, name in (
        ("github", "ACTIONS_ID_TOKEN_REQUEST_URL"),
        ("forgejo", "ACTIONS_ID_TOKEN_REQUEST_URL"),
        ("codefresh", "CF_OIDC_REQUEST_URL"),
        ("azure-devops", "SYSTEM_OIDCREQUESTURI"),
        ("vault", "VAULT_ADDR"),
    ):
        assert (await caller.job(ci))[name].startswith(plain)
    assert caller.lab.issuer_url("github-server").startswith("https://")


# -- the same token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ci", NAMES)
async def test_the_same_token_only_if_ordered(caller: Caller, ci: str) -> None:
    first, again = await caller.token(ci), await caller.token(ci, same_token=True)
    assert again == first
    fresh = await caller.token(ci)
    assert fresh != first
    # The one made last.
    assert await caller.token(ci, same_token=True) == fresh
    others = [
        await caller.token(ci, same_token=True, claims={"x": 1}),
        await caller.token(ci, same_token=True, audience="mintmark_other"),
        await caller.token(ci, same_token=True, ref="refs/heads/other"),
        await caller.token("gitlab" if ci != "gitlab" else "github", same_token=True),
    ]
    # The second is the same one where a job cannot choose the audience.
    chosen = caller.audience(ci) == AUDIENCE
    assert len({*others, first, fresh}) == (6 if chosen else 5)


async def test_the_same_token_where_the_job_asks(caller: Caller) -> None:
    async def ask(same: bool) -> str:
        variables = await caller.job("github", same_token=same)
        url, bearer = variables["ACTIONS_ID_TOKEN_REQUEST_URL"], variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
        status, answer = await caller.get(f"{url}&audience={AUDIENCE}", Authorization=f"Bearer {bearer}")
        assert status == 200
        return str(answer["value"])

    first, fresh = await ask(False), await ask(False)
    # A job that only was opened changes nothing.
    await caller.job("github")
    assert [await ask(True), await ask(True)] == [fresh, fresh]
    assert first != fresh


async def test_kept_tokens_are_bounded(clock: Any) -> None:
    place = by_name(DEV_PLACES)["gitlab"]
    lab = LabProviders(clock=clock, signers={"gitlab": Signer("ES256")}, tokens_max=2)
    orders = [Order(place, CONFIGS["gitlab"], ref=f"refs/heads/{name}", same_token=True) for name in "abc"]
    tokens = [lab.token(order, AUDIENCE) for order in orders]
    assert lab.token(orders[1], AUDIENCE) == tokens[1]
    assert lab.token(orders[0], AUDIENCE) != tokens[0]


async def test_a_gitlab_job_has_a_variable_for_every_audience(caller: Caller) -> None:
    variables = await caller.job("gitlab", audience=None, audiences=["one", "two", "one"])
    assert variables.keys() == {"CI", "GITLAB_CI", "ONE_ID_TOKEN", "TWO_ID_TOKEN"}
    assert jwt.read(variables["TWO_ID_TOKEN"]).claims["aud"] == "two"
    order = {"ci": "gitlab", "config": CONFIGS["gitlab"], "audiences": ["a_b", "A_B"]}
    status, answer = await caller.post("/-/lab/job", order)
    assert (status, "A_B_ID_TOKEN" in answer["message"]) == (400, True)


# -- faults -----------------------------------------------------------------------------------------------------------


async def test_a_wrong_issuer_in_discovery_once(caller: Caller) -> None:
    caller.faults.set("discovery-wrong-issuer", ci="gitlab")
    at = "/.well-known/openid-configuration"
    assert (await caller.get(at, "agent.buildkite.com"))[1]["issuer"] == "https://agent.buildkite.com"
    issuers = [(await caller.get(at, "gitlab.com"))[1]["issuer"] for _ in range(2)]
    assert issuers == ["https://wrong-issuer.invalid", "https://gitlab.com"]
    assert [entry.fault for entry in caller.journal.after()] == [None, "discovery-wrong-issuer", None]


async def test_an_empty_key_set(caller: Caller) -> None:
    caller.faults.set("keys-empty", times=2)
    sizes = [len(json.loads(await caller.keys(ci))["keys"]) for ci in ("gitlab", "forgejo", "gitlab")]
    assert sizes == [0, 0, 1]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_wrong_clock(caller: Caller, seconds: float) -> None:
    caller.faults.set("clock-skew", seconds=seconds)
    # A job that finds out where to ask takes none of it.
    await caller.job("github")
    skewed, right = [jwt.read(await caller.token("github")).claims["iat"] for _ in range(2)]
    assert (skewed, right) == (1_795_000_000 + seconds, 1_795_000_000)


@pytest.mark.parametrize("same_kid", [False, True])
@pytest.mark.parametrize("ci", [None, "gitlab"])
async def test_rotated_keys(caller: Caller, same_kid: bool, ci: str | None) -> None:
    old = {name: await caller.keys(name) for name in ("gitlab", "forgejo")}
    caller.faults.set("keys-rotated-same-kid" if same_kid else "keys-rotated", ci=ci)
    token = await caller.token("gitlab")
    with pytest.raises(jwt.BadSignature if same_kid else jwt.UnknownKey):
        caller.verify("gitlab", token, old["gitlab"])
    assert caller.verify("gitlab", token, await caller.keys("gitlab"))
    assert (await caller.keys("forgejo") == old["forgejo"]) is (ci is not None)
    # Keys that nobody has seen are not made for this.
    assert not caller.lab.signers["jenkins"].is_made


async def test_requests_are_in_the_journal_and_control_is_not(caller: Caller) -> None:
    variables = await caller.job("github")
    url, bearer = variables["ACTIONS_ID_TOKEN_REQUEST_URL"], variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    await caller.get(f"{url}&audience=a", Authorization=f"Bearer {bearer}")
    await caller.get(f"{url}&audience=a", Authorization="Bearer wrong")
    await caller.keys("gitlab")
    await caller.get("/nothing", "gitlab.com")
    found = [(entry.server, entry.action, entry.ci, entry.status) for entry in caller.journal.after()]
    assert found == [
        ("provider", "request-token", "github", 200),
        ("provider", "request-token", "github", 401),
        ("provider", "discovery", "gitlab", 200),
        ("provider", "keys", "gitlab", 200),
        ("provider", "other", None, 404),
    ]
    assert bearer not in json.dumps([entry.facts() for entry in caller.journal.after()])


async def test_an_answer_fault_is_for_its_place(caller: Caller) -> None:
    caller.faults.set("provider-403", ci="codefresh")
    variables = await caller.job("codefresh")
    url, secret = variables["CF_OIDC_REQUEST_URL"] + "?audience=a", variables["CF_OIDC_REQUEST_TOKEN"]
    await caller.keys("gitlab")
    statuses = [(await caller.get(url, Authorization=secret))[0] for _ in range(2)]
    assert statuses == [403, 200]


# -- control ----------------------------------------------------------------------------------------------------------


async def read(caller: Caller, path: str, secret: str | None = None) -> tuple[int, Any]:
    return await caller.get(f"/-/lab/{path}", **{"X-Lab-Secret": secret or caller.lab.secret})


async def test_the_journal_is_read_in_pieces(caller: Caller) -> None:
    for _ in range(3):
        await caller.keys("gitlab")
    status, answer = await read(caller, "journal?after=1&limit=2")
    assert status == 200
    assert ([entry["number"] for entry in answer["entries"]], answer["last"]) == ([2, 3], 3)
    assert answer["entries"][0]["action"] == "keys"
    _, answer = await read(caller, "journal?after=9007199254740992&limit=1")
    assert answer == {"entries": [], "last": 6}
    await caller.control("journal/clear")
    assert (await read(caller, "journal"))[1] == {"entries": [], "last": 6}
    for query in ("after=x", "after=-1", "limit=1.5", "after=", "after=" + "9" * 19, "limit=\u0663"):
        status, answer = await read(caller, f"journal?{query}")
        assert (status, "whole number" in answer["message"]) == (400, True)


async def test_faults_are_set_listed_and_cleared(caller: Caller) -> None:
    await caller.control("faults", {"name": "provider-slow", "times": 2, "seconds": 1.5, "ci": "gitlab"})
    _, answer = await read(caller, "faults")
    assert answer["active"] == [{"name": "provider-slow", "left": 2, "seconds": 1.5, "ci": "gitlab"}]
    known = {each["name"]: each for each in answer["known"]}
    assert (known["keys-rotated"]["kind"], known["clock-skew"]["takes_seconds"]) == ("act", True)
    assert all(each["does"] for each in known.values())
    await caller.control("faults/clear")
    assert (await read(caller, "faults"))[1]["active"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "nothing"},
        {"name": 7},
        {"name": ["provider-403"]},
        {"name": "provider-403", "times": 0},
        {"name": "provider-403", "times": "2"},
        {"name": "provider-403", "seconds": 1},
        {"name": "provider-403", "ci": "travis"},
        {"name": "provider-403", "ci": ["gitlab"]},
        {"name": "provider-403", "colour": "red"},
        {"name": "provider-slow", "seconds": 61},
        {"name": "keys-rotated", "times": 2},
        [],
    ],
    ids=range(13),
)
async def test_bad_faults_get_a_sentence(caller: Caller, body: object) -> None:
    status, answer = await caller.post("/-/lab/faults", body)
    assert (status, answer.keys(), " " in answer["message"]) == (400, {"message"}, True)


async def test_further_endpoints(caller: Caller) -> None:
    assert await caller.control("echo", {"a": [1]}) == {"got": {"a": [1]}}
    assert await caller.control("further/down") == {"got": {}}
    assert (await caller.post("/-/lab/echo", {"refuse": True}))[1] == {"message": "No. Ask for something else."}
    assert (await caller.post("/-/lab/echo", [1]))[0] == 400


@pytest.mark.parametrize("path", ["journal", "faults"])
async def test_everything_needs_the_secret(caller: Caller, path: str) -> None:
    assert (await read(caller, path, "wrong"))[0] == 401
    for post in ("echo", "faults", "faults/clear", "journal/clear", "job", "token"):
        async with caller.session.post(f"{caller.lab.base_url}/-/lab/{post}", data=b"{}") as response:
            assert response.status == 401


async def test_a_lab_without_a_journal_has_none_to_read(clock: Any) -> None:
    async with LabProviders(clock=clock) as lab, aiohttp.ClientSession(headers={"X-Lab-Secret": lab.secret}) as session:
        answer = await session.get(f"{lab.base_url}/-/lab/journal")
        assert answer.status == 404
