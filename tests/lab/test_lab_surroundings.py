"""The environment of a command in a lab: nothing of the real CI system, no way around the lab's proxy."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mintmark.core.providers import BY_SLUG
from mintmark.lab.authority import Authority
from mintmark.lab.home import Lab
from mintmark.lab.places import LAB_PLACES, Place
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.remote import JobKit, JobOrder, Remote
from mintmark.lab.surroundings import CA_VARIABLES, DIRECT, surroundings
from support.clock import FrozenClock

LAB = Lab("https://localhost:1", "secret", Path("/lab/ca.pem"), "https://localhost:2", "http://127.0.0.1:3")


def test_what_leads_to_the_lab() -> None:
    seen = surroundings(LAB, {"HOME": "/home/x", "LANG": "C"})
    assert (seen.pop("HOME"), seen.pop("LANG")) == ("/home/x", "C")
    assert {seen.pop(name) for name in CA_VARIABLES} == {"/lab/ca.pem"}
    proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
    assert {seen.pop(name) for name in proxies} == {"http://127.0.0.1:3"}
    assert {seen.pop("NO_PROXY"), seen.pop("no_proxy")} == {DIRECT}
    assert seen == {}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_other_proxy_is_left(name: str) -> None:
    seen = surroundings(LAB, {name: "http://corporate.example:3128", "NO_PROXY": "*", "no_proxy": "packages.example"})
    assert "corporate" not in str(seen)
    assert (seen["NO_PROXY"], seen["no_proxy"]) == (DIRECT, DIRECT)


def test_beside_serve_dev_proxies_stay() -> None:
    """It stands in for nobody, so that the command reaches the world as ever."""
    lab = Lab("https://localhost:1", "secret", Path("/ca.pem"))
    assert surroundings(lab, {"HTTPS_PROXY": "http://corporate.example"})["HTTPS_PROXY"] == "http://corporate.example"


@pytest.mark.parametrize(
    "name",
    [
        *("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "PYPI_ID_TOKEN", "CIRCLE_OIDC_TOKEN"),
        *("CIRCLE_OIDC_TOKEN_V2", "GOOGLE_SERVICE_ACCOUNT_NAME", "SSL_CERT_DIR"),
    ],
)
def test_a_real_jobs_identity_is_gone(name: str) -> None:
    assert name not in surroundings(LAB, {name: "real"})


@pytest.mark.parametrize("place", LAB_PLACES, ids=lambda place: place.name)
def test_no_job_sees_what_another_one_has(place: Place, kits: dict[str, JobKit]) -> None:
    """Also a lab inside a lab, or inside any CI system that it knows."""
    variables = kits[place.name].variables
    left = surroundings(LAB, variables).keys() & variables.keys()
    assert left == set()


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JobKit]:
    """What the jobs of every place have."""
    authority = Authority.open(tmp_path_factory.mktemp("kits") / "tls", time.time())

    async def collect() -> dict[str, JobKit]:
        providers = LabProviders(
            clock=FrozenClock(time.time()), ssl_context=authority.server_context(), places=LAB_PLACES
        )
        async with providers:
            remote = Remote(Lab(providers.base_url, providers.secret, authority.ca_path))

            def ask(place: Place) -> JobKit:
                config = {each.name: each.example for each in BY_SLUG[place.provider].fields if each.required}
                return remote.job(JobOrder(place.name, config, ("one", "two")))

            return {place.name: await asyncio.to_thread(ask, place) for place in LAB_PLACES}

    return asyncio.run(collect())
