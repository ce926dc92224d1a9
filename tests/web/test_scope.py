"""Which projects a credential covers, and what ends it at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mintmark.core.records import OPERATOR
from support.dists import sdist, wheel
from support.wire import Room, open_room, refused
from support.world import GITHUB, GITLAB, SELF_HOSTED

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def created(room: Room, project: str = "widget") -> None:
    """Make a project exist."""
    assert (await room.upload(await room.token(), wheel(project, "0.1"))).status == 200


# -- the union --------------------------------------------------------------------------------------------------------


async def test_union_over_every_matching_publisher(room: Room) -> None:
    await room.publisher("one")
    await room.publisher("two", ref="refs/heads/main")
    await room.publisher("three", environment="release")
    await room.publisher("four", project_path="foo/other")
    answer = await room.mint(room.identity_token())
    assert answer.json["scope"]["projects"] == ["one", "two"]
    # A constrained publisher of one project takes nothing away from another project.
    answer = await room.mint(room.identity_token(config={"environment": "release"}))
    assert answer.json["scope"]["projects"] == ["one", "three", "two"]


async def test_fifty_projects_in_one_credential(room: Room) -> None:
    names = [f"part-{number:02}" for number in range(50)]
    for name in names:
        await room.publisher(name)
    answer = await room.mint(room.identity_token())
    assert answer.json["scope"]["projects"] == names
    for name in (names[0], names[49]):
        assert (await room.upload(answer.json["token"], wheel(name))).status == 200


async def test_a_refusal_names_at_most_five_projects(room: Room) -> None:
    for number in range(8):
        await room.publisher(f"part-{number}")
    secret = await room.credential()
    detail = refused(await room.upload(secret, wheel("gadget")), "not-allowed", secret)
    assert detail.endswith("It covers: part-0, part-1, part-2, part-3, part-4.")


async def test_several_publishers_of_one_project(room: Room) -> None:
    """Each is judged by itself; the credential is tied to all that match."""
    await created(room)
    broad = await room.publisher("widget")
    narrow = await room.publisher("widget", allow="create-only")
    secret = await room.credential()
    assert (await room.upload(secret, wheel(version="1.0"))).status == 200
    await room.world.index.trust.remove_publisher(room.slug, broad, OPERATOR)
    assert "may only create" in refused(await room.upload(secret, wheel(version="2.0")), "not-allowed", secret)
    await room.world.index.trust.remove_publisher(room.slug, narrow, OPERATOR)
    refused(await room.upload(secret, wheel(version="2.0")), "not-allowed", secret)


# -- constraints ------------------------------------------------------------------------------------------------------

REFS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "exact": ({"ref": "refs/heads/main"}, "refs/heads/main", True),
    "other-branch": ({"ref": "refs/heads/main"}, "refs/heads/main2", False),
    "glob": ({"ref": "refs/heads/release-*"}, "refs/heads/release-1.0", True),
    "glob-does-not-cross": ({"ref": "refs/heads/release-*"}, "refs/heads/release-1/evil", False),
    "glob-is-anchored": ({"ref": "refs/heads/release-*"}, "refs/heads/xrelease-1", False),
    "glob-is-no-regex": ({"ref": "refs/heads/v.1"}, "refs/heads/vx1", False),
    "tag-is-no-branch": ({"ref": "refs/heads/main"}, "refs/tags/main", False),
    "protected": ({"protected_ref": True}, "refs/heads/main", True),
    "not-protected": ({"protected_ref": True}, "refs/heads/feature", False),
    "tag-needed": ({"tag": "v{version}"}, "refs/heads/v1.0", False),
}


@pytest.mark.parametrize(("constraints", "ref", "good"), REFS.values(), ids=list(REFS))
@pytest.mark.parametrize("url", [GITHUB, SELF_HOSTED], ids=["github", "gitlab"])
async def test_constraints_at_the_mint(room: Room, url: str, constraints: dict[str, Any], ref: str, good: bool) -> None:
    await room.publisher("widget", url=url, **constraints)
    token = room.identity_token(url, ref=ref)
    answer = await room.mint(token)
    if good:
        assert answer.status == 200, answer.body
    else:
        assert "Check failed for 'ref" in refused(answer, "invalid-publisher", token)


@pytest.mark.parametrize("url", [GITHUB, SELF_HOSTED], ids=["github", "gitlab"])
async def test_tag_is_tied_to_the_uploaded_version(room: Room, url: str) -> None:
    await room.publisher("widget", url=url, tag="v{version}")
    secret = await room.credential(url, ref="refs/tags/v1.0")
    assert (await room.upload(secret, wheel(version="1.0"))).status == 200
    assert (await room.upload(secret, sdist(version="1.0"))).status == 200
    for version in ("1.1", "1.0.1", "1.0rc1"):
        detail = refused(await room.upload(secret, wheel(version=version)), "not-allowed", secret)
        assert f"allows version {version} only from the tag v{version}" in detail


async def test_create_only(room: Room) -> None:
    """The project's first release, which may consist of several files; nothing after it."""
    await room.publisher("widget", allow="create-only")
    secret = await room.credential()
    assert (await room.upload(secret, wheel(version="1.0"))).status == 200
    assert (await room.upload(secret, sdist(version="1.0"))).status == 200
    detail = refused(await room.upload(secret, wheel(version="2.0")), "not-allowed", secret)
    assert "may only create the project" in detail
    # The answer to the first upload was lost: its repetition is no second release.
    assert (await room.upload(secret, wheel(version="1.0"))).status == 200


async def test_upload_only(room: Room) -> None:
    await created(room)
    await room.publisher("widget", allow="upload-only")
    secret = await room.credential()
    assert (await room.upload(secret, wheel())).status == 200


# -- identity ---------------------------------------------------------------------------------------------------------


async def test_same_path_on_two_issuers_is_two_publishers(room: Room) -> None:
    await room.world.issuer(room.slug, GITLAB)
    await room.publisher("ours", url=SELF_HOSTED)
    await room.publisher("theirs", url=GITLAB)
    assert (await room.mint(room.identity_token(SELF_HOSTED))).json["scope"]["projects"] == ["ours"]
    assert (await room.mint(room.identity_token(GITLAB))).json["scope"]["projects"] == ["theirs"]
    # The configuration must be the issuer's own server's, too.
    token = room.identity_token(GITLAB, ci_config_ref_uri="gitlab.example.com/foo/bar//.gitlab-ci.yml@refs/heads/main")
    refused(await room.mint(token), "invalid-publisher", token)


async def test_issuer_is_trusted_for_some_projects_only(room: Room) -> None:
    await room.world.issuer(room.slug, GITLAB, projects=["acme-*"])
    with pytest.raises(Exception, match="trusted for acme-"):
        await room.publisher("widget", url=GITLAB)
    await room.publisher("acme-widget", url=GITLAB)
    assert (await room.mint(room.identity_token(GITLAB))).status == 200
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab-com", lambda issuer: replace(issuer, projects=("other-*",)), OPERATOR)
    token = room.identity_token(GITLAB)
    refused(await room.mint(token), "invalid-publisher", token)


async def test_mismatch_is_explained_to_whoever_was_verified(room: Room) -> None:
    await room.publisher("widget", environment="release")
    token = room.identity_token()
    answer = await room.mint(token)
    detail = refused(answer, "invalid-publisher", token)
    assert "environment: expected 'release', got nothing" in detail
    assert "widget" in detail
    # A stranger learns only that nothing fits.
    token = room.identity_token(project_path="some/stranger")
    answer = await room.mint(token)
    assert "widget" not in answer.body.decode()
    refused(answer, "invalid-publisher", token)


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, "", True, ["foo/bar"], {"a": "foo/bar"}, "foo/bar\u0000", " foo/bar"]
)
async def test_lookup_claim_of_any_shape(room: Room, value: object) -> None:
    await room.publisher("widget")
    token = room.identity_token(project_path=value)
    refused(await room.mint(token), "invalid-publisher", token)


# -- what ends a credential at once -----------------------------------------------------------------------------------


async def ended(room: Room, secret: str) -> str:
    """Nothing is left of what the credential allowed."""
    page = await room.get("/simple/widget/", auth=secret)
    assert page.status == 404, page.body
    return refused(await room.upload(secret, wheel(version="9.0")), "not-allowed", secret)


async def live(room: Room) -> tuple[str, int]:
    publisher = await room.publisher("widget")
    secret = await room.credential()
    assert (await room.upload(secret, wheel())).status == 200
    assert (await room.get("/simple/widget/", auth=secret)).status == 200
    return secret, publisher


async def test_h06_detaching_its_publisher(room: Room) -> None:
    secret, publisher = await live(room)
    await room.world.index.trust.remove_publisher(room.slug, publisher, OPERATOR)
    assert (await ended(room, secret)).endswith("the project widget. Its publisher is gone or switched off.")
    # Registered again, it is another publisher: the credential stays ended.
    await room.publisher("widget")
    await ended(room, secret)
    assert (await room.mint(room.identity_token())).status == 200


async def test_disabling_its_issuer(room: Room) -> None:
    secret, _ = await live(room)
    change = room.world.index.trust.change_issuer
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=False), OPERATOR)
    # Not "It covers: widget", which would be of no help.
    assert "covers: widget" not in await ended(room, secret)
    refused(await room.mint(room.identity_token()), "not-enabled")
    await change(room.slug, "gitlab", lambda issuer: replace(issuer, enabled=True), OPERATOR)
    assert (await room.upload(secret, wheel(version="2.0"))).status == 200


async def test_removing_its_issuer(room: Room) -> None:
    secret, _ = await live(room)
    await room.world.index.trust.remove_issuer(room.slug, "gitlab", OPERATOR)
    await ended(room, secret)
    token = room.identity_token()
    refused(await room.mint(token), "invalid-payload", token)


async def test_disabling_trusted_publishing(room: Room) -> None:
    secret, _ = await live(room)
    await room.change(trusted_publishing=False)
    await ended(room, secret)
    token = room.identity_token()
    refused(await room.mint(token), "not-enabled", token)
    refused(await room.get("/_/oidc/audience"), "exchange-disabled")


async def test_disabling_the_registry(room: Room) -> None:
    secret, _ = await live(room)
    token = await room.token()
    await room.change(enabled=False)
    for credential in (secret, token, None):
        refused(await room.upload(credential, wheel(version="2.0")), "not-found")
        for path in ("/simple/", "/simple/widget/", "/simple/widget", "/_/oidc/audience", "/files/ab/abc/x.whl"):
            refused(await room.get(path, auth=credential), "not-found")
    refused(await room.mint(room.identity_token()), "not-found")
    await room.change(enabled=True)
    assert (await room.upload(secret, wheel(version="2.0"))).status == 200


@pytest.mark.parametrize("status", ["archived", "quarantined"])
async def test_h07_archiving_its_project(room: Room, status: str) -> None:
    secret, _ = await live(room)
    room.set_status("widget", status)
    detail = refused(await room.upload(secret, wheel(version="2.0")), "not-allowed", secret)
    assert detail.startswith(f"The project widget is {status} and takes no uploads.")
    detail = refused(await room.upload(await room.token(), wheel(version="2.0")), "not-allowed")
    assert detail.startswith(f"The project widget is {status} and takes no uploads.")
    token = room.identity_token()
    refused(await room.mint(token), "invalid-publisher", token)


async def test_removing_the_registry(room: Room) -> None:
    await room.publisher("widget")
    await room.world.index.trust.remove_registry(room.slug, OPERATOR)
    refused(await room.get("/simple/"), "not-found")
    refused(await room.mint(room.identity_token()), "not-found")
    refused(await room.upload(None, wheel()), "not-found")


async def test_credentials_of_one_registry_never_work_on_another(room: Room) -> None:
    other = await open_room(room.world, f"{room.slug}-b")
    for each in (room, other):
        await created(each)
        await each.publisher("widget")
    for secret in (await room.credential(), await room.token()):
        assert (await room.upload(secret, wheel())).status == 200
        refused(await other.upload(secret, wheel()), "not-allowed", secret)
        for path in ("/simple/", "/simple/widget/", "/simple/nothing/"):
            refused(await other.get(path, auth=secret), "not-found", secret)
