"""Any body at all: never a 5xx, and nothing is kept unless the answer is 200."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintmark.store.data_dir import LEDGER_NAME
from support.dists import sdist, wheel
from support.wire import FORM_TYPE, Room, form, open_room, part, refused, segment
from support.world import SELF_HOSTED, Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOUNDED = settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
FILENAME, DATA = wheel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(house: World) -> AsyncIterator[tuple[Room, str]]:
    """A registry with a publisher, and an API token for it."""
    room = await open_room(house, "target")
    await room.publisher("widget")
    yield room, await room.token()


def kept(world: World) -> tuple[int, ...]:
    """Rows of files, releases and projects, and blobs and half-received files on the disk."""
    directory = world.index.directory_path
    with closing(sqlite3.connect(directory / LEDGER_NAME)) as connection:
        rows = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("files", "releases", "projects", "credentials", "replays")
        ]
    folders = sum(len(list((directory / "blobs" / f"{number:02x}").iterdir())) for number in range(0, 256, 16))
    return (*rows, folders, len(list((directory / "incoming").iterdir())))


def polite(answer: Answer) -> None:
    assert 200 <= answer.status < 500, (answer.status, answer.body)
    if answer.status >= 400:
        refused(answer, answer.code)


# -- the exchange -----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
HEADER_OBJECTS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), VALUES, max_size=4)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "project_path", "sub"]), VALUES, max_size=6
).map(lambda claims: {"iss": SELF_HOSTED, **claims})
FORGED = st.builds(
    lambda header, claims, signature: f"{segment(header)}.{segment(claims)}.{segment(signature)}",
    HEADER_OBJECTS,
    CLAIMS,
    st.binary(max_size=20),
)
REQUESTS = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["token", "features", "x"]), VALUES, max_size=3).map(
        lambda value: json.dumps(value).encode()
    ),
    FORGED.map(lambda token: json.dumps({"token": token}).encode()),
    st.text(alphabet="abcXYZ019-_=. ", max_size=80).map(lambda token: json.dumps({"token": token}).encode()),
)


@BOUNDED
@given(body=REQUESTS)
async def test_any_body_at_the_exchange(target: tuple[Room, str], body: bytes) -> None:
    room, _ = target
    before = kept(room.world)
    answer = await room.world.request("POST", room.mint_path, data=body)
    polite(answer)
    assert answer.status == 422
    polite(await room.world.request("POST", f"/{room.slug}/_/oidc/burn-token", data=body))
    assert kept(room.world) == before


@BOUNDED
@given(
    changes=st.dictionaries(
        st.sampled_from(
            ["iss", "aud", "exp", "iat", "nbf", "jti", "project_path", "ci_config_ref_uri", "ref_path", "ref_protected",
             "environment", "project_id", "job_project_id", "pipeline_source", "sha", "namespace_id", "unheard-of"]
        ),
        VALUES,
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
async def test_any_claims_that_the_issuer_signs(target: tuple[Room, str], changes: dict[str, object]) -> None:
    """The issuer is trusted with identities, not with the health of the index."""
    room, _ = target
    token = room.world.signers[SELF_HOSTED].sign({**room.world.claims(SELF_HOSTED, room.audience), **changes})
    before = kept(room.world)
    answer = await room.mint(token)
    polite(answer)
    assert token not in answer.body.decode()
    if answer.status != 200:
        assert kept(room.world) == before


# -- uploads ----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [":action", "protocol_version", "sha256_digest", "blake2_256_digest", "md5_digest", "name", "version", "filetype",
     "pyversion", "metadata_version", "content", "attestations", "gpg_signature", "classifiers", "summary", ""]
)  # fmt: skip
FIELD_TEXT = st.one_of(
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")),
    st.binary(max_size=30),
    st.sampled_from([b"file_upload", b"1", b"widget", b"1.0", b"bdist_wheel", b"sdist", b"source", b"2.0", b"\0", b""]),
)
FILENAMES = st.one_of(
    st.none(),
    st.sampled_from([FILENAME, "widget-1.0.tar.gz", "gadget-1.0-py3-none-any.whl", "../x.whl", "x", ""]),
    st.text(st.characters(exclude_characters='\r\n"\0', exclude_categories=["Cs"]), max_size=20),
)
PARTS = st.lists(st.tuples(NAMES, FIELD_TEXT, FILENAMES), max_size=8)


def valid_parts() -> list[bytes]:
    fields = {
        ":action": "file_upload", "protocol_version": "1", "sha256_digest": hashlib.sha256(DATA).hexdigest(),
        "name": "widget", "version": "1.0", "filetype": "bdist_wheel", "pyversion": "py3",
    }  # fmt: skip
    return [*(part(name, value.encode()) for name, value in fields.items()), part("content", DATA, filename=FILENAME)]


VALID = form(valid_parts())


async def check_upload(target: tuple[Room, str], body: bytes) -> None:
    room, token = target
    before = kept(room.world)
    answer = await room.world.request(
        "POST", f"/{room.slug}/legacy/", data=body, headers={**FORM_TYPE, "Authorization": f"Bearer {token}"}
    )
    polite(answer)
    if answer.status != 200:
        assert kept(room.world) == before, (answer.status, answer.reason)


@BOUNDED
@given(
    parts=PARTS,
    position=st.integers(0, 8),
    keep=st.booleans(),
)
async def test_any_fields(
    target: tuple[Room, str], parts: list[tuple[str, bytes, str | None]], position: int, keep: bool
) -> None:
    """Random fields by themselves, and among those of a valid form."""
    extra = [part(name, value, filename=filename) for name, value, filename in parts]
    valid = valid_parts() if keep else []
    await check_upload(target, form([*valid[:position], *extra, *valid[position:]]))


@BOUNDED
@given(
    start=st.integers(0, len(VALID)),
    length=st.integers(0, 40) | st.integers(0, len(VALID)),
    replacement=st.binary(max_size=40)
    | st.sampled_from([b"\r\n", b"--limit\r\n", b"--limit--", b"--limit--\r\n", b"\n"]),
)
async def test_any_change_of_a_valid_form(
    target: tuple[Room, str], start: int, length: int, replacement: bytes
) -> None:
    await check_upload(target, VALID[:start] + replacement + VALID[start + length :])


@BOUNDED
@given(start=st.integers(0, 2000), length=st.integers(0, 60), replacement=st.binary(max_size=60), kind=st.booleans())
async def test_any_damage_of_a_file(
    target: tuple[Room, str], start: int, length: int, replacement: bytes, kind: bool
) -> None:
    """The form is right, with the digest of the very bytes it carries; the file is not."""
    name, data = wheel(version="3.0") if kind else sdist(version="3.0")
    start = start % len(data)
    damaged = data[:start] + replacement + data[start + length :]
    room, token = target
    before = kept(room.world)
    answer = await room.upload(token, (name, damaged))
    polite(answer)
    if answer.status != 200:
        assert kept(room.world) == before


@BOUNDED
@given(
    body=st.binary(max_size=300),
    content_type=st.binary(max_size=60) | st.just(b"multipart/form-data; boundary=limit"),
)
async def test_any_bytes_of_any_type(target: tuple[Room, str], body: bytes, content_type: bytes) -> None:
    room, token = target
    before = kept(room.world)
    kind = "".join(character for character in content_type.decode("latin-1") if character.isprintable())
    answer = await room.world.request(
        "POST", f"/{room.slug}/legacy/", data=body, auth=token, headers={"Content-Type": kind or "x"}
    )
    polite(answer)
    assert kept(room.world) == before
