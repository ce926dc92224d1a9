"""JSON as a security boundary reads it: no duplicate keys, no NaN, no surprise from depth or size.

Owns parsing only. Two parsers that read one document differently are an attack; so what one of them could read
differently is refused.
"""

from __future__ import annotations

import json
import math
from typing import Any

# Deeper than any document of ours, and shallow enough for whoever writes the value out again.
DEPTH_MAX = 64


class NotStrictJson(ValueError):
    """The text is not JSON, or not strict. The message never quotes the text."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("an object has a key twice")
    return members


def _no_constant(name: str) -> Any:
    raise NotStrictJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    # Other parsers read 1e999 as infinity, as the largest number, or not at all.
    if math.isinf(number):
        raise NotStrictJson("a number is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def parse(data: bytes) -> Any:
    """The value of a UTF-8 JSON document; raises `NotStrictJson`."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except NotStrictJson:
        raise
    except UnicodeDecodeError:
        raise NotStrictJson("the text is not UTF-8") from None
    except RecursionError:
        raise NotStrictJson("the document is nested too deeply") from None
    except ValueError:
        raise NotStrictJson("the text is not JSON") from None
    # Few brackets cannot be deep, and ordinary documents have few.
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and not _is_shallow(value):
        raise NotStrictJson("the document is nested too deeply")
    return value


def _is_shallow(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for container in level
            for inner in (container.values() if isinstance(container, dict) else container)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False
