"""What tests and files must not do: stand in for our own code, or name the registries of the world."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests"
# Put together here, so that this file does not hold what it forbids.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("rubygems", "org"),
        ("crates", "io"),
        ("anaconda", "org"),
    )
)
SKIPPED_FOLDERS = {".git", "build", "dist", "node_modules", "__pycache__", ".hypothesis", ".ruff_cache", "mintmark-dev"}
MODULES = sorted(path for path in TESTS.rglob("*.py") if not SKIPPED_FOLDERS & set(path.parts))


def tracked() -> Iterator[Path]:
    """What is in the repository, or will be with the next commit; all there is where there is no repository."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if found.returncode == 0:
        names = [name for name in found.stdout.decode().split("\0") if name]
        yield from (ROOT / name for name in names if (ROOT / name).is_file())
        return
    yield from (path for path in ROOT.rglob("*") if path.is_file() and not SKIPPED_FOLDERS & set(path.parts))


def test_no_package_registry_is_named() -> None:
    """Nothing here may ever talk to one by default. Fixtures are real files of others and stay as they are."""
    fixtures = ROOT / "tests" / "fixtures"
    named = []
    for path in tracked():
        relative = path.relative_to(ROOT)
        if path.is_relative_to(fixtures) or SKIPPED_FOLDERS & set(relative.parts):
            continue
        data = path.read_bytes().lower()
        named += [f"{relative}: {host}" for host in REGISTRY_HOSTS if host.encode() in data]
    assert named == []


@pytest.mark.parametrize("path", MODULES, ids=[path.relative_to(TESTS).as_posix() for path in MODULES])
def test_nothing_stands_in_for_our_own_code(path: Path) -> None:
    """The other side is simulated, our own side is real: no mocks, no patched attributes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert not {name for name in imported if name.split(".")[0] in {"mock", "pytest_mock"} or "unittest.mock" in name}
    arguments = {
        argument.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in node.args.args
    }
    assert "mocker" not in arguments
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and _patches_us(node, imported)] == []


def _patches_us(call: ast.Call, imported: set[str]) -> bool:
    """Whether a call replaces something of ours. A limit may be lowered, so that a test reaches it: a number in
    capitals. Recording what goes to the operating system replaces nothing of ours."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in {"setattr", "delattr", "setitem", "delitem"}):
        return False
    if not (isinstance(function.value, ast.Name) and function.value.id == "monkeypatch"):
        return False
    target, name, value = (*call.args, None, None, None)[:3]
    if isinstance(target, ast.Name) and target.id in {"os", "sys"} and target.id in imported:
        return False
    is_limit = isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.isupper()
    return not (is_limit and isinstance(value, ast.Constant) and isinstance(value.value, int))


def test_the_rule_sees_the_tests() -> None:
    assert len(MODULES) > 40
    assert sum(1 for _ in tracked()) > 100
