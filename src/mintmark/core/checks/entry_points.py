"""The entry points of a wheel can be read, and its scripts go where scripts belong.

Owns the grammar (entry points specification), read line by line as `importlib.metadata` does. `configparser` is not
used: its pattern takes quadratic time on a long line. Leaves making scripts to installers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject

LINE_MAX_CHARACTERS = 2_000

_CODE = "invalid-distribution"
_CORRECT = "Correct the project's entry points and build again."

UNREADABLE = Rule(
    "entry-points",
    Grade.STRICT,
    _CODE,
    "entry_points.txt is UTF-8, with lines 'name = module:object' below a group in square brackets.",
    _CORRECT,
)
SCRIPT = Rule(
    "entry-points-script",
    Grade.REFUSE,
    _CODE,
    "The name of a script is the name of a file: with '/', a backslash, a colon or control characters installers would "
    "write it somewhere else.",
    "Give the script a plain name and build again.",
)
REFERENCE = Rule(
    "entry-points-reference",
    Grade.STRICT,
    _CODE,
    "An entry point names a module, and where it is a script a function in it; otherwise the script fails when it is "
    "started.",
    "Write it like name = package.module:function, and build again.",
)
DOUBLED = Rule(
    "entry-points-doubled",
    Grade.STRICT,
    _CODE,
    "A name is in a group once: of two, every reader takes another.",
    _CORRECT,
)
GROUP = Rule(
    "entry-points-group",
    Grade.WARN,
    _CODE,
    "The names of groups are letters, digits, '_' and '-', with dots between them, and names do not begin with '['.",
    _CORRECT,
)
FINDINGS = (UNREADABLE, SCRIPT, REFERENCE, DOUBLED, GROUP)

_SCRIPTS = frozenset({"console_scripts", "gui_scripts"})
_GROUP = re.compile(r"[\w-]+(?:\.[\w-]+)*\Z")
# On Windows a colon ends a drive's name or begins that of a stream.
_NO_FILE = re.compile(r"[/\\:\x00-\x1f\x7f-\x9f]")
_REFERENCE = re.compile(r"(?P<module>[\w.]+)[ \t]*(?::[ \t]*(?P<object>[\w.]+)[ \t]*)?(?:\[[\w., \t-]*\])?\Z")


def check(subject: Subject) -> Iterator[Finding]:
    """Every line."""
    data = subject.text("entry_points.txt") if subject.is_wheel else None
    if data is None:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield UNREADABLE.found("The wheel's entry_points.txt is not UTF-8.")
        return
    yield from _lines(text)


def _lines(text: str) -> Iterator[Finding]:
    group = ""
    seen: set[tuple[str, str]] = set()
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith(";"):
            # For `configparser` a comment; for `importlib.metadata`, and so for pip, an entry point.
            yield from _script(group, line.partition("=")[0].strip())
            continue
        if len(line) > LINE_MAX_CHARACTERS:
            yield UNREADABLE.found(f"The wheel's entry_points.txt has a line that is too long: {shown(line)}.")
        elif line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
            if not _GROUP.match(group):
                yield GROUP.found(f"The group of entry points {shown(group)} has an unusual name.")
        else:
            name, equals, value = (part.strip() for part in line.partition("="))
            if not (group and name and equals):
                yield UNREADABLE.found(f"The wheel's entry_points.txt has the line {shown(line)}.")
                continue
            if (group, name) in seen:
                yield DOUBLED.found(f"The entry point {shown(name)} is in the group {shown(group)} twice.")
            seen.add((group, name))
            yield from _entry(group, name, value)


def _entry(group: str, name: str, value: str) -> Iterator[Finding]:
    if name.startswith("["):
        yield GROUP.found(f"The entry point {shown(name)} has an unusual name.")
    yield from _script(group, name)
    is_script = _is_of_scripts(group)
    reference = _REFERENCE.match(value)
    if reference is None or not _is_dotted(reference["module"]) or not _is_dotted(reference["object"]):
        yield REFERENCE.found(f"The entry point {shown(name)} does not name an object: {shown(value)}.")
    elif is_script and reference["object"] is None:
        yield REFERENCE.found(f"The script {shown(name)} names a module, but no function in it: {shown(value)}.")


def _script(group: str, name: str) -> Iterator[Finding]:
    if _is_of_scripts(group) and (_NO_FILE.search(name) or name in {".", ".."}):
        yield SCRIPT.found(f"The script {shown(name)} has a name that is not the name of a file.")


def _is_of_scripts(group: str) -> bool:
    # `importlib.metadata` takes off all brackets, setuptools all spaces: each group that one of them reads counts.
    return group.strip("[] \t") in _SCRIPTS


def _is_dotted(text: str | None) -> bool:
    return text is None or all(part.isidentifier() for part in text.split("."))
