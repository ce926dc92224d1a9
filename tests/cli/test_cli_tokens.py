"""API tokens and the audit log on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.cli.session import parse_assignments, parse_duration, when
from mintmark.core import credentials
from support.command import Shell
from support.refusals import refusal


def test_the_secret_is_the_only_thing_on_standard_output(acme: Shell) -> None:
    done = acme.ok("token", "create", "acme", "laptop-of-jo", "--upload", "--read", "--project", "acme-*")
    secret = done.out.removesuffix("\n")
    assert credentials.digest(secret) is not None
    assert secret not in done.err
    assert re.match(r"Token 1 of acme for acme-\*: upload and read, until 20\d\d-\d\d-\d\d ", done.err)
    for arguments in (["token", "list", "acme"], ["token", "list", "acme", "--json"], ["audit"], ["audit", "--json"]):
        later = acme.ok(*arguments)
        assert secret not in later.out + later.err
        assert credentials.PREFIX + "a" not in later.out


def test_tokens_for_machines(acme: Shell) -> None:
    created = acme.ok("token", "create", "acme", "ci", "--read", "--expires", "12h", "--json").json
    assert credentials.digest(created.pop("token")) is not None
    assert created["expires"] - created["created"] == 12 * 3600
    assert (created["upload"], created["read"], created["projects"], created["revoked"]) == (False, True, ["*"], None)
    assert acme.ok("token", "list", "acme", "--json").json == [created]


def test_a_token_without_end(acme: Shell) -> None:
    done = acme.ok("token", "create", "acme", "ci", "--read", "--expires", "never")
    assert "read, without end." in done.err
    assert acme.ok("token", "list", "acme").out.splitlines()[1].split("\t")[5] == "never"


def test_revoking(acme: Shell) -> None:
    acme.ok("token", "create", "acme", "ci", "--read")
    assert acme.ok("token", "revoke", "acme", "1").out == "Revoked token 1 (ci). It is refused from now on.\n"
    assert "was revoked already, on 20" in acme.ok("token", "revoke", "acme", "1").out
    assert acme.ok("token", "list", "acme").out.splitlines()[1].split("\t")[6].startswith("20")
    done = acme("token", "revoke", "acme", "2")
    assert (done.code, "acme has no token 2." in done.err) == (2, True)


def test_no_tokens_yet(acme: Shell) -> None:
    assert acme.ok("token", "list", "acme").out.startswith("acme has no API token. Create one")
    assert acme.ok("token", "list", "acme", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme", "x"], "Allow one, or both."),
        (["acme", "", "--read"], "A token needs a name"),
        (["acme", "x", "--read", "--expires", "soon"], "90d, 12h or 30m"),
        (["acme", "x", "--read", "--expires", "0d"], "no duration"),
        (["acme", "x", "--read", "--project", "A"], "not a pattern"),
        (["nothing", "x", "--read"], "There are: acme."),
    ],
)
def test_tokens_that_cannot_be(acme: Shell, arguments: list[str], message: str) -> None:
    done = acme("token", "create", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


# -- the audit log ----------------------------------------------------------------------------------------------------


def test_the_audit_log_newest_first(acme: Shell) -> None:
    acme.ok("token", "create", "acme", "ci", "--read")
    rows = [line.split("\t") for line in acme.ok("audit").out.splitlines()]
    assert rows[0] == ["WHEN", "BY", "ACTION", "OUTCOME", "ABOUT"]
    assert [row[2] for row in rows[1:]] == ["token-create", "issuer-add", "registry-add"]
    assert {row[1] for row in rows[1:]} == {"operator command line"}
    assert len(acme.ok("audit", "--limit", "1").out.splitlines()) == 2
    assert [event["action"] for event in acme.ok("audit", "acme", "--json").json] == [row[2] for row in rows[1:]]
    done = acme("audit", "nothing")
    assert (done.code, "no registry 'nothing'" in done.err) == (2, True)


def test_nothing_happened_yet(shell: Shell) -> None:
    assert shell.ok("audit").out == "Nothing happened yet.\n"
    assert shell.ok("audit", "--json").json == []


def test_what_apply_did_is_in_the_log_of_its_registry(shell: Shell) -> None:
    file = str(shell.write("trust.toml", "[registry.acme]\n[registry.other]\n"))
    shell.ok("apply", file, "--yes")
    assert [event["facts"]["name"] for event in shell.ok("audit", "acme", "--json").json] == ["acme"]


# -- what the commands share ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("1m", 60)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@given(text=st.text() | st.text("0123456789mhds \u00b2\u0663-", max_size=8))
def test_no_text_breaks_durations(text: str) -> None:
    refused = refusal(lambda: parse_duration(text))
    assert (refused is None) == bool(re.fullmatch(r"(?=.*[1-9])[0-9]{1,5}[mhd]", text) and "\n" not in text)


@given(pairs=st.lists(st.text(max_size=6), max_size=4))
def test_no_assignments_break_anything(pairs: list[str]) -> None:
    refused = refusal(lambda: parse_assignments(pairs))
    names = [pair.partition("=")[0] for pair in pairs]
    good = all("=" in pair for pair in pairs) and all(names) and len(set(names)) == len(names)
    assert (refused is None) == good


def test_values_may_hold_equals_signs() -> None:
    assert parse_assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_times_are_utc_and_sort_as_text() -> None:
    at = int(datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp())
    assert when(at) == "2026-02-03 04:05:06Z"
    assert (when(None), when(None, "no")) == ("never", "no")
