"""PEP 807 discovery keys: which registry an upload URL's path names.

Owns the reading of the key. Leaves URLs and answers to `service.exchange` and `web`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

KEY_MAX_CHARACTERS = 512
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def upload_path(query: str) -> str | None:
    """The upload URL's path from the raw query string of a discovery request; None if it is not one exact path.

    Decoded exactly once. Empty segments, dot segments, and anything that is still percent-encoded afterwards are
    refused, since another layer could read them as another path.
    """
    keys = [part[len("discover=") :] for part in query.split("&") if part.startswith("discover=")]
    if len(keys) != 1 or len(keys[0]) > KEY_MAX_CHARACTERS or _BROKEN_ESCAPE.search(keys[0]):
        return None
    try:
        path = unquote_to_bytes(keys[0]).decode("ascii")
    except UnicodeError:
        return None
    if "%" in path or "\\" in path or "?" in path or "#" in path or not path.isprintable():
        return None
    segments = path.split("/")
    if segments[0] or len(segments) < 2 or any(part in {".", ".."} for part in segments):
        return None
    if any(not part for part in segments[1:-1]) or path == "/":
        return None
    return path


def registry_of_path(path: str) -> str | None:
    """The slug in `/SLUG/legacy/` or `/SLUG/legacy`; "" for `/legacy/` on a registry's own host; else None."""
    segments = path.strip("/").split("/")
    if segments[-1] != "legacy" or len(segments) > 2:
        return None
    return segments[0] if len(segments) == 2 else ""
