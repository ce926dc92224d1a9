"""`mintmark explain` and `mintmark mint-log` on the command line."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.assemble import Index
from mintmark.cli.session import printable
from mintmark.core import credentials
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Event, Principal
from mintmark.lab.identity import claims_for
from mintmark.lab.signer import Signer
from mintmark.service import mint_log
from mintmark.settings import load
from support.command import Shell

URL = "https://gitlab.example.com"
AUDIENCE = "mintmark_localhost_acme"
CONFIG = {"project-path": "foo/bar", "workflow": ".gitlab-ci.yml"}


def claims(**changes: Any) -> dict[str, object]:
    return claims_for(
        BY_SLUG["gitlab"],
        URL,
        "gitlab.example.com",
        CONFIG,
        overrides=changes,
        ref="refs/heads/main",
        now=time.time(),
        random=random.Random(1),
        audience=AUDIENCE,
    )


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer("ES256")


@pytest.fixture
def air_gapped(shell: Shell, signer: Signer) -> Shell:
    """A registry whose issuer has static keys, with one publisher."""
    shell.ok("registry", "create", "acme")
    keys = shell.write("keys.json", signer.jwks().decode())
    more = ("--provider", "gitlab", "--url", URL, "--projects", "*", "--algorithm", "ES256", "--jwks-file", str(keys))
    shell.ok("issuer", "add", "acme", "gitlab", *more)
    shell.ok(
        "publisher", "add", "acme", "widget", "--issuer", "gitlab", "project-path=foo/bar", "workflow=.gitlab-ci.yml"
    )
    return shell


def test_from_a_file_and_from_standard_input(air_gapped: Shell, signer: Signer) -> None:
    token = signer.sign(claims())
    path = air_gapped.write("token.jwt", token + "\n")
    done = air_gapped.ok("explain", "--registry", "acme", "--token-file", str(path))
    assert "OK       signature: A key of the issuer made it." in done.out
    assert done.out.endswith("It would be exchanged. The credential would cover:\n  upload widget\n")
    again = air_gapped.ok("explain", "--registry", "acme", "--token-file", "-", answer=token)
    assert again.out == done.out
    machine = air_gapped.ok("explain", "--registry", "acme", "--token-file", str(path), "--json")
    assert machine.json["would_mint"] is True
    assert machine.json["uploads"] == ["widget"]
    offline = air_gapped.ok("explain", "--registry", "acme", "--token-file", str(path), "--offline")
    assert "NOTE     signature: Not looked at: --offline was given." in offline.out
    for each in (done, machine, offline):
        for piece in token.split("."):
            assert piece not in each.out + each.err


def test_pasted_claims(air_gapped: Shell) -> None:
    done = air_gapped(
        "explain",
        "--registry",
        "acme",
        "--claims-file",
        "-",
        answer=json.dumps(claims(project_path="foo/baz"), indent=2),
    )
    assert done.code == 2
    assert "NOTE     signature: Not looked at: claims alone have none." in done.out
    assert "BAD      publishers: None is registered for 'foo/baz'." in done.out
    other = air_gapped(
        "explain", "--registry", "acme", "--claims-file", "-", answer=json.dumps(claims(ci_config_ref_uri="\x1b[2Jx"))
    )
    assert "Publisher 1 of widget: 1 rule does not hold" in other.out
    assert "  ! ci_config_ref_uri: expected 'gitlab.example.com/foo/bar//.gitlab-ci.yml@refs/heads/main'" in other.out
    assert "\x1b" not in other.out


BAD_INPUT: list[tuple[list[str], str, str]] = [
    ([], "", "one of --token-file and --claims-file"),
    (["--token-file", "-", "--claims-file", "-"], "", "one of --token-file and --claims-file"),
    (["--token-file", "-"], "", "three segments"),
    (["--token-file", "-"], "a.b.c", "not base64url"),
    (["--token-file", "-"], "x" * 70_000, "larger than 65536 bytes"),
    (["--claims-file", "-"], "[]", "not a JSON object"),
    (["--claims-file", "-"], "{}", "has no iss"),
    (["--claims-file", "-"], '{"iss": "a", "iss": "b"}', "key twice"),
    (["--claims-file", "-"], "eyJh.eyJh.eyJh", "That is a token"),
    (["--claims-file", "-", "--registry", "nothing"], '{"iss": "a"}', "There are: acme."),
]


@pytest.mark.parametrize(("arguments", "answer", "message"), BAD_INPUT, ids=range(len(BAD_INPUT)))
def test_bad_input(air_gapped: Shell, arguments: list[str], answer: str, message: str) -> None:
    done = air_gapped("explain", "--registry", "acme", *arguments, answer=answer)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_secret_in_the_wrong_place_is_not_repeated(air_gapped: Shell, signer: Signer) -> None:
    token = signer.sign(claims())
    secret = credentials.compose(credentials.API, bytes(range(credentials.RANDOM_BYTES)))
    for arguments, answer in ((["--token-file", token], ""), (["--token-file", "-"], secret)):
        done = air_gapped("explain", "--registry", "acme", *arguments, answer=answer)
        assert done.code == 2
        assert token[:20] not in done.out + done.err
        assert secret[:20] not in done.out + done.err
    assert "credential of an index" in done.err


@given(text=st.text())
def test_what_is_shown_moves_no_cursor(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text) == text or not text.isprintable()


# -- the mint log -----------------------------------------------------------------------------------------------------


def record(shell: Shell, *events: Event) -> None:
    """Write events as an exchange does."""

    async def work() -> None:
        index = Index(load(shell.config, {}))
        try:
            for event in events:
                await index.ledger.write(lambda tx, event=event: tx.audit.record(event))  # type: ignore[misc]
        finally:
            await index.close()

    asyncio.run(work())


def event(outcome: str, *, at: int | None = None, who: str = "'foo/bar'", **facts: object) -> Event:
    principal = Principal("publisher", f"{URL} {who}")
    return Event(at or int(time.time()), principal, "mint", 1, outcome=outcome, facts=facts)


def test_the_log_says_why_a_mint_failed(acme: Shell) -> None:
    nearest = [{"project": "widget", "mismatches": ["environment: expected 'release', got nothing. Why."]}]
    record(
        acme,
        event("minted", at=int(time.time()) - 7200, projects=["widget", "gadget"], covered=2),
        event("invalid-publisher", detail="valid token, but no \x1b[31mmatch", nearest=nearest),
    )
    lines = acme.ok("mint-log", "acme").out.splitlines()
    assert [line[22:] for line in lines if not line.startswith(" ")] == [
        "minted  acme  gitlab 'foo/bar'",
        "invalid-publisher  acme  gitlab 'foo/bar'",
    ]
    assert lines[1] == "    covers widget, gadget"
    assert lines[3] == "    valid token, but no \\x1b[31mmatch"
    assert lines[4] == "    widget: environment: expected 'release', got nothing. Why."
    assert "minted" not in acme.ok("mint-log", "--failed").out
    assert "minted" not in acme.ok("mint-log", "--since", "1h").out
    (only,) = acme.ok("mint-log", "acme", "--limit", "1", "--json").json
    assert (only["outcome"], only["provider"], only["registry"]) == ("invalid-publisher", "gitlab", "acme")
    assert only["nearest"] == nearest


def test_an_empty_log_and_bad_arguments(acme: Shell) -> None:
    assert acme.ok("mint-log").out == "No identity token was exchanged or refused.\n"
    assert acme.ok("mint-log", "--json").json == []
    assert acme("mint-log", "nothing").code == 2
    assert acme("mint-log", "--since", "soon").code == 2
    assert acme("mint-log", "--limit", "0").code == 2


FACTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["detail", "nearest", "projects", "covered", "provider", "claims", "too_long"])


@given(facts=st.dictionaries(NAMES, FACTS, max_size=7), who=st.text(max_size=30))
def test_whatever_stands_in_an_event_can_be_shown(facts: dict[str, object], who: str) -> None:
    attempt = mint_log._attempt(replace(event("x", who=who), facts=facts), {1: "acme"}, {URL: {"gitlab"}})
    assert json.dumps(attempt.detail) is not None
    assert all(isinstance(name, str) for name in attempt.projects)
