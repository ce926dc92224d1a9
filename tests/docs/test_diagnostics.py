"""The outputs in docs/diagnostics.md are those of the commands. `MINTMARK_WRITE_DOCS=1` writes them anew."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from pathlib import Path

import pytest

from mintmark.assemble import Index
from mintmark.cli.main import COMMANDS
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Event, Principal
from mintmark.lab.authority import Authority
from mintmark.lab.identity import claims_for
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.signer import Signer
from mintmark.settings import load
from mintmark.store.system import SystemClock
from support.command import Done, Shell, shell_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md"
URL = "https://gitlab.example.com"
JOB = {"project-path": "acme/widget", "workflow": ".gitlab-ci.yml"}
# What differs from run to run and from machine to machine.
_CHANGING = (
    (re.compile(r"localhost:[0-9]+"), "localhost:8444"),
    (re.compile(r"after [0-9]+ ms"), "after 12 ms"),
    (re.compile(r"[0-9]+ days left"), "29 days left"),
    (re.compile(r"(127\.0\.0\.1, ::1|::1, 127\.0\.0\.1|127\.0\.0\.1|::1)\)"), "127.0.0.1)"),
    (re.compile(r"[0-9]+\.[0-9] GiB"), "67.8 GiB"),
    (re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}Z"), "2026-11-20 09:30:00Z"),
    (re.compile(r"TLSv1\.[23]"), "TLSv1.3"),
)


def block_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- output:{name} -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def compare(name: str, command: str, done: Done, folder: Path) -> None:
    assert not done.err
    text = done.out.replace(f"{folder}/", "")
    for pattern, instead in _CHANGING:
        text = pattern.sub(instead, text)
    fresh = f"$ {command}\n{text}"
    page = PAGE.read_text(encoding="utf-8")
    found = block_of(name).search(page)
    assert found
    if os.environ.get("MINTMARK_WRITE_DOCS"):
        PAGE.write_text(page[: found.start(2)] + fresh + page[found.end(2) :], encoding="utf-8")
        return
    assert found[2] == fresh


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return shell_in(tmp_path)


async def test_issuer_check(shell: Shell, tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "lab", time.time())
    providers = LabProviders(
        clock=SystemClock(), ssl_context=authority.server_context(), signers={"gitlab": Signer("ES256")}
    )
    async with providers:
        ca = tmp_path / "ca.pem"
        ca.write_text(authority.ca_pem, encoding="utf-8")
        url = providers.issuer_url("gitlab")
        options = ("--ca-file", str(ca), "--network", "127.0.0.0/8", "--network", "::1/128", "--lab")
        shown = "mintmark issuer check https://localhost:8444/gitlab --ca-file ca.pem"
        shown += " --network 127.0.0.0/8 --network ::1/128 --lab"
        done = await asyncio.to_thread(shell.ok, "issuer", "check", url, *options)
        compare("issuer-check", shown, done, tmp_path)
        providers._faults.set("discovery-wrong-issuer")
        wrong = await asyncio.to_thread(shell, "issuer", "check", url, *options, "--provider", "gitlab")
        assert wrong.code == 2
        lines = wrong.out.splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("BAD"))
        short = "\n".join(["…", *lines[at : at + 2], "…", lines[-1]]) + "\n"
        compare("issuer-check-wrong", f"{shown} --provider gitlab", Done(2, short, ""), tmp_path)


def acme(shell: Shell) -> Signer:
    signer = Signer("ES256")
    shell.ok("registry", "create", "acme")
    keys = shell.write("keys.json", signer.jwks().decode())
    more = ("--provider", "gitlab", "--url", URL, "--projects", "*", "--algorithm", "ES256", "--jwks-file", str(keys))
    shell.ok("issuer", "add", "acme", "gitlab", *more)
    fields = ("project-path=acme/widget", "workflow=.gitlab-ci.yml", "environment=release", "project-id=4711")
    shell.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *fields)
    return signer


def test_explain(shell: Shell, tmp_path: Path) -> None:
    signer = acme(shell)
    claims = claims_for(
        BY_SLUG["gitlab"],
        URL,
        "gitlab.example.com",
        {**JOB, "project-id": "4711"},
        overrides={"environment": "staging"},
        ref="refs/tags/v1.0",
        now=time.time(),
        random=random.Random(1),
        audience="mintmark_localhost_acme",
    )
    shell.write("token.jwt", signer.sign(claims))
    done = shell("explain", "--registry", "acme", "--token-file", str(tmp_path / "token.jwt"))
    assert done.code == 2
    compare("explain", "mintmark explain --registry acme --token-file token.jwt", done, tmp_path)


def test_mint_log(shell: Shell, tmp_path: Path) -> None:
    acme(shell)
    job = Principal("publisher", f"{URL} 'acme/widget'")
    mismatch = "environment: expected 'release', got 'staging'. The job must run in the registered environment."
    detail = "valid token, but no corresponding publisher (Check failed for 'environment')"
    nearest = [{"project": "widget", "mismatches": [mismatch]}]
    now = int(time.time())
    events = [
        Event(now - 60, job, "mint", 1, outcome="invalid-publisher", facts={"detail": detail, "nearest": nearest}),
        Event(now, job, "mint", 1, outcome="minted", facts={"projects": ["widget"], "covered": 1}),
    ]

    async def record() -> None:
        index = Index(load(shell.config, {}))
        try:
            for event in events:
                await index.ledger.write(lambda tx, event=event: tx.audit.record(event))  # type: ignore[misc]
        finally:
            await index.close()

    asyncio.run(record())
    compare("mint-log", "mintmark mint-log acme --since 1h", shell.ok("mint-log", "acme", "--since", "1h"), tmp_path)


def test_doctor(shell: Shell, tmp_path: Path) -> None:
    acme(shell)
    shell.ok("registry", "create", "tools")
    shell.ok("backup", str(tmp_path / "backup"))
    done = shell("doctor", "--backup", str(tmp_path / "backup"))
    assert done.code == 1
    compare("doctor", "mintmark doctor --backup backup", done, tmp_path)


def test_the_commands_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"`mintmark ([a-z-]+)", text):
        assert name in COMMANDS
    assert {"explain", "mint-log", "doctor", "issuer"} <= COMMANDS.keys()
