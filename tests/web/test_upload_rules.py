"""What an uploaded file must be: digests, names, versions, duplicates; and where the reason is shown."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mintmark.lab.signer import Signer
from mintmark.service.steps import Step
from mintmark.store.data_dir import LEDGER_NAME
from support.dists import sdist, wheel
from support.wire import PROBLEM, SIMPLE_JSON, Room, open_room, refused
from support.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILENAME, DATA = wheel()
SHA256 = hashlib.sha256(DATA).hexdigest()
BLAKE2 = hashlib.blake2b(DATA, digest_size=32).hexdigest()
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()

DIGESTS: dict[str, tuple[dict[str, Any], str]] = {
    "sha256": ({"sha256_digest": SHA256}, ""),
    "blake2": ({"sha256_digest": None, "blake2_256_digest": BLAKE2}, ""),
    "all": ({"sha256_digest": SHA256, "blake2_256_digest": BLAKE2, "md5_digest": MD5}, ""),
    "capitals": ({"sha256_digest": SHA256.upper()}, ""),
    "md5-only": ({"sha256_digest": None, "md5_digest": MD5}, ""),
    "empty-others": ({"sha256_digest": SHA256, "blake2_256_digest": "", "md5_digest": ""}, ""),
    "none": ({"sha256_digest": None}, "invalid-upload"),
    "empty": ({"sha256_digest": ""}, "invalid-upload"),
    "wrong-sha256": ({"sha256_digest": "0" * 64}, "digest-mismatch"),
    "wrong-blake2": ({"sha256_digest": SHA256, "blake2_256_digest": "0" * 64}, "digest-mismatch"),
    "wrong-md5": ({"sha256_digest": SHA256, "md5_digest": "0" * 32}, "digest-mismatch"),
    "short": ({"sha256_digest": SHA256[:63]}, "invalid-upload"),
    "not-hexadecimal": ({"sha256_digest": "g" * 64}, "invalid-upload"),
    "prefixed": ({"sha256_digest": "sha256:" + SHA256}, "invalid-upload"),
    "unicode-digits": ({"sha256_digest": "\u0661" * 64}, "invalid-upload"),
}


@pytest.mark.parametrize(("fields", "code"), DIGESTS.values(), ids=list(DIGESTS))
async def test_digests(room: Room, fields: Mapping[str, Any], code: str) -> None:
    token = await room.token()
    answer = await room.upload(token, (FILENAME, DATA), fields=dict(fields))
    if code:
        refused(answer, code, token)
        assert await room.names(token, "widget") == []
    else:
        assert (answer.status, await room.names(token, "widget")) == (200, [FILENAME]), answer.reason


DISAGREEMENTS: dict[str, tuple[tuple[str, bytes], dict[str, Any], str]] = {
    "form-name": ((FILENAME, DATA), {"name": "gadget"}, "invalid-metadata"),
    "form-version": ((FILENAME, DATA), {"version": "1.1"}, "invalid-metadata"),
    "form-version-is-none": ((FILENAME, DATA), {"version": "one"}, "invalid-upload"),
    "filetype": ((FILENAME, DATA), {"filetype": "sdist"}, "invalid-upload"),
    "filetype-unknown": ((FILENAME, DATA), {"filetype": "bdist_egg"}, "invalid-upload"),
    "pyversion": ((FILENAME, DATA), {"pyversion": "source"}, "invalid-upload"),
    "file-of-another-project": ((FILENAME, wheel("gadget")[1]), {}, "invalid-metadata"),
    "file-of-another-version": ((FILENAME, wheel(version="2.0")[1]), {}, "invalid-metadata"),
    "wheel-named-as-sdist": (("widget-1.0.tar.gz", DATA), {}, "invalid-distribution"),
    "sdist-named-as-wheel": ((FILENAME, sdist()[1]), {}, "invalid-distribution"),
    "empty": ((FILENAME, b""), {}, "invalid-distribution"),
    "text": ((FILENAME, b"hello"), {}, "invalid-distribution"),
    "cut": ((FILENAME, DATA[: len(DATA) // 2]), {}, "invalid-distribution"),
    "empty-sdist": (("widget-1.0.tar.gz", b""), {}, "invalid-distribution"),
}


@pytest.mark.parametrize(("file", "fields", "code"), DISAGREEMENTS.values(), ids=list(DISAGREEMENTS))
async def test_disagreements(room: Room, file: tuple[str, bytes], fields: dict[str, Any], code: str) -> None:
    token = await room.token()
    refused(await room.upload(token, file, fields={"name": "widget", "version": "1.0", **fields}), code, token)
    assert await room.names(token, "widget") == []


FILENAMES = [
    "../widget-1.0-py3-none-any.whl", "..\\widget-1.0-py3-none-any.whl", "a/widget-1.0-py3-none-any.whl",
    "/etc/widget-1.0-py3-none-any.whl", "widget-1.0-py3-none-any.whl/", "widget-1.0-py3-none-any.WHL",
    "Widget-1.0-py3-none-any.whl", "wid.get-1.0-py3-none-any.whl", "widget-1.0.0-py3-none-any.whl.metadata",
    "widget-v1.0-py3-none-any.whl", "widget-1.0-py3-none.whl", "widget-1.0.zip", "widget-1.0.tar.bz2", "widget-1.0.exe",
    "widget.tar.gz", "widget-1.0 .tar.gz", "wid\u00e9get-1.0.tar.gz", "widget-1.0%00.tar.gz", "x" * 300 + "-1.0.tar.gz",
    "widget-1.0-py3-none-any.whl;x", "C:\\evil\\widget-1.0-py3-none-any.zip", "index.html", ".", "..", "index.json",
]  # fmt: skip


@pytest.mark.parametrize("filename", FILENAMES)
async def test_filenames(room: Room, filename: str) -> None:
    token = await room.token()
    fields = {"name": "widget", "version": "1.0", "filetype": "bdist_wheel", "pyversion": None}
    answer = await room.upload(token, (filename, DATA), fields=fields)
    assert answer.json["errors"][0]["code"] in {"invalid-filename", "invalid-upload"}, answer.body
    refused(answer, answer.code, token)
    blobs = room.world.index.directory_path
    assert not [path for path in blobs.rglob("*widget-1.0*") if path.is_file()]


# -- duplicates -------------------------------------------------------------------------------------------------------


async def test_the_same_file_again(room: Room) -> None:
    token = await room.token()
    for _ in range(3):
        assert (await room.upload(token, (FILENAME, DATA))).status == 200
    page = await room.get("/simple/widget/", auth=token, headers=SIMPLE_JSON)
    assert len(page.json["files"]) == 1
    assert len(await room.events("upload")) == 1


async def test_other_bytes_under_the_same_name(room: Room) -> None:
    """twine, pdm, poetry and maturin skip on this very wording."""
    token = await room.token()
    assert (await room.upload(token, (FILENAME, DATA))).status == 200
    for file in (wheel(body=b"other"), wheel(requires_python=None)):
        answer = await room.upload(token, file)
        assert answer.reason.startswith("File already exists")
        assert refused(answer, "file-exists", token).startswith(f"File already exists ({FILENAME})")
    page = await room.get("/simple/widget/", auth=token, headers=SIMPLE_JSON)
    assert [file["hashes"]["sha256"] for file in page.json["files"]] == [SHA256]


async def test_name_of_a_deleted_file_stays_used(room: Room) -> None:
    token = await room.token()
    assert (await room.upload(token, (FILENAME, DATA))).status == 200
    page = await room.get("/simple/widget/", auth=token, headers=SIMPLE_JSON)
    url = page.json["files"][0]["url"].removeprefix("../..")
    room.execute("UPDATE files SET state = 'deleted'")
    for file in ((FILENAME, DATA), wheel(body=b"other")):
        answer = await room.upload(token, file)
        assert refused(answer, "file-exists", token).startswith("File already exists")
    for path in (url, url + ".metadata"):
        refused(await room.get(path, auth=token), "not-found")


async def test_the_same_name_in_two_registries(room: Room) -> None:
    other = await open_room(room.world, f"{room.slug}-b")
    for each, file in ((room, (FILENAME, DATA)), (other, wheel(body=b"other"))):
        assert (await each.upload(await each.token(), file)).status == 200
    # The same bytes are stored once, which no answer tells.
    assert (await other.upload(await other.token(), wheel(version="2.0"))).status == 200
    assert (await room.upload(await room.token(), wheel(version="2.0"))).status == 200


async def test_similar_names_are_one_project(room: Room) -> None:
    token = await room.token()
    assert (await room.upload(token, wheel("my-widget"), fields={"name": "My.Widget"})).status == 200
    assert (await room.upload(token, wheel("my-widget", "2.0"), fields={"name": "my_widget"})).status == 200
    assert len(await room.names(token, "my-widget")) == 2
    page = await room.get("/simple/", auth=token, headers=SIMPLE_JSON)
    assert page.json["projects"] == [{"name": "my-widget"}]


# -- where the reason is shown ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "*/*", "application/json;q=0.9, text/plain;q=0.8", "text/html"])
async def test_reason_is_in_phrase_and_body(room: Room, accept: str | None) -> None:
    token = await room.token()
    headers = {} if accept is None else {"Accept": accept}
    answer = await room.upload(token, (FILENAME, DATA), fields={"sha256_digest": "0" * 64}, headers=headers)
    sentence = refused(answer, "digest-mismatch", token)
    assert answer.headers["Content-Type"] == PROBLEM
    assert sentence.startswith(answer.reason.removesuffix("..."))
    assert answer.json["message"] == sentence
    assert len(sentence) > 200
    assert len(answer.reason) == 200


# -- in which order ---------------------------------------------------------------------------------------------------


async def test_a_page_never_shows_what_is_not_committed(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    started: list[World] = []
    seen: dict[Step, tuple[bool, bool]] = {}

    def reached(step: Step) -> None:
        if not started or not step.startswith("upload"):
            return
        index = started[0].index
        blob = (index.directory_path / "blobs" / SHA256[:2] / SHA256).exists()
        page = index.pages.find("acme", "widget", "json")
        seen.setdefault(step, (blob, page is not None and FILENAME.encode() in page.body))

    async with running_world(tmp_path, signers, reached=reached) as world:
        await world.registry("acme")
        token = await world.token()
        started.append(world)
        assert (await world.upload(token, (FILENAME, DATA))).status == 200
        started.clear()
    assert seen[Step.UPLOAD_RECEIVED] == (False, False)
    assert seen[Step.UPLOAD_CHECKED] == (False, False)
    assert seen[Step.UPLOAD_BLOB_DURABLE] == (True, False)
    assert seen[Step.UPLOAD_RECORDED] == (True, False)
    assert seen[Step.UPLOAD_COMMITTED] == (True, False)
    assert seen[Step.UPLOAD_PAGES_REPLACED] == (True, True)


@pytest.mark.parametrize(
    "step", [Step.UPLOAD_RECEIVED, Step.UPLOAD_CHECKED, Step.UPLOAD_BLOB_DURABLE, Step.UPLOAD_RECORDED]
)
async def test_a_bug_before_the_commit_keeps_nothing(tmp_path: Path, signers: Mapping[str, Signer], step: Step) -> None:
    broken = {step}

    def reached(at: Step) -> None:
        if at in broken:
            raise RuntimeError("a bug, for this test")

    async with running_world(tmp_path, signers, reached=reached) as world:
        room = await open_room(world, "acme")
        await room.publisher("widget")
        answer = await room.mint(room.identity_token(), extra={"features": ["single-use-token"]})
        secret = answer.json["token"]
        failed = await room.upload(secret, (FILENAME, DATA))
        refused(failed, "internal-error", secret)
        assert failed.headers["Content-Type"] == PROBLEM
        assert (await room.get("/simple/widget/", auth=secret)).status == 404
        assert list((world.index.directory_path / "incoming").iterdir()) == []
        broken.clear()
        # A 5xx spends nothing.
        assert (await room.upload(secret, (FILENAME, DATA))).status == 200


LATE = {
    "h06-publisher-detached": ("DELETE FROM publishers", "not-allowed"),
    "issuer-disabled": ("UPDATE issuers SET enabled = 0", "not-allowed"),
    "registry-disabled": ("UPDATE registries SET enabled = 0", "not-found"),
    "publishers-only": ("UPDATE registries SET trusted_publishing_only = 1", "not-allowed"),
    "h07-project-archived": ("UPDATE projects SET status = 'archived'", "not-allowed"),
    "h09-burned": ("UPDATE credentials SET ended_at = 1", "credential-refused"),
    "h04-expired": ("UPDATE credentials SET expires_at = 1", "credential-refused"),
}


@pytest.mark.parametrize(("statement", "code"), LATE.values(), ids=list(LATE))
@pytest.mark.parametrize("kind", ["minted", "token"])
async def test_what_ends_while_a_file_is_on_its_way(
    tmp_path: Path, signers: Mapping[str, Signer], statement: str, code: str, kind: str
) -> None:
    """Uploads take minutes: permission is judged again in the transaction that records the file."""
    changing: list[World] = []

    def reached(step: Step) -> None:
        if step is Step.UPLOAD_BLOB_DURABLE and changing:
            with closing(sqlite3.connect(changing[0].index.directory_path / LEDGER_NAME)) as connection, connection:
                connection.execute(statement)

    async with running_world(tmp_path, signers, reached=reached) as world:
        room = await open_room(world, "acme")
        await room.publisher("widget")
        secret = await room.credential() if kind == "minted" else await room.token()
        assert (await room.upload(secret, (FILENAME, DATA))).status == 200
        changing.append(world)
        answer = await room.upload(secret, wheel(version="2.0"))
        harmless = {"token": ("FROM publishers", "issuers"), "minted": ("trusted_publishing_only",)}[kind]
        if any(words in statement for words in harmless):
            assert answer.status == 200
        else:
            refused(answer, code, secret)
