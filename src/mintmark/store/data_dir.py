"""The data directory: one folder that holds all state of the embedded default.

Owns its creation and the refusal of a folder that is something else. Layout: `mintmark.db` (ledger), `blobs/`,
`incoming/`, `pages/`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mintmark.core.errors import Misconfigured
from mintmark.store.blobs_dir import sync_directory

LEDGER_NAME = "mintmark.db"
# What a folder without a ledger may hold: the lock of another process that is just making the ledger (or was killed
# then), and what a file system puts into its root.
_HARMLESS = frozenset({"mintmark.lock", "lost+found"})


def prepare(path: Path) -> Path:
    """Create the folder if it does not exist; returns the ledger's path. Raises `Misconfigured`."""
    ledger = path / LEDGER_NAME
    try:
        if not path.exists():
            # The parent must exist: a mistyped path should not become a new empty index.
            path.mkdir(mode=0o750, exist_ok=True)
            sync_parent(path)
        if not path.is_dir():
            raise Misconfigured("data_dir", f"{path} is not a folder.", "Name another one.")
        names = {entry.name for entry in path.iterdir()}
        if LEDGER_NAME not in names and names - _HARMLESS:
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
    except OSError as error:
        raise Misconfigured(
            "data_dir", f"{path} cannot be used: {error.strerror}.", "Name another one, or repair the cause."
        ) from None
    return ledger


def sync_parent(path: Path) -> None:
    """Make a folder's own name durable."""
    # Its entry in the parent is the one name below which everything else is made durable. A parent that may be
    # entered but not read cannot be synced.
    with suppress(PermissionError):
        sync_directory(path.parent)
