"""The reverse proxy in front of the lab's index: whose hosts it answers to, what it tells, and a whole publish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mintmark.core.errors import Misconfigured
from mintmark.lab.authority import Authority
from mintmark.lab.front import ACTIONS, Front, name_action
from mintmark.lab.signer import Signer
from support.dists import wheel
from support.front import PREFIX, Site, answering, fronting, mirror
from support.world import SELF_HOSTED, running_world, upload_form


@pytest_asyncio.fixture
async def site(authority: Authority) -> AsyncIterator[Site]:
    async with answering(mirror) as port, fronting(port, authority) as found:
        yield found


# -- hosts, journal, faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "method", "path", "seen_host", "seen_path"),
    [
        ("localhost:1234", "POST", "/acme/legacy/", "localhost:1234", "/acme/legacy/"),
        ("upload.example", "POST", "/legacy/", "index.example", "/legacy/"),
        ("gitlab.example:443", "POST", PREFIX, "gitlab.example", "/legacy/"),
        ("gitlab.example", "GET", f"{PREFIX}/simple/a/", "gitlab.example", "/simple/a/"),
    ],
)
async def test_impersonated_hosts(
    site: Site, host: str, method: str, path: str, seen_host: str, seen_path: str
) -> None:
    async with site.ask(method, path, headers={"Host": host}) as answer:
        seen = await answer.json()
    assert seen["path"] == seen_path
    assert [value for name, value in seen["headers"] if name == "Host"] == [seen_host]
    (entry,) = site.journal.after()
    # What the client did, not what it was made to be.
    assert (entry.host, entry.path) == (host, path)
    assert entry.action == ("upload" if method == "POST" else "page")


async def test_a_path_that_is_not_impersonated(site: Site) -> None:
    async with site.ask("GET", "/simple/", headers={"Host": "gitlab.example"}) as answer:
        assert answer.status == 404
        assert "--impersonate HOST/PREFIX" in (await answer.json())["message"]


async def test_redirects_stay_below_the_prefix(authority: Authority) -> None:
    async def move(request: web.BaseRequest) -> web.Response:
        return web.Response(status=301, headers={"Location": "/simple/a-b/"})

    async with answering(move) as port, fronting(port, authority) as site:
        for host, prefix in (("gitlab.example", PREFIX), ("index.example", ""), ("localhost", "")):
            async with site.ask("GET", f"{prefix}/simple/A.b/", headers={"Host": host}) as answer:
                assert answer.headers["Location"] == f"{prefix}/simple/a-b/"


async def test_a_fault_loses_the_answer_of_an_index_that_did_its_work(site: Site) -> None:
    site.faults.set("upload-lost")
    with pytest.raises(aiohttp.ClientError):
        await site.ask("POST", "/acme/legacy/", data=b"hello")
    (entry,) = site.journal.after()
    assert (entry.fault, entry.status) == ("upload-lost", None)
    assert "The answer was 200" in entry.note


async def test_faults_take_the_place_of_the_index(site: Site) -> None:
    site.faults.set("mint-403")
    for status in (403, 200):
        async with site.ask("POST", "/_/oidc/mint-token", data=b'{"token": "x"}') as answer:
            assert answer.status == status
            # A client that has its answer finds its entry.
            await answer.read()
            assert site.journal.after()[-1].status == status


async def test_ports(site: Site, authority: Authority) -> None:
    assert site.front.base_url == f"https://localhost:{site.front.port}"
    another = Front(1, [], site.journal, site.faults, authority.server_context(), port=site.front.port)
    with pytest.raises(Misconfigured) as refused:
        await another.start()
    assert "another port" in refused.value.cure
    await another.close()
    without = Front(1, [], site.journal, site.faults, authority.server_context(), plain=False)
    await without.start()
    assert without.plain_port == 0
    await without.close()
    await without.close()


# -- names of actions -------------------------------------------------------------------------------------------------

NAMED = {
    "discover": [("GET", "/.well-known/pytp?discover=x")],
    "audience": [("GET", "/_/oidc/audience"), ("HEAD", "/_/oidc/audience")],
    "mint": [("POST", "/_/oidc/mint-token?x=y"), ("POST", "/_/oidc/github/mint-token")],
    "burn": [("POST", "/_/oidc/burn-token")],
    "upload": [("POST", "/legacy/"), ("POST", "/legacy"), ("POST", "/legacy/?:action=file_upload")],
    "list": [("GET", "/simple/"), ("GET", "/simple")],
    "page": [("GET", "/simple/a/"), ("GET", "/simple/A.b"), ("GET", "/%73imple/a/"), ("GET", "/simple/legacy/")],
    "metadata": [("GET", "/files/ab/abcd/a-1.whl.metadata")],
    "file": [("GET", "/files/ab/abcd/a-1.whl"), ("HEAD", "/files/ab/abcd/a-1.tar.gz")],
    "json": [("GET", "/pypi/a/json"), ("GET", "/pypi/a/1.0/json")],
    "other": [("GET", "/"), ("GET", "/-/health"), ("PUT", "/legacy/"), ("GET", "/legacy/"), ("POST", "/simple/")],
}


@pytest.mark.parametrize("registry", ["", "/acme", "/pypi", "/testpypi"])
@pytest.mark.parametrize("action", NAMED)
def test_actions_have_names(action: str, registry: str) -> None:
    for method, path in NAMED[action]:
        if (method, path, registry) != ("GET", "/-/health", "/pypi"):
            assert name_action(method, registry + path) == action, path


@given(st.sampled_from(["GET", "HEAD", "POST", "PUT", ""]) | st.text(), st.text())
def test_every_request_has_a_name(method: str, path: str) -> None:
    assert name_action(method, path) in ACTIONS
    assert name_action(method, "/" + path) == name_action(method, "/" + path.partition("?")[0])


@given(
    st.sampled_from([(method, path) for found in NAMED.values() for method, path in found if path != "/"]),
    st.from_regex(r"\A[a-z0-9]{1,20}\Z").filter(lambda slug: slug not in {"simple", "files", "legacy"}),
)
def test_a_registry_changes_no_name(request_line: tuple[str, str], slug: str) -> None:
    method, path = request_line
    assert name_action(method, f"/{slug}{path}") == name_action(method, path)


# -- the real index ---------------------------------------------------------------------------------------------------


async def test_a_publish_to_the_real_index(authority: Authority, tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    """What `uv publish` does, to a host that the lab impersonates; then what an installer does."""
    async with running_world(tmp_path, signers, trusted_proxies=("127.0.0.0/8",)) as world:
        await world.registry("acme", host="index.example")
        await world.issuer("acme", SELF_HOSTED)
        await world.publisher("widget", url=SELF_HOSTED)
        async with fronting(int(world.url.rpartition(":")[2]), authority) as site:
            upload_host, file = {"Host": "upload.example"}, wheel("widget", "1.0")
            async with site.ask("GET", "/_/oidc/audience", headers=upload_host) as answer:
                audience = (await answer.json())["audience"]
            identity = world.identity_token(SELF_HOSTED, audience)
            async with site.ask("POST", "/_/oidc/mint-token", headers=upload_host, json={"token": identity}) as answer:
                assert answer.status == 200, await answer.text()
                secret = (await answer.json())["token"]
            basic = {"Authorization": aiohttp.encode_basic_auth("__token__", secret)}
            async with site.ask("POST", "/legacy/", headers=upload_host | basic, data=upload_form(file)) as answer:
                assert answer.status == 200, await answer.text()
            async with site.ask("POST", "/_/oidc/burn-token", headers=upload_host, json={"token": secret}) as answer:
                assert answer.status == 202
            reader = {"Authorization": aiohttp.encode_basic_auth("__token__", await world.token())}
            wanted = {"Host": "index.example", "Accept": "application/vnd.pypi.simple.v1+json"} | reader
            async with site.ask("GET", "/simple/widget/", headers=wanted) as answer:
                (listed,) = (await answer.json())["files"]
            path = str(URL("/simple/widget/").join(URL(listed["url"])))
            async with site.ask("GET", path, headers=wanted | {"Range": "bytes=0-99"}) as answer:
                assert (answer.status, await answer.read()) == (206, file[1][:100])
            async with site.ask("POST", "/legacy/", headers=upload_host | basic, data=upload_form(file)) as answer:
                assert answer.status == 403
    actions = ["audience", "mint", "upload", "burn", "page", "file", "upload"]
    entries = site.journal.after()
    assert [entry.action for entry in entries] == actions
    assert entries[1].identity is not None
    assert secret not in str(entries)
    assert identity not in str(entries)
