"""Reads the metadata file out of a distribution, within bounds.

Owns finding METADATA in a wheel and PKG-INFO in a source distribution, the limits of that search, and turning every
way an archive can be damaged into one refusal. Leaves unpacking tar to `dist.tar_stream`, what the metadata says to
`dist.metadata`, and the deep checks of an archive (traversal, bombs, polyglots, RECORD) to `core.checks`.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import BinaryIO, NoReturn, cast

from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.stem import belongs, normal_stem
from mintmark.core.dist.tar_stream import BoundsError, TarMember, Unpacked, iterate_members
from mintmark.core.errors import Rejected

METADATA_MAX_BYTES = 1 << 20
"""Of METADATA or PKG-INFO, after decompression."""
MEMBERS_MAX = 100_000
"""Members of an archive that are looked at. The largest wheels have about 30,000."""
ZIP_DIRECTORY_MAX_BYTES = 16 << 20
"""Of a wheel's central directory, which is read into memory."""
SCANNED_MAX_BYTES = 256 << 20
"""Of a source distribution, after decompression: what is scanned for PKG-INFO, duplicates and damage."""

_REBUILD = "Build the file again and upload it unchanged."
_ZIP_ENTRY_MIN_BYTES = 46
_ZIP_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENCRYPTED = 0x1 | 0x40 | 0x2000
# What `zipfile` and `zlib` raise for damaged or hostile data.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,  # of `seek`, where an offset points nowhere; see `_StorageError` for the others
    ValueError,
    ArithmeticError,
    LookupError,
    RuntimeError,  # includes NotImplementedError and RecursionError
    AssertionError,
    TypeError,
)


def read_metadata(file: BinaryIO, facts: FilenameFacts) -> bytes:
    """The bytes of METADATA (wheel) or PKG-INFO (source distribution).

    `file` is seekable and positioned anywhere; it stays open. Raises `Rejected` (`invalid-distribution`) for every
    archive that is damaged, exceeds a bound, or does not hold exactly one such file where the standard puts it:
    `{name}-{version}.dist-info/METADATA` (binary distribution format) or `{name}-{version}/PKG-INFO` (source
    distribution format). An `OSError` of the storage below `file` passes through: it is not the caller's fault.
    """
    what = "wheel" if facts.kind == "wheel" else "source distribution"
    reader = cast("BinaryIO", _Reader(file))
    try:
        reader.seek(0)
        return _read_wheel(reader, facts) if facts.kind == "wheel" else _read_sdist(reader, facts)
    except _StorageError as failed:
        raise failed.error from None
    except _DAMAGE as error:
        private = f"{type(error).__name__}: {error}"
    raise Rejected(
        "invalid-distribution", f"{facts.filename!r} is damaged or not a {what}.", hint=_REBUILD, private=private[:500]
    )


def _refuse(detail: str, hint: str = _REBUILD) -> NoReturn:
    raise Rejected("invalid-distribution", detail, hint=hint)


def _shown(text: str) -> str:
    """A member's name for people: quoted, ASCII, short."""
    return ascii(text if len(text) <= 100 else text[:100] + "...")


class _StorageError(Exception):
    """Reading failed below the archive. Not an `OSError`, which `zipfile` would take for damage."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Reader:
    """The file, with single reads bounded.

    `zipfile` reads the central directory at once and makes an object of each entry before anyone can count them.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        limit = ZIP_DIRECTORY_MAX_BYTES
        try:
            data = self._file.read(size if 0 <= size <= limit else limit + 1)
        except OSError as error:
            raise _StorageError(error) from error
        crowded = len(data) > MEMBERS_MAX * _ZIP_ENTRY_MIN_BYTES and data.count(_ZIP_ENTRY_SIGNATURE) > MEMBERS_MAX
        if len(data) > limit or crowded:
            _refuse("The archive holds too many files.", f"A wheel may hold at most {MEMBERS_MAX} files.")
        return data


# -- wheels ---------------------------------------------------------------------------------------------------------


def _read_wheel(file: BinaryIO, facts: FilenameFacts) -> bytes:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MEMBERS_MAX:
            _refuse("The archive holds too many files.", f"A wheel may hold at most {MEMBERS_MAX} files.")
        member = _find_metadata(members, facts)
        if member.flag_bits & _ENCRYPTED:
            _refuse(f"{_shown(member.filename)} is encrypted.")
        # Anything else is legal in a zip, but installers need not have the module for it.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            _refuse(f"{_shown(member.filename)} is compressed with a method other than deflate.")
        with archive.open(member) as content:
            # The size that the directory states is a claim: the limit applies to what comes out.
            data = content.read(METADATA_MAX_BYTES + 1)
    if len(data) > METADATA_MAX_BYTES:
        _refuse_size(member.filename)
    return data


def _find_metadata(members: list[zipfile.ZipInfo], facts: FilenameFacts) -> zipfile.ZipInfo:
    """The one METADATA in the one `.dist-info` directory, as pip looks for it."""
    directories: set[str] = set()
    found: list[zipfile.ZipInfo] = []
    for member in members:
        directory, _, rest = member.filename.partition("/")
        if directory.endswith(".dist-info"):
            directories.add(directory)
            if rest == "METADATA":
                found.append(member)
    if len(directories) > 1:
        _refuse(f"The wheel holds {len(directories)} .dist-info directories, but may hold only one.")
    for directory in directories:
        if not belongs(directory.removesuffix(".dist-info"), facts):
            _refuse(
                f"The wheel's directory {_shown(directory)} does not belong to {facts.name} {facts.version}.",
                "Build the wheel again and do not rename it.",
            )
    if not found:
        _refuse(f"The wheel lacks {_shown(f'{normal_stem(facts)}.dist-info/METADATA')}.")
    # `zipfile` cuts names at a NUL, other readers do not.
    if len(found) > 1 or found[0].orig_filename != found[0].filename:
        _refuse(f"The wheel holds {_shown(found[0].filename)} more than once or under a doubtful name.")
    return found[0]


# -- source distributions -------------------------------------------------------------------------------------------


def _read_sdist(file: BinaryIO, facts: FilenameFacts) -> bytes:
    """Scans the whole archive, so that damage, a second PKG-INFO or a second top directory is seen as well.

    Beyond the bounds the scan stops; a PKG-INFO found before counts.
    """
    found: bytes | None = None
    top = ""
    stream = Unpacked(file, limit_bytes=SCANNED_MAX_BYTES)
    try:
        for count, member in enumerate(iterate_members(stream), start=1):
            directory, _, rest = member.name.partition("/")
            top = top or _check_top(directory, facts)
            if directory != top:
                _refuse(f"The source distribution holds {_shown(member.name)} outside of its directory {_shown(top)}.")
            if rest == "PKG-INFO":
                if found is not None:
                    _refuse("The source distribution holds PKG-INFO more than once.")
                found = _take_member(stream, member)
            if count >= MEMBERS_MAX:
                raise BoundsError
    except BoundsError:
        if found is None:
            _refuse(
                f"PKG-INFO is not among the first {MEMBERS_MAX} files and {SCANNED_MAX_BYTES >> 20} MiB of it.",
                "Leave large data out of the source distribution, or put PKG-INFO first.",
            )
    if found is None:
        _refuse(f"The source distribution lacks {_shown(f'{normal_stem(facts)}/PKG-INFO')}.")
    return found


def _check_top(directory: str, facts: FilenameFacts) -> str:
    if not belongs(directory, facts):
        _refuse(
            f"The source distribution's top directory is {_shown(directory)} instead of {_shown(normal_stem(facts))}."
        )
    return directory


def _take_member(stream: Unpacked, member: TarMember) -> bytes:
    if not member.is_file:
        _refuse(f"{_shown(member.name)} is not a regular file.")
    if member.size_bytes > METADATA_MAX_BYTES:
        _refuse_size(member.name)
    return stream.take(member.size_bytes)


# -- both -----------------------------------------------------------------------------------------------------------


def _refuse_size(name: str) -> NoReturn:
    _refuse(f"{_shown(name)} is larger than {METADATA_MAX_BYTES >> 20} MiB.", "Shorten the project's description.")
