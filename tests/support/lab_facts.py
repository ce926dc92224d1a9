"""What a running lab tells of itself, for tests that use it the way a test session of somebody else does.

Owns that it ends well and that nothing of it stays behind. Leaves the process to `support.lab`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.lab import lab_up


@contextmanager
def lab_facts(directory: Path, *options: str) -> Iterator[dict[str, Any]]:
    """What `mintmark lab up --json` told; it runs while the block does."""
    folder = directory / "tmp"
    folder.mkdir()
    with lab_up(folder, *options) as lab:
        yield lab.facts
        lab.process.terminate()
        assert (lab.ended(), lab.said()) == (0, "")
    assert list(folder.iterdir()) == []
