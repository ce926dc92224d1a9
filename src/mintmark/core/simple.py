"""The pages of the simple API, rendered from plain records.

Owns both forms: JSON, api-version 1.4 (PEP 691 with 592, 658, 700, 714, 740 and 792), and HTML (PEP 503 with 592,
629, 658, 714 and 792), which PEP 833 freezes at version 1.4. Leaves choosing between them to `core.negotiate`,
compressing and storing them to whoever renders at write time. The same records give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from urllib.parse import quote

import msgspec
from packaging.version import Version

from mintmark.core.records import File, Project

API_VERSION = "1.4"
"""Of the JSON form. Later versions of the standard change only this form."""
FROZEN_HTML_VERSION = "1.4"
"""The HTML form keeps this version for ever (PEP 833)."""
RENDERING = 1
"""Raised whenever the same records give other bytes: pages that another release rendered are made anew."""

_LISTED_STATES = frozenset({"visible", "yanked"})
_FILES_FROM_PROJECT_PAGE = "../../files/"


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    api_version: str = API_VERSION


class _Status(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    reason: str = ""


class _FileEntry(msgspec.Struct, frozen=True, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str]
    size: int
    upload_time: str
    yanked: bool | str
    core_metadata: bool | dict[str, str]
    dist_info_metadata: bool | dict[str, str]
    requires_python: str | msgspec.UnsetType = msgspec.UNSET
    provenance: str | None = None


class _ProjectPage(msgspec.Struct, frozen=True, rename="kebab"):
    meta: _Meta
    name: str
    project_status: _Status
    versions: list[str]
    files: list[_FileEntry]


class _RootEntry(msgspec.Struct, frozen=True):
    name: str


class _RootPage(msgspec.Struct, frozen=True):
    meta: _Meta
    projects: list[_RootEntry]


def file_path(file: File) -> str:
    """Path of a file below `/{registry}/files/`: `{sha256[:2]}/{sha256}/{filename}`, percent-encoded."""
    return f"{file.sha256[:2]}/{file.sha256}/{quote(file.filename, safe='')}"


def upload_time(file: File) -> str:
    """When a file was uploaded, in the form of PEP 700: with a fraction only if one is known."""
    seconds = datetime.fromtimestamp(file.uploaded_at, UTC).isoformat()[:19]
    return f"{seconds}.{file.upload_microseconds:06d}Z" if file.upload_microseconds else f"{seconds}Z"


def validator(page: bytes) -> str:
    """What is the same for the same page only: the opaque part of its entity tag (RFC 9110, section 8.8.3)."""
    return hashlib.sha256(page).hexdigest()[:32]


def render_project(project: Project, files: Sequence[File]) -> dict[str, bytes]:
    """The project's page in the forms `json` and `html`, to be served at `/{registry}/simple/{project}/`.

    Files come in the order of their versions, then names. URLs are relative, so that a page is valid under every
    host name and prefix.
    Invariant: staged and deleted files appear on no page, and a quarantined project offers no file (PEP 792).
    """
    listed = [file for file in files if file.state in _LISTED_STATES]
    # Versions that are equal but spelled differently would be a fault elsewhere; the text keeps even their order.
    versions = sorted({file.version for file in listed}, key=_version_key)
    order = {version: index for index, version in enumerate(versions)}
    listed.sort(key=lambda file: (order[file.version], file.filename))
    if project.status == "quarantined":
        listed = []
    status = _Status(project.status, project.status_reason)
    page = _ProjectPage(_Meta(), project.name, status, versions, [_entry(file) for file in listed])
    return {"json": msgspec.json.encode(page), "html": _project_html(project, listed)}


def render_root(names: Sequence[str]) -> dict[str, bytes]:
    """The list of projects in the forms `json` and `html`, to be served at `/{registry}/simple/`.

    `names` are normalised names in any order.
    """
    ordered = sorted(names)
    page = _RootPage(_Meta(), [_RootEntry(name) for name in ordered])
    lines = _html_head("Simple index")
    # A normalised name needs no escaping; it is done all the same, since a page must not depend on it.
    lines += [f'<a href="{quote(name, safe="")}/">{escape(name)}</a><br />' for name in ordered]
    return {"json": msgspec.json.encode(page), "html": _html_bytes(lines)}


@lru_cache(maxsize=1 << 16)
def _version_key(text: str) -> tuple[Version, str]:
    return Version(text), text


def _entry(file: File) -> _FileEntry:
    metadata: bool | dict[str, str] = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    return _FileEntry(
        filename=file.filename,
        url=_FILES_FROM_PROJECT_PAGE + file_path(file),
        hashes={"sha256": file.sha256},
        size=file.size_bytes,
        upload_time=upload_time(file),
        yanked=(file.yanked_reason or True) if file.state == "yanked" else False,
        core_metadata=metadata,
        dist_info_metadata=metadata,
        requires_python=file.requires_python or msgspec.UNSET,
    )


def _project_html(project: Project, files: Sequence[File]) -> bytes:
    title = f"Links for {project.name}"
    lines = _html_head(title, status=project.status, reason=project.status_reason)
    lines.append(f"<h1>{escape(title)}</h1>")
    lines += [_anchor(file) for file in files]
    return _html_bytes(lines)


def _html_head(title: str, status: str = "active", reason: str = "") -> list[str]:
    lines = ["<!DOCTYPE html>", "<html>", "<head>", '<meta charset="utf-8">']
    lines.append(f'<meta name="pypi:repository-version" content="{FROZEN_HTML_VERSION}">')
    if status != "active":
        lines.append(f'<meta name="pypi:project-status" content="{escape(status)}">')
    if reason:
        lines.append(f'<meta name="pypi:project-status-reason" content="{escape(reason)}">')
    lines += [f"<title>{escape(title)}</title>", "</head>", "<body>"]
    return lines


def _html_bytes(lines: list[str]) -> bytes:
    return "\n".join([*lines, "</body>", "</html>", ""]).encode()


def _anchor(file: File) -> str:
    """One link (PEP 503); attributes in a fixed order: some readers take HTML apart with regular expressions."""
    attributes = f'href="{_FILES_FROM_PROJECT_PAGE}{file_path(file)}#sha256={file.sha256}"'
    if file.requires_python:
        attributes += f' data-requires-python="{escape(file.requires_python)}"'
    if file.state == "yanked":
        attributes += f' data-yanked="{escape(file.yanked_reason or "")}"'
    if file.metadata_sha256:
        digest = f"sha256={file.metadata_sha256}"
        attributes += f' data-dist-info-metadata="{digest}" data-core-metadata="{digest}"'
    return f"<a {attributes}>{escape(file.filename)}</a><br />"
