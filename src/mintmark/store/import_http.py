"""Another index as the source of an import: its simple API over HTTP.

Owns fetching within bounds: redirects, retries, timeouts, sizes, and which host gets the credential. Leaves what pages
say to `core.import_listing`, and judging files to the import.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from yarl import URL

from mintmark import __version__
from mintmark.core.errors import Misconfigured, Rejected, Unavailable
from mintmark.core.import_choice import Choice, foreign_kind
from mintmark.core.import_listing import ACCEPT, Entry, ProjectListing, parse_project_page, parse_root_page
from mintmark.core.names import ProjectName
from mintmark.service.import_source import Offer, Offers, Sink

T = TypeVar("T")
ROOT_MAX_BYTES = 64 << 20
"""Of the list of projects, unpacked."""
PAGE_MAX_BYTES = 32 << 20
"""Of one project's page, unpacked."""
PAGES_AHEAD = 8
"""Pages of projects that are fetched while files of earlier ones are still coming."""
REDIRECTS_MAX = 5
ATTEMPTS_MAX = 5
BACKOFF_MILLISECONDS = 500
"""Before the second attempt; doubled for each further one."""
BACKOFF_MAX_SECONDS = 30
"""Also of what `Retry-After` asks for."""
CONNECT_SECONDS = 20
SILENCE_SECONDS = 60
"""Between two pieces of an answer."""
PAGE_SECONDS = 300
"""For one page, however steadily it trickles."""
SLOW_AFTER_SECONDS = 120
SLOWEST_BYTES_PER_SECOND = 1024
"""Of a file, once it has come for that long: an index could keep an import busy for ever otherwise."""
CHUNK_BYTES = 256 * 1024
INLINE_MAX_BYTES = 64 * 1024
"""Pieces up to this size are hashed at once; handing them to a thread would cost more."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT = frozenset({404, 410})


class _Again(Exception):
    """The attempt failed in a way that another one may overcome."""

    def __init__(self, reason: str, after_seconds: float = 0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class _Pace:
    """How fast a file comes."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """So much more came. Raises `_Again` where that would never end."""
        self._size_bytes += size_bytes
        seconds = self._clock() - self._begun
        if seconds > SLOW_AFTER_SECONDS and self._size_bytes < seconds * SLOWEST_BYTES_PER_SECOND:
            raise _Again("it comes too slowly")


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str
    url: str


class HttpSource:
    """See `service.import_source.ImportSource`. `url` is that of the list of projects; it ends in `/simple/`."""

    def __init__(self, url: str, *, password: str = "", proxy: str | None = None) -> None:
        try:
            parsed = URL(url)
            plain_allowed = _is_loopback(parsed)
            if parsed.scheme not in ("https", "http") or not parsed.host or parsed.query_string or parsed.fragment:
                raise ValueError
        except ValueError:
            raise Misconfigured(
                "SOURCE",
                "The source is no URL of a simple API.",
                "Write it like https://packages.example.com/simple/ (or name a folder).",
            ) from None
        if parsed.scheme == "http" and not plain_allowed:
            raise Misconfigured(
                "SOURCE",
                f"http://{parsed.host} is not encrypted: whoever is on the way could replace every package.",
                "Use https; http is for the same machine only.",
            )
        self._home = parsed.with_user(None) if parsed.path.endswith("/") else (parsed / "").with_user(None)
        self._plain_allowed = plain_allowed
        self._authorization = _authorization(parsed.user, password or parsed.password)
        self._proxy = proxy
        self._pages: aiohttp.ClientSession | None = None
        self._files: aiohttp.ClientSession | None = None

    @property
    def label(self) -> str:
        return str(self._home)

    async def close(self) -> None:
        for session in (self._pages, self._files):
            if session is not None:
                await session.close()

    # -- pages --------------------------------------------------------------------------------------------------------

    async def projects(self, choice: Choice) -> AsyncIterator[Offers]:
        named = choice.named()
        pages = {name: str(self._home / f"{name}/") for name in named} if named is not None else await self._root()
        waiting = iter(sorted(name for name in pages if choice.wants(name)))
        ahead: deque[asyncio.Task[Offers]] = deque()
        try:
            while True:
                while len(ahead) < PAGES_AHEAD and (name := next(waiting, None)) is not None:
                    ahead.append(asyncio.create_task(self._project(name, pages[name])))
                if not ahead:
                    return
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _root(self) -> Mapping[ProjectName, str]:
        page = await self._page(str(self._home), ROOT_MAX_BYTES)
        if page is None:
            raise Rejected(
                "invalid-import",
                f"There is no list of projects at {self.label}.",
                hint="Name the URL under which pip finds the index, or choose projects with --project NAME.",
            )
        # In a thread: a large list takes seconds.
        return (await asyncio.to_thread(parse_root_page, page.body, page.content_type, page.url)).pages

    async def _project(self, name: ProjectName, url: str) -> Offers:
        try:
            page = await self._page(url, PAGE_MAX_BYTES)
            if page is None:
                return Offers(name, absent=True)
            listing = await asyncio.to_thread(parse_project_page, page.body, page.content_type, page.url)
        except Unavailable as error:
            return Offers(name, failure=error.what)
        except Rejected as error:
            return Offers(name, failure=error.sentence)
        return _offers(name, listing)

    async def _page(self, url: str, limit_bytes: int) -> _Page | None:
        async def once() -> _Page | None:
            async with (
                asyncio.timeout(PAGE_SECONDS),
                self._get(self._session(pages=True), url, {"Accept": ACCEPT}) as (answer, final),
            ):
                if answer.status in _ABSENT:
                    return None
                _check_status(answer, final)
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > limit_bytes:
                        raise Rejected(
                            "invalid-import", f"The page {_bare(final)} is larger than {limit_bytes >> 20} MiB."
                        )
                return _Page(bytes(body), answer.headers.get("Content-Type", ""), str(final))

        return await self._persist(url, once)

    # -- files --------------------------------------------------------------------------------------------------------

    async def fetch(self, offer: Offer, sink: Sink) -> None:
        tag = ""

        async def once() -> None:
            nonlocal tag
            headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
            begun = sink.taken_bytes
            if begun and (tag or "sha256" in offer.hashes):
                headers["Range"] = f"bytes={begun}-"
                if tag:
                    headers["If-Range"] = tag
            async with self._get(self._session(pages=False), offer.address, headers) as (answer, final):
                goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
                if begun and not goes_on:
                    sink.restart()
                if answer.status == 416 or (answer.status == 206 and not goes_on):
                    raise _Again("the answer is not the part that was asked for")
                _check_status(answer, final)
                validator = answer.headers.get("ETag", "")
                tag = "" if validator.startswith("W/") else validator
                pace = _Pace()
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    await _write(sink, chunk)
                    pace.take(len(chunk))

        await self._persist(offer.address, once)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _session(self, *, pages: bool) -> aiohttp.ClientSession:
        """Made when first used, inside of the event loop. Pages are unpacked; a file is what its digest says."""
        found = self._pages if pages else self._files
        if found is None:
            found = aiohttp.ClientSession(
                auto_decompress=pages,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS),
                headers={"User-Agent": f"mintmark/{__version__} (import)"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            if pages:
                self._pages = found
            else:
                self._files = found
        return found

    @asynccontextmanager
    async def _get(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, URL]]:
        """The answer behind the redirects, and where it came from."""
        target = _parse(url)
        for _ in range(REDIRECTS_MAX + 1):
            self._check_target(target)
            # The credential goes to the index it is for, never to where a page or a redirect points.
            mine = self._authorization if target.origin() == self._home.origin() else {}
            async with session.get(
                target, headers={**headers, **mine}, allow_redirects=False, proxy=self._proxy
            ) as answer:
                location = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or not location:
                    yield answer, target
                    return
            target = target.join(_parse(location))
        raise Rejected("invalid-import", f"{_bare(_parse(url))} redirects more than {REDIRECTS_MAX} times.")

    def _check_target(self, target: URL) -> None:
        if target.scheme == "https" and target.host:
            return
        if target.scheme != "http" or not (self._plain_allowed and _is_loopback(target)):
            raise Rejected(
                "invalid-import",
                f"The index points to {_bare(target)}, which is not encrypted.",
                hint="Only what comes over https is brought in.",
            )

    async def _persist(self, url: str, once: Callable[[], Awaitable[T]]) -> T:
        """Try, and try again later, a bounded number of times."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await once()
            except _Again as trouble:
                reason, after = str(trouble), trouble.after_seconds
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                # Not every `OSError`: those of our own disk are no trouble of the index.
                reason, after = type(error).__name__, 0.0
            if attempt < ATTEMPTS_MAX:
                pause = max(after, BACKOFF_MILLISECONDS / 1000 * 2 ** (attempt - 1))
                await asyncio.sleep(min(pause, BACKOFF_MAX_SECONDS))
        raise Unavailable(f"{_bare(_parse(url))} cannot be fetched: {reason}, after {ATTEMPTS_MAX} attempts.")


async def _write(sink: Sink, chunk: bytes) -> None:
    if len(chunk) <= INLINE_MAX_BYTES:
        sink.write(chunk)
        return
    writing = asyncio.get_running_loop().run_in_executor(None, sink.write, chunk)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        # The thread still uses the sink.
        await asyncio.wait([writing])
        raise


def _check_status(answer: aiohttp.ClientResponse, target: URL) -> None:
    if answer.status in (200, 206):
        return
    if answer.status in _AGAIN:
        asked = answer.headers.get("Retry-After", "")
        raise _Again(f"HTTP {answer.status}", float(asked) if asked.isdecimal() and len(asked) < 6 else 0)
    if answer.status in (401, 403):
        raise Rejected(
            "invalid-import",
            f"{_bare(target)} asks for a credential, or refuses ours (HTTP {answer.status}).",
            hint="Write the user into the URL and the password into MINTMARK_IMPORT_PASSWORD.",
        )
    raise Rejected("invalid-import", f"{_bare(target)} answers with HTTP {answer.status}.")


def _parse(url: str) -> URL:
    """A URL as it was written, as far as it can be sent like that: signed ones must not change."""
    try:
        parsed = URL(url, encoded=url.isascii() and not any(character.isspace() for character in url))
        # Whoever lists files gives out no credentials for them.
        return parsed.with_user(None) if parsed.absolute else parsed
    except ValueError:
        raise Rejected("invalid-import", "The index points to something that is no URL.") from None


def _bare(url: URL) -> str:
    """For people: without credentials and query, in which there may be more of them."""
    if not url.host:
        return f"a URL of the kind {url.scheme[:20]!a}"
    return ascii(str(url.with_user(None).with_query(None).with_fragment(None))[:300]).strip("'")


def _is_loopback(url: URL) -> bool:
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host or "").is_loopback
    except ValueError:
        return False


def _authorization(user: str | None, password: str | None) -> Mapping[str, str]:
    if not user and not password:
        return {}
    pair = f"{user or '__token__'}:{password or ''}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _offers(name: ProjectName, listing: ProjectListing) -> Offers:
    offers, skipped = [], Counter[str]()
    for entry in listing.entries:
        if kind := foreign_kind(entry.filename):
            skipped[kind] += 1
            continue
        try:
            offers.append(_offer(entry))
        except Rejected:
            skipped["unreadable entry"] += 1
    if listing.unreadable:
        skipped["unreadable entry"] += listing.unreadable
    if listing.status == "quarantined":
        # Such a page should offer nothing (PEP 792); files that are there all the same are held back as well.
        skipped["quarantined"] += len(offers)
        offers = []
    return Offers(name, tuple(offers), listing.status, listing.status_reason, +skipped)


def _offer(entry: Entry) -> Offer:
    return Offer(
        filename=entry.filename,
        place=_bare(_parse(entry.url)),
        address=entry.url,
        hashes=entry.hashes,
        size_bytes=entry.size_bytes,
        uploaded_at=entry.uploaded_at,
        upload_microseconds=entry.upload_microseconds,
        yanked=entry.yanked,
    )
