"""What another index says about its projects and files: pages of the simple API, in JSON or HTML, read into entries.

Owns the reading of pages as the standards have them (PEP 503, 592, 629, 658, 691, 700, 714, 792), leniently where
indexes differ and within bounds, since a page is somebody else's text. Leaves fetching pages to `store.import_http` and
choosing among the entries to the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from mintmark.core.errors import Rejected
from mintmark.core.import_html import Anchor, read_html
from mintmark.core.life_cycle import REASON_MAX_CHARACTERS, STATUSES
from mintmark.core.names import ProjectName, parse_project

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html", "application/xhtml+xml")
ACCEPT = f"{JSON_TYPE}, {HTML_TYPES[0]};q=0.2, text/html;q=0.01"
"""What to ask for: JSON tells sizes and times, which HTML does not."""
ENTRIES_MAX = 200_000
"""Files of one project. The largest projects have about 20,000."""
PROJECTS_MAX = 2_000_000
OBJECTS_MAX = 6
"""Of one file, with its digests and those of its metadata."""
VALUES_MAX = 4
"""Of one object, on average, with the commas inside of texts."""
TOP_OBJECTS_MAX = 100
"""Around all files or projects."""
URL_MAX_CHARACTERS = 8_000
# By length in hex. Ones that nobody should rely on are compared all the same: they find damage.
DIGESTS: Mapping[str, int] = {"sha256": 64, "sha512": 128, "sha384": 96, "sha224": 56, "sha1": 40, "md5": 32}
# Before 2000 and after 2200 there are no uploads, only mistakes.
TIMES = range(946_684_800, 7_258_118_400)
_HEX = re.compile(r"[0-9a-f]+\Z")
_KNOWN_ENDINGS = (".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".tar.bz2", ".tgz")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as a page tells it. What the page does not tell is None or empty."""

    filename: str
    url: str
    """Absolute, without fragment."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Stated digests in lower-case hex, of the algorithms in `DIGESTS` only."""
    size_bytes: int | None = None
    uploaded_at: int | None = None
    upload_microseconds: int = 0
    yanked: str | None = None
    """The reason, possibly ""; None when the file is not yanked."""
    requires_python: str | None = None
    core_metadata: bool | str = False
    """Whether its metadata is there as a file of its own, and the SHA-256 of it if that is told."""


@dataclass(frozen=True, slots=True)
class ProjectListing:
    """A project's page. `unreadable` counts the entries that are none."""

    entries: tuple[Entry, ...]
    status: str = "active"
    status_reason: str = ""
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class RootListing:
    """The list of projects: the URL of each page by normal name. `unreadable` counts names that are none."""

    pages: Mapping[ProjectName, str]
    unreadable: int = 0


def parse_project_page(body: bytes, content_type: str, url: str) -> ProjectListing:
    """The files of a project's page that came from `url`. Raises `Rejected` (`invalid-import`)."""
    if _is_json(content_type, url):
        page = _json(body, url, OBJECTS_MAX * ENTRIES_MAX)
        return _json_project(page, url)
    document = _html(body, url, ENTRIES_MAX)
    base = _join(url, document.base) or url
    entries = [_anchor_entry(anchor, base) for anchor in document.anchors]
    return _project(entries, document.status, document.status_reason, url)


def parse_root_page(body: bytes, content_type: str, url: str) -> RootListing:
    """The projects of an index's list that came from `url`. Raises `Rejected` (`invalid-import`)."""
    named: list[tuple[str, str]]
    if _is_json(content_type, url):
        projects = _json(body, url, PROJECTS_MAX).get("projects")
        if not isinstance(projects, list):
            _refuse(url, "is JSON without a list of projects")
        names = [item.get("name") if isinstance(item, dict) else None for item in projects]
        named = [(name, f"{name}/") if isinstance(name, str) else ("", "") for name in names]
        base = url
    else:
        document = _html(body, url, PROJECTS_MAX)
        base = _join(url, document.base) or url
        named = [(_project_text(anchor), anchor.href) for anchor in document.anchors]
    if len(named) > PROJECTS_MAX:
        _refuse(url, f"lists more than {PROJECTS_MAX} projects")
    pages: dict[ProjectName, str] = {}
    unreadable = 0
    for text, target in named:
        name = _project_name(text)
        joined = _join(base, target)
        if name is None or not joined:
            unreadable += 1
        else:
            pages.setdefault(name, joined)
    return RootListing(pages, unreadable)


def parse_time(text: object) -> tuple[int, int] | None:
    """An ISO 8601 time as seconds and microseconds; None for what is none. Without an offset it is UTC."""
    if not isinstance(text, str) or not 8 <= len(text) <= 40:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds = int(moment.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError):
        return None
    return (seconds, moment.microsecond) if seconds in TIMES else None


def _refuse(url: str, what: str) -> NoReturn:
    raise Rejected(
        "invalid-import",
        f"The page {_bare(url)} {what}.",
        hint="Name the URL under which pip finds that index; it ends in /simple/ as a rule.",
    )


def _bare(url: str) -> str:
    """A URL for people: without credentials and query, in which there may be more of them."""
    parts = urlsplit(url)
    return ascii(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300])


def _is_json(content_type: str, url: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/json", "application/vnd.pypi.simple.latest+json", JSON_TYPE):
        return True
    if kind in HTML_TYPES or kind == "application/vnd.pypi.simple.latest+html":
        return False
    _refuse(url, f"is neither HTML nor JSON of the simple API but {kind[:100]!a}")


def _join(base: str, target: str) -> str:
    """An absolute URL of HTTP without fragment, or ""."""
    if len(target) > URL_MAX_CHARACTERS:
        return ""
    try:
        joined = urljoin(base, target.strip())
        parts = urlsplit(joined)
        _ = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or not joined.isprintable():
        return ""
    return parts._replace(fragment="").geturl()


def _project_name(text: str) -> ProjectName | None:
    try:
        return parse_project(text)
    except Rejected:
        return None


def _project(read: Sequence[Entry | None], status: object, reason: object, url: str) -> ProjectListing:
    entries = tuple(entry for entry in read if entry is not None)
    if len(entries) > ENTRIES_MAX:
        _refuse(url, f"lists more than {ENTRIES_MAX} files")
    if not isinstance(status, str) or status not in STATUSES:
        # Also of later versions of the standard: what we do not know we cannot keep.
        status, reason = "active", ""
    return ProjectListing(entries, status, _reason(reason) if isinstance(reason, str) else "", len(read) - len(entries))


def _hashes(pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    found = {}
    for algorithm, value in pairs:
        if isinstance(algorithm, str) and isinstance(value, str):
            text = value.strip().lower()
            if DIGESTS.get(algorithm.lower()) == len(text) and _HEX.match(text):
                found[algorithm.lower()] = text
    return found


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(body: bytes, url: str, objects_max: int) -> dict[str, Any]:
    # Before they are made: 32 MiB of `{},` are 700 MiB of memory.
    if (
        body.count(b"{") + body.count(b"[") > objects_max + TOP_OBJECTS_MAX
        or body.count(b",") > VALUES_MAX * objects_max
    ):
        _refuse(url, "holds more than any index")
    try:
        page = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        _refuse(url, "says it is JSON and is none")
    if not isinstance(page, dict):
        _refuse(url, "is JSON, but not of the simple API")
    meta = page.get("meta")
    version = meta.get("api-version") if isinstance(meta, dict) else None
    if isinstance(version, str) and version.partition(".")[0] != "1":
        _refuse(url, f"has the version {version[:20]!a} of the simple API, which Mintmark does not know")
    return page


def _json_project(page: dict[str, Any], url: str) -> ProjectListing:
    files = page.get("files")
    if not isinstance(files, list):
        _refuse(url, "is JSON without a list of files")
    entries = [_json_entry(item, url) if isinstance(item, dict) else None for item in files]
    status = page.get("project-status")
    if not isinstance(status, dict):
        status = {"status": status}
    return _project(entries, status.get("status"), status.get("reason"), url)


def _json_entry(item: dict[str, Any], page_url: str) -> Entry | None:
    filename, target, hashes, size = (item.get(key) for key in ("filename", "url", "hashes", "size"))
    if not isinstance(filename, str) or not isinstance(target, str):
        return None
    url = _join(page_url, target)
    if not url:
        return None
    time = parse_time(item.get("upload-time"))
    requires_python = item.get("requires-python")
    return Entry(
        filename=filename,
        url=url,
        hashes=_hashes(hashes.items()) if isinstance(hashes, dict) else {},
        size_bytes=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**50 else None,
        uploaded_at=time[0] if time else None,
        upload_microseconds=time[1] if time else 0,
        yanked=_yanked(item.get("yanked")),
        requires_python=requires_python if isinstance(requires_python, str) else None,
        core_metadata=_core_metadata(item.get("core-metadata", item.get("dist-info-metadata"))),
    )


def _yanked(value: object) -> str | None:
    if isinstance(value, str) and value:
        return _reason(value)
    return "" if value is True else None


def _reason(text: str) -> str:
    """One printable line of bounded length: it will stand on our pages."""
    printable = "".join(character if character.isprintable() else " " for character in text[:REASON_MAX_CHARACTERS])
    return " ".join(printable.split())


def _core_metadata(value: object) -> bool | str:
    if isinstance(value, dict):
        return _hashes(value.items()).get("sha256", True)
    return value is True


# -- HTML -------------------------------------------------------------------------------------------------------------


def _html(body: bytes, url: str, anchors_max: int) -> Any:
    document = read_html(body, anchors_max)
    if document.version.partition(".")[0] not in ("", "1"):
        _refuse(url, f"has the version {document.version[:20]!a} of the simple API, which Mintmark does not know")
    if document.truncated:
        _refuse(url, "is damaged, or holds more links than any index")
    return document


def _project_text(anchor: Anchor) -> str:
    """A project's name is the text of its link; where that is something else, the last part of its URL."""
    text = anchor.text.strip().strip("/")
    if _project_name(text) is not None:
        return text
    return unquote(urlsplit(anchor.href).path.rstrip("/").rpartition("/")[2])


def _anchor_entry(anchor: Anchor, base: str) -> Entry | None:
    url = _join(base, anchor.href)
    if not url:
        return None
    attributes = anchor.attributes
    # As pip: the name is in the URL. Only where that is no file's, such as of a download script, the text counts.
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    text = anchor.text.strip()
    if not filename.lower().endswith(_KNOWN_ENDINGS) and text.lower().endswith(_KNOWN_ENDINGS):
        filename = text
    if not filename:
        return None
    fragment = anchor.href.partition("#")[2]
    metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    yanked = attributes.get("data-yanked")
    return Entry(
        filename=filename,
        url=url,
        hashes=_hashes((key, value) for key, _, value in (part.partition("=") for part in fragment.split("&"))),
        yanked=_reason(yanked) if yanked is not None else None,
        requires_python=attributes.get("data-requires-python") or None,
        core_metadata=_stated_metadata(metadata),
    )


def _stated_metadata(value: str | None) -> bool | str:
    if value is None or value.strip().lower() == "false":
        return False
    algorithm, _, digest = value.partition("=")
    return _hashes([(algorithm.strip(), digest)]).get("sha256", True)
