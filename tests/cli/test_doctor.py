"""`mintmark doctor` on the command line: its exit codes, and what it finds in a ledger."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mintmark.core.issuer_probe import Conditions, Kind, Probe, Trouble
from mintmark.core.report_card import Grade, Line
from mintmark.lab.signer import Signer
from mintmark.service.doctor import Doctor
from mintmark.store.data_dir import LEDGER_NAME
from mintmark.store.ledger.sqlite import open_ledger
from support.clock import FrozenClock
from support.command import Shell

FIELDS = ("project-path=foo/bar", "workflow=.gitlab-ci.yml", "project-id=1")


def sentences(shell: Shell, *arguments: str) -> dict[str, tuple[str, str]]:
    lines = shell("doctor", "--json", *arguments).json["lines"]
    return {line["topic"]: (line["grade"], line["sentence"]) for line in lines}


def ledger_of(shell: Shell) -> Path:
    return shell.folder / "data" / LEDGER_NAME


def execute(shell: Shell, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(ledger_of(shell))) as connection, connection:
        connection.execute(statement, values)


def test_a_fresh_machine(shell: Shell) -> None:
    done = shell("doctor")
    assert done.code == 1
    assert "WARNING  data directory: " in done.out
    assert not (shell.folder / "data").exists(), "looking makes nothing"
    shell.write("mintmark.toml", 'data_dir = "data"\nbase_url = "http://pkgs.example.com"\n')
    refused = shell("doctor")
    assert refused.code == 2
    assert "BAD      setting base_url: It is not https." in refused.out


def test_all_is_well(shell: Shell) -> None:
    shell.ok("registry", "create", "acme")
    keys = shell.write("keys.json", Signer("ES256").jwks().decode())
    more = ("--provider", "gitlab", "--url", "https://gitlab.example.com", "--projects", "*", "--algorithm", "ES256")
    shell.ok("issuer", "add", "acme", "gitlab", *more, "--jwks-file", str(keys))
    shell.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *FIELDS)
    done = shell.ok("doctor")
    assert "nothing is wrong." in done.out
    assert "OK       issuer acme/gitlab: Its keys are good." in done.out
    assert shell.ok("doctor", "--json").json["worst"] == "note"
    shell.ok("backup", str(shell.folder / "backup"))
    found = sentences(shell, "--backup", str(shell.folder / "backup"))
    assert found["backup"] == ("ok", f"The newest in {shell.folder / 'backup'} is 0 hours old.")
    assert sentences(shell, "--backup", str(shell.folder / "none"))["backup"][0] == "bad"


def test_what_a_ledger_may_need(acme: Shell) -> None:
    acme.ok("registry", "create", "lonely")
    acme.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *FIELDS[:2])
    acme.ok("publisher", "add", "acme", "gadget", "--issuer", "gitlab", *FIELDS)
    execute(acme, "UPDATE publishers SET expires_at = 5 WHERE project = 'gadget'")
    acme.ok("token", "create", "acme", "old", "--read")
    acme.ok("token", "create", "acme", "endless", "--read", "--expires", "never")
    execute(acme, "UPDATE credentials SET expires_at = 5 WHERE name = 'old'")
    lines = acme("doctor", "--offline", "--json").json["lines"]
    found = [(line["grade"], line["topic"], line["sentence"]) for line in lines]
    assert ("warning", "registries", "lonely: no issuer is trusted, so no job can publish.") in found
    assert ("note", "publishers", "acme/gadget (2): lapsed without being used.") in found
    assert ("note", "publishers", "acme/widget (1): no immutable id is known yet.") in found
    assert ("warning", "API tokens", "acme/old: expired.") in found
    assert ("note", "API tokens", "acme/endless: without end.") in found
    assert ("note", "issuers", "1 were not asked (--offline).") in found


def test_pages_behind_a_clock_set_back_and_audiences(acme: Shell) -> None:
    acme.ok("registry", "create", "other", "--audience", "mintmark_other")
    execute(acme, "UPDATE registries SET audience = 'MINTMARK_LOCALHOST_ACME' WHERE slug = 'other'")
    execute(acme, "UPDATE events SET at = ?", int(time.time()) + 3600)
    execute(
        acme,
        "INSERT INTO projects (registry_id, name, display_name, similar, status, changes, rendered, created_at) "
        "VALUES (1, 'widget', 'widget', 'widget', 'active', 3, 2, 1)",
    )
    done = acme("doctor", "--offline")
    assert done.code == 2
    assert "BAD      audiences: acme, other share one." in done.out
    assert "WARNING  pages: 1 projects have pages that are behind." in done.out
    assert "BAD      clock: The newest event is 3" in done.out


def test_a_damaged_ledger_and_an_older_one(acme: Shell) -> None:
    execute(acme, "UPDATE alembic_version SET version_num = '0001'")
    found = sentences(acme, "--offline")
    assert found["ledger"][0] == "warning"
    with closing(sqlite3.connect(ledger_of(acme))) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",), "not migrated"
    data = bytearray(ledger_of(acme).read_bytes())
    data[:200] = bytes(200)
    ledger_of(acme).write_bytes(bytes(data))
    assert sentences(acme, "--offline")["ledger"][0] == "bad"


@pytest.mark.parametrize(
    ("seen", "grade", "words"),
    [
        (Trouble(Kind.UNREACHABLE, "discovery", "the issuer took too long"), Grade.BAD, "The issuer took too long."),
        (Trouble(Kind.TLS, "discovery", "its certificate is refused: expired"), Grade.BAD, "certificate is refused"),
    ],
)
def test_issuers_are_asked_on_their_own_conditions(acme: Shell, seen: Trouble, grade: Grade, words: str) -> None:
    asked: list[Conditions] = []

    async def look(conditions: Conditions) -> Probe:
        asked.append(conditions)
        return Probe(conditions, trouble=seen)

    async def work() -> list[Line]:
        ledger = open_ledger(ledger_of(acme))
        try:
            return list(await Doctor(ledger, FrozenClock(4e9), "mintmark_localhost", look, lab=False)())
        finally:
            await ledger.close()

    lines = [line for line in asyncio.run(work()) if line.topic == "issuer acme/gitlab"]
    assert [line.grade for line in lines] == [grade]
    assert words in lines[0].sentence
    assert [each.url for each in asked] == ["https://gitlab.example.com"]
