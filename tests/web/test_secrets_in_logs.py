"""No sentence becomes a header of its own, and no secret a line of the log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from mintmark.core.errors import Rejected
from mintmark.lab.signer import Signer
from mintmark.logs import configure
from mintmark.service.steps import Step
from mintmark.web.answers import reason_phrase
from support.dists import wheel
from support.wire import answer_of, head, raw, refused
from support.world import SELF_HOSTED, running_world

SENTENCES = [
    "one\r\nX-Evil: 1", "\x00\x1b[31m\x7f", "ein Häuschen \u2028\u202e", "x" * 1000, "a\n" * 300, "\ud800",
    "tab\there", "",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SENTENCES)))
def test_reason_phrase_is_one_short_line(number: int) -> None:
    phrase = reason_phrase(Rejected("invalid-upload", SENTENCES[number]).sentence)
    assert len(phrase) <= 200
    assert all(" " <= character <= "~" for character in phrase)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def explode(secret: str) -> None:
    """The secret stands in a local variable, as everywhere in the server."""
    raise RuntimeError(f"a bug with {len(secret)} characters")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("restored_logging")
def test_traceback_shows_no_variables(form: str) -> None:
    secret = "mintmark_m" + "S" * 49
    configure(form)
    event: Any = {"event": "bug"}
    try:
        explode(secret)
    except RuntimeError:
        event["exc_info"] = sys.exc_info()
    for processor in structlog.get_config()["processors"]:
        event = processor(None, "error", event)
    assert "RuntimeError: a bug with 59 characters" in event
    assert "explode(secret)" in event
    assert secret not in event


@pytest.mark.usefixtures("restored_logging")
def test_log_lines_cannot_be_forged() -> None:
    for form in ("text", "json"):
        configure(form)
        event: Any = {"event": "refused", "path": "/x\n2026-01-01 [info] minted", "detail": "\x1b[31m\r\n"}
        for processor in structlog.get_config()["processors"]:
            event = processor(None, "info", event)
        assert "\n" not in event
        assert "\r" not in event


@pytest.mark.parametrize(
    "line", ["Authorization : Bearer {}", "Authorization: Bearer {}\x01", "Authorization: Bearer {}" + "x" * 9000, "{}"]
)
async def test_requests_that_are_no_http(
    tmp_path: Path, line: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library quotes what it could not read; the log must not."""
    secret = "mintmark_m" + "S" * 49
    async with running_world(tmp_path, {SELF_HOSTED: Signer("ES256")}) as world:
        answer = await raw(world, head(world, "GET", "/acme/simple/", line.format(secret)))
        assert answer.startswith(b"HTTP/1.")
        assert answer_of(answer).status == 400
    log = caplog.text + "".join(capfd.readouterr())
    assert "S" * 20 not in log
    assert "Traceback" not in log


async def test_nothing_of_the_main_job_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Every way of failing, with the log that a person would read afterwards."""
    broken: set[Step] = set()

    def reached(at: Step) -> None:
        if at in broken:
            raise RuntimeError("a bug, for this test")

    async with running_world(tmp_path, {SELF_HOSTED: Signer("ES256")}, reached=reached) as world:
        await world.registry("acme")
        await world.issuer(algorithms=["ES256"])
        await world.publisher("widget")
        tokens = [world.identity_token() for _ in range(4)]
        secret = (await world.mint(tokens[0])).json["token"]
        refused(await world.mint(tokens[0]), "invalid-reuse-token", tokens[0])
        refused(await world.mint(tokens[1] + "x"), "invalid-payload", tokens[1])
        refused(await world.mint(world.identity_token(environment="x", project_path="y")), "invalid-publisher")
        assert (await world.upload(secret, wheel())).status == 200
        refused(await world.upload(secret, wheel("gadget")), "not-allowed", secret)
        for step in (Step.MINT_VERIFIED, Step.UPLOAD_RECEIVED, Step.UPLOAD_RECORDED):
            broken.add(step)
            answer = await (world.mint(tokens[2]) if "mint" in step else world.upload(secret, wheel(version="2.0")))
            assert refused(answer, "internal-error", secret, tokens[2]).startswith("This is a bug in Mintmark.")
            broken.clear()
        await world.request("POST", "/_/oidc/burn-token", data=json.dumps({"token": secret}).encode())
        refused(await world.upload(secret, wheel(version="2.0")), "credential-refused", secret)
        events = await world.index.ledger.read(lambda tx: tx.audit.latest(None, 100))
    log = caplog.text + "".join(capfd.readouterr()) + repr(events)
    assert "incident=" in log
    for each in (secret, *tokens):
        assert each not in log
        assert each.rpartition(".")[2] not in log
