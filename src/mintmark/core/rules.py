"""Rules that an operator writes about claims, for issuers that no provider table describes.

Owns their three forms (tables of a trust file, one line of text, the canonical text in the ledger), what they match,
and words for what they do not. Leaves which rules a publisher must have to `core.providers.generic`, and patterns to
`core.globs`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mintmark.core import globs, strict_json
from mintmark.core.claims import ClaimPath, Claims, claim_at
from mintmark.core.errors import Rejected

Value = str | bool | int

RULES_MAX = 20
VALUES_MAX = 50
PATH_MAX_KEYS = 8
KEY_MAX_CHARACTERS = 200
VALUE_MAX_CHARACTERS = 500
INTEGER_MAX = 2**63 - 1
# A publisher's configuration is part of a unique index, whose rows PostgreSQL bounds by 2,700 bytes.
RULES_MAX_CHARACTERS = 2000
LINE_MAX_CHARACTERS = 4000
_PARSED_MAX = 1024

EQUALS, NOT_EQUALS, IN, MATCHES = OPERATORS = ("equals", "not-equals", "in", "matches")
_SIGNS: Final = {"==": EQUALS, "!=": NOT_EQUALS, "in": IN, "matches": MATCHES}
# What every token is checked for anyway, and what is another one each time: neither says who a job is.
CHECKED_ANYWAY = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
_LINE = re.compile(
    r"\s*(?P<claim>\"(?:[^\"\\]|\\.)*\"|\[[^\]]*\]|[^\s\"\[]+)\s+(?P<sign>\S+)\s+(?P<value>.+?)\s*", re.DOTALL
)
_EXAMPLE = 'For example: claim = "sub" and equals = "team/widget".'
_LINE_EXAMPLE = 'Write CLAIM == VALUE, with !=, in or matches for ==, and the value as JSON: sub == "team/widget".'


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One demand. `values` is one value but for `in`."""

    claim: ClaimPath
    operator: str
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        """The claim for people."""
        return "/".join(self.claim)

    @property
    def expected(self) -> str:
        """What is demanded, for people."""
        words = " or ".join(repr(value) for value in self.values)
        return {NOT_EQUALS: f"anything but {words}", MATCHES: f"a match of {words}"}.get(self.operator, words)

    def table(self) -> dict[str, Any]:
        """As a trust file has it."""
        claim = self.claim[0] if len(self.claim) == 1 else list(self.claim)
        return {"claim": claim, self.operator: list(self.values) if self.operator == IN else self.values[0]}

    def holds(self, claims: Claims) -> bool:
        """Whether the demand is met.

        Invariant: a claim that is missing, null or of another type meets no demand, not even `not-equals`.
        """
        actual = claim_at(claims, self.claim)
        of_type = [value for value in self.values if type(value) is type(actual)]
        if not of_type:
            return False
        if self.operator == MATCHES:
            return globs.matches(str(of_type[0]), actual)
        return (actual in of_type) is (self.operator != NOT_EQUALS)


def unmet(rules: Sequence[ClaimRule], claims: Claims) -> Iterator[tuple[ClaimRule, Any]]:
    """The rules that do not hold, with what came instead."""
    return ((rule, claim_at(claims, rule.claim)) for rule in rules if not rule.holds(claims))


# -- reading ----------------------------------------------------------------------------------------------------------


def canonical(given: Any) -> str:
    """The one text of a list of tables (or of such a text). Raises `Rejected` naming the rule by its number."""
    if isinstance(given, str):
        given = _json(given, "The rules")
    if not isinstance(given, list) or not given:
        raise _wrong("The rules", "are no list of rules", f"Write at least one. {_EXAMPLE}")
    if len(given) > RULES_MAX:
        raise _wrong("The rules", f"are more than {RULES_MAX}", "Write fewer; `in` takes several values.")
    rules = [parse_table(table, f"rule {number}") for number, table in enumerate(given, 1)]
    texts = sorted({_dumps(rule.table()) for rule in rules})
    text = f"[{','.join(texts)}]"
    if len(text) > RULES_MAX_CHARACTERS:
        raise _wrong("The rules", f"have more than {RULES_MAX_CHARACTERS} characters", "Write fewer or shorter ones.")
    return text


@lru_cache(_PARSED_MAX)
def rules_of(text: str) -> tuple[ClaimRule, ...]:
    """The rules of a canonical text. Raises `Rejected` where it is none, and never returns no rule."""
    return tuple(parse_table(table, f"rule {number}") for number, table in enumerate(json.loads(canonical(text)), 1))


def parse_table(table: Any, where: str) -> ClaimRule:
    """One rule as a trust file has it. Raises `Rejected`."""
    if not isinstance(table, Mapping):
        raise _wrong(where, "is not a table", "Write [[registry.NAME.publisher.rule]].")
    if "claim" not in table:
        raise _wrong(where, "lacks claim", f"It is the claim's name, or the list of keys that lead to it. {_EXAMPLE}")
    given = [key for key in table if key != "claim"]
    unknown = sorted(set(given) - set(OPERATORS))
    if unknown:
        raise _wrong(where, f"has an unknown key {unknown[0]!r}", f"Its keys are: claim, {', '.join(OPERATORS)}.")
    if len(given) != 1:
        problem = f"has both {' and '.join(given)}" if given else "says nothing about its claim"
        raise _wrong(where, problem, f"Give exactly one of {', '.join(OPERATORS)}; write two rules for two demands.")
    operator = given[0]
    claim = parse_path(table["claim"], where)
    if claim[0] in CHECKED_ANYWAY:
        raise _wrong(
            where,
            f"is about {claim[0]!r}, which says nothing of who a job is",
            "It is checked for every token; leave it out.",
        )
    return ClaimRule(claim, operator, _values(operator, table[operator], where))


def parse_path(given: Any, where: str) -> ClaimPath:
    """The address of a claim: a name, or a list of keys. Raises `Rejected`."""
    path = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else ()
    if not 0 < len(path) <= PATH_MAX_KEYS or not all(isinstance(key, str) and _is_key(key) for key in path):
        raise _wrong(
            where,
            f"has no address of a claim: {given!r:.200}",
            f'Write a name, or up to {PATH_MAX_KEYS} keys like ["kubernetes.io", "namespace"].',
        )
    return path


def parse_rule_text(text: str) -> dict[str, Any]:
    """A rule of the command line, `sub == "team/widget"`, as the table of a trust file. Raises `Rejected`."""
    if len(text) > LINE_MAX_CHARACTERS:
        raise _wrong("The rule", f"has more than {LINE_MAX_CHARACTERS} characters", "Write a shorter one.")
    found = _LINE.fullmatch(text)
    if found is None or found["sign"] not in _SIGNS:
        raise _wrong(f"{text!r:.200}", "is no rule", _LINE_EXAMPLE)
    claim = found["claim"]
    table = {
        "claim": _json(claim, "The claim") if claim[0] in '"[' else claim,
        _SIGNS[found["sign"]]: _json(found["value"], "The value"),
    }
    return parse_table(table, "The rule").table()


def _values(operator: str, given: Any, where: str) -> tuple[Value, ...]:
    if operator == IN:
        if not isinstance(given, list) or not 0 < len(given) <= VALUES_MAX:
            raise _wrong(where, f"has no list of 1 to {VALUES_MAX} values", 'Write in = ["one", "two"].')
        found = {(type(value).__name__, value): value for value in (_value(each, where) for each in given)}
        return tuple(found[key] for key in sorted(found, key=lambda key: (key[0], _dumps(key[1]))))
    value = _value(given, where)
    if operator == MATCHES:
        problem = "is no text" if not isinstance(value, str) else globs.problem_of(value)
        if problem:
            raise _wrong(where, f"has a pattern that {problem}: {value!r}", "`*` never crosses '/', `**` does.")
        if not str(value).strip("*/"):
            raise _wrong(where, f"matches everything: {value!r}", "Name what must be there, or leave the rule out.")
    return (value,)


def _value(given: Any, where: str) -> Value:
    if isinstance(given, str) and given and len(given) <= VALUE_MAX_CHARACTERS and _is_unicode(given):
        return given
    if isinstance(given, bool) or (isinstance(given, int) and abs(given) <= INTEGER_MAX):
        return given
    raise _wrong(
        where,
        f"has no value: {given!r:.200}",
        f"Write a text of 1 to {VALUE_MAX_CHARACTERS} characters in quotes, true, false or a whole number.",
    )


def _is_key(key: str) -> bool:
    return 0 < len(key) <= KEY_MAX_CHARACTERS and _is_unicode(key)


def _is_unicode(text: str) -> bool:
    """JSON can spell half a surrogate pair, which no ledger stores."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _json(text: str, what: str) -> Any:
    try:
        return strict_json.parse(text.encode("utf-8", "surrogatepass"))
    except strict_json.NotStrictJson as error:
        raise _wrong(what, f"cannot be read: {error}", _LINE_EXAMPLE) from None


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _wrong(where: str, problem: str, cure: str) -> Rejected:
    return Rejected("invalid-trust", f"{where} {problem}.", hint=cure)
