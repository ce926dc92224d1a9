"""RECORD lists every file of a wheel with its digest and size, and nothing else.

Owns the comparison (recording installed projects, binary distribution format). The digests were computed while the
archive was read; nothing is hashed here. Leaves whether there is a RECORD to `checks.layout`.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.facts import Member

ROWS_MAX = 200_000
"""Twice as many as an archive may have members."""
LINE_MAX_CHARACTERS = 10_000

_CODE = "invalid-distribution"
_REBUILD = "Build the wheel again, or repack it with: python -m wheel pack"

UNREADABLE = Rule(
    "record-unreadable", Grade.STRICT, _CODE, "RECORD is a table of comma-separated values in UTF-8.", _REBUILD
)
UNLISTED = Rule(
    "record-unlisted",
    Grade.STRICT,
    _CODE,
    "RECORD lists every file of the wheel but itself and its signatures: what it does not list was added later, and "
    "stays behind when the project is uninstalled.",
    _REBUILD,
)
ABSENT = Rule("record-absent", Grade.STRICT, _CODE, "RECORD lists only files that the wheel holds.", _REBUILD)
DOUBLED = Rule("record-doubled", Grade.STRICT, _CODE, "RECORD lists every file once.", _REBUILD)
HASH = Rule(
    "record-hash",
    Grade.STRICT,
    _CODE,
    "The digest that RECORD gives of a file is that of the file: otherwise the wheel was changed after it was built.",
    _REBUILD,
)
SIZE = Rule("record-size", Grade.STRICT, _CODE, "The size that RECORD gives of a file is that of the file.", _REBUILD)
WEAK = Rule(
    "record-weak",
    Grade.STRICT,
    _CODE,
    "RECORD gives the digest of every file, with SHA-256 or better.",
    _REBUILD,
)
UNVERIFIED = Rule(
    "record-unverified",
    Grade.WARN,
    _CODE,
    "RECORD uses SHA-384 or SHA-512, which are as good as SHA-256, but only SHA-256 is compared.",
    "Nothing needs to be done.",
)
FINDINGS = (UNREADABLE, UNLISTED, ABSENT, DOUBLED, HASH, SIZE, WEAK, UNVERIFIED)

Row = tuple[str, str, str]
"""Path, digest with its algorithm, size."""

_SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SHA256 = "sha256="
_OTHERS = ("sha384=", "sha512=")


def check(subject: Subject) -> Iterator[Finding]:
    """Both ways: each row has its file, each file its row."""
    data = subject.text("RECORD") if subject.is_wheel else None
    if data is None:
        return
    try:
        rows = list(_rows(data))
    except (ValueError, csv.Error) as error:
        yield UNREADABLE.found(f"The wheel's RECORD cannot be read: {shown(str(error))}.")
        return
    yield from _rows_to_files(subject, rows)
    yield from _files_to_rows(subject, {path for path, _, _ in rows})


def _rows_to_files(subject: Subject, rows: list[Row]) -> Iterator[Finding]:
    members = {member.name: member for member in subject.archive.members}
    exempt = _exempt(subject)
    listed: set[str] = set()
    unverified = 0
    for path, digest, size in rows:
        member = members.get(path.rstrip("/"))
        if path in listed:
            yield DOUBLED.found(f"RECORD lists {shown(path)} more than once.")
        elif member is None or (path != member.name and member.kind != "directory"):
            yield ABSENT.found(f"RECORD lists {shown(path)}, which the wheel does not hold.")
        elif path not in exempt and member.kind == "file" and not _is_right(member, digest, size):
            unverified += digest.startswith(_OTHERS) or not member.sha256
            yield from _compare(member, digest, size)
        listed.add(path)
    if unverified:
        yield UNVERIFIED.found(f"The digests of {unverified} files in RECORD were not compared.")


def _files_to_rows(subject: Subject, listed: set[str]) -> Iterator[Finding]:
    listed |= _exempt(subject)
    for member in subject.archive.members:
        if member.kind == "file" and member.name not in listed:
            yield UNLISTED.found(f"RECORD does not list {shown(member.name)}.")


def _exempt(subject: Subject) -> set[str]:
    return {f"{subject.home}/{name}" for name in _SIGNATURES}


def _rows(data: bytes) -> Iterator[Row]:
    lines = io.StringIO(data.decode("utf-8"), newline="")
    for count, line in enumerate(lines, start=1):
        if len(line) > LINE_MAX_CHARACTERS:
            raise ValueError("a line is too long")
        if count > ROWS_MAX:
            raise ValueError("it has too many lines")
    lines.seek(0)
    for count, row in enumerate(csv.reader(lines, strict=True), start=1):
        if not row:
            continue
        if len(row) > 3:
            raise ValueError(f"line {count} has {len(row)} columns instead of 3")
        path, digest, size = (*row, "", "")[:3]
        yield path, digest, size


def _is_right(member: Member, digest: str, size: str) -> bool:
    """As every row of a good wheel is: the usual case, which has to be fast."""
    return digest == _SHA256 + _encoded(member.sha256) and size == str(member.size_bytes)


def _compare(member: Member, digest: str, size: str) -> Iterator[Finding]:
    name = member.name
    if digest.startswith(_SHA256):
        given, actual = digest[len(_SHA256) :], member.sha256
        if actual and given != _encoded(actual) and not _same(given, actual):
            yield HASH.found(f"The digest that RECORD gives of {shown(name)} is not that of the file.")
    elif not digest:
        yield WEAK.found(f"RECORD gives no digest of {shown(name)}.")
    elif not digest.startswith(_OTHERS):
        yield WEAK.found(f"RECORD uses {shown(digest.partition('=')[0])} for {shown(name)}.")
    # A size may be absent; one that is not a number is not that of the file.
    if size and size != str(member.size_bytes):
        yield SIZE.found(f"RECORD says the size {shown(size)} of {shown(name)}, which has {member.size_bytes}.")


def _encoded(sha256: str) -> str:
    data = binascii.b2a_base64(bytes.fromhex(sha256), newline=False).translate(_URL_SAFE)
    return data.decode("ascii").rstrip("=")


def _same(text: str, sha256: str) -> bool:
    """Whether an unusual spelling, with padding or in hexadecimal, says the same."""
    if text.lower() == sha256:
        return True
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "==") == bytes.fromhex(sha256)
    except (ValueError, binascii.Error):
        return False
