"""Wheels and the forms in which twine uploads them.

Owns making real wheels, small ones in memory and those that are large or have many members on disk, and the 22 fields
of twine's form.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import random
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BOUNDARY = "0d1f7a4c6b5e49d8a2f3mintmark"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
_EPOCH = (2020, 1, 1, 0, 0, 0)
_PIECE_BYTES = 1 << 20
_LINES_OF_MODULE = 90


def wheel_name(project: str, version: str) -> str:
    """The file name of a wheel."""
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def small_wheel(project: str, version: str) -> bytes:
    """A wheel of about 1 kB that pip installs."""
    under = project.replace("-", "_")
    files = {f"{under}/__init__.py": f"version = {version!r}\n".encode(), **_dist_info(project, version)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**files, **_record(under, version, _lines(files))}.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write_large_wheel(path: Path, project: str, version: str, size_bytes: int) -> None:
    """A wheel with one stored member of random bytes, which nothing can compress."""
    under = project.replace("-", "_")
    info = _dist_info(project, version)
    digest = hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo(f"{under}/weights.bin", _EPOCH), "w", force_zip64=True) as member:
            for _ in range(size_bytes // _PIECE_BYTES):
                piece = os.urandom(_PIECE_BYTES)
                digest.update(piece)
                member.write(piece)
        weights = f"{under}/weights.bin,sha256={_base64(digest.digest())},{size_bytes}\n"
        for name, data in {**info, **_record(under, version, [weights, *_lines(info)])}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def write_many_membered_wheel(path: Path, project: str, version: str, members: int) -> None:
    """A wheel of that many compressed members, its RECORD included: modules of about 2 kB, as dense as source code."""
    under = project.replace("-", "_")
    info = _dist_info(project, version)
    dice = random.Random(project)
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members - len(info) - 1):
            name = f"{under}/part_{number // 100}/module_{number}.py"
            data = b"".join(b"value_%d = 0x%d\n" % (line, dice.getrandbits(24)) for line in range(_LINES_OF_MODULE))
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
            lines += _lines({name: data})
        for name, data in {**info, **_record(under, version, [*lines, *_lines(info)])}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def small_form(project: str, version: str) -> bytes:
    """The whole body of an upload."""
    data = small_wheel(project, version)
    digests = {
        "md5_digest": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(data, digest_size=32).hexdigest(),
    }
    return b"".join((head(project, version, digests), data, tail()))


def digests_of(path: Path) -> dict[str, str]:
    """The digest fields of a large file."""
    hashes: dict[str, Any] = {
        "md5_digest": hashlib.md5(usedforsecurity=False),
        "sha256_digest": hashlib.sha256(),
        "blake2_256_digest": hashlib.blake2b(digest_size=32),
    }
    for piece in _pieces(path):
        for each in hashes.values():
            each.update(piece)
    return {name: each.hexdigest() for name, each in hashes.items()}


def head(project: str, version: str, digests: Mapping[str, str]) -> bytes:
    """The form up to the file's bytes: 22 fields and the head of the 23rd, `content`."""
    whole = [*fields(project, version), *digests.items()]
    assert len(whole) == 22
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in whole
    ]
    parts.append(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{wheel_name(project, version)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode()


def fields(project: str, version: str) -> list[tuple[str, str]]:
    """The fields of an upload that say something about the release; the digests follow them."""
    return [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.4"),
        ("name", project),
        ("version", version),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("summary", "A package for measuring"),
        ("author", "Somebody"),
        ("author_email", "somebody@example.com"),
        ("maintainer", "Somebody else"),
        ("license_expression", "Apache-2.0"),
        ("keywords", "measuring,packages"),
        ("description", "# A package\n\nIt is uploaded, and that is all.\n" * 5),
        ("description_content_type", "text/markdown"),
        ("requires_python", ">=3.9"),
        ("classifiers", "Programming Language :: Python :: 3"),
        ("classifiers", "Operating System :: OS Independent"),
        ("project_urls", "Homepage, https://example.com/"),
    ]


def tail() -> bytes:
    """The form after the file's bytes."""
    return f"\r\n--{BOUNDARY}--\r\n".encode()


def _dist_info(project: str, version: str) -> dict[str, bytes]:
    info = f"{project.replace('-', '_')}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: {project}\nVersion: {version}\nSummary: A package for measuring\n"
        "Requires-Python: >=3.9\n\nIt is uploaded, and that is all.\n"
    )
    wheel = "Wheel-Version: 1.0\nGenerator: mintmark-bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode()}


def _lines(files: Mapping[str, bytes]) -> list[str]:
    return [f"{path},sha256={_base64(hashlib.sha256(data).digest())},{len(data)}\n" for path, data in files.items()]


def _record(under: str, version: str, lines: list[str]) -> dict[str, bytes]:
    path = f"{under}-{version}.dist-info/RECORD"
    return {path: "".join([*lines, f"{path},,\n"]).encode()}


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
