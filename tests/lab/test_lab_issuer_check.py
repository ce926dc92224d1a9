"""`mintmark issuer check` against every simulated issuer, honest and with the faults of the lab."""

from __future__ import annotations

import asyncio
import shlex
import tomllib
from pathlib import Path

import pytest

from mintmark.core.issuer_probe import Conditions, Kind
from mintmark.core.issuer_report import Report, report_on
from mintmark.core.providers import BY_SLUG
from mintmark.core.report_card import Grade
from mintmark.core.trust import Host, parse_trust
from mintmark.lab.authority import Authority
from mintmark.lab.kinds import KINDS
from mintmark.lab.provider_server import LabProviders
from mintmark.store.issuer_probe import IssuerProbe
from support.command import Done, Shell, shell_in

LOOPBACK = ("127.0.0.0/8", "::1/128")
SLUGS = [kind.slug for kind in KINDS]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return shell_in(tmp_path)


async def report(lab: LabProviders, authority: Authority, slug: str, **changes: object) -> Report:
    conditions = Conditions(
        **{"url": lab.issuer_url(slug), "networks": LOOPBACK, "ca_pem": authority.ca_pem, "lab": True, **changes}  # type: ignore[arg-type]
    )
    probe = await IssuerProbe(timeout_seconds=5)(conditions)
    now = probe.discovery.served_at if probe.discovery else None
    return report_on(probe, BY_SLUG[slug], now or 0.0)


def graded(found: Report, grade: Grade) -> dict[str, str]:
    return {line.topic: line.sentence for line in found.lines if line.grade is grade}


async def check(shell: Shell, lab: LabProviders, ca_path: Path, slug: str, *more: str) -> Done:
    url = lab.issuer_url(slug)
    arguments = ("issuer", "check", url, "--ca-file", str(ca_path), "--network", "127.0.0.0/8", "--network", "::1/128")
    return await asyncio.to_thread(shell, *arguments, *more)


@pytest.mark.parametrize("slug", SLUGS)
async def test_every_simulated_issuer_is_usable(lab: LabProviders, authority: Authority, slug: str) -> None:
    found = await report(lab, authority, slug)
    assert found.usable, found.lines
    assert found.reachable
    fine = graded(found, Grade.OK)
    assert {"discovery reached", "keys reached", "issuer", "jwks_uri", "keys", "kid", "provider", "claims"} <= set(fine)
    assert found.algorithms == (lab.signers[slug].algorithm,)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if not BY_SLUG[slug].rules_field])
async def test_the_provider_is_guessed(lab: LabProviders, authority: Authority, slug: str) -> None:
    conditions = Conditions(lab.issuer_url(slug), LOOPBACK, ca_pem=authority.ca_pem, lab=True)
    found = report_on(await IssuerProbe()(conditions), None, 1_800_000_000)
    assert found.provider is BY_SLUG[slug]
    assert found.guessed


async def test_the_command_prints_what_registers_it(shell: Shell, lab: LabProviders, ca_path: Path) -> None:
    done = await check(shell, lab, ca_path, "gitlab", "--lab")
    assert done.code == 0, done
    assert "OK       issuer: The discovery document names this URL, byte for byte." in done.out
    table = done.out[done.out.index("[registry.") :]
    filled = table.replace("REGISTRY", "acme").replace("PATTERN", "*")
    host = Host("pkgs.example.com", "mintmark_pkgs_example_com", accept_lab=True)
    (wanted,) = parse_trust(tomllib.loads(filled), host, lambda name: Path(name).read_text(encoding="utf-8"))
    (entry,) = wanted.issuers
    assert (entry.url, entry.algorithms) == (lab.issuer_url("gitlab"), ("ES256",))
    command = done.out[done.out.index("mintmark issuer add") :].partition("\n\n")[0]
    filled = command.replace("REGISTRY", "acme").replace("PATTERN", "'*'")
    assert filled.splitlines()[1].strip(" \\") == "--provider gitlab"
    await asyncio.to_thread(shell.ok, "registry", "create", "acme")
    refused = await asyncio.to_thread(shell, *shlex.split(filled.replace("\\\n", ""))[1:])
    # It is a whole command; an index that is none of the lab's takes no certificate of the lab.
    assert "belongs to Mintmark's lab" in refused.err


async def test_a_lab_is_no_issuer_of_a_real_index(shell: Shell, lab: LabProviders, ca_path: Path) -> None:
    done = await check(shell, lab, ca_path, "github", "--json")
    assert done.code == 2
    assert done.json["usable"] is False
    assert done.json["command"] is None
    (line,) = [line for line in done.json["lines"] if line["grade"] == "bad"]
    assert line["topic"] == "lab"


async def test_the_wrong_provider(lab: LabProviders, shell: Shell, ca_path: Path) -> None:
    done = await check(shell, lab, ca_path, "vault", "--provider", "forgejo", "--lab")
    assert done.code == 2
    assert "BAD      provider: This is no issuer of Forgejo" in done.out
    assert "BAD" not in done.out.replace("BAD      provider", "")


FAULTS = [
    ("discovery-wrong-issuer", 2, "issuer: The discovery document is of another issuer"),
    ("keys-empty", 2, "keys: The key set is empty."),
    ("issuer-malformed", 2, "discovery reached: The discovery document is not strict JSON"),
    ("issuer-down", 75, "discovery reached: The issuer cannot be read"),
    ("issuer-500", 75, "discovery reached: The issuer answered 500"),
]


@pytest.mark.parametrize(("fault", "code", "sentence"), FAULTS)
async def test_faults(lab: LabProviders, shell: Shell, ca_path: Path, fault: str, code: int, sentence: str) -> None:
    lab._faults.set(fault, times=10)
    done = await check(shell, lab, ca_path, "github", "--lab")
    assert done.code == code, done
    assert f"BAD      {sentence}" in done.out
    assert "mintmark issuer add" not in done.out
    machine = await check(shell, lab, ca_path, "github", "--lab", "--json")
    assert machine.code == code
    assert machine.json["reachable"] is (code != 75)


async def test_a_slow_issuer_is_given_up_in_time(lab: LabProviders, authority: Authority) -> None:
    lab._faults.set("issuer-slow", times=10, seconds=60)
    conditions = Conditions(lab.issuer_url("github"), LOOPBACK, ca_pem=authority.ca_pem, lab=True)
    probe = await IssuerProbe(timeout_seconds=0.2)(conditions)
    assert probe.trouble
    assert (probe.trouble.kind, probe.trouble.reason) == (Kind.UNREACHABLE, "the issuer took too long")
    assert not report_on(probe, None, 0).reachable


async def test_certificates_that_are_not_trusted(lab: LabProviders, authority: Authority) -> None:
    found = await report(lab, authority, "github", ca_pem="")
    assert "certificate is refused" in graded(found, Grade.BAD)["discovery reached"]
    assert found.reachable
    assert not found.usable


async def test_a_private_network_has_to_be_named(lab: LabProviders, authority: Authority) -> None:
    found = await report(lab, authority, "github", networks=())
    (line,) = [line for line in found.lines if line.grade is Grade.BAD]
    assert "not on the public internet" in line.sentence
    assert "--network 127.0.0.1/32" in line.cure or "--network ::1/128" in line.cure
    allowed = await report(lab, authority, "github")
    assert "private network" in graded(allowed, Grade.NOTE)["network"]


async def test_static_keys_are_judged_and_nothing_is_asked(lab: LabProviders, authority: Authority) -> None:
    jwks = lab.signers["gitlab"].jwks().decode()
    found = await report(lab, authority, "gitlab", networks=(), ca_pem="", jwks=jwks)
    assert found.usable, found.lines
    assert found.algorithms == ("ES256",)
    assert "Not asked" in graded(found, Grade.NOTE)["reached"]
