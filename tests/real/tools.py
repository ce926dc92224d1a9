"""The programs that the real tests need. A missing one is named, and its tests are skipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"


def need(*names: str) -> dict[str, str]:
    """Paths of programs; skips the test, naming what is missing."""
    found = {name: shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return {name: path for name, path in found.items() if path is not None}
