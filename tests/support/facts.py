"""Facts of distributions as a reader of archives gathers them, made by hand: right, and wrong in one place."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping

from mintmark.core.checks.examine import Examined, examine
from mintmark.core.dist.facts import Archive, Member
from mintmark.core.dist.filename import parse_filename
from mintmark.core.policy import Policy

METADATA = "Metadata-Version: 2.4\nName: widget\nVersion: 1.0\nSummary: A test\nRequires-Python: >=3.8\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
INFO = "widget-1.0.dist-info"
TOP = "widget-1.0"
TEXTS = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "PKG-INFO")


def encoded(sha256: str) -> str:
    """A digest as RECORD has it."""
    return base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


def file(name: str, content: bytes = b"x") -> Member:
    """A regular file."""
    return Member(name, "file", len(content), sha256=hashlib.sha256(content).hexdigest())


def symlink(name: str, target: str) -> Member:
    """A symbolic link."""
    return Member(name, "symlink", 0, target)


def hardlink(name: str, target: str) -> Member:
    """A hard link."""
    return Member(name, "hardlink", 0, target)


def record(members: Iterable[Member], info: str = INFO) -> str:
    """A right RECORD for some files."""
    rows = [f"{m.name},sha256={encoded(m.sha256)},{m.size_bytes}" for m in members if m.kind == "file"]
    return "\n".join([*rows, f"{info}/RECORD,,", ""])


def wheel(
    metadata: str | bytes = METADATA,
    *,
    extra: Iterable[Member] = (),
    texts: Mapping[str, str | bytes | None] | None = None,
    filename: str = "widget-1.0-py3-none-any.whl",
    info: str = INFO,
    complete: bool = True,
) -> Archive:
    """A wheel. `texts` replaces files of the .dist-info directory, or leaves them out."""
    files: dict[str, str | bytes | None] = {"METADATA": metadata, "WHEEL": WHEEL, **(texts or {})}
    members = [file("widget/__init__.py"), *extra]
    content = {f"{info}/{name}": _bytes(text) for name, text in files.items() if text is not None}
    members += [file(name, data) for name, data in content.items() if not name.endswith("/RECORD")]
    if "RECORD" not in files:
        content[f"{info}/RECORD"] = record(members, info).encode()
    if f"{info}/RECORD" in content:
        members.append(file(f"{info}/RECORD", content[f"{info}/RECORD"]))
    return archive(filename, members, content, complete=complete)


def sdist(
    metadata: str | bytes | None = METADATA,
    *,
    extra: Iterable[Member] = (),
    filename: str = "widget-1.0.tar.gz",
    top: str = TOP,
    complete: bool = True,
) -> Archive:
    """A source distribution."""
    members = [Member(top, "directory", 0), file(f"{top}/setup.py"), *extra]
    content = {}
    if metadata is not None:
        content[f"{top}/PKG-INFO"] = _bytes(metadata)
        members.append(file(f"{top}/PKG-INFO", content[f"{top}/PKG-INFO"]))
    return archive(filename, members, content, complete=complete)


def archive(filename: str, members: Iterable[Member], texts: Mapping[str, bytes], *, complete: bool = True) -> Archive:
    """Any facts."""
    kept = tuple(members)
    size = sum(member.size_bytes for member in kept)
    return Archive(parse_filename(filename, legacy=True), kept, texts, (), size, size, complete)


def found(facts: Archive, policy: Policy | None = None, form: Mapping[str, str] | None = None) -> set[str]:
    """The names of the findings."""
    return names(examine(facts, policy or Policy(), form))


def names(examined: Examined) -> set[str]:
    """The names of the findings of an examination, each of which is well formed."""
    for finding in examined.findings:
        assert finding.sentence.endswith(".")
        assert finding.sentence.isprintable()
        assert finding.sentence.isascii()
        assert len(finding.sentence) < 600
        assert finding.cure
    return {finding.check for finding in examined.findings}


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
