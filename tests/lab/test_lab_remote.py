"""A lab asked from another process: whoever answers, and however, it is a sentence."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mintmark.lab.authority import DAY_SECONDS, LIFETIME_SECONDS, Authority
from mintmark.lab.home import Lab
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.remote import JobKit, JobOrder, LabRefused, LabUnreachable, Remote, first_lines
from support.clock import FrozenClock
from support.ports import free_port

ORDER = JobOrder("gitlab", {"project-path": "group/project", "workflow": ".gitlab-ci.yml"}, ("one",))


def remote_of(providers: LabProviders, authority: Authority) -> Remote:
    return Remote(Lab(providers.base_url, providers.secret, authority.ca_path))


async def told(question: Callable[[], object], kind: type[Exception] = LabUnreachable) -> str:
    with pytest.raises(kind) as caught:
        await asyncio.to_thread(question)
    return str(caught.value)


async def test_a_lab_whose_ca_has_expired(tmp_path: Path) -> None:
    past = Authority.open(tmp_path / "tls", time.time() - LIFETIME_SECONDS - DAY_SECONDS)
    async with LabProviders(clock=FrozenClock(), ssl_context=past.server_context()) as providers:
        sentence = await told(remote_of(providers, past).faults)
    assert "has a CA that has expired; start a new one" in sentence
    assert str(past.ca_path) in sentence


async def test_another_lab_at_the_same_port(lab: LabProviders, authority: Authority, tmp_path: Path) -> None:
    other = Authority.open(tmp_path / "tls", time.time())
    assert "is not trusted by its CA" in await told(remote_of(lab, other).faults)
    stranger = Remote(Lab(lab.base_url, "another secret", authority.ca_path))
    assert "this lab's secret" in await told(stranger.faults, LabRefused)


async def test_no_lab_there(authority: Authority, tmp_path: Path) -> None:
    url = f"https://localhost:{free_port()}"
    assert "Nothing answers at" in await told(Remote(Lab(url, "s", authority.ca_path)).faults)
    assert "cannot be read" in await told(Remote(Lab(url, "s", tmp_path / "missing.pem")).faults)
    (tmp_path / "ca.pem").write_text("nonsense")
    assert "cannot be read" in await told(Remote(Lab(url, "s", tmp_path / "ca.pem")).faults)
    for url in ("file:///etc/passwd", "ftp://localhost/", ""):
        assert "is not an https URL" in await told(Remote(Lab(url, "s", authority.ca_path)).faults)


@asynccontextmanager
async def answering(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], ca_path: Path
) -> AsyncIterator[Remote]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Remote(Lab(f"http://127.0.0.1:{runner.addresses[0][1]}", "s", ca_path))
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[" * 100_000,
            b"[]",
            b"null",
            b"\xff",
            b"{}",
            b'{"variables":[]}',
            b'{"variables":{"a":1},"commands":{}}',
        ),
        b'{"variables":{},"commands":{"../../evil":"x"},"files":{}}',
        b'{"variables":{},"commands":{},"files":{"/etc/passwd":"x"}}',
        b'{"variables":{},"commands":{},"files":{".":"x"}}',
    ],
)
async def test_strange_answers(body: bytes, authority: Authority) -> None:
    async def handler(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body)

    async with answering(handler, authority.ca_path) as remote:
        assert "is not a Mintmark lab" in await told(lambda: remote.job(ORDER))
        if not body.startswith(b"{"):
            assert "is not a Mintmark lab" in await told(remote.faults)
        for question in (
            lambda: remote.token(ORDER),
            lambda: remote.journal(),
            lambda: remote.add_registry("x"),
            lambda: remote.add_publisher("x", "gitlab", {}),
            lambda: remote.create_token("x", "y"),
        ):
            assert "is not a Mintmark lab" in await told(question)


async def test_strange_refusals(authority: Authority) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        text = {"journal": "<html>", "faults": "{}"}.get(
            request.path.rpartition("/")[2], json.dumps({"message": "No."})
        )
        return web.Response(status=500, text=text)

    async with answering(handler, authority.ca_path) as remote:
        assert "The lab answered 500" in await told(remote.journal, LabRefused)
        assert "The lab answered 500" in await told(remote.faults, LabRefused)
        assert await told(remote.clear_faults, LabRefused) == "No."


async def test_a_proxy_of_the_environment_is_not_asked(
    lab: LabProviders, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    faults = await asyncio.to_thread(remote_of(lab, authority).faults)
    assert faults["active"] == []


@pytest.mark.parametrize("python", ["/usr/bin/python3", "/opt/a b/python", "/" + "x" * 200 + "/it's python"])
def test_a_script_starts_wherever_python_lies(python: str) -> None:
    lines = first_lines(python)
    assert lines.startswith("#!")
    assert len(lines.splitlines()[0]) <= 127
    compile(lines + "pass\n", "script", "exec")


def test_a_jobs_files_are_its_owners(tmp_path: Path) -> None:
    kit = JobKit({"HERE": "1"}, {"tool": "print(1)\n"}, {"token": "secret"})
    variables = kit.environment(tmp_path, "/usr/bin")
    assert variables["PATH"] == f"{tmp_path}{os.pathsep}/usr/bin"
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"tool": 0o700, "token": 0o600}
    # A folder that is used twice is a mistake, and never overwritten.
    with pytest.raises(FileExistsError):
        kit.environment(tmp_path, "")
