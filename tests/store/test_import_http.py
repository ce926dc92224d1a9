"""Another index as a source: what it may answer, and how an import gets along with it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.import_choice import Choice, parse_requirements
from mintmark.service.import_source import Offer, Offers
from mintmark.store import import_http
from mintmark.store.import_http import HttpSource
from support.dists import wheel
from support.other_index import JSON_TYPE, OtherIndex, breaking, endless, failing, other_index, redirect, silent
from support.refusals import mistake

NAME, DATA = wheel("widget")
SHA = hashlib.sha256(DATA).hexdigest()
WIDGET = Choice(("widget",))


class Taken:
    """A sink that shows what it was given."""

    def __init__(self) -> None:
        self.data = b""
        self.restarts = 0

    @property
    def taken_bytes(self) -> int:
        return len(self.data)

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def restart(self) -> None:
        self.data = b""
        self.restarts += 1


@pytest.fixture
async def other(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtherIndex]:
    monkeypatch.setattr(import_http, "BACKOFF_MILLISECONDS", 0)
    async with other_index() as index:
        index.page("/simple/", '<a href="widget/">widget</a>')
        index.page("/simple/widget/", f'<a href="/files/{NAME}#sha256={SHA}">{NAME}</a>')
        index.page(f"/files/{NAME}", DATA, "application/octet-stream")
        yield index


async def offers(source: HttpSource, choice: Choice | None = None) -> list[Offers]:
    try:
        async with aclosing(source.projects(choice or Choice())) as found:  # type: ignore[type-var]
            return [each async for each in found]
    finally:
        await source.close()


async def fetched(source: HttpSource, offer: Offer) -> Taken:
    sink = Taken()
    try:
        await source.fetch(offer, sink)
    finally:
        await source.close()
    return sink


def source_of(other: OtherIndex, path: str = "simple/", **more: str) -> HttpSource:
    return HttpSource(other.url + path, **more)


def offer_of(other: OtherIndex, path: str = f"files/{NAME}", **hashes: str) -> Offer:
    return Offer(NAME, path, other.url + path, hashes)


async def test_html_is_understood_and_json_preferred(other: OtherIndex) -> None:
    (found,) = await offers(source_of(other))
    (offer,) = found.offers
    assert (found.project, offer.filename, offer.hashes) == ("widget", NAME, {"sha256": SHA})
    assert offer.address == f"{other.url}files/{NAME}"
    asked = {headers["Accept"] for _, headers in other.asked}
    assert [accept.partition(",")[0] for accept in asked] == [JSON_TYPE]
    assert (await fetched(source_of(other), offer)).data == DATA


async def test_named_projects_need_no_list(other: OtherIndex) -> None:
    found = await offers(source_of(other, "simple"), Choice(("nothing", "widget")))
    assert [(each.project, each.absent, len(each.offers)) for each in found] == [
        ("nothing", True, 0),
        ("widget", False, 1),
    ]
    assert "/simple/" not in other.paths()
    pinned = Choice(pins=parse_requirements("Widget==1.0"))
    assert [each.project for each in await offers(source_of(other), pinned)] == ["widget"]


async def test_projects_come_in_order_however_long_the_list(other: OtherIndex) -> None:
    names = [f"p{number:03d}" for number in range(3 * import_http.PAGES_AHEAD)]
    other.page("/simple/", json.dumps({"projects": [{"name": name} for name in reversed(names)]}), JSON_TYPE)
    for name in names[1:]:
        other.page(f"/simple/{name}/", json.dumps({"files": []}), JSON_TYPE)
    found = await offers(source_of(other), Choice(("p*",)))
    assert [each.project for each in found] == names
    assert [each.project for each in found if each.absent] == ["p000"]


async def test_times_sizes_and_statuses(other: OtherIndex) -> None:
    item = {"filename": NAME, "url": f"../../files/{NAME}", "hashes": {"sha256": SHA}, "size": len(DATA)}
    item |= {"upload-time": "2023-05-06T07:08:09.012345Z", "yanked": "bad"}
    others = [{"filename": f"widget-1.0.{kind}", "url": "x", "hashes": {}} for kind in ("egg", "exe", "exe")]
    page = {"files": [item, *others, {}], "project-status": {"status": "archived"}}
    other.page("/simple/widget/", json.dumps(page), JSON_TYPE)
    (found,) = await offers(source_of(other))
    (offer,) = found.offers
    assert (offer.size_bytes, offer.uploaded_at, offer.upload_microseconds) == (len(DATA), 1_683_356_889, 12_345)
    assert (offer.yanked, found.status) == ("bad", "archived")
    assert found.skipped == {".egg": 1, ".exe": 2, "unreadable entry": 1}
    page["project-status"] = {"status": "quarantined"}
    other.page("/simple/widget/", json.dumps(page), JSON_TYPE)
    (found,) = await offers(source_of(other))
    assert (found.offers, found.skipped["quarantined"]) == ((), 1)


# -- credentials ------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_the_credential_goes_to_the_index_only(other: OtherIndex) -> None:
    async with other_index() as elsewhere:
        elsewhere.page(f"/{NAME}", DATA)
        there = elsewhere.url.replace("://", "://other:pass@") + NAME
        other.page("/simple/widget/", f'<a href="{there}">x</a><a href="/files/widget-2.0.tar.gz">y</a>')
        other.answers["/files/widget-2.0.tar.gz"] = redirect(elsewhere.url + NAME)
        url = other.url.replace("://", "://jo%40x:se%2Fcret@") + "simple/"
        source = HttpSource(url)
        assert "cret" not in source.label + repr(source)
        (found,) = await offers(source, WIDGET)
        for offer in found.offers:
            assert "pass" not in offer.place
            assert (await fetched(HttpSource(url), offer)).data == DATA
        assert {headers.get("Authorization") for _, headers in other.asked} == {basic("jo@x", "se/cret")}
        assert {headers.get("Authorization") for _, headers in elsewhere.asked} == {None}


async def test_the_password_of_the_environment_wins(other: OtherIndex) -> None:
    await offers(source_of(other, password="s3cret"))
    url = other.url.replace("://", "://jo:old@") + "simple/"
    await offers(HttpSource(url, password="new"))
    sent = [headers["Authorization"] for _, headers in other.asked]
    assert sent == [basic("__token__", "s3cret")] * 2 + [basic("jo", "new")] * 2


async def test_a_refused_credential_says_so(other: OtherIndex) -> None:
    other.answers["/simple/"] = other.answers["/simple/widget/"] = failing(99, b"", status=401)
    with pytest.raises(Rejected, match="asks for a credential") as refused:
        await offers(source_of(other, password="s3cret"))
    assert "s3cret" not in refused.value.sentence
    assert "MINTMARK_IMPORT_PASSWORD" in refused.value.sentence
    (found,) = await offers(source_of(other), WIDGET)
    assert "asks for a credential" in found.failure


# -- trouble ----------------------------------------------------------------------------------------------------------


async def test_trouble_that_passes(other: OtherIndex) -> None:
    other.answers["/simple/"] = failing(3, b'<a href="widget/">widget</a>')
    other.answers[f"/files/{NAME}"] = failing(1, DATA, status=429)
    (found,) = await offers(source_of(other))
    assert (await fetched(source_of(other), found.offers[0])).data == DATA


async def test_trouble_that_lasts(other: OtherIndex) -> None:
    other.answers["/simple/"] = failing(99, b"")
    with pytest.raises(Unavailable, match="HTTP 503, after 5 attempts"):
        await offers(source_of(other))
    assert len(other.asked) == import_http.ATTEMPTS_MAX
    other.page("/simple/", '<a href="gone/">gone</a><a href="widget/">widget</a>')
    other.answers["/simple/gone/"] = failing(99, b"", status=500)
    gone, widget = await offers(source_of(other))
    assert "HTTP 500" in gone.failure
    assert (widget.failure, len(widget.offers)) == ("", 1)


async def test_nobody_listens(other: OtherIndex) -> None:
    source = HttpSource("http://127.0.0.1:1/simple/")
    with pytest.raises(Unavailable, match="cannot be fetched"):
        await offers(source)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("stated", [True, False])
async def test_a_broken_connection_is_taken_up_again(other: OtherIndex, ranges: bool, stated: bool) -> None:
    data = bytes(range(256)) * 4096
    other.answers["/big"] = breaking(data, 700_000, ranges=ranges)
    sink = await fetched(source_of(other), offer_of(other, "big", **({"sha256": SHA} if stated else {})))
    assert sink.data == data
    first, second = [headers for path, headers in other.asked if path == "/big"]
    assert "Range" not in first
    # What was received of the first answer depends on the moment; with nothing there is nothing to take up.
    if "Range" in second:
        assert second["If-Range"] == '"1"'
        assert sink.restarts == (0 if ranges else 1)


async def test_a_changed_file_is_begun_again(other: OtherIndex) -> None:
    """Without a strong validator and without a stated digest nobody knows whether the rest belongs to the beginning."""
    data = bytes(range(256)) * 4096
    other.answers["/big"] = breaking(data, 700_000, ranges=True, tag='W/"1"')
    sink = await fetched(source_of(other), offer_of(other, "big"))
    assert sink.data == data
    assert all("Range" not in headers for _, headers in other.asked)


async def test_an_encoded_file_is_taken_as_it_is(other: OtherIndex) -> None:
    """Some servers say that a .tar.gz is encoded with gzip; what counts are the bytes of the file."""

    async def answer(request: object) -> object:
        from aiohttp import web

        return web.Response(body=DATA, headers={"Content-Encoding": "gzip"})

    other.answers["/encoded"] = answer  # type: ignore[assignment]
    assert (await fetched(source_of(other), offer_of(other, "encoded"))).data == DATA


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_within_bounds(other: OtherIndex) -> None:
    other.answers["/old/"] = redirect("/simple/")
    other.answers["/round/"] = redirect("/round/")
    assert [each.project for each in await offers(source_of(other, "old/"))] == ["widget"]
    with pytest.raises(Rejected, match="redirects more than 5 times"):
        await offers(source_of(other, "round/"))


@pytest.mark.parametrize("target", ["http://files.example.com/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
async def test_nothing_leads_out_of_encryption(other: OtherIndex, target: str) -> None:
    other.answers["/away/"] = redirect(target)
    with pytest.raises(Rejected, match="not encrypted"):
        await offers(source_of(other, "away/"))


async def test_an_encrypted_index_cannot_point_to_this_machine() -> None:
    offer = Offer(NAME, "x", "http://127.0.0.1:1/x")
    with pytest.raises(Rejected, match="not encrypted"):
        await fetched(HttpSource("https://index.example.com/simple/"), offer)


async def test_pages_are_bounded(other: OtherIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_http, "ROOT_MAX_BYTES", 10)
    monkeypatch.setattr(import_http, "PAGE_MAX_BYTES", 10)
    with pytest.raises(Rejected, match="larger than"):
        await offers(source_of(other))
    (found,) = await offers(source_of(other), WIDGET)
    assert "larger than" in found.failure


async def test_a_page_that_does_not_end_is_given_up(other: OtherIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_http, "PAGE_SECONDS", 0)
    other.answers["/simple/widget/"] = silent
    (found,) = await offers(source_of(other), WIDGET)
    assert "cannot be fetched: TimeoutError" in found.failure


async def test_a_file_that_trickles_is_given_up(other: OtherIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_http, "SLOW_AFTER_SECONDS", 0)
    monkeypatch.setattr(import_http, "SLOWEST_BYTES_PER_SECOND", 1_000_000_000_000_000_000)
    other.answers["/file"] = endless
    with pytest.raises(Unavailable, match="it comes too slowly"):
        await fetched(source_of(other), Offer(NAME, "x", other.url + "file"))


async def test_what_is_no_index(other: OtherIndex) -> None:
    with pytest.raises(Rejected, match="no list of projects"):
        await offers(source_of(other, "elsewhere/"))
    other.page("/simple/", b"\x89PNG", "image/png")
    with pytest.raises(Rejected, match="neither HTML nor JSON"):
        await offers(source_of(other))
    other.page("/simple/widget/", b"{", JSON_TYPE)
    (found,) = await offers(source_of(other), WIDGET)
    assert "is none" in found.failure


async def test_a_file_that_is_not_there(other: OtherIndex) -> None:
    with pytest.raises(Rejected, match="HTTP 404"):
        await fetched(source_of(other), offer_of(other, "nothing"))


@pytest.mark.parametrize(
    "url",
    [
        "http://index.example.com/simple/",
        "http://user:s3cret@index.example.com/simple/",
        "ftp://index.example.com/",
        "https://",
        "https://index.example.com/simple/?x=s3cret",
        "https://index.example.com:99999/",
        "http://[::1",
    ],
)
def test_urls_that_cannot_be(url: str) -> None:
    mistaken = mistake(lambda: HttpSource(url))
    assert mistaken is not None
    assert mistaken.setting == "SOURCE"
    assert "s3cret" not in str(mistaken)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://[::1]:1/s", "http://127.0.0.9/", "https://x.example/"])
def test_urls_that_can_be(url: str) -> None:
    assert HttpSource(url).label.endswith("/")
