"""Which form of an answer a client wants, from its `Accept` header.

Owns server-driven negotiation (RFC 9110, section 12.5.1) and the content types of the simple API (PEP 691). Leaves
`Vary`, 406 and rendering to `web`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

JSON_V1 = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"
LATEST = {
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
}
"""Aliases that clients may ask for. The answer must carry the actual version (PEP 691)."""

ACCEPT_MAX_CHARACTERS = 4096
"""A longer header is treated like an absent one. Browsers send about 150 characters, pip 100."""

# In this order for clients that do not care: PEP 691 recommends text/html for them.
_SIMPLE_OFFERS = (HTML, JSON_V1, HTML_V1, *LATEST)

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"({_NAME})/({_NAME})\Z")
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")
# List elements and parameters; a quoted string may hold the separator. The alternatives exclude each other, so that
# matching is linear; a quote that is never closed runs to the end.
_ELEMENTS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_PARAMETERS = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)

# How exactly a media range fits an offer; the most exact one decides its quality (RFC 9110, section 12.5.1).
_EXACT, _TYPE, _ANY, _PARAMETRISED = 4, 3, 2, 1


def choose(accept: str | None, offers: Sequence[str], default: str) -> str | None:
    """The offer that the client likes best, or None if it accepts none of them (406).

    `offers` are media types without parameters. Of two offers with the same quality the one that the client named
    more exactly wins, then the one that stands first in `offers`. `default` answers an absent, empty or overlong
    header and one in which nothing can be understood; malformed elements are ignored. A media range with parameters
    (`text/html;level=1`) is taken for the plain one where no other range fits, since clients add `charset`.
    Invariant: an offer whose quality is 0 is never chosen.
    """
    if not accept or len(accept) > ACCEPT_MAX_CHARACTERS:
        return default
    return _choose(accept, tuple(offers), default)


def simple_form(accept: str | None) -> tuple[str, str] | None:
    """The form of a simple page (`json` or `html`) and the content type to label it with; None means 406."""
    chosen = choose(accept, _SIMPLE_OFFERS, HTML)
    if chosen is None:
        return None
    content_type = LATEST.get(chosen, chosen)
    return ("json" if content_type == JSON_V1 else "html", content_type)


@lru_cache(maxsize=256)
def _choose(accept: str, offers: tuple[str, ...], default: str) -> str | None:
    ranges = [parsed for element in _split(accept, ",", _ELEMENTS) if (parsed := _parse(element)) is not None]
    if not ranges:
        return default
    best: str | None = None
    best_rank = (0, 0)
    for offer in offers:
        rank = _rank(offer.lower(), ranges)
        if rank[0] > 0 and rank > best_rank:
            best, best_rank = offer, rank
    return best


def _split(text: str, separator: str, quoting: re.Pattern[str]) -> list[str]:
    return quoting.findall(text) if '"' in text else text.split(separator)


def _parse(element: str) -> tuple[str, str, bool, int] | None:
    """Type, subtype, whether it has parameters, and the quality in thousandths; None if malformed."""
    head, *parameters = [part.strip(" \t") for part in _split(element, ";", _PARAMETERS)] or [""]
    match = _RANGE.match(head)
    if match is None:
        return None
    kind, subtype = match[1].lower(), match[2].lower()
    if kind == "*" and subtype != "*":
        return None
    parametrised = False
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if name.lower() == "q":
            # What follows the weight are extensions of the header that nobody defined.
            return (kind, subtype, parametrised, _thousandths(value)) if _QUALITY.match(value) else None
        if parameter and not equals:
            return None
        parametrised = parametrised or bool(parameter)
    return kind, subtype, parametrised, 1000


def _thousandths(quality: str) -> int:
    whole, _, fraction = quality.partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


def _rank(offer: str, ranges: list[tuple[str, str, bool, int]]) -> tuple[int, int]:
    """Quality in thousandths and exactness of the range that speaks about the offer most exactly."""
    kind, _, subtype = offer.partition("/")
    exactness, quality = 0, 0
    for range_kind, range_subtype, parametrised, range_quality in ranges:
        if range_kind not in (kind, "*") or range_subtype not in (subtype, "*"):
            continue
        if parametrised:
            fit = _PARAMETRISED
        else:
            fit = _ANY if range_kind == "*" else _TYPE if range_subtype == "*" else _EXACT
        # Of two equally exact ranges the more reluctant one counts.
        if fit > exactness or (fit == exactness and range_quality < quality):
            exactness, quality = fit, range_quality
    return quality, exactness
