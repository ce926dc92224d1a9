"""The host-wide exchange across registries, and a registry's own host name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import SIMPLE_JSON, Room, refused
from support.world import SELF_HOSTED, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def two_registries(world: World, **settings: Any) -> None:
    """`acme` and `other`, both with a publisher of `widget` for one identity."""
    for slug in ("acme", "other"):
        await world.registry(slug, **settings)
        await world.issuer(slug)
        await world.publisher("widget", slug)


async def test_identity_of_several_registries(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await two_registries(world)
        await world.registry("apart", host_mint=False)
        await world.issuer("apart")
        await world.publisher("widget", "apart")
        token = world.identity_token()
        detail = refused(await world.mint(token), "ambiguous-registry", token)
        base = world.index.settings.base_url
        assert f"{base}/acme/_/oidc/mint-token, {base}/other/_/oidc/mint-token" in detail
        assert "apart" not in detail
        # Nothing was spent: as soon as it is not ambiguous any more, the token works.
        await Room(world, "other").change(enabled=False)
        answer = await world.mint(token)
        assert answer.json["scope"]["registries"] == ["acme"]
        # A registry that takes no part is reached by its own exchange only.
        await Room(world, "acme").change(host_mint=False)
        token = world.identity_token()
        refused(await world.mint(token), "invalid-payload", token)
        refused(await world.get("/_/oidc/audience"), "exchange-disabled")
        apart = Room(world, "apart")
        assert (await apart.mint(apart.identity_token())).status == 200


async def test_union(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, host_mint="union") as world:
        await two_registries(world)
        await Room(world, "acme").change(credential_lifetime_seconds=3600)
        await world.registry("third")
        await world.issuer("third")
        answer = await world.mint(world.identity_token())
        assert answer.json["scope"] == {
            "registries": ["acme", "other"], "projects": ["widget"], "reads": [], "single-use": False,
        }  # fmt: skip
        # The shortest life of those that it covers.
        assert answer.json["expires"] - world.clock.now() == 900
        secret = answer.json["token"]
        for slug in ("acme", "other"):
            assert (await world.upload(secret, wheel(), slug)).status == 200
            assert (await world.get(f"/{slug}/simple/widget/", auth=secret)).status == 200
        refused(await world.upload(secret, wheel(), "third"), "not-allowed", secret)
        refused(await world.get("/third/simple/", auth=secret), "not-found", secret)
        await Room(world, "other").change(trusted_publishing=False)
        refused(await world.upload(secret, wheel(version="2.0"), "other"), "not-allowed", secret)
        assert (await world.upload(secret, wheel(version="2.0"), "acme")).status == 200


async def test_one_registry_is_no_union(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        for slug in ("acme", "other"):
            await world.registry(slug)
            await world.issuer(slug)
        await world.publisher("widget", "other")
        answer = await world.mint(world.identity_token())
        assert answer.json["scope"]["registries"] == ["other"]
        refused(await world.upload(answer.json["token"], wheel(), "acme"), "not-allowed")
        # A failed attempt is in the log of a registry only if a publisher of its own was near.
        token = world.identity_token(ci_config_ref_uri="elsewhere")
        refused(await world.mint(token), "invalid-publisher", token)
        assert await Room(world, "acme").events("mint") == []
        assert [event.outcome for event in await Room(world, "other").events("mint")] == [
            "invalid-publisher", "minted",
        ]  # fmt: skip
        # One token, one registry: concurrent calls of both exchanges never mint twice.
        token = world.identity_token()
        answers = await asyncio.gather(*(world.mint(token) for _ in range(6)))
        assert sorted(answer.status for answer in answers) == [200, 422, 422, 422, 422, 422]


OWN = "packages.acme.example"


async def test_own_host_name(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme", host=OWN)
        await world.registry("other", host="packages.other.example")
        await world.registry("bare")
        for slug in ("acme", "other"):
            await world.issuer(slug)
            await world.publisher("widget", slug)
        host = {"Host": OWN}
        port = world.index.settings.base_url.rpartition(":")[2]

        found = await world.get("/.well-known/pytp?discover=%2Flegacy%2F", headers=host)
        assert found.json["token-mint-endpoint"] == f"http://{OWN}:{port}/_/oidc/mint-token"
        assert found.json["token-burn-endpoint"] == f"http://{OWN}:{port}/_/oidc/burn-token"
        audience = (await world.get("/_/oidc/audience", headers=host)).json["audience"]
        assert audience == "mintmark_localhost_acme"
        token = world.identity_token(SELF_HOSTED, audience)
        # It is the registry's exchange under another name, not the host's.
        refused(await world.mint(token), "invalid-token", token)
        minted = await world.mint(token, headers=host)
        assert minted.status == 200
        secret = minted.json["token"]
        for path in ("/legacy/", "/legacy"):
            file = wheel(version=f"{len(path)}.0")
            assert (await world.upload(secret, file, path=path, headers=host)).status == 200
        # The same registry by its slug on the shared host.
        assert (await world.upload(secret, wheel(version="9.0"))).status == 200

        page = await world.get("/simple/widget/", auth=secret, headers={**host, **SIMPLE_JSON})
        assert len(page.json["files"]) == 3
        file_path = page.json["files"][0]["url"].replace("../../", "/")
        assert (await world.get(file_path, auth=secret, headers=host)).status == 200
        moved = await world.get("/simple/Wid.get", headers=host)
        assert (moved.status, moved.headers["Location"]) == (301, "/simple/wid-get/")
        listed = await world.get("/simple", headers=host)
        assert (listed.status, listed.headers["Location"]) == (301, "/simple/")
        assert (await world.get("/simple/simple", headers=host)).headers["Location"] == "/simple/simple/"

        # No slugs on an own host name, neither its own nor another's.
        for slug in ("acme", "other", "bare"):
            for path in ("simple/", "simple/widget/", "_/oidc/audience", file_path.lstrip("/")):
                refused(await world.get(f"/{slug}/{path}", auth=secret, headers=host), "not-found")
            refused(await world.upload(secret, wheel(), slug, headers=host), "not-found")
            token = world.identity_token(SELF_HOSTED, audience)
            answer = await world.mint(token, f"/{slug}/_/oidc/mint-token", headers=host)
            refused(answer, "not-found", token)
            key = f"%2F{slug}%2Flegacy%2F"
            refused(await world.get(f"/.well-known/pytp?discover={key}", headers=host), "not-found")
        # Nor paths without slug on the shared host.
        for path in ("/simple/", "/simple/widget/", "/simple", file_path):
            refused(await world.get(path, auth=secret), "not-found")
        refused(await world.upload(secret, wheel(), path="/legacy/"), "not-found")
        refused(await world.get("/.well-known/pytp?discover=%2Flegacy%2F"), "not-found")

        # On the other's own host name nothing of this one's counts.
        elsewhere = {"Host": "packages.other.example"}
        token = world.identity_token(SELF_HOSTED, audience)
        refused(await world.mint(token, headers=elsewhere), "invalid-token", token)
        refused(await world.upload(secret, wheel(), path="/legacy/", headers=elsewhere), "not-allowed", secret)
        refused(await world.get("/simple/widget/", auth=secret, headers=elsewhere), "not-found", secret)

        # A port and capitals in the Host header mean nothing.
        for name in (f"{OWN}:8443", OWN.upper()):
            assert (await world.get("/_/oidc/audience", headers={"Host": name})).json["audience"] == audience

        await Room(world, "acme").change(enabled=False)
        token = world.identity_token(SELF_HOSTED, audience)
        refused(await world.mint(token, headers=host), "not-found", token)
        for path in ("/_/oidc/audience", "/simple/", "/.well-known/pytp?discover=%2Flegacy%2F"):
            refused(await world.get(path, headers=host), "not-found")


async def test_own_host_name_with_its_own_exchange_only(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers) as world:
        await world.registry("acme", host=OWN, host_mint=False)
        await world.issuer()
        await world.publisher("widget")
        token = world.identity_token(audience="mintmark_localhost_acme")
        refused(await world.mint(token), "invalid-payload", token)
        assert (await world.mint(token, headers={"Host": OWN})).status == 200
