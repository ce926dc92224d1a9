"""A simulated job's environment, used by programs that know nothing of the lab."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.core import jwt
from mintmark.core.jwks import parse_key_set
from mintmark.core.providers import BY_SLUG
from mintmark.lab.authority import Authority
from mintmark.lab.home import Lab
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.remote import JobKit, JobOrder, LabRefused, LabUnreachable, Remote

AUDIENCE = "mintmark_example"
GITHUB = {"repository": "octo-org/octo-repo", "workflow": "release.yml", "environment": "prod"}
GITLAB = {"project-path": "group/project", "workflow": ".gitlab-ci.yml"}
PRODUCT = Path("/sys/class/dmi/id/product_name")
ON_GOOGLE = PRODUCT.exists() and PRODUCT.read_text(errors="replace").startswith("Google")


def job(base_url: str, secret: str, ca_path: Path, ci: str, config: Mapping[str, str]) -> JobKit:
    """What a job finds, as a process beside the lab gets it."""
    order = JobOrder(ci, config, (AUDIENCE,), {"actor": "x"}, "refs/tags/v1")
    return Remote(Lab(base_url, secret, ca_path)).job(order)


async def environment(lab: LabProviders, ca_path: Path, ci: str, config: Mapping[str, str]) -> dict[str, str]:
    kit = await asyncio.to_thread(job, lab.base_url, lab.secret, ca_path, ci, config)
    return {**kit.variables, **trust(ca_path)}


def trust(ca_path: Path) -> dict[str, str]:
    return {"SSL_CERT_FILE": str(ca_path), "REQUESTS_CA_BUNDLE": str(ca_path)}


async def run(command: list[str], variables: Mapping[str, str], text: str = "") -> tuple[int, str, str]:
    """A program with the job's variables and nothing else of ours."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("ci", ["github", "gitlab", "buildkite", "circleci"])
async def test_the_id_package_finds_the_identity(lab: LabProviders, ca_path: Path, tmp_path: Path, ci: str) -> None:
    if ci != "github" and ON_GOOGLE:
        pytest.skip("the id package looks for Google's metadata server before it looks for this one")
    provider = BY_SLUG[ci]
    config = {field.name: field.example for field in provider.fields if field.required}
    kit = await asyncio.to_thread(job, lab.base_url, lab.secret, ca_path, ci, config)
    variables = kit.environment(tmp_path, os.environ["PATH"]) | trust(ca_path)
    code, out, err = await run([sys.executable, "-m", "id", AUDIENCE], variables)
    assert code == 0, err
    rules = jwt.TokenRules(frozenset({"RS256", "ES256"}), 3600, requires_jti=provider.requires_jti)
    verified = jwt.verify(jwt.read(out.strip()), parse_key_set(lab.signers[ci].jwks()), rules, AUDIENCE, 1_795_000_000)
    assert verified.issuer == lab.issuer_url(ci)
    assert verified.claims["actor"] == "x"
    assert provider.ref_of(verified.claims) == "refs/tags/v1"


async def test_uv_trusts_the_authority(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    variables = await environment(lab, ca_path, "gitlab", GITLAB)
    index = ["--index-url", f"{lab.base_url}/simple", "--cache-dir", str(tmp_path), "--no-config"]
    command = [str(uv), "pip", "compile", *index, "--python", sys.executable, "-"]
    code, _, err = await run(command, variables, "no-such-project\n")
    # Its request was answered, with 404: the handshake of its TLS library (rustls) succeeded.
    assert code == 1
    assert "not found in the package registry" in err
    code, _, err = await run(command, {"UV_HTTP_RETRIES": "0"}, "no-such-project\n")
    assert code != 0
    assert "not found in the package registry" not in err


async def test_another_authority_is_not_trusted(lab: LabProviders, tmp_path: Path) -> None:
    other = Authority.open(tmp_path / "other", time.time())
    with pytest.raises(LabUnreachable, match="not trusted by its CA"):
        await environment(lab, other.ca_path, "gitlab", GITLAB)


async def test_the_environments_proxy_is_not_asked(
    lab: LabProviders, ca_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert (await environment(lab, ca_path, "gitlab", GITLAB))["GITLAB_CI"] == "true"


async def test_the_labs_sentence_is_passed_on(lab: LabProviders, ca_path: Path) -> None:
    with pytest.raises(LabRefused, match=r"must be one of .*github, gitlab"):
        await environment(lab, ca_path, "travis", GITLAB)
    with pytest.raises(LabRefused, match="'workflow' is missing"):
        await environment(lab, ca_path, "gitlab", {"project-path": "group/project"})
    with pytest.raises(LabRefused, match="secret") as caught:
        await asyncio.to_thread(job, lab.base_url, "wrong", ca_path, "gitlab", GITLAB)
    assert lab.secret not in caught.value.sentence


def test_nothing_listens(ca_path: Path, tmp_path: Path) -> None:
    with socket.socket() as held:
        # Bound but not listening: nobody else can take the port meanwhile.
        held.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(LabUnreachable, match="Start the lab first") as caught:
            job(url, "secret", ca_path, "github", GITHUB)
    assert caught.value.sentence.startswith(f"Nothing answers at {url}")
    with pytest.raises(LabUnreachable, match="CA certificate"):
        job(url, "secret", tmp_path / "none.pem", "github", GITHUB)
    with pytest.raises(LabUnreachable, match="not an https URL"):
        job("file:///etc", "secret", ca_path, "github", GITHUB)


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"])
async def test_something_else_listens(answer: bytes, ca_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(LabUnreachable):
            await asyncio.to_thread(job, url, "secret", ca_path, "github", GITHUB)
