"""What readers see of files in each state and of projects of each status, on every path, from the next request on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from html.parser import HTMLParser

import pytest

from mintmark.core.life_cycle import STATUSES, OneFile, WholeVersion
from mintmark.core.records import OPERATOR
from mintmark.service.ports import Transaction
from mintmark.service.projects import Outcome
from support.dists import metadata, sdist, wheel
from support.server import mintmark
from support.wire import SIMPLE_JSON, Room, refused
from support.world import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILENAME, DATA = wheel()
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = f"/files/{SHA256[:2]}/{SHA256}/{FILENAME}"
METADATA = metadata("widget", "1.0").encode()
HTML = {"Accept": "text/html"}
ONE = WholeVersion("1.0")


class Links(HTMLParser):
    """The links of a page: name and attributes."""

    def __init__(self, page: Answer) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


async def shelf(room: Room) -> str:
    """Publish widget 1.0; returns a credential that reads."""
    secret = await room.token()
    assert (await room.upload(secret, (FILENAME, DATA))).status == 200
    # Now everything that may be remembered is remembered.
    for form in (SIMPLE_JSON, HTML):
        assert (await room.get("/simple/widget/", auth=secret, headers=form)).status == 200
    assert (await room.get(PATH, auth=secret)).status == 200
    return secret


async def bring(room: Room, state: str) -> None:
    """Bring the file into a state."""
    life = room.world.index.life_cycle
    if state == "yanked":
        await life.yank(room.slug, "widget", OneFile(FILENAME), "Broken.", OPERATOR)
    if state == "deleted":
        await life.delete(room.slug, "widget", OneFile(FILENAME), OPERATOR)
    if state == "staged":
        await stage(room)


async def stage(room: Room) -> None:
    """Make the file staged, for which there is no use case yet."""

    def work(tx: Transaction) -> None:
        home = tx.registries.find(room.slug)
        assert home is not None
        found = tx.files.with_project(home.id, FILENAME)
        assert found is not None
        tx.files.set_state(found[0].id, "staged", None)
        tx.projects.mark_changed(found[1].id)
        tx.projects.mark_list_changed(home.id)

    await room.world.index.ledger.write(work)
    registry = await room.world.index.ledger.read(lambda tx: tx.registries.find(room.slug))
    assert registry is not None
    await room.world.index.renderer.show(registry, "widget")
    await room.world.index.renderer.listing(registry)


async def check_downloads(room: Room, secret: str, sentence: str | None) -> None:
    """Every way to the bytes: all there, or all refused with this sentence."""
    for path, data in ((PATH, DATA), (f"{PATH}.metadata", METADATA)):
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        plain = await room.get(path, auth=secret)
        head = await room.world.request("HEAD", f"/{room.slug}{path}", auth=secret)
        ranged = await room.get(path, auth=secret, headers={"Range": "bytes=1-3"})
        known = await room.get(path, auth=secret, headers={"If-None-Match": etag})
        if sentence is None:
            assert (plain.status, plain.body) == (200, data)
            assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(data)), b"")
            assert (ranged.status, ranged.body) == (206, data[1:4])
            assert known.status == 304
        else:
            for answer in (plain, ranged, known):
                assert refused(answer, "not-found") == sentence
            assert (head.status, head.headers["Cache-Control"]) == (404, "no-store")


async def check_pages(room: Room, secret: str, yanked: list[bool | str], *, listed: bool = True) -> None:
    """What both forms of the page and of the list say; `yanked` has one entry a file."""
    page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
    assert page.status == 200
    assert [(file["filename"], file["yanked"]) for file in page.json["files"]] == [(FILENAME, said) for said in yanked]
    html = await room.get("/simple/widget/", auth=secret, headers=HTML)
    links = Links(html).found
    assert [link.get("data-yanked", False) for link in links] == yanked
    assert (FILENAME.encode() in html.body) == bool(yanked)
    names = await room.get("/simple/", auth=secret, headers=SIMPLE_JSON)
    assert names.json["projects"] == ([{"name": "widget"}] if listed else [])
    assert len(Links(await room.get("/simple/", auth=secret, headers=HTML)).found) == int(listed)
    for path in ("/simple/widget/", "/simple/"):
        head = await room.world.request("HEAD", f"/{room.slug}{path}", auth=secret, headers=SIMPLE_JSON)
        assert (head.status, head.body) == (200, b"")


NOTHING = "The registry {slug} has no such file."
DELETED = f"The file {FILENAME} was deleted."
STATES: Mapping[str, tuple[list[bool | str], bool, str | None]] = {
    "visible": ([False], True, None),
    "yanked": (["Broken."], True, None),
    "deleted": ([], True, DELETED),
    "staged": ([], False, NOTHING),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("private", [True, False])
async def test_each_state_on_each_path(room: Room, public_room: Room, state: str, private: bool) -> None:
    here = room if private else public_room
    secret = await shelf(here)
    await bring(here, state)
    yanked, listed, sentence = STATES[state]
    await check_pages(here, secret, yanked, listed=listed)
    await check_downloads(here, secret, sentence.format(slug=here.slug) if sentence else None)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("state", ["visible", "yanked"])
async def test_each_status_on_each_path(room: Room, status: str, state: str) -> None:
    secret = await shelf(room)
    await bring(room, state)
    await room.world.index.life_cycle.set_status(room.slug, "widget", status, "", OPERATOR)
    quarantined = status == "quarantined"
    await check_pages(room, secret, [] if quarantined else STATES[state][0])
    held = "The project widget is quarantined: its files are held back until it has been looked into."
    await check_downloads(room, secret, held if quarantined else None)
    page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
    assert page.json["project-status"]["status"] == status
    html = await room.get("/simple/widget/", auth=secret, headers=HTML)
    assert (f'name="pypi:project-status" content="{status}"' in html.body.decode()) == (status != "active")
    answer = await room.upload(secret, sdist())
    if status in {"active", "deprecated"}:
        assert answer.status == 200
    else:
        assert f"The project widget is {status}" in refused(answer, "not-allowed")
    # And back: everything is as before.
    await room.world.index.life_cycle.set_status(room.slug, "widget", "active", "", OPERATOR)
    await check_downloads(room, secret, None)


async def test_nobody_else_learns_of_a_state(room: Room) -> None:
    """Without a credential, a deleted, quarantined and unknown file of a private registry are one."""
    secret = await shelf(room)
    other = await room.token(projects=("gadget",), name="other")
    unknown = PATH.replace("1.0", "9.0")
    for state in ("visible", "deleted"):
        await bring(room, state)
        answers = [await room.get(path) for path in (PATH, unknown)]
        assert {refused(answer, "credential-required") for answer in answers} == {answers[0].description}
        hidden = [await room.get(path, auth=other) for path in (PATH, unknown)]
        assert {refused(answer, "not-found") for answer in hidden} == {hidden[0].description}
    await room.world.index.life_cycle.set_status(room.slug, "widget", "quarantined", "", OPERATOR)
    assert refused(await room.get(PATH, auth=secret), "not-found") == DELETED


@pytest.mark.parametrize("form", [SIMPLE_JSON, HTML], ids=["json", "html"])
async def test_a_conditional_request_after_each_change(room: Room, form: dict[str, str]) -> None:
    secret = await shelf(room)
    life = room.world.index.life_cycle

    async def known(etag: str) -> Answer:
        return await room.get("/simple/widget/", auth=secret, headers={**form, "If-None-Match": etag})

    etag = (await room.get("/simple/widget/", auth=secret, headers=form)).headers["ETag"]
    seen = {etag}
    changes: list[Callable[[], Awaitable[Outcome]]] = [
        lambda: life.yank(room.slug, "widget", ONE, "", OPERATOR),
        lambda: life.yank(room.slug, "widget", ONE, "Broken.", OPERATOR),
        lambda: life.set_status(room.slug, "widget", "archived", "", OPERATOR),
        lambda: life.set_status(room.slug, "widget", "quarantined", "", OPERATOR),
        lambda: life.set_status(room.slug, "widget", "active", "", OPERATOR),
        lambda: life.delete(room.slug, "widget", ONE, OPERATOR),
    ]
    for change in changes:
        assert (await known(etag)).status == 304
        assert (await change()).changed
        answer = await known(etag)
        assert answer.status == 200
        etag = answer.headers["ETag"]
        seen.add(etag)
    # All different but one: active again, it is what it was when it was yanked with a reason.
    assert len(seen) == 6


REASONS = [
    "a <b> & \"c\" 'd'", "</a><script>alert(1)</script>", "&quot;&#0;", "--> <!--", "Größe 漢字 🎉", "=", "x" * 500,
    "\\u0022 \\", "true", "0",
]  # fmt: skip


async def test_reasons_come_through_unchanged(room: Room) -> None:
    secret = await shelf(room)
    for reason in REASONS:
        await room.world.index.life_cycle.yank(room.slug, "widget", ONE, reason, OPERATOR)
        page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
        assert page.json["files"][0]["yanked"] == reason
        (link,) = Links(await room.get("/simple/widget/", auth=secret, headers=HTML)).found
        assert link["data-yanked"] == reason
    await room.world.index.life_cycle.yank(room.slug, "widget", ONE, "", OPERATOR)
    page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
    assert page.json["files"][0]["yanked"] is True
    (link,) = Links(await room.get("/simple/widget/", auth=secret, headers=HTML)).found
    assert link["data-yanked"] == ""


async def test_what_is_uploaded_into_a_yanked_release_is_yanked(room: Room) -> None:
    secret = await shelf(room)
    await room.world.index.life_cycle.yank(room.slug, "widget", ONE, "Broken.", OPERATOR)
    assert (await room.upload(secret, sdist())).status == 200
    page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
    assert [file["yanked"] for file in page.json["files"]] == ["Broken.", "Broken."]


@pytest.mark.parametrize("same", [True, False])
async def test_a_deleted_name_stays_used(room: Room, same: bool) -> None:
    secret = await shelf(room)
    await bring(room, "deleted")
    file = (FILENAME, DATA) if same else wheel(body=b"other")
    answer = await room.upload(secret, file)
    assert answer.reason.startswith("File already exists")
    assert "was deleted" in refused(answer, "file-exists")
    await check_pages(room, secret, [])
    # Another file of the version is another name.
    assert (await room.upload(secret, sdist())).status == 200
    assert await room.names(secret, "widget") == [sdist()[0]]


async def test_the_command_line_beside_a_running_server(room: Room) -> None:
    """Another process makes each change; the very next request of a remembered reader sees it."""
    secret = await shelf(room)
    settings = room.world.index.settings
    variables = {"MINTMARK_DATA_DIR": settings.data_dir, "MINTMARK_BASE_URL": settings.base_url}

    async def run(*words: str) -> None:
        folder = room.world.index.directory_path
        done = await asyncio.to_thread(mintmark, "project", *words, folder=folder, variables=variables)
        assert done.returncode == 0, done.stderr

    async def seen() -> tuple[list[bool | str], str, int]:
        page = await room.get("/simple/widget/", auth=secret, headers=SIMPLE_JSON)
        status = (await room.get(PATH, auth=secret)).status
        return [file["yanked"] for file in page.json["files"]], page.json["project-status"]["status"], status

    assert await seen() == ([False], "active", 200)
    await run("yank", room.slug, "widget", "1.0", "--reason", "Broken.")
    assert await seen() == (["Broken."], "active", 200)
    await run("status", room.slug, "widget", "quarantined")
    assert await seen() == ([], "quarantined", 404)
    await run("status", room.slug, "widget", "archived")
    assert await seen() == (["Broken."], "archived", 200)
    await run("unyank", room.slug, "widget", "1.0")
    assert await seen() == ([False], "archived", 200)
    await run("delete", room.slug, "widget", "1.0", "--yes")
    assert await seen() == ([], "archived", 404)
