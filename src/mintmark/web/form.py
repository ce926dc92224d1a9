"""The upload form, read as it streams in.

Owns multipart parsing with bounds and handing the file's bytes on in large pieces. uv sends a field after the file,
so reading goes on to the end. Leaves the meaning of the fields to `service.upload`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from aiohttp import StreamReader
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from mintmark.core.errors import Rejected
from mintmark.service.incoming import MEMORY_MAX_BYTES, Incoming
from mintmark.service.upload import Form

# Bytes are handed to a thread in pieces of this size: smaller ones cost a hand-over each, larger ones memory.
PIECE_BYTES = 256 * 1024
INLINE_BYTES = 32 * 1024
# Fields that may come several times; of all others, two different values are a contradiction.
REPEATED = frozenset(
    [
        "classifiers",
        "classifier",
        "dynamic",
        "import_name",
        "import_names",
        "import_namespaces",
        "license_file",
        "license_files",
        "obsoletes",
        "obsoletes_dist",
        "platform",
        "platforms",
        "project_urls",
        "project_url",
        "provides",
        "provides_dist",
        "provides_extra",
        "provides_extras",
        "requires",
        "requires_dist",
        "requires_external",
        "supported_platform",
        "keywords",
    ]
)
# A file where a text belongs is read and dropped; twine can send a signature, which nothing needs any more.
IGNORED_FILES = frozenset({"gpg_signature"})
FILENAME_MAX_CHARACTERS = 512


def boundary_of(content_type: str) -> str:
    """The boundary of a multipart/form-data header. Raises `Rejected`."""
    kind, options = parse_options_header(content_type)
    boundary: str = options.get("boundary", "")
    # A header may hold any bytes; a boundary is ASCII (RFC 2046, section 5.1.1).
    if kind != "multipart/form-data" or not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise Rejected(
            "invalid-upload", "The body is not multipart/form-data.", hint="Upload with uv, twine or another uploader."
        )
    return boundary


class FormReader:
    """Reads one upload form. `file` is set once the field `content` has begun; the caller discards it."""

    def __init__(
        self,
        receive: Callable[..., Incoming],
        executor: Executor,
        *,
        field_limit_bytes: int,
        fields_limit: int,
        idle_seconds: int,
    ) -> None:
        self._receive = receive
        self._executor = executor
        self._field_limit_bytes = field_limit_bytes
        self._fields_limit = fields_limit
        self._idle_seconds = idle_seconds
        self._fields: dict[str, str] = {}
        self._segment: MultipartSegment | None = None
        self._text = bytearray()
        self._text_total = 0
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._filename = ""
        self.file: Incoming | None = None

    async def read(self, content: StreamReader, boundary: str, length: int) -> Form:
        """Read to the end. Raises `Rejected`."""
        try:
            with PushMultipartParser(
                boundary, content_length=length, max_segment_count=self._fields_limit, strict=True
            ) as parser:
                while not parser.closed:
                    async with asyncio.timeout(self._idle_seconds):
                        chunk = await content.readany()
                    if not chunk:
                        break
                    for event in parser.parse(chunk):
                        self._take(event)
                    if self._waiting_bytes >= PIECE_BYTES:
                        await self._hand_over()
        except TimeoutError:
            raise Rejected("timeout", f"Nothing of the upload arrived for {self._idle_seconds} seconds.") from None
        except ParserLimitReached as error:
            raise Rejected("invalid-upload", f"The form is too large: {error}.") from None
        except MultipartError as error:
            raise Rejected("invalid-upload", f"The form cannot be read: {error}.") from None
        if self.file is None:
            raise Rejected("invalid-upload", "The form has no field content with a file.")
        # What is left of a small file; a large one's last piece.
        await self._hand_over()
        return Form(self._fields, self._filename)

    def _take(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        elif self._segment is not None and self._segment.name == "content":
            self._pieces.append(bytes(event))
            self._waiting_bytes += len(event)
        elif self._segment is not None and self._segment.name not in IGNORED_FILES:
            self._text_total += len(event)
            if len(self._text) + len(event) > self._field_limit_bytes or self._text_total > 4 * self._field_limit_bytes:
                raise Rejected(
                    "too-large", f"The form field {self._name()} is larger than {self._field_limit_bytes} bytes."
                )
            self._text += event

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        self._text.clear()
        if segment.name == "content":
            if self.file is not None:
                raise Rejected("invalid-upload", "The form has the field content twice.")
            if not segment.filename or len(segment.filename) > FILENAME_MAX_CHARACTERS:
                raise Rejected("invalid-upload", "The field content has no file name.")
            self._filename = segment.filename
            self.file = self._receive(md5=bool(self._fields.get("md5_digest")))
        elif segment.filename is not None and segment.name not in IGNORED_FILES | {"attestations"}:
            raise Rejected("invalid-upload", f"The form field {self._name()} is a file, but should be text.")

    def _end(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None or segment.name == "content" or segment.name in IGNORED_FILES:
            return
        try:
            value = self._text.decode("utf-8")
        except UnicodeDecodeError:
            raise Rejected("invalid-upload", f"The form field {segment.name!r} is not UTF-8.") from None
        former = self._fields.setdefault(segment.name, value)
        if former != value and segment.name not in REPEATED:
            raise Rejected("invalid-upload", f"The form field {segment.name[:40]!r} comes twice with different values.")

    def _name(self) -> str:
        return repr(self._segment.name[:40]) if self._segment else "?"

    async def _hand_over(self) -> None:
        if not self._waiting_bytes or self.file is None:
            return
        piece, self._pieces, self._waiting_bytes = b"".join(self._pieces), [], 0
        if len(piece) <= INLINE_BYTES and self.file.size_bytes + len(piece) <= MEMORY_MAX_BYTES:
            # Hashed sooner than handed over, and kept in memory.
            self.file.write(piece)
            return
        await asyncio.get_running_loop().run_in_executor(self._executor, self.file.write, piece)
