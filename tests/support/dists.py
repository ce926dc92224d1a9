"""Small real distributions, made in memory."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping

EPOCH = (2020, 1, 1, 0, 0, 0)


def metadata(name: str, version: str, *, requires_python: str | None = ">=3.8", extra: str = "") -> str:
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", "Summary: A test"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    return "\n".join(lines) + "\n" + extra + "\n"


def record(files: Mapping[str, bytes], path: str) -> bytes:
    """The RECORD of a wheel's files, to be put at `path`."""
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
        if name != path
    ]
    return "".join([*lines, f"{path},,\n"]).encode()


def wheel(
    name: str = "widget", version: str = "1.0", *, body: bytes = b"", requires_python: str | None = ">=3.8"
) -> tuple[str, bytes]:
    """A wheel: file name and bytes."""
    under = name.replace("-", "_")
    info = f"{under}-{version}.dist-info"
    files = {
        f"{under}/__init__.py": b"value = 1\n" + body,
        f"{info}/METADATA": metadata(name, version, requires_python=requires_python).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data)
    return f"{under}-{version}-py3-none-any.whl", buffer.getvalue()


def sdist(name: str = "widget", version: str = "1.0", *, body: bytes = b"") -> tuple[str, bytes]:
    """A source distribution: file name and bytes."""
    top = f"{name.replace('-', '_')}-{version}"
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path, data in (
            (f"{top}/PKG-INFO", metadata(name, version).encode()),
            (f"{top}/setup.py", b"from setuptools import setup\nsetup()\n" + body),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return f"{top}.tar.gz", buffer.getvalue()
