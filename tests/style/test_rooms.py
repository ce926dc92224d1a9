"""The house rules that a reader feels: doors with a sentence, small rooms, no hidden clock, no SQL from pieces."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mintmark

SOURCE = Path(mintmark.__file__).parent
TESTS = Path(__file__).parent.parent
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
# Who may ask for the time: the real clock, and the commands that run on people's machines.
CLOCKS = ("store/system.py", "cli/", "lab/")
SQL_WORDS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "ALTER ", "DROP ", "SAVEPOINT ")


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "node_modules" not in path.parts)


def name_of(path: Path) -> str:
    root = SOURCE if path.is_relative_to(SOURCE) else TESTS
    return path.relative_to(root).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every call by its dotted name, as far as it is one, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, function = [], node.func
            while isinstance(function, ast.Attribute):
                parts.append(function.attr)
                function = function.value
            if isinstance(function, ast.Name):
                yield ".".join(reversed([*parts, function.id])), node.lineno


SRC = modules(SOURCE)
OURS = [*SRC, *modules(TESTS)]
IDS = [name_of(path) for path in SRC]
# Tables are as long as what they describe.
TABLES = {"core/codes.py", "store/ledger/migrations/versions/0001_first.py"}


@pytest.mark.parametrize("path", SRC, ids=IDS)
def test_every_module_has_a_sentence_on_its_door(path: Path) -> None:
    tree = tree_of(path)
    if path.name == "__init__.py" and not tree.body:
        return
    text = ast.get_docstring(tree)
    assert text
    first = text.split("\n\n")[0].replace("\n", " ")
    assert first.endswith((".", "!", "?", ":")), first


@pytest.mark.parametrize("path", SRC, ids=IDS)
def test_functions_fit_on_a_screen(path: Path) -> None:
    if name_of(path) in TABLES:
        return
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("path", OURS, ids=[f"{path.parts[-4]}/{name_of(path)}" for path in OURS])
def test_files_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_MAX or name_of(path) in TABLES


@pytest.mark.parametrize("path", SRC, ids=IDS)
def test_names_say_what_a_module_owns(path: Path) -> None:
    assert not FORBIDDEN_NAMES & {*(part.removesuffix(".py") for part in path.relative_to(SOURCE).parts)}


@pytest.mark.parametrize("path", SRC, ids=IDS)
def test_nothing_prints(path: Path) -> None:
    """Commands echo, servers log."""
    assert [line for name, line in calls(tree_of(path)) if name in {"print", "pprint.pprint", "breakpoint"}] == []


@pytest.mark.parametrize("path", SRC, ids=IDS)
def test_time_comes_from_the_clock(path: Path) -> None:
    if name_of(path).startswith(CLOCKS):
        return
    tree = tree_of(path)
    hidden = {"datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now", "time.time", "time.time_ns"}
    assert [line for name, line in calls(tree) if name in hidden] == []
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    assert imported <= {"monotonic", "perf_counter"}


LEDGER = [path for path in SRC if "ledger" in path.parts and "migrations" not in path.parts]


@pytest.mark.parametrize("path", LEDGER, ids=[name_of(path) for path in LEDGER])
def test_statements_are_put_together_from_constants_of_their_module(path: Path) -> None:
    """Whatever comes from a request is a parameter: no f-string, `%` or `format` makes SQL inside a function."""
    made = []
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            pieces: list[ast.AST] = []
            if isinstance(node, ast.JoinedStr):
                pieces = list(node.values)
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
                pieces = [node.left, node.right]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                pieces = [node.func.value]
            texts = [each.value for each in pieces if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if any(text.lstrip().upper().startswith(SQL_WORDS) for text in texts):
                made.append(node.lineno)  # type: ignore[attr-defined]
    assert made == []


def test_the_rules_see_something() -> None:
    """A rule that looks at nothing is always kept."""
    assert len(SRC) > 60
    assert len(LEDGER) > 8
    assert any(name == "time.time" for path in SRC for name, _ in calls(tree_of(path)))
    assert any(name == "click.echo" for path in SRC for name, _ in calls(tree_of(path)))
