"""A whole lab in the test's own process: what stops its start, with the cure, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest

from mintmark.assemble_lab import PORTS, Wishes, running_lab
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.lab.hosts import parse_impersonations
from mintmark.lab.temporary import running
from support.dists import wheel
from support.ports import free_ports


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where labs are; empty after every test."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    assert list(path.iterdir()) == []


async def refused(wishes: Wishes) -> Misconfigured | Rejected:
    with pytest.raises((Misconfigured, Rejected)) as caught:
        async with running_lab(wishes):
            raise AssertionError("the lab runs")
    error = caught.value
    assert isinstance(error, Misconfigured | Rejected)
    return error


@pytest.mark.parametrize("taken", range(PORTS))
async def test_a_port_in_use(taken: int) -> None:
    first = free_ports(PORTS)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first + taken))
        other.listen()
        error = await refused(Wishes(port=first))
    assert isinstance(error, Misconfigured)
    assert error.setting == "port"
    assert "--port" in error.cure
    # Everything that had started has stopped.
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


async def test_the_ports_are_those_that_were_asked_for() -> None:
    first = free_ports(PORTS)
    async with running_lab(Wishes(port=first)) as lab:
        for port in range(first, first + PORTS):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) == 0
        assert lab.facts["index"]["url"] == f"https://localhost:{first}"  # type: ignore[index]


@pytest.mark.parametrize("kind", ["missing", "file"])
async def test_no_temporary_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    nowhere = folder.parent / "nowhere"
    if kind == "file":
        nowhere.write_text("")
    monkeypatch.setenv("TMPDIR", str(nowhere))
    error = await refused(Wishes())
    assert isinstance(error, Misconfigured)
    assert (error.setting, str(nowhere) in error.problem) == ("TMPDIR", True)
    assert running() == []


@pytest.mark.parametrize(
    "content", ["nothing", "no packages", "broken", "a link to nowhere", "a folder", "a link back"]
)
async def test_a_mirror_of_nothing(folder: Path, content: str) -> None:
    mirror = folder.parent / "mirror"
    mirror.mkdir()
    name = mirror / "hello-1.0-py3-none-any.whl"
    if content == "no packages":
        (mirror / "README").write_text("hello")
    elif content == "broken":
        name.write_text("no wheel")
    elif content == "a link to nowhere":
        name.symlink_to(folder / "nowhere")
    elif content == "a folder":
        name.mkdir()
    elif content == "a link back":
        (mirror / "again").symlink_to(mirror)
    error = await refused(Wishes(mirror=mirror))
    assert "No file of" in str(error)
    assert "pip download" in str(error.hint if isinstance(error, Rejected) else error.cure)


async def test_a_mirror_is_where_it_is_looked_for(folder: Path) -> None:
    mirror = folder.parent / "mirror"
    mirror.mkdir()
    name, content = wheel("hello")
    (mirror / name).write_bytes(content)
    async with running_lab(Wishes(mirror=mirror)) as lab:
        assert lab.mirrored == 1
        context = ssl.create_default_context(cafile=str(lab.facts["ca"]))
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

        def page() -> bytes:
            url = f"{lab.facts['index']['simple_url']}hello/"  # type: ignore[index]
            with opener.open(url, timeout=30) as answer:
                return bytes(answer.read())

        assert name.encode() in await asyncio.to_thread(page)


@pytest.mark.parametrize(
    ("impersonated", "pass_through", "sentence"),
    [
        (["gitlab.com"], (), "gitlab.com is the host of a CI system that the lab plays"),
        (["token.actions.githubusercontent.com/x=other"], (), "the host of a CI system that the lab plays"),
        (["packages.example.org=demo"], (), "demo is the lab's own registry"),
        (["packages.example.org"], ("packages.example.org",), "packages.example.org is played by the lab"),
        ([], ("gitlab.com",), "gitlab.com is played by the lab"),
        ([], ("https://packages.example.org",), "is not a host name"),
        ([], ("packages.example.org:443",), "is not a host name"),
        ([], ("",), "is not a host name"),
    ],
)
async def test_what_does_not_fit_together(
    impersonated: list[str], pass_through: tuple[str, ...], sentence: str
) -> None:
    wishes = Wishes(impersonations=tuple(parse_impersonations(impersonated)), pass_through=pass_through)
    error = await refused(wishes)
    assert isinstance(error, Rejected)
    assert sentence in error.sentence
    assert error.hint


async def test_a_known_token_without_a_played_index() -> None:
    error = await refused(Wishes(known_token="pypi-something"))
    assert isinstance(error, Rejected)
    assert "something" not in str(error)


async def test_every_registry_that_hosts_lead_to() -> None:
    hosts = ["a.example.org=shared", "b.example.org/path=shared", "demo.example.org"]
    wishes = Wishes(impersonations=tuple(parse_impersonations(hosts)))
    async with running_lab(wishes) as lab:
        tokens = lab.facts["api_tokens"]
        assert isinstance(tokens, dict)
        assert sorted(tokens) == ["demo", "demo-example-org", "shared"]
