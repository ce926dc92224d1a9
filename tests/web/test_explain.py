"""`service.explain` beside the exchange it explains: what it says is what happens, and it spends nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mintmark.core import jwt
from mintmark.core.report_card import Grade
from mintmark.lab.keys import LabKeys
from mintmark.service.explain import Asked, Explanation
from support.wire import Room, segment
from support.world import GITHUB, GITLAB, SELF_HOSTED

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def explained(room: Room, token: str, *, is_token: bool = True, offline: bool = False) -> Explanation:
    keys = None if offline or not is_token else LabKeys(room.world.signers)
    return await room.world.index.explain(room.slug, Asked(jwt.read(token), is_token, keys, "of the test"))


def grades(found: Explanation) -> dict[str, Grade]:
    return {line.topic: line.grade for line in found.lines}


def bad(found: Explanation) -> dict[str, str]:
    return {line.topic: line.sentence for line in found.lines if line.grade is Grade.BAD}


async def test_a_token_that_would_be_exchanged_can_still_be(room: Room) -> None:
    await room.publisher("widget")
    token = room.identity_token()
    for _ in range(3):
        found = await explained(room, token)
        assert found.would_mint, found.lines
        assert set(grades(found).values()) == {Grade.OK}
        assert found.uploads == ["widget"]
        assert (await room.events("mint")) == []
    assert (await room.mint(token)).status == 200
    found = await explained(room, token)
    assert not found.would_mint
    assert bad(found) == {"replay": "It was exchanged already: it would be refused as reused."}


async def test_every_near_publisher_says_what_differs(room: Room) -> None:
    await room.publisher("widget", environment="release")
    await room.publisher("gadget", workflow="other.yml", environment="release")
    found = await explained(room, room.identity_token(environment="staging"))
    assert not found.would_mint
    assert [(near.publisher.project, len(near.mismatches)) for near in found.nearby] == [("widget", 1), ("gadget", 2)]
    (fault,) = found.nearby[0].mismatches
    assert (fault.claim, fault.expected, fault.actual) == ("environment", "'release'", "'staging'")
    assert bad(found) == {"publishers": "None of 2 near ones matches."}


LIES: list[tuple[dict[str, Any], str, str]] = [
    ({"aud": "mintmark_elsewhere"}, "audience", "expected 'mintmark_localhost_"),
    ({"exp": 5, "iat": 1}, "registered claims", "The token has expired"),
    ({"iat": 4_000_000_000, "exp": 4_000_000_100}, "registered claims", "The token is not valid yet"),
    ({"exp": None}, "registered claims", "Exp or iat is missing"),
    ({"project_path": None}, "publishers", "The claim project_path is missing"),
    ({"project_path": "evil/\x1b[31m"}, "publishers", "None is registered for 'evil/\\x1b[31m'"),
]


@pytest.mark.parametrize(("claims", "topic", "sentence"), LIES, ids=[str(index) for index in range(len(LIES))])
async def test_what_is_wrong_with_a_token(room: Room, claims: dict[str, Any], topic: str, sentence: str) -> None:
    await room.publisher("widget")
    token = room.identity_token(**claims)
    found = await explained(room, token)
    assert bad(found)[topic].startswith(sentence)
    assert (await room.mint(token)).status == 422


async def test_unknown_and_disabled_issuers(room: Room) -> None:
    found = await explained(room, room.identity_token(GITLAB))
    assert bad(found) == {"issuer": f"The registry does not trust '{GITLAB}'."}
    slash = f"{segment({})}.{segment({'iss': SELF_HOSTED + '/'})}."
    (line,) = (await explained(room, slash, is_token=False)).lines
    assert "byte for byte" in line.cure
    await room.publisher("widget", url=GITHUB)
    await room.change(trusted_publishing=False)
    found = await explained(room, room.identity_token(GITHUB))
    assert "exchanges no identity tokens" in bad(found)["registry"]


async def test_a_signature_of_somebody_else(room: Room) -> None:
    await room.publisher("widget")
    token = room.identity_token()
    forged = f"{token.rpartition('.')[0]}.{segment(b'x' * 64)}"
    found = await explained(room, forged)
    assert bad(found) == {"signature": "The signature does not match."}
    assert grades(await explained(room, forged, offline=True))["signature"] is Grade.NOTE


async def test_pasted_claims_have_no_signature(room: Room) -> None:
    await room.publisher("widget")
    claims = room.world.claims(audience=room.audience)
    text = f"{segment({})}.{segment(json.loads(json.dumps(claims)))}."
    found = await explained(room, text, is_token=False)
    assert found.would_mint
    assert grades(found)["signature"] is Grade.NOTE


async def test_the_mint_log_has_what_explain_said(room: Room) -> None:
    await room.publisher("widget", environment="release")
    token = room.identity_token(environment="staging")
    (near,) = (await explained(room, token)).nearby
    assert (await room.mint(token)).status == 422
    await room.world.mint("no.token.here", room.mint_path)
    (attempt,) = await room.world.index.mint_log(room.slug, since_seconds=60, failed=True, limit=5)
    assert (attempt.outcome, attempt.registry, attempt.issuer) == ("invalid-publisher", room.slug, SELF_HOSTED)
    assert (attempt.provider, attempt.identity) == ("gitlab", "'foo/bar'")
    (logged,) = attempt.nearest
    assert logged.project == "widget"
    assert logged.mismatches == tuple(map(str, near.mismatches))
