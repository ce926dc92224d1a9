"""Who may read and who may upload: the table of the contract's section 5, and every strange Authorization header."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintmark.core import credentials
from support.dists import wheel
from support.wire import SIMPLE_JSON, Room, answer_of, head, raw, refused
from support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = credentials.compose(credentials.MINTED, b"\2" * 32)


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


MISSING = {
    "none": None,
    "empty": "",
    "empty-password": basic("__token__:"),
    "empty-password-of-another": basic("someone:"),
    "space-password": basic("__token__: \n"),
    "nothing-at-all": basic(":"),
    "bearer-nothing": "Bearer ",
    "bearer-word": "Bearer",
}
WRONG = {
    "unknown": basic(f"__token__:{UNKNOWN}"),
    "unknown-bearer": f"Bearer {UNKNOWN}",
    "checksum": basic(f"__token__:{UNKNOWN[:-1]}!"),
    "password": basic("__token__:hunter2"),
    "user": basic(f"someone:{UNKNOWN}"),
    "no-colon": basic("__token__"),
    "not-base64": "Basic !!!",
    "not-utf-8": basic(b"__token__:\xff\xfe"),
    "nul": basic("__token__:\0"),
    "scheme": f"Digest {UNKNOWN}",
    "scheme-only": "Negotiate",
    "long": "Bearer " + "x" * 5000,
    "not-ascii": "Bearer \xe9",
    "pypi-token": basic("__token__:pypi-AgEIcHlwaS5vcmc"),
}
READS = ("/simple/", "/simple/widget/", "/simple/nothing/", "/files/ab/ab/x.whl", "/files/ab/ab/x.whl.metadata")


def authorization(header: str | None) -> dict[str, str]:
    return {} if header is None else {"Authorization": header}


@pytest.mark.parametrize("header", MISSING.values(), ids=list(MISSING))
async def test_missing_credential(house: World, header: str | None) -> None:
    for path in READS:
        refused(await house.get("/acme" + path, headers=authorization(header)), "credential-required")
    refused(await house.upload(None, wheel(), headers=authorization(header)), "credential-required")


@pytest.mark.parametrize("header", WRONG.values(), ids=list(WRONG))
async def test_wrong_credential(house: World, header: str) -> None:
    for path in READS:
        refused(await house.get("/acme" + path, headers=authorization(header)), "credential-invalid", header)
    refused(await house.upload(None, wheel(), headers=authorization(header)), "credential-refused", header)


@pytest.mark.parametrize("header", [*MISSING.values(), *WRONG.values()])
async def test_public_registry_asks_readers_for_nothing(house: World, header: str | None) -> None:
    assert (await house.get("/open/simple/", headers=authorization(header))).status == 200
    refused(await house.get("/open/files/ab/ab/x.whl", headers=authorization(header)), "not-found")
    answer = await house.upload(None, wheel(), "open", headers=authorization(header))
    assert answer.status in {401, 403}


async def test_minted_credential_reads_the_projects_it_covers(room: Room) -> None:
    token = await room.token()
    await room.publisher("widget")
    secret = await room.credential()
    for name in ("widget", "gadget"):
        assert (await room.upload(token, wheel(name))).status == 200
    page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
    file = page.json["files"][0]["url"].removeprefix("../..")
    assert (await room.get(file, auth=secret)).status == 200
    assert (await room.get(file + ".metadata", auth=secret)).status == 200
    # What it does not cover looks like what does not exist.
    page = await room.get("/simple/gadget/", auth=token, headers=SIMPLE_JSON)
    hidden = page.json["files"][0]["url"].removeprefix("../..")
    missing = await room.get("/simple/nothing/", auth=secret)
    refused(missing, "not-found", secret)
    for path in ("/simple/gadget/", hidden, hidden + ".metadata", "/simple/"):
        answer = await room.get(path, auth=secret)
        assert (answer.status, answer.body, answer.reason) == (404, missing.body, missing.reason)
    absent = await room.get("/files/ab/" + "ab" * 32 + "/nothing-1.0-py3-none-any.whl", auth=secret)
    assert (absent.status, absent.body) == (404, missing.body)
    await room.change(publishers_read=True)
    for path in ("/simple/gadget/", "/simple/", hidden):
        assert (await room.get(path, auth=secret)).status == 200


async def test_reader_token_for_some_projects(room: Room) -> None:
    token = await room.token()
    for name in ("acme-a", "acme-b", "other"):
        assert (await room.upload(token, wheel(name))).status == 200
    reader = await room.token(upload=False, projects=("acme-*",))
    assert (await room.get("/simple/acme-a/", auth=reader)).status == 200
    for path in ("/simple/other/", "/simple/", "/simple/nothing/"):
        refused(await room.get(path, auth=reader), "not-found", reader)


async def test_names_with_underscores_and_dashes(room: Room) -> None:
    """A file's project is found from its name; a reader of `a-b` must not depend on how the file spells it."""
    token = await room.token()
    assert (await room.upload(token, wheel("my-long-name"))).status == 200
    reader = await room.token(upload=False, projects=("my-long-name",))
    page = await room.get("/simple/my-long-name/", auth=reader, headers=SIMPLE_JSON)
    assert (await room.get(page.json["files"][0]["url"].removeprefix("../.."), auth=reader)).status == 200


async def test_redirects_tell_nothing_about_projects(room: Room) -> None:
    for name in ("Widget", "No.Such", "widget"):
        answer = await room.get(f"/simple/{name}")
        assert answer.status == 301
    refused(await room.get("/simple/..."), "not-found")


async def test_private_pages_are_for_nobodys_cache(room: Room) -> None:
    token = await room.token()
    assert (await room.upload(token, wheel())).status == 200
    page = await room.get("/simple/widget/", auth=token, headers=SIMPLE_JSON)
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert page.headers["Vary"] == "Accept, Accept-Encoding"
    file = await room.get(page.json["files"][0]["url"].removeprefix("../.."), auth=token)
    assert file.headers["Cache-Control"].startswith("private, max-age=")


# -- any header at all ------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=80)
HEADERS = st.one_of(
    TEXT,
    TEXT.map("Basic {}".format),
    TEXT.map("Bearer {}".format),
    st.binary(max_size=80).map(basic),
    st.binary(max_size=60).map(lambda data: basic(b"__token__:" + data)),
    st.integers(0, len(UNKNOWN) - 1).map(lambda at: basic("__token__:" + UNKNOWN[:at] + "x" + UNKNOWN[at + 1 :])),
    st.integers(0, 300).map(lambda count: "Basic " + "A" * count),
)


@settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(header=HEADERS)
async def test_any_authorization_header_is_refused_politely(house: World, header: str) -> None:
    # Control characters are no header: the server may say so in its own words.
    field = "Authorization: " + header.strip()
    read = answer_of(await raw(house, head(house, "GET", "/acme/simple/widget/", field)))
    assert read.status in {400, 401}
    upload = answer_of(await raw(house, head(house, "POST", "/acme/legacy/", field, "Content-Length: 0")))
    assert upload.status in {400, 401, 403}
    for answer in (read, upload):
        if answer.status != 400:
            refused(answer, answer.json["errors"][0]["code"])
