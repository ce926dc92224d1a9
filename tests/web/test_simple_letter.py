"""The read side against its standards: one test for each sentence with MUST or SHOULD that we claim.

Named by the document and its section. What is said about clients is not tested here.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import pytest_asyncio
from packaging.metadata import Metadata

from support.dists import sdist, wheel
from support.wire import SIMPLE_JSON, Room, answer_of, head, raw, refused
from support.world import SELF_HOSTED, Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_V1 = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
FILES = dict([wheel(), sdist()])


class Html(HTMLParser):
    """The anchors and meta tags of a page."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.doctype = ""
        self.metas: dict[str, str] = {}
        self.anchors: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self._inside = False
        self.feed(answer.body.decode())
        self.close()

    def handle_decl(self, decl: str) -> None:
        self.doctype = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and "name" in values:
            self.metas[str(values["name"])] = str(values["content"])
        if tag == "a":
            self.anchors.append(values)
            self.texts.append("")
        self._inside = tag == "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


@pytest_asyncio.fixture(loop_scope="module")
async def shop(public_room: Room) -> Room:
    """A public registry with a wheel and a source distribution of one release."""
    token = await public_room.token()
    for each in FILES.items():
        assert (await public_room.upload(token, each)).status == 200
    return public_room


async def html(room: Room, path: str = "/simple/widget/") -> Html:
    return Html(await room.get(path))


async def details(room: Room, project: str = "widget") -> Any:
    return (await room.get(f"/simple/{project}/", headers=SIMPLE_JSON)).json


async def followed(room: Room, base: str, url: str) -> Answer:
    target = urlsplit(urljoin(f"http://host/{room.slug}{base}", url))
    return await room.world.get(target.path)


def touch(room: Room, update: str, *values: str) -> None:
    """Change rows behind the server's back, as a change that is rendered on the next reading."""
    room.execute(update, *values)
    room.execute("UPDATE projects SET changes = changes + 1")


async def render(room: Room) -> None:
    await room.world.index.renderer.heal()


# -- PEP 503 ----------------------------------------------------------------------------------------------------------


async def test_503_the_root_is_html5_with_one_anchor_a_project(shop: Room) -> None:
    assert (await shop.upload(await shop.token(), wheel("other-one"))).status == 200
    page = await html(shop, "/simple/")
    assert page.doctype.lower() == "doctype html"
    assert page.texts == ["other-one", "widget"]
    for anchor in page.anchors:
        assert (await followed(shop, "/simple/", str(anchor["href"]))).status == 200


async def test_503_a_project_page_has_one_anchor_a_file_that_leads_to_it(shop: Room) -> None:
    page = await html(shop)
    assert page.doctype.lower() == "doctype html"
    assert sorted(page.texts) == sorted(FILES)
    for text, anchor in zip(page.texts, page.anchors, strict=True):
        url = str(anchor["href"])
        assert unquote(urlsplit(url).path.rpartition("/")[2]) == text
        assert (await followed(shop, "/simple/widget/", url)).body == FILES[text]


async def test_503_urls_carry_a_hash_that_every_python_has(shop: Room) -> None:
    page = await html(shop)
    for text, anchor in zip(page.texts, page.anchors, strict=True):
        name, _, digest = urlsplit(str(anchor["href"])).fragment.partition("=")
        assert name in hashlib.algorithms_guaranteed
        assert hashlib.new(name, FILES[text]).hexdigest() == digest


@pytest.mark.parametrize("path", ["/simple", "/simple/widget"])
async def test_503_pages_end_with_a_slash_and_others_redirect(shop: Room, path: str) -> None:
    answer = await shop.get(path)
    assert (answer.status, answer.headers["Location"]) == (301, f"/{shop.slug}{path}/")


@pytest.mark.parametrize("spelling", ["Widget", "WIDGET"])
async def test_503_other_spellings_redirect_to_the_normal_name(shop: Room, spelling: str) -> None:
    answer = await shop.get(f"/simple/{spelling}/")
    assert (answer.status, answer.headers["Location"]) == (301, f"/{shop.slug}/simple/widget/")


async def test_503_signatures_are_claimed_nowhere(shop: Room) -> None:
    """There are none: an attribute on some links would have to be on every one."""
    assert not any("data-gpg-sig" in anchor for anchor in (await html(shop)).anchors)
    assert not any("gpg-sig" in file for file in (await details(shop))["files"])


async def test_503_requires_python_is_escaped(public_room: Room) -> None:
    token = await public_room.token()
    assert (await public_room.upload(token, wheel(requires_python=">=3.8,<4"))).status == 200
    assert b'data-requires-python="&gt;=3.8,&lt;4"' in (await public_room.get("/simple/widget/")).body
    assert (await html(public_room)).anchors[0]["data-requires-python"] == ">=3.8,<4"


async def test_503_who_is_no_project_has_no_page(public_room: Room) -> None:
    refused(await public_room.get("/simple/nobody/"), "not-found")
    # One that waits for its first upload is not there yet either.
    await public_room.publisher("pending")
    await public_room.credential(config={}, url=SELF_HOSTED)
    refused(await public_room.get("/simple/pending/"), "not-found")
    assert (await public_room.get("/simple/", headers=SIMPLE_JSON)).json["projects"] == []


async def test_503_a_project_that_lost_its_files_keeps_its_page(shop: Room) -> None:
    touch(shop, "UPDATE files SET state = 'deleted'")
    await render(shop)
    assert (await html(shop)).anchors == []
    found = await details(shop)
    assert (found["files"], found["versions"]) == ([], [])


# -- PEP 592 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", 'it "broke" <things>'])
async def test_592_yanked_files_say_so_and_why(shop: Room, reason: str) -> None:
    touch(shop, "UPDATE files SET state = 'yanked', yanked_reason = ?", reason)
    await render(shop)
    assert {anchor["data-yanked"] for anchor in (await html(shop)).anchors} == {reason}
    # In JSON a boolean or a string that is not empty (PEP 691).
    assert [file["yanked"] for file in (await details(shop))["files"]] == [reason or True] * 2
    touch(shop, "UPDATE files SET state = 'visible', yanked_reason = NULL")
    await render(shop)
    assert not any("data-yanked" in anchor for anchor in (await html(shop)).anchors)
    assert [file["yanked"] for file in (await details(shop))["files"]] == [False, False]


# -- PEP 629 and 833 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/simple/", "/simple/widget/"])
async def test_629_every_page_names_its_version(shop: Room, path: str) -> None:
    answer = await shop.get(path, headers=SIMPLE_JSON)
    assert re.fullmatch(r"1\.[0-9]+", answer.json["meta"]["api-version"])
    # PEP 833: that of HTML stays what it is for ever.
    assert (await html(shop, path)).metas["pypi:repository-version"] == "1.4"


# -- PEP 658 and 714 --------------------------------------------------------------------------------------------------


async def test_658_metadata_stands_beside_a_wheel_with_its_hash(shop: Room) -> None:
    for file in (await details(shop))["files"]:
        answer = await followed(shop, "/simple/widget/", file["url"] + ".metadata")
        if not file["core-metadata"]:
            # PEP 643 lets a source distribution's metadata change when it is built.
            assert file["filename"].endswith(".tar.gz")
            refused(answer, "not-found")
            continue
        assert hashlib.sha256(answer.body).hexdigest() == file["core-metadata"]["sha256"]
        assert str(Metadata.from_email(answer.body).version) == "1.0"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_714_both_names_say_the_same_in_both_forms(shop: Room) -> None:
    files = {file["filename"]: file for file in (await details(shop))["files"]}
    page = await html(shop)
    for text, anchor in zip(page.texts, page.anchors, strict=True):
        file = files[text]
        assert file["core-metadata"] == file["dist-info-metadata"]
        assert anchor.get("data-core-metadata") == anchor.get("data-dist-info-metadata")
        wanted = f"sha256={file['core-metadata']['sha256']}" if file["core-metadata"] else None
        assert anchor.get("data-core-metadata") == wanted


# -- PEP 691 ----------------------------------------------------------------------------------------------------------


async def test_691_every_answer_is_an_object_with_meta(shop: Room) -> None:
    root = (await shop.get("/simple/", headers=SIMPLE_JSON)).json
    assert root.keys() == {"meta", "projects"}
    assert root["projects"] == [{"name": "widget"}]
    page = await details(shop)
    assert {"meta", "name", "files", "versions"} <= page.keys()
    assert page["name"] == "widget"


async def test_691_files_have_hashes_by_lower_case_names(shop: Room) -> None:
    for file in (await details(shop))["files"]:
        assert {"filename", "url", "hashes"} <= file.keys()
        assert set(file["hashes"]) & hashlib.algorithms_guaranteed
        assert all(name == name.lower() for name in file["hashes"])
        assert hashlib.sha256(FILES[file["filename"]]).hexdigest() == file["hashes"]["sha256"]
        assert (await followed(shop, "/simple/widget/", file["url"])).body == FILES[file["filename"]]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/vnd.pypi.simple.latest+json", JSON_V1), ("application/vnd.pypi.simple.latest+html", HTML_V1),
        (JSON_V1, JSON_V1), (HTML_V1, HTML_V1), ("text/html", "text/html"), (None, "text/html"), ("*/*", "text/html"),
        (f"{JSON_V1};q=0.1, {HTML_V1};q=0.2", HTML_V1), (f"{JSON_V1};q=0.2, {HTML_V1};q=0.1", JSON_V1),
        (f"{HTML_V1}, {JSON_V1};q=0.999", HTML_V1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/simple/", "/simple/widget/"])
async def test_691_selection(shop: Room, path: str, accept: str | None, content_type: str) -> None:
    """`latest` is answered with the type of the version that it is; without Accept as with `*/*`."""
    answer = await shop.get(path, headers={} if accept is None else {"Accept": accept})
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


async def test_691_nothing_acceptable_is_406_and_never_300(shop: Room) -> None:
    refused(await shop.get("/simple/widget/", headers={"Accept": "application/xml"}), "not-acceptable")


async def test_691_lines_of_accept_count_together(shop: Room) -> None:
    """RFC 9110, section 5.3."""
    request = head(shop.world, "GET", f"/{shop.slug}/simple/widget/", "Accept: text/html;q=0.1", f"Accept: {JSON_V1}")
    assert answer_of(await raw(shop.world, request)).headers["Content-Type"] == JSON_V1


# -- PEP 700 ----------------------------------------------------------------------------------------------------------


async def test_700_versions_lists_every_release_once(shop: Room) -> None:
    token = await shop.token()
    for version in ("1.10", "1.9", "2.0rc1"):
        assert (await shop.upload(token, wheel(version=version))).status == 200
    assert (await details(shop))["versions"] == ["1.0", "1.9", "1.10", "2.0rc1"]


async def test_700_files_have_size_and_time(shop: Room) -> None:
    for file in (await details(shop))["files"]:
        assert file["size"] == len(FILES[file["filename"]])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", file["upload-time"])
    touch(shop, "UPDATE files SET uploaded_at = 1684768332, upload_microseconds = 313790")
    await render(shop)
    for file in (await details(shop))["files"]:
        assert file["upload-time"] == "2023-05-22T15:12:12.313790Z"
        assert datetime.fromisoformat(file["upload-time"]).microsecond == 313790


# -- PEP 740 ----------------------------------------------------------------------------------------------------------


async def test_740_a_file_without_provenance_says_so(shop: Room) -> None:
    assert [file["provenance"] for file in (await details(shop))["files"]] == [None, None]
    assert not any("data-provenance" in anchor for anchor in (await html(shop)).anchors)


# -- PEP 792 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "takes", "offers"),
    [("active", True, True), ("deprecated", True, True), ("archived", False, True), ("quarantined", False, False)],
)
async def test_792_statuses(shop: Room, status: str, takes: bool, offers: bool) -> None:
    urls = [file["url"] for file in (await details(shop))["files"]]
    touch(shop, "UPDATE projects SET status = ?", status)
    await render(shop)
    found, page = await details(shop), await html(shop)
    assert found["project-status"] == {"status": status}
    assert page.metas.get("pypi:project-status", "active") == status
    assert len(found["files"]) == len(page.anchors) == (2 if offers else 0)
    assert found["versions"] == ["1.0"]
    for url in urls:
        for suffix in ("", ".metadata"):
            answer = await followed(shop, "/simple/widget/", url + suffix)
            assert answer.status == (200 if offers and not (suffix and ".tar.gz" in url) else 404)
    answer = await shop.upload(await shop.token(name="after"), wheel(version="9.0"))
    assert answer.status == (200 if takes else 403)
