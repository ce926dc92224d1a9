"""Patterns of text with two wildcards: `*` never crosses '/', `**` does.

Owns matching them in one pass over the text, whatever pattern and text are. Leaves where patterns are allowed to
`core.rules`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

PATTERN_MAX_CHARACTERS = 255
# Longer texts match nothing: no claim that names something is as long.
TEXT_MAX_CHARACTERS = 2000
_COMPILED_MAX = 1024


@dataclass(frozen=True, slots=True)
class _Automaton:
    """One bit for each place in the pattern; the lowest is its beginning."""

    literal: dict[str, int]
    """The places behind which a character stands."""
    stays: int
    """Those at a wildcard, which any character may leave where it is."""
    stays_at_slash: int
    end: int


@lru_cache(_COMPILED_MAX)
def _compile(pattern: str) -> _Automaton:
    literal: dict[str, int] = defaultdict(int)
    stays = at_slash = place = 0
    position = 0
    while position < len(pattern):
        bit = 1 << place
        if pattern.startswith("**", position):
            stays, at_slash = stays | bit, at_slash | bit
            position += 1
        elif pattern[position] == "*":
            stays |= bit
        else:
            literal[pattern[position]] |= bit
        position, place = position + 1, place + 1
    return _Automaton(dict(literal), stays, at_slash, 1 << place)


def problem_of(pattern: str) -> str:
    """Why a text is no pattern, or ""."""
    if not pattern or len(pattern) > PATTERN_MAX_CHARACTERS:
        return f"is not 1 to {PATTERN_MAX_CHARACTERS} characters long"
    if "***" in pattern:
        return "has three stars in a row"
    return ""


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits. Each character is looked at once, and a text that is too long fits nothing."""
    if problem_of(pattern) or len(text) > TEXT_MAX_CHARACTERS:
        return False
    automaton = _compile(pattern)
    states = _past_wildcards(1, automaton)
    for character in text:
        kept = states & (automaton.stays_at_slash if character == "/" else automaton.stays)
        states = _past_wildcards(kept | (states & automaton.literal.get(character, 0)) << 1, automaton)
        if not states:
            return False
    return bool(states & automaton.end)


def _past_wildcards(states: int, automaton: _Automaton) -> int:
    """Wildcards stand for no character, too. No two stand side by side."""
    return states | (states & automaton.stays) << 1
