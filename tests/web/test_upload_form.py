"""The upload form on the wire: what a client may send, what it may not, and that a refusal is always heard."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mintmark.lab.signer import Signer
from support.dists import wheel
from support.wire import FORM_TYPE, PROBLEM, Room, answer_of, form, head, open_room, part, raw, refused
from support.world import Answer, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILENAME, DATA = wheel()


def fields(**changes: str | None) -> dict[str, str]:
    values: dict[str, str | None] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "sha256_digest": hashlib.sha256(DATA).hexdigest(),
        "metadata_version": "2.4",
        "name": "widget",
        "version": "1.0",
        "filetype": "bdist_wheel",
        "pyversion": "py3",
    }
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def texts(**changes: str | None) -> list[bytes]:
    return [part(name, value.encode()) for name, value in fields(**changes).items()]


CONTENT = part("content", DATA, filename=FILENAME)


async def post(room: Room, body: bytes, secret: str, path: str = "", **headers: str) -> Answer:
    return await room.world.request(
        "POST", path or f"/{room.slug}/legacy/", data=body, auth=secret, headers={**FORM_TYPE, **headers}
    )


async def count(room: Room, secret: str) -> int:
    return len(await room.names(secret, "widget"))


# -- what is accepted -------------------------------------------------------------------------------------------------

GOOD: dict[str, list[bytes]] = {
    "plain": [*texts(), CONTENT],
    "uv-attestations-last": [*texts(), CONTENT, part("attestations", b"[]")],
    "content-first": [CONTENT, *texts()],
    "gpg-signature": [*texts(), part("gpg_signature", b"-----BEGIN\xff", filename=FILENAME + ".asc"), CONTENT],
    "attestations-as-file": [*texts(), part("attestations", b"[]", filename="a.json"), CONTENT],
    "unknown-fields": [*texts(), part("provides_extras", b"x"), part("x" * 100, b"y"), CONTENT],
    "repeated-fields": [*texts(), *(part("classifiers", str(n).encode()) for n in range(50)), CONTENT],
    "repeated-requirements": [*texts(), part("requires_dist", b"a"), part("requires_dist", b"b"), CONTENT],
    "same-field-twice": [*texts(), part("version", b"1.0"), CONTENT],
    "empty-fields": [*texts(), part("home_page", b""), part("license", b""), CONTENT],
    "utf-8": [*texts(), part("summary", "ein Häuschen \U0001f3e0".encode()), CONTENT],
    "part-with-type": [*texts(), part("content", DATA, filename=FILENAME, more="Content-Type: application/zip\r\n")],
    "version-spelled-otherwise": [*texts(version="v1.0.0"), CONTENT],
    "name-spelled-otherwise": [*texts(name="Widget"), CONTENT],
    "no-pyversion": [*texts(pyversion=None), CONTENT],
    "no-metadata-version": [*texts(metadata_version=None), CONTENT],
    "no-protocol-version": [*texts(protocol_version=None), CONTENT],
}


@pytest.mark.parametrize("parts", GOOD.values(), ids=list(GOOD))
async def test_accepted(room: Room, parts: list[bytes]) -> None:
    token = await room.token()
    answer = await post(room, form(parts), token)
    assert (answer.status, answer.body) == (200, b""), answer.reason
    assert await room.names(token, "widget") == [FILENAME]


async def test_action_in_the_query(room: Room) -> None:
    token = await room.token()
    body = form([*texts(**{":action": None}), CONTENT])
    refused(await post(room, body, token), "invalid-upload", token)
    assert (await post(room, body, token, f"/{room.slug}/legacy/?:action=file_upload")).status == 200
    assert (await post(room, body, token, f"/{room.slug}/legacy?%3Aaction=file_upload")).status == 200


async def test_with_and_without_slash_and_never_a_redirect(room: Room) -> None:
    token = await room.token()
    for path in (f"/{room.slug}/legacy/", f"/{room.slug}/legacy"):
        assert (await post(room, form([*texts(), CONTENT]), token, path)).status == 200
        for method in ("GET", "PUT", "DELETE"):
            answer = await room.world.request(method, path)
            refused(answer, "method-not-allowed")
            assert answer.headers["Allow"] == "POST"
    for path in ("/legacy/", "/legacy"):
        refused(await room.world.get(path), "method-not-allowed")


async def test_boundaries(room: Room) -> None:
    token = await room.token()
    body = form([*texts(), CONTENT], b"-'()+_,./:=? x")
    answer = await post(room, body, token, **{"Content-Type": 'multipart/form-data; boundary="-\'()+_,./:=? x"'})
    assert answer.status == 200, answer.reason
    answer = await post(room, WHOLE, token, **{"Content-Type": "Multipart/Form-Data; Boundary=limit"})
    assert answer.status == 200, answer.reason


# -- what is refused --------------------------------------------------------------------------------------------------

WHOLE = form([*texts(), CONTENT])
BAD: dict[str, tuple[bytes, str]] = {
    "no-action": (form([*texts(**{":action": None}), CONTENT]), "invalid-upload"),
    "other-action": (form([*texts(**{":action": "submit"}), CONTENT]), "invalid-upload"),
    "protocol-2": (form([*texts(protocol_version="2"), CONTENT]), "invalid-upload"),
    "no-name": (form([*texts(name=None), CONTENT]), "invalid-upload"),
    "empty-name": (form([*texts(name=""), CONTENT]), "invalid-upload"),
    "no-version": (form([*texts(version=None), CONTENT]), "invalid-upload"),
    "no-filetype": (form([*texts(filetype=None), CONTENT]), "invalid-upload"),
    "no-content": (form(texts()), "invalid-upload"),
    "content-is-text": (form([*texts(), part("content", DATA)]), "invalid-upload"),
    "content-without-name": (form([*texts(), part("content", DATA, filename="")]), "invalid-upload"),
    "two-contents": (form([*texts(), CONTENT, CONTENT]), "invalid-upload"),
    "name-is-file": (form([*texts(name=None), part("name", b"widget", filename="x"), CONTENT]), "invalid-upload"),
    "contradiction": (form([*texts(), part("version", b"2.0"), CONTENT]), "invalid-upload"),
    "contradicting-digest": (form([*texts(), part("sha256_digest", b"0" * 64), CONTENT]), "invalid-upload"),
    "contradiction-after-content": (form([*texts(), CONTENT, part("name", b"gadget")]), "invalid-upload"),
    "field-not-utf-8": (form([*texts(), part("summary", b"\xff\xfe"), CONTENT]), "invalid-upload"),
    "name-with-nul": (form([*texts(name="wid\0get"), CONTENT]), "invalid-upload"),
    "name-with-newline": (form([*texts(name="widget\r\nX-Evil: 1"), CONTENT]), "invalid-upload"),
    "name-is-a-path": (form([*texts(name="../widget"), CONTENT]), "invalid-upload"),
    "name-not-ascii": (form([*texts(name="\u212aidget"), CONTENT]), "invalid-upload"),
    "empty-body": (b"", "invalid-upload"),
    "empty-form": (form([]), "invalid-upload"),
    "no-boundary": (b"hello" * 100, "invalid-upload"),
    "other-boundary": (form([*texts(), CONTENT], b"another"), "invalid-upload"),
    "cut": (WHOLE[:-20], "invalid-upload"),
    "cut-in-header": (WHOLE[:60], "invalid-upload"),
    "last-boundary-missing": (WHOLE.removesuffix(b"--limit--\r\n"), "invalid-upload"),
    "bare-newlines": (WHOLE.replace(b"\r\n", b"\n"), "invalid-upload"),
    "part-without-name": (form([b"Content-Disposition: form-data\r\n\r\nx", CONTENT]), "invalid-upload"),
    "part-without-disposition": (form([b"X: y\r\n\r\nx", CONTENT]), "invalid-upload"),
    "part-is-attachment": (form([b'Content-Disposition: attachment; name="name"\r\n\r\nx']), "invalid-upload"),
    "part-header-too-long": (form([b"X: " + b"y" * 10_000 + b"\r\n\r\nx", CONTENT]), "invalid-upload"),
    "part-with-many-headers": (form([b"X: y\r\n" * 20 + b"\r\nx", CONTENT]), "invalid-upload"),
    "part-header-not-utf-8": (form([b"X: \xff\r\n\r\nx", CONTENT]), "invalid-upload"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=list(BAD))
async def test_refused(room: Room, body: bytes, code: str) -> None:
    token = await room.token()
    answer = await post(room, body, token)
    refused(answer, code, token)
    assert answer.headers["Content-Type"] == PROBLEM
    assert "X-Evil" not in answer.headers
    assert await count(room, token) == 0


TYPES = {
    "none": None,
    "json": "application/json",
    "urlencoded": "application/x-www-form-urlencoded",
    "mixed": "multipart/mixed; boundary=limit",
    "no-boundary": "multipart/form-data",
    "empty-boundary": "multipart/form-data; boundary=",
    "long-boundary": "multipart/form-data; boundary=" + "x" * 300,
    "boundary-not-ascii": 'multipart/form-data; boundary="\xe9"',
    "boundary-not-utf-8": 'multipart/form-data; boundary="\xff"',
    "strange": ";;;=,\xff",
}


@pytest.mark.parametrize("content_type", TYPES.values(), ids=list(TYPES))
async def test_media_type(room: Room, content_type: str | None) -> None:
    lines = [f"Authorization: Bearer {await room.token()}", f"Content-Length: {len(WHOLE)}"]
    lines += [] if content_type is None else [f"Content-Type: {content_type}"]
    data = head(room.world, "POST", f"/{room.slug}/legacy/", *lines) + WHOLE
    refused(answer_of(await raw(room.world, data)), "invalid-upload")


async def test_body_without_a_length(room: Room) -> None:
    async def pieces() -> Any:
        yield WHOLE

    answer = await room.world.request(
        "POST", f"/{room.slug}/legacy/", data=pieces(), auth=await room.token(), headers=FORM_TYPE
    )
    refused(answer, "length-required")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
async def test_compressed_body(room: Room, encoding: str) -> None:
    token = await room.token()
    refused(await post(room, WHOLE, token, **{"Content-Encoding": encoding}), "invalid-upload")
    assert (await post(room, WHOLE, token, **{"Content-Encoding": "Identity"})).status == 200


# -- limits -----------------------------------------------------------------------------------------------------------

LIMITS: dict[str, Any] = {"form_field_limit_bytes": 2048, "form_fields_limit": 30, "file_limit_bytes": 5000}


async def test_limits(tmp_path: Path, signers: Mapping[str, Signer]) -> None:
    async with running_world(tmp_path, signers, **LIMITS) as world:
        room = await open_room(world, "acme")
        token = await room.token()

        async def send(parts: list[bytes]) -> Answer:
            return await post(room, form(parts), token)

        detail = refused(await send([*texts(), part("description", b"x" * 2049), CONTENT]), "too-large", token)
        assert "'description'" in detail
        many = [part(f"field-{number}", b"x" * 2000) for number in range(5)]
        refused(await send([*texts(), *many, CONTENT]), "too-large", token)
        refused(await send([*texts(), *(part(f"x{n}", b"") for n in range(30)), CONTENT]), "invalid-upload", token)
        refused(await send([*texts(), part("content", bytes(5001), filename=FILENAME)]), "too-large", token)
        enormous = await world.request(
            "POST", "/acme/legacy/", data=io.BytesIO(bytes(5000 + 32 * 1024 * 1024 + 1)), auth=token, headers=FORM_TYPE
        )
        refused(enormous, "too-large", token)
        signature = part("gpg_signature", b"x" * 10_000, filename="x.asc")
        assert (await send([*texts(), signature, part("description", b"x" * 2048), CONTENT])).status == 200
        assert list((world.index.directory_path / "incoming").iterdir()) == []


# -- clients that break off, and clients that must hear the reason ----------------------------------------------------


def incoming(room: Room) -> list[Path]:
    return list((room.world.index.directory_path / "incoming").iterdir())


@pytest.mark.parametrize("end", [40, len(WHOLE) // 2, len(WHOLE) - 1])
async def test_client_that_breaks_off(
    room: Room, end: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    token = await room.token()
    fields = {"Authorization": f"Bearer {token}", "Content-Length": str(len(WHOLE)), **FORM_TYPE}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    data = head(room.world, "POST", f"/{room.slug}/legacy/", *lines)
    assert await raw(room.world, data + WHOLE[:end], end=True) == b""
    for _ in range(100):
        # Each a round trip, in which the server notices.
        assert await count(room, token) == 0
        if not incoming(room):
            break
    assert incoming(room) == []
    # Somebody who hangs up is no bug of ours: no traceback for them.
    log = caplog.text + "".join(capfd.readouterr())
    assert "Traceback" not in log
    assert "bug" not in log


async def test_refused_client_hears_the_reason(house: World) -> None:
    """http.client, below twine and flit, sends everything before it listens: the body must be read to its end."""
    body = form([*texts(), part("content", bytes(5 * 1024 * 1024), filename=FILENAME)])

    def send(credential: str, slug: str) -> tuple[int, str, bytes]:
        host, _, port = house.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            headers = {**FORM_TYPE, "Host": house.http.headers["Host"], "Authorization": credential}
            connection.request("POST", f"/{slug}/legacy/", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.read()
        finally:
            connection.close()

    wrong = aiohttp.encode_basic_auth("__token__", "hunter2")
    status, reason, received = await asyncio.to_thread(send, wrong, "acme")
    assert (status, reason) == (403, "The credential is unknown.")
    assert received.startswith(b"{")
    status, reason, _ = await asyncio.to_thread(send, "", "acme")
    assert (status, reason[:22]) == (401, "This needs a credentia")
    status, reason, _ = await asyncio.to_thread(send, wrong, "nothing")
    assert (status, reason) == (404, "There is no such registry here.")
