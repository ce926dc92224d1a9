"""A real index takes nothing of a lab: neither its CA, nor its CI systems, nor its data."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest

from mintmark.assemble import Index
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import SYSTEM
from mintmark.core.trust import Host, parse_publisher, parse_trust
from mintmark.lab.places import BY_NAME, LAB_PLACES
from mintmark.lab.remote import JobOrder
from mintmark.settings import load
from support.lab import MINTMARK, LabProcess, environment, eventually, lab_up, mintmark
from support.ports import free_port

PLACES = [place.name for place in LAB_PLACES if BY_SLUG[place.provider].audience == "index"]
VENDORS = [name for name in PLACES if BY_NAME[name].host]


def fields_of(place: str) -> dict[str, str]:
    return {each.name: each.example for each in BY_SLUG[BY_NAME[place].provider].fields if each.required}


@dataclass
class Real:
    """A `mintmark serve` beside a lab, made to reach it: nothing but its own checks keeps it from the lab."""

    lab: LabProcess
    folder: Path
    port: int
    log: Path

    @property
    def reach(self) -> dict[str, str]:
        """What somebody could set by mistake."""
        return {"SSL_CERT_FILE": self.lab.facts["ca"], "HTTPS_PROXY": self.lab.facts["proxy"]}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return mintmark(self.folder, *words, MINTMARK_CONFIG=str(self.folder / "mintmark.toml"), **self.reach)

    def mint(self, place: str, audience: str) -> tuple[int, dict[str, Any]]:
        return post(f"http://localhost:{self.port}", token_of(self.lab, place, audience))


def token_of(lab: LabProcess, place: str, audience: str) -> str:
    return lab.remote.token(JobOrder(place, fields_of(place), (audience,)))


def post(url: str, token: str, context: ssl.SSLContext | None = None) -> tuple[int, dict[str, Any]]:
    handlers = [ProxyHandler({}), *([HTTPSHandler(context=context)] if context else [])]
    request = Request(f"{url}/_/oidc/mint-token", json.dumps({"token": token}).encode())
    try:
        with build_opener(*handlers).open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    folder = tmp_path_factory.mktemp("isolation") / "temporary"
    folder.mkdir()
    with lab_up(folder) as lab:
        for place in PLACES:
            lab.remote.add_publisher("demo", place, {"project": f"hello-{place}", **fields_of(place)})
        yield lab


@pytest.fixture(scope="module")
def real(lab: LabProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """The lab's data, copied to where no mark is, with a registry beside that trusts the real vendors."""
    folder, port = tmp_path_factory.mktemp("real"), free_port()
    shutil.copytree(lab.directory / "data", folder / "data")
    (folder / "mintmark.toml").write_text(
        f'data_dir = "data"\nbase_url = "http://localhost:{port}"\nlisten = "127.0.0.1:{port}"\n'
        f'outbound_proxy = "{lab.facts["proxy"]}"\n'
    )
    real = Real(lab, folder, port, folder / "log")
    asyncio.run(trust_vendors(folder))
    with real.log.open("w") as log:
        server = subprocess.Popen(
            [*MINTMARK, "serve"],
            cwd=folder,
            env=environment(folder, **real.reach),
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        eventually(lambda: "Mintmark serves" in real.log.read_text() or server.poll() is not None)
        assert server.poll() is None, real.log.read_text()
        yield real
    finally:
        server.terminate()
        server.wait(30)


def said(real: Real) -> str:
    return real.log.read_text().replace("'", "").replace('"', "")


async def trust_vendors(folder: Path) -> None:
    """A registry with every vendor that the lab plays, and a publisher of each."""
    settings = load(folder / "mintmark.toml", {})
    entries = {
        place: {"provider": BY_NAME[place].provider, "url": BY_NAME[place].issuer, "projects": ["*"]}
        for place in VENDORS
    }
    host = Host(settings.host, settings.host_audience)
    (wanted,) = parse_trust({"registry": {"real": {"issuer": entries}}}, host, str)
    index = Index(settings)
    try:
        await index.trust.add_registry(wanted.registry, SYSTEM)
        for issuer in wanted.issuers:
            await index.trust.add_issuer("real", issuer, SYSTEM)
            fields = {"project": f"hello-{issuer.name}", **fields_of(issuer.name)}
            await index.trust.add_publisher("real", issuer.name, partial(parse_publisher, "one", fields), SYSTEM)
    finally:
        await index.close()


@pytest.mark.parametrize("place", PLACES)
def test_the_lab_itself_takes_them(lab: LabProcess, place: str) -> None:
    """Otherwise the refusals below would prove nothing."""
    context = ssl.create_default_context(cafile=lab.facts["ca"])
    status, body = post(lab.facts["index"]["url"], token_of(lab, place, "mintmark_localhost"), context)
    assert (status, body.get("scope", {}).get("projects")) == (200, [f"hello-{place}"]), body


@pytest.mark.parametrize("place", PLACES)
def test_data_of_a_lab_mints_nothing_elsewhere(real: Real, place: str) -> None:
    status, body = real.mint(place, "mintmark_localhost")
    assert status == 503, body
    assert "token" not in body
    url = BY_NAME[place].issuer if BY_NAME[place].host else real.lab.facts["control"] + BY_NAME[place].issuer
    assert f"issuer={url} reason=the issuers CA belongs to Mintmarks lab" in said(real), said(real)


@pytest.mark.parametrize("place", VENDORS)
def test_a_played_vendor_is_not_the_vendor(real: Real, place: str) -> None:
    status, body = real.mint(place, "mintmark_localhost_real")
    assert status == 503, body
    assert "token" not in body
    assert f"issuer={BY_NAME[place].issuer} reason=the issuer belongs to Mintmarks lab" in said(real), said(real)


def test_the_labs_ca_is_no_ca(real: Real) -> None:
    words = ("issuer", "add", "real", "own", "--provider", "gitlab", "--url", "https://gitlab.example.com")
    done = real.run(*words, "--projects", "*", "--ca-file", real.lab.facts["ca"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "Refused (lab-issuer)" in done.stderr


@pytest.mark.parametrize("how", ["settings", "link", "variable"])
def test_a_labs_data_is_not_served(lab: LabProcess, tmp_path: Path, how: str) -> None:
    variables = {"MINTMARK_CONFIG": lab.facts["config"]}
    if how != "settings":
        data = lab.directory / "data"
        if how == "link":
            (tmp_path / "data").symlink_to(data)
            data = tmp_path / "data"
        variables = {"MINTMARK_DATA_DIR": str(data), "MINTMARK_BASE_URL": f"http://localhost:{free_port()}"}
    done = mintmark(tmp_path, "serve", **variables)
    assert (done.returncode, done.stdout) == (78, "")
    assert "`mintmark lab up`" in done.stderr


def test_a_labs_folder_is_no_folder_of_serve_dev(lab: LabProcess, tmp_path: Path) -> None:
    before = Path(lab.facts["config"]).read_bytes()
    done = mintmark(tmp_path, "serve", "--dev", "--dir", str(lab.directory), "--port", str(free_port()))
    assert (done.returncode, done.stdout) == (78, "")
    assert "was not written by `mintmark serve --dev`" in done.stderr
    assert Path(lab.facts["config"]).read_bytes() == before


def test_a_command_reaches_nobody_else(lab: LabProcess) -> None:
    """Through the proxy that its environment names, and with clients that know no other way."""
    script = (
        "import sys, urllib.request, urllib.error\n"
        "for url in sys.argv[1:]:\n"
        "    try:\n"
        "        print(urllib.request.urlopen(url, timeout=20).status)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        print(error.code, error.read().decode().strip())\n"
        "    except OSError as error:\n"
        "        print(error)\n"
    )
    urls = (
        "https://elsewhere.example/",
        "http://elsewhere.example/",
        f"{lab.facts['index']['plain_url']}/-/health",
        "https://gitlab.com/.well-known/openid-configuration",
    )
    done = lab.run(
        "lab",
        "run",
        "--ci",
        "gitlab",
        "--",
        *MINTMARK[:1],
        "-c",
        script,
        *urls,
        HTTPS_PROXY="http://corporate.example:3128",
        ALL_PROXY="http://corporate.example:3128",
    )
    tunnel, plain, index, vendor = done.stdout.splitlines()
    assert "403" in tunnel
    assert plain.startswith("405 The lab's proxy leads nowhere over plain http.")
    assert (index, vendor) == ("200", "200")
