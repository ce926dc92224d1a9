"""The JSON document about a project, as the tools know it that were there before the simple API had a JSON form.

Owns its shape, which no standard describes (clients read it as the big public index writes it), which release it
describes, and what of a metadata file goes into it. Leaves reading that file and keeping the document to
`service.browse`. The same records give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from email.errors import MessageError

import msgspec
from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_version
from packaging.version import Version

from mintmark.core.errors import Rejected
from mintmark.core.records import File, Project
from mintmark.core.simple import file_path, upload_time

VERSION_MAX_CHARACTERS = 255
"""A file name holds its version, and no file name is longer."""
# Raised whenever the same records give other bytes: what was kept before is made anew.
_RENDERING = "1"
# What the email package raises for hostile headers; see `core.dist.metadata`.
_UNREADABLE = (MessageError, ValueError, LookupError, TypeError, AssertionError, RuntimeError)
_UNKNOWN_DOWNLOADS = {"last_day": -1, "last_week": -1, "last_month": -1}
# Written by old tools for what they were not told.
_NOTHING = frozenset({"", "UNKNOWN"})


def form_name(root: str, version: str | None) -> str:
    """A short name for the document of a project (`version` None) or of one version, with URLs that begin with `root`.

    Spellings of one version have one name.
    """
    key = canonicalize_version(version) if version is not None else ""
    return "pypi-" + hashlib.sha256(f"{_RENDERING}\n{root}\n{key}".encode()).hexdigest()[:24]


def described_version(files: Sequence[File], wanted: str | None) -> str | None:
    """The version that the document is about, spelled as the files spell it; None when there is none.

    Without a wish: the newest that is not yanked and no pre-release, else the newest that is not yanked, else the
    newest.
    """
    versions = {file.version for file in files}
    if wanted is not None:
        if len(wanted) > VERSION_MAX_CHARACTERS:
            return None
        key = canonicalize_version(wanted)
        return next((version for version in sorted(versions) if canonicalize_version(version) == key), None)

    def rank(version: str) -> tuple[bool, bool, Version, str]:
        parsed = Version(version)
        return not _is_yanked(_of(files, version)), not parsed.is_prerelease, parsed, version

    return max(versions, key=rank, default=None)


def describing_file(files: Sequence[File], version: str) -> File:
    """The file whose metadata describes a version: a wheel if there is one, since its metadata is final."""
    return min(_of(files, version), key=lambda file: (file.kind != "wheel", file.filename))


def render(
    project: Project, files: Sequence[File], version: str, metadata: bytes, root: str, *, releases: bool
) -> bytes:
    """The document about `version`, with all releases if asked for.

    `root` is the URL below which the registry's paths begin. Raises `Rejected` for metadata that cannot be read.
    """
    entries = {each: [_entry(file, root) for file in _of(files, each)] for each in _ordered(files)}
    document: dict[str, object] = {
        "info": _info(project, _of(files, version), version, metadata, root),
        "last_serial": project.changes,
        "urls": entries[version],
        "vulnerabilities": [],
    }
    if releases:
        document["releases"] = entries
    return msgspec.json.encode(document)


def _of(files: Sequence[File], version: str) -> list[File]:
    return sorted((file for file in files if file.version == version), key=lambda file: file.filename)


def _ordered(files: Sequence[File]) -> list[str]:
    return sorted({file.version for file in files}, key=lambda text: (Version(text), text))


def _is_yanked(files: Sequence[File]) -> bool:
    """A release is yanked when nothing of it is left."""
    return all(file.state == "yanked" for file in files)


def _entry(file: File, root: str) -> dict[str, object]:
    wheel = file.kind == "wheel"
    uploaded = upload_time(file)
    return {
        "comment_text": "",
        # No MD5: none is kept, and nobody should rely on one.
        "digests": {"blake2b_256": file.blake2_256, "sha256": file.sha256},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "packagetype": "bdist_wheel" if wheel else "sdist",
        # The last three parts of a wheel's name are its tags.
        "python_version": file.filename.split("-")[-3] if wheel else "source",
        "requires_python": file.requires_python,
        "size": file.size_bytes,
        "upload_time": uploaded[:19],
        "upload_time_iso_8601": uploaded,
        "url": f"{root}/files/{file_path(file)}",
        "yanked": file.state == "yanked",
        "yanked_reason": (file.yanked_reason or None) if file.state == "yanked" else None,
    }


def _info(project: Project, files: Sequence[File], version: str, metadata: bytes, root: str) -> dict[str, object]:
    raw = _read(metadata)
    yanked = _is_yanked(files)
    page = f"{root}/simple/{project.name}/"
    return {
        "author": _text(raw.get("author")),
        "author_email": _text(raw.get("author_email")),
        "bugtrack_url": None,
        "classifiers": _texts(raw.get("classifiers")) or [],
        "description": _text(raw.get("description")),
        "description_content_type": _text(raw.get("description_content_type")),
        "docs_url": None,
        "download_url": _text(raw.get("download_url")),
        "downloads": _UNKNOWN_DOWNLOADS,
        "dynamic": _texts(raw.get("dynamic")),
        "home_page": _text(raw.get("home_page")),
        "keywords": _joined(raw.get("keywords"), ","),
        "license": _text(raw.get("license")),
        "license_expression": _text(raw.get("license_expression")),
        "license_files": _texts(raw.get("license_files")),
        "maintainer": _text(raw.get("maintainer")),
        "maintainer_email": _text(raw.get("maintainer_email")),
        "name": project.display_name,
        "package_url": page,
        "platform": _joined(raw.get("platforms"), ", "),
        "project_url": page,
        "project_urls": _mapping(raw.get("project_urls")),
        "provides_extra": _texts(raw.get("provides_extra")),
        "release_url": f"{root}/pypi/{project.name}/{version}/json",
        "requires_dist": _texts(raw.get("requires_dist")),
        "requires_python": _text(raw.get("requires_python")),
        "summary": _text(raw.get("summary")),
        "version": version,
        "yanked": yanked,
        "yanked_reason": next((file.yanked_reason for file in files if file.yanked_reason), None) if yanked else None,
    }


def _read(metadata: bytes) -> RawMetadata:
    try:
        raw, _ = parse_email(metadata)
    except _UNREADABLE as error:
        private = f"{type(error).__name__}: {error}"[:500]
    else:
        return raw
    raise Rejected("invalid-metadata", "The metadata file cannot be read.", private=private)


def _text(value: str | None) -> str | None:
    if value is None or value.strip() in _NOTHING:
        return None
    # Half of a surrogate pair is no text that JSON can hold.
    return value.encode("utf-8", "replace").decode()


def _texts(values: Sequence[str] | None) -> list[str] | None:
    return [text for value in values or () if (text := _text(value)) is not None] or None


def _joined(values: Sequence[str] | None, separator: str) -> str | None:
    return separator.join(_texts(values) or ()) or None


def _mapping(values: Mapping[str, str] | None) -> dict[str, str] | None:
    return {_text(key) or "": _text(value) or "" for key, value in (values or {}).items()} or None
