"""The data directory: one folder that holds all state of the embedded default.

Owns its creation and the refusal of a folder that is something else. Layout: `mintmark.db` (ledger), `blobs/`,
`incoming/`, `pages/`.
"""

from __future__ import annotations

from pathlib import Path

from mintmark.core.errors import Misconfigured

LEDGER_NAME = "mintmark.db"


def prepare(path: Path) -> Path:
    """Create the folder if it does not exist; returns the ledger's path. Raises `Misconfigured`."""
    ledger = path / LEDGER_NAME
    try:
        if not path.exists():
            # The parent must exist: a mistyped path should not become a new empty index.
            path.mkdir(mode=0o750)
        elif not path.is_dir():
            raise Misconfigured("data_dir", f"{path} is not a folder.", "Name another one.")
        elif not ledger.exists() and any(path.iterdir()):
            raise Misconfigured(
                "data_dir",
                f"{path} holds other files and no ledger.",
                "Name an empty or new folder, or the data directory of an existing index.",
            )
    except FileNotFoundError:
        raise Misconfigured(
            "data_dir", f"{path.parent} does not exist.", "Create it first, or correct the path."
        ) from None
    except PermissionError:
        raise Misconfigured(
            "data_dir", f"{path} cannot be used: no permission.", "Run as the user it belongs to."
        ) from None
    return ledger
