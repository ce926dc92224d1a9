"""Tokens that somebody forges in the name of a trusted issuer cost the ledger nothing, however many."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from random import Random

from mintmark.lab.signer import Signer
from mintmark.store.data_dir import LEDGER_NAME
from support.world import SELF_HOSTED, World, running_world

FORGED = 2_000
AT_A_TIME = 8


def forge(world: World, dice: Random) -> str:
    """Everything right but the signature."""
    header = {"alg": "RS256", "typ": "JWT", "kid": world.signers[SELF_HOSTED].kid}
    parts = [json.dumps(part).encode() for part in (header, world.claims())]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, dice.randbytes(256)))


def rows(tmp_path: Path) -> dict[str, int]:
    """How many rows each table of the ledger has."""
    (path,) = tmp_path.rglob(LEDGER_NAME)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: ledger.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


async def test_forged_tokens_leave_the_ledger_as_it_is(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry()
        await world.issuer()
        await world.publisher("widget")
        dice = Random(1)
        before = rows(tmp_path)
        codes: set[str] = set()

        async def send(count: int) -> None:
            for _ in range(count):
                answer = await world.mint(forge(world, dice))
                codes.add(f"{answer.status} {answer.code}")

        await asyncio.gather(*(send(FORGED // AT_A_TIME) for _ in range(AT_A_TIME)))
        assert codes == {"422 invalid-token"}
        grown = {name: count - before[name] for name, count in rows(tmp_path).items() if count != before[name]}
        # Anyone can make them: at most one event an issuer and minute says that somebody does.
        assert set(grown) <= {"events"}
        assert sum(grown.values()) <= 1
        # The issuer's own token is as good as ever.
        assert (await world.mint(world.identity_token())).status == 200
