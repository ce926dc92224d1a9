"""The machine around an index: the data directory, its disk, its clock, the certificate's files.

Owns looking, without changing anything: no folder is made and no ledger is migrated. Leaves judging to
`service.doctor_host`.
"""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mintmark.core.errors import Rejected
from mintmark.store import backup
from mintmark.store.data_dir import LEDGER_NAME
from mintmark.store.ledger import peek
from mintmark.store.ledger.migrate import HEAD

CERTIFICATE_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DataDir:
    """What is known of the data directory. `problem` is in the system's words, "" for none."""

    exists: bool
    problem: str = ""
    mode: int = 0
    is_mine: bool = True
    free_bytes: int = 0
    total_bytes: int = 0
    written_at: float | None = None
    """The time that the file system gave to a file written just now; None when none could be written."""
    has_ledger: bool = False
    revision: str = ""
    """The ledger's schema, "" where it cannot be read."""
    head: str = HEAD


def look_at_data_dir(path: Path) -> DataDir:
    """Look at the folder and the head of its ledger."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return DataDir(False)
    except OSError as error:
        return DataDir(True, error.strerror or "it cannot be read")
    if not stat.S_ISDIR(status.st_mode):
        return DataDir(True, "it is not a folder")
    usage = shutil.disk_usage(path)
    problem, written_at = "", None
    try:
        # Without a name, so that nothing stays behind, whatever happens.
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"mintmark")
            file.flush()
            os.fsync(file.fileno())
            written_at = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        problem = error.strerror or "it cannot be written to"
    ledger = path / LEDGER_NAME
    return DataDir(
        True,
        problem,
        stat.S_IMODE(status.st_mode),
        status.st_uid == os.geteuid(),
        usage.free,
        usage.total,
        written_at,
        ledger.exists(),
        peek.revision(ledger) if ledger.exists() else "",
    )


def read_chain(certificate: Path, key: Path) -> tuple[bytes, str]:
    """The certificate's text, and why the two files do not work together or ""."""
    data = b""
    with suppress(OSError), open(certificate, "rb") as file:
        data = file.read(CERTIFICATE_MAX_BYTES)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        return data, error.reason or "they cannot be read"
    except (OSError, ValueError) as error:
        return data, getattr(error, "strerror", None) or "they cannot be read"
    return data, ""


def _no_password() -> str:
    """A server that starts by itself cannot be asked for one."""
    return ""


def latest_backup(folder: Path) -> str:
    """The name of the newest backup of a folder. Raises `Rejected`."""
    found = backup.names(folder)
    if not found:
        raise Rejected("invalid-backup", f"{folder} holds no backup.")
    return found[-1]
