"""The commands on a simulated job's PATH, as processes that know nothing of the lab's code."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from mintmark.core import jwt
from mintmark.core.providers import BY_SLUG
from mintmark.lab.home import Lab
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.remote import JobOrder, Remote, first_lines

AUDIENCE = "mintmark_example"
REQUEST = ("oidc", "request-token", "--audience", AUDIENCE)
GET = ("run", "oidc", "get", "--root-issuer", "--claims", f'{{"aud": "{AUDIENCE}"}}')
PRINT = ("auth", "print-identity-token", f"--audiences={AUDIENCE}")
FETCH = ("api", "fetch", "jwt", "-audience", AUDIENCE)
OPTIONAL = {"build_id", "cluster_id", "cluster_name", "organization_id", "pipeline_id", "queue_id", "queue_key"}


class Commands:
    """What a job of one kind has on its PATH."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables

    async def run(self, *command: str, **more: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**self.variables, **more},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return process.returncode, out.decode(), err.decode()

    async def claims(self, *command: str, **more: str) -> dict[str, object]:
        code, out, err = await self.run(*command, **more)
        assert (code, err) == (0, "")
        return dict(jwt.read(out.strip()).claims)


async def commands(
    lab: LabProviders, ca_path: Path, folder: Path, ci: str, claims: dict[str, object] | None = None
) -> Commands:
    config = {field.name: field.example for field in BY_SLUG[ci].fields}
    order = JobOrder(ci, config, (AUDIENCE,), claims or {})
    kit = await asyncio.to_thread(Remote(Lab(lab.base_url, lab.secret, ca_path)).job, order)
    # Found by its name, as by clients; the environment's own PATH serves asyncio.
    variables = kit.environment(folder, os.environ["PATH"]) | {"SSL_CERT_FILE": str(ca_path)}
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in folder.iterdir())
    # How to reach the lab is no part of a CI system's environment.
    assert not any("http" in value for value in kit.variables.values())
    return Commands(variables)


async def test_every_request_is_answered_with_another_token(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "buildkite")
    program = str(tmp_path / "buildkite-agent")
    first, second = await job.claims(program, *REQUEST), await job.claims(program, *REQUEST, "--skip-redaction")
    assert first["jti"] != second["jti"]
    assert (first["aud"], first["iss"]) == (AUDIENCE, lab.issuer_url("buildkite"))


async def test_optional_claims_are_there_when_asked_for(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "buildkite")
    program = str(tmp_path / "buildkite-agent")
    ids = {"organization_id", "pipeline_id"}
    assert (await job.claims(program, *REQUEST)).keys() & OPTIONAL == set()
    for flags in (("--claim", "organization_id,pipeline_id"), ("--claim", "organization_id", "--claim=pipeline_id")):
        assert (await job.claims(program, *REQUEST, *flags)).keys() & OPTIONAL == ids
    variable = {"BUILDKITE_OIDC_TOKEN_CLAIMS": "organization_id, pipeline_id"}
    assert (await job.claims(program, *REQUEST, **variable)).keys() & OPTIONAL == ids
    # A flag counts more than the variable.
    assert (await job.claims(program, *REQUEST, "--claim", "build_id", **variable)).keys() & OPTIONAL == {"build_id"}


async def test_what_was_ordered_stays(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "buildkite", {"organization_id": "forged", "step_key": None})
    claims = await job.claims(str(tmp_path / "buildkite-agent"), *REQUEST)
    assert claims["organization_id"] == "forged"
    assert "step_key" not in claims


async def test_circleci(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "circleci")
    claims = await job.claims(str(tmp_path / "circleci"), *GET)
    assert (claims["aud"], claims["iss"]) == (AUDIENCE, lab.issuer_url("circleci"))
    assert claims["oidc.circleci.com/ssh-rerun"] is False
    assert "jti" not in claims


async def test_gcloud(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "google")
    program = str(tmp_path / "gcloud")
    full = await job.claims(program, *PRINT, "--token-format=full")
    assert (full["aud"], full["iss"], full["email_verified"]) == (AUDIENCE, lab.issuer_url("google"), True)
    # The other format says neither the address nor the machine.
    assert full.keys() - (await job.claims(program, *PRINT)).keys() == {"email", "email_verified", "google"}


async def test_spire_agent(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "spiffe")
    code, out, err = await job.run(str(tmp_path / "spire-agent"), *FETCH, "-output", "json")
    assert (code, err) == (0, "")
    claims = jwt.read(json.loads(out)[0]["svids"][0]["svid"]).claims
    assert (claims["aud"], claims["iss"]) == ([AUDIENCE], lab.issuer_url("spiffe"))
    assert claims["sub"] == "spiffe://acme.example/ns/release/sa/publisher"
    _, pretty, _ = await job.run(str(tmp_path / "spire-agent"), *FETCH, "-socketPath", "/run/spire/agent.sock")
    assert jwt.read(pretty.partition("\n\t")[2].strip()).issuer == claims["iss"]


@pytest.mark.parametrize(
    ("ci", "name", "arguments", "message"),
    [
        ("google", "gcloud", ["auth", "login"], "auth print-identity-token"),
        ("google", "gcloud", PRINT[:2], "--audiences"),
        ("google", "gcloud", [*PRINT, "--token-format=half"], "--token-format"),
        ("google", "gcloud", [*PRINT, "--include-email"], "--include-email"),
        ("spiffe", "spire-agent", ["api", "fetch", "x509"], "api fetch jwt"),
        ("spiffe", "spire-agent", FETCH[:3], "-audience"),
        ("spiffe", "spire-agent", [*FETCH, "-output", "yaml"], "-output"),
        ("buildkite", "buildkite-agent", [], "oidc request-token"),
        ("buildkite", "buildkite-agent", ["artifact", "upload"], "oidc request-token"),
        ("buildkite", "buildkite-agent", REQUEST[:2], "--audience"),
        ("buildkite", "buildkite-agent", [*REQUEST, "--lifetime", "60"], "--lifetime"),
        ("buildkite", "buildkite-agent", [*REQUEST, "--claim", "agent_tag:queue"], "no claim 'agent_tag:queue'"),
        ("buildkite", "buildkite-agent", [*REQUEST[:3], "x" * 1001], "audience must be"),
        ("circleci", "circleci", [], "run oidc get"),
        ("circleci", "circleci", GET[:3], "--claims"),
        ("circleci", "circleci", [*GET[:3], *GET[4:]], "add --root-issuer"),
        ("circleci", "circleci", [*GET[:5], "{"], "AUDIENCE"),
        ("circleci", "circleci", [*GET[:5], '{"aud": 7}'], "AUDIENCE"),
        ("circleci", "circleci", [*GET[:5], '{"aud": "x", "sub": "y"}'], "AUDIENCE"),
    ],
)
async def test_mistakes_end_the_command_with_a_sentence(
    lab: LabProviders, ca_path: Path, tmp_path: Path, ci: str, name: str, arguments: list[str], message: str
) -> None:
    job = await commands(lab, ca_path, tmp_path, ci)
    code, out, err = await job.run(str(tmp_path / name), *arguments)
    assert code != 0
    assert out == ""
    assert message in err


async def test_a_lab_that_is_gone(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "circleci")
    secret = (tmp_path / "lab-request.json").read_text()
    await lab.close()
    code, _, err = await job.run(str(tmp_path / "circleci"), *GET, HTTPS_PROXY="http://127.0.0.1:1")
    assert code != 0
    assert "lab still running" in err
    assert not any(part in err for part in secret.split('"') if len(part) > 20 and "://" not in part)


async def test_another_authority_is_not_trusted(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "circleci")
    code, _, err = await job.run(str(tmp_path / "circleci"), *GET, SSL_CERT_FILE="/dev/null")
    assert code != 0
    assert "The lab gives no token" in err


@pytest.mark.parametrize("folder", ["with a space", "it's", "x" * 130])
async def test_a_python_that_no_first_line_can_name(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    command = tmp_path / "command"
    command.write_text(first_lines(str(python)) + '"""What it is."""\nimport sys\nprint(sys.argv[1:])\n')
    command.chmod(0o700)
    assert await Commands({}).run(str(command), "a b", "c") == (0, "['a b', 'c']\n", "")


async def test_semaphore_chooses_the_audience(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    job = await commands(lab, ca_path, tmp_path, "semaphore")
    claims = jwt.read(job.variables["SEMAPHORE_OIDC_TOKEN"]).claims
    assert claims["aud"] == claims["iss"] == lab.issuer_url("semaphore")
