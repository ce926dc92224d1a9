"""Codes: each is documented, and each is used."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus
from pathlib import Path

import pytest

import mintmark
from mintmark.core.codes import CODES, Code

SOURCE = Path(mintmark.__file__).parent
_STRING = re.compile(r"[a-z]+(?:-[a-z]+)*\Z")


def strings_of_the_source() -> set[str]:
    """Every string literal of the source, but of the table of codes."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if path.name != "codes.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found


STRINGS = strings_of_the_source()


@pytest.mark.parametrize("code", CODES.values(), ids=list(CODES))
def test_every_code_is_documented_and_used(code: Code) -> None:
    assert _STRING.match(code.name)
    assert code.name in STRINGS, "nothing in src raises it"
    assert HTTPStatus(code.status) >= 400
    for text in (code.meaning, code.cure):
        assert text[0].isupper() or text.startswith("features ")
        assert text.rstrip('"').endswith(".")
    assert code.title
    assert not code.title.endswith(".")


def test_names_are_unique_and_pypis_come_first() -> None:
    source = (SOURCE / "core" / "codes.py").read_text(encoding="utf-8")
    assert len(re.findall(r"^    Code\($", source, re.MULTILINE)) == len(CODES)
    pypi = {"invalid-payload", "not-enabled", "invalid-token", "invalid-pending-publisher"}
    pypi |= {"invalid-reuse-token", "invalid-publisher"}
    assert pypi <= set(list(CODES)[:7])
    assert {CODES[name].status for name in pypi} == {422}


def test_every_code_that_is_raised_exists() -> None:
    """A typing error in a code would turn a refusal into a bug."""
    raised: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in {"Rejected", "UnknownKey", "BadSignature"} and isinstance(first, ast.Constant):
                    raised.add(str(first.value))
                raised |= {
                    str(keyword.value.value)
                    for keyword in node.keywords
                    if node.func.id == "Unavailable"
                    and keyword.arg == "code"
                    and isinstance(keyword.value, ast.Constant)
                }
    assert raised
    assert raised <= CODES.keys()
