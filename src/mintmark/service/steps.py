"""Named moments of the long operations.

Owns the names. A server passes `ignore`; the crash tests pass a function that kills the process at one of them, to
prove that whatever was acknowledged is there and whatever was not is gone or healed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """A moment just after something happened."""

    MINT_VERIFIED = "mint-verified"
    MINT_RECORDED = "mint-recorded"
    """Inside the transaction, before its commit."""
    MINT_COMMITTED = "mint-committed"
    UPLOAD_RECEIVED = "upload-received"
    UPLOAD_CHECKED = "upload-checked"
    UPLOAD_BLOB_DURABLE = "upload-blob-durable"
    UPLOAD_RECORDED = "upload-recorded"
    """Inside the transaction, before its commit."""
    UPLOAD_COMMITTED = "upload-committed"
    UPLOAD_PAGES_REPLACED = "upload-pages-replaced"
    UPLOAD_PAGES_MARKED = "upload-pages-marked"
    CHANGE_COMMITTED = "change-committed"
    """A change of a project, release or file that is no upload."""


Reached = Callable[[Step], None]


def ignore(_step: Step) -> None:
    """What a server does at every step."""
