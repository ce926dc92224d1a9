"""JSON as a security boundary reads it: no duplicate keys, no NaN, no surprise from depth or size.

Owns parsing only. Two parsers that read one document differently are an attack; so what one of them could read
differently is refused.
"""

from __future__ import annotations

import json
from typing import Any


class NotStrictJson(ValueError):
    """The text is not JSON, or not strict. The message never quotes the text."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("an object has a key twice")
    return members


def _no_constant(name: str) -> Any:
    raise NotStrictJson(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse(data: bytes) -> Any:
    """The value of a UTF-8 JSON document; raises `NotStrictJson`."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except NotStrictJson:
        raise
    except UnicodeDecodeError:
        raise NotStrictJson("the text is not UTF-8") from None
    except RecursionError:
        raise NotStrictJson("the document is nested too deeply") from None
    except ValueError:
        raise NotStrictJson("the text is not JSON") from None
