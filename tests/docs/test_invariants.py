"""Invariants of docs/threat-model.md that are best shown by themselves; the table there names all the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from e2e.dev_index import Dev
from mintmark.assemble_lab import Wishes, _Lab
from mintmark.core.errors import Misconfigured
from mintmark.core.jwks import ALGORITHMS, parse_key_set
from mintmark.core.jwt import LEEWAY_SECONDS, TokenRules, VerifiedClaims, read, verify
from mintmark.core.match import Match
from mintmark.settings import load
from support.dists import wheel
from support.ports import free_port
from support.world import SELF_HOSTED, World


def test_only_a_check_makes_a_proof() -> None:
    with pytest.raises(TypeError):
        VerifiedClaims(object(), "https://gitlab.com", {}, 0, "jti:1")
    with pytest.raises(TypeError):
        Match(object(), None)  # type: ignore[arg-type]


def test_a_replay_record_outlives_every_moment_of_acceptance(world: World) -> None:
    signer = world.signers[SELF_HOSTED]
    claims = world.claims()
    token = read(signer.sign(claims))
    keys = parse_key_set(signer.jwks())
    rules = TokenRules(frozenset({"RS256"}), 86_400)
    last = int(str(claims["exp"])) + LEEWAY_SECONDS
    verified = verify(token, keys, rules, str(claims["aud"]), last)
    assert verified.replay_until > last


def test_no_symmetric_algorithm_can_be_allowed() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


async def test_no_refusal_tells_a_secret(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither an answer nor the log of a refusal holds the token or credential that was refused."""
    await world.publisher("widget")
    live = await world.credential()
    api = await world.token(projects=("other",))
    tokens = [
        world.identity_token(audience="somebody_else"),
        world.identity_token(project_path="some/one"),
        world.identity_token(jti=None),
        world.identity_token()[:-8] + "AAAAAAAA",
        world.identity_token(iss="https://unknown.example"),
    ]
    capfd.readouterr()
    answers = [await world.mint(token) for token in tokens]
    refused = [live[:-1] + ("0" if live[-1] != "0" else "1"), live, api]
    answers += [await world.upload(secret, wheel("gadget")) for secret in refused]
    answers += [await world.get("/acme/simple/gadget/", auth=secret) for secret in refused]
    assert all(400 <= answer.status < 500 for answer in answers), [answer.status for answer in answers]
    said = "".join(f"{a.reason}{dict(a.headers)}{a.body.decode()}" for a in answers) + "".join(capfd.readouterr())
    for secret in [*tokens, *refused]:
        # The signature and the random part: what may never be seen.
        assert secret[-40:] not in said


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"base_url": "http://pkgs.example.com"}, "base_url"),
        ({"base_url": "https://pkgs.example.com/path"}, "base_url"),
        ({"trusted_proxies": ""}, "trusted_proxies"),
        ({"trusted_proxies": "0.0.0.0/0"}, "trusted_proxies"),
        ({"trusted_proxies": "127.0.0.1/32,::/0"}, "trusted_proxies"),
    ],
)
def test_unsafe_settings_stop_the_start(changed: Mapping[str, str], setting: str, tmp_path: Path) -> None:
    safe = {"data_dir": str(tmp_path), "base_url": "https://pkgs.example.com", "trusted_proxies": "127.0.0.1/32"}
    load(None, {f"MINTMARK_{name.upper()}": value for name, value in safe.items()})
    environment = {f"MINTMARK_{name.upper()}": value for name, value in (safe | dict(changed)).items() if value}
    with pytest.raises(Misconfigured) as refusal:
        load(None, environment)
    assert refusal.value.setting == setting
    assert refusal.value.cure


def test_the_mark_comes_before_the_trust(tmp_path: Path) -> None:
    """Where the mark cannot be written, a development index trusts nobody."""
    port = free_port()
    mark = tmp_path / "mintmark-dev" / "lab.json"
    (mark / "in the way").mkdir(parents=True)
    mark.parent.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-m", "mintmark", "serve", "--dev", "--port", str(port)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert Dev(tmp_path, port).mintmark("issuer", "list").startswith("No issuer is trusted yet.")


async def test_the_mark_of_a_lab_comes_before_the_trust(tmp_path: Path) -> None:
    """Where the mark cannot be written, a lab has no data yet."""
    (tmp_path / "lab.json" / "in the way").mkdir(parents=True)
    async with AsyncExitStack() as last_first:
        with pytest.raises(OSError, match=r"lab\.json"):
            await _Lab(Wishes(), tmp_path, last_first, {}).start()
    assert (tmp_path / "mintmark.toml").exists()
    assert not (tmp_path / "data").exists()
