"""Reads a file forwards in large pieces.

Owns the buffer. Leaves what the bytes mean, and how many may be asked for at once, to `dist.zip_stream` and
`dist.zip_directory`.
"""

from __future__ import annotations

from typing import BinaryIO

CHUNK_BYTES = 1 << 20
"""What is read at once."""


class Window:
    """A part of the file: `data`, of which `data[at:]` has not been looked at. Whoever looks moves `at`."""

    __slots__ = ("_base", "_file", "at", "data")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._base = 0
        self.data = b""
        self.at = 0

    @property
    def position(self) -> int:
        """Where in the file `at` is."""
        return self._base + self.at

    def holds(self, size: int) -> bool:
        """Makes `data[at:]` at least `size` bytes long, if the file is. The caller bounds `size`."""
        held = len(self.data) - self.at
        if held >= size:
            return True
        pieces = [self.data[self.at :]]
        self._base += self.at
        self.at = 0
        while held < size:
            piece = self._file.read(max(CHUNK_BYTES, size - held))
            if not piece:
                break
            pieces.append(piece)
            held += len(piece)
        self.data = b"".join(pieces)
        return held >= size

    def take(self, size: int) -> bytes:
        """What is there at once, at least one byte and at most `size`; nothing at the end of the file."""
        if self.at == len(self.data):
            self.holds(1)
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece

    def skip(self, size: int) -> bool:
        """Goes `size` bytes forward; False if the file ends before."""
        while size:
            piece = self.take(min(size, CHUNK_BYTES))
            if not piece:
                return False
            size -= len(piece)
        return True

    def peek(self, position: int, size: int) -> bytes:
        """A piece from anywhere in the file. The walk cannot go on afterwards. The caller bounds `size`."""
        self._file.seek(position)
        return self._file.read(size)
