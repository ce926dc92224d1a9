"""Which small files are examined in the event loop: those with little in them, however well they are packed."""

from __future__ import annotations

import gzip
import io

import pytest

from mintmark.core.dist.filename import parse_filename
from mintmark.core.dist.gather import gather
from mintmark.service.incoming import MEMORY_MAX_BYTES
from mintmark.service.upload import QUICK_LIMITS, is_quick
from support.adversaries import (
    INFO,
    SDIST_NAME,
    TOP,
    WHEEL_NAME,
    TarPart,
    ZipPart,
    sdist_parts,
    tar_file,
    wheel_parts,
    zip_file,
)


def wheel(name: str, content: bytes) -> tuple[str, bytes]:
    return WHEEL_NAME, zip_file([*wheel_parts(), ZipPart(name.encode(), content)])


def sdist(*extra: TarPart) -> tuple[str, bytes]:
    return SDIST_NAME, gzip.compress(tar_file([*sdist_parts(), *extra]), mtime=0)


MUCH = {
    "unpacked": wheel("data", bytes(60 << 20)),
    "members": sdist(*(TarPart(f"{TOP}/{number}".encode()) for number in range(30_000))),
    "long names": sdist(
        *(
            part
            for number in range(40)
            for part in (TarPart(b"", f"{TOP}/{number}{'/a' * 1900}".encode(), b"L"), TarPart(b"a"))
        )
    ),
    "entry points": wheel(f"{INFO}/entry_points.txt", b"[a]\nb = c:d\n" * 10_000),
    "extended headers": sdist(*(TarPart(b"", b"8 a=bcd\n", b"g") for _ in range(20_000)), TarPart(b"a")),
}


@pytest.mark.parametrize("case", MUCH)
def test_small_files_with_much_in_them_go_to_a_thread(case: str) -> None:
    filename, data = MUCH[case]
    assert len(data) <= MEMORY_MAX_BYTES
    assert not is_quick(gather(io.BytesIO(data), parse_filename(filename), QUICK_LIMITS))


def test_usual_small_files_do_not() -> None:
    for filename, data in (
        wheel("widget_lab/a.py", bytes(100_000)),
        sdist(TarPart(f"{TOP}/a".encode(), bytes(100_000))),
    ):
        assert is_quick(gather(io.BytesIO(data), parse_filename(filename), QUICK_LIMITS))
