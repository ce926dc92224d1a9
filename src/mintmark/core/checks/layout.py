"""The files that make an archive a distribution are there, once, where installers look for them.

Owns the top of the archive: `.dist-info` and `.data` of a wheel (binary distribution format), the one directory of a
source distribution (source distribution format). Leaves what the files say to the checks after it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.stem import belongs, normal_stem

_REBUILD = "Build the file again with a current build backend and upload it unchanged."
_RENAMED = "Build the file again and do not rename it."
_CODE = "invalid-distribution"

DIST_INFO = Rule(
    "layout-dist-info",
    Grade.REFUSE,
    _CODE,
    "A wheel has exactly one .dist-info directory, named for the project and version of the file name: with another "
    "one, or none, installers refuse it or take different metadata.",
    _RENAMED,
)
LACKS = Rule(
    "layout-lacks",
    Grade.REFUSE,
    _CODE,
    "A wheel has the files METADATA and WHEEL in its .dist-info directory; no installer takes one without.",
    _REBUILD,
)
LACKS_RECORD = Rule(
    "layout-lacks-record",
    Grade.STRICT,
    _CODE,
    "A wheel has a file RECORD in its .dist-info directory, by which installers uninstall and people verify.",
    _REBUILD,
)
LACKS_PKG_INFO = Rule(
    "layout-lacks-pkg-info",
    Grade.STRICT,
    _CODE,
    "A source distribution has a regular file PKG-INFO in its top directory, which says what it is.",
    _REBUILD,
)
DOUBLED = Rule(
    "layout-doubled",
    Grade.REFUSE,
    _CODE,
    "A file that says what the distribution is exists once: of two, every installer takes another.",
    _REBUILD,
)
CASE = Rule(
    "layout-case",
    Grade.REFUSE,
    _CODE,
    "No second spelling of these names in other letters: on disks that ignore case the one overwrites the other.",
    "Remove the file or directory with the other spelling and build again.",
)
DATA = Rule(
    "layout-data",
    Grade.STRICT,
    _CODE,
    "The .data directory of a wheel is named like its .dist-info directory: installers disagree about any other.",
    _RENAMED,
)
SCHEME = Rule(
    "layout-data-scheme",
    Grade.STRICT,
    _CODE,
    "What is in a .data directory goes to one of the places that installers know.",
    "Put the files below purelib, platlib, headers, scripts or data.",
)
TOP = Rule(
    "layout-top",
    Grade.REFUSE,
    _CODE,
    "Everything in a source distribution is in one directory, which belongs to the file's project and version.",
    _REBUILD,
)
TOP_SPELLING = Rule(
    "layout-top-spelling",
    Grade.STRICT,
    _CODE,
    "The top directory of a source distribution has the same spelling as a normal file name.",
    _REBUILD + " The operator can allow other spellings with legacy-names = true.",
)
FINDINGS = (
    DIST_INFO,
    LACKS,
    LACKS_RECORD,
    LACKS_PKG_INFO,
    DOUBLED,
    CASE,
    DATA,
    SCHEME,
    TOP,
    TOP_SPELLING,
)

_OF_WHEELS = ("METADATA", "WHEEL", "RECORD")
_FOLDED = {name.casefold(): name for name in (*_OF_WHEELS, "entry_points.txt")}
# Windows cuts names there: at a stream of the file, and at dots and spaces at the end.
_CUT = re.compile(r"(?::.*|[. ]+)\Z", re.DOTALL)
_LIBRARIES = frozenset({"purelib", "platlib"})
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})


def check(subject: Subject) -> Iterator[Finding]:
    """The layout of a whole archive."""
    yield from _wheel(subject) if subject.is_wheel else _sdist(subject)


def _wheel(subject: Subject) -> Iterator[Finding]:
    first = dict.fromkeys(member.name.partition("/")[0] for member in subject.archive.members)
    infos = [name for name in first if name.endswith(".dist-info")]
    expected = shown(f"{normal_stem(subject.filename)}.dist-info")
    if len(infos) > 1:
        yield DIST_INFO.found(f"The wheel has {len(infos)} .dist-info directories, but may have only one.")
    elif not infos:
        yield DIST_INFO.found(f"The wheel lacks the directory {expected}.", cure=_REBUILD)
    elif not belongs(infos[0].removesuffix(".dist-info"), subject.filename):
        yield DIST_INFO.found(f"The wheel's directory is {shown(infos[0])} instead of {expected}.")
    for name in first:
        if _folded(name).endswith(".dist-info") and not name.endswith(".dist-info"):
            yield CASE.found(f"The wheel has the directory {shown(name)}, which ends in other letters than .dist-info.")
        if name.endswith(".data") and not belongs(name.removesuffix(".data"), subject.filename):
            yield DATA.found(f"The wheel's directory {shown(name)} does not belong to {expected}.")
    if subject.home:
        yield from _dist_info(subject)
    yield from _schemes(subject, {name for name in first if name.endswith(".data")})


def _dist_info(subject: Subject) -> Iterator[Finding]:
    prefix = subject.home + "/"
    there: Counter[str] = Counter()
    for member in subject.archive.members:
        if member.name.startswith(prefix):
            name = member.name[len(prefix) :]
            if member.kind == "file":
                there[name] += 1
            proper = _FOLDED.get(_folded(name))
            if proper is not None and name != proper:
                yield CASE.found(f"The wheel has {shown(member.name)}, which is {proper} in other letters.")
    for name in _OF_WHEELS:
        if not there[name]:
            rule = LACKS_RECORD if name == "RECORD" else LACKS
            yield rule.found(f"The wheel lacks the file {shown(prefix + name)}.")
    for name in _FOLDED.values():
        if there[name] > 1:
            yield DOUBLED.found(f"The wheel has {shown(prefix + name)} {there[name]} times.")


def _folded(name: str) -> str:
    """One key for the names that a disk may take for one."""
    return _CUT.sub("", name).casefold() if not name.isalnum() else name.casefold()


def _schemes(subject: Subject, directories: set[str]) -> Iterator[Finding]:
    if not directories:
        return
    unknown: dict[str, None] = {}
    for member in subject.archive.members:
        directory, _, rest = member.name.partition("/")
        scheme, _, below = rest.partition("/")
        if (
            directory in directories
            and scheme in _LIBRARIES
            and _folded(below.partition("/")[0]).endswith(".dist-info")
        ):
            yield DIST_INFO.found(f"The wheel has {shown(member.name)}, which is installed as another .dist-info.")
        if directory in directories and rest and rest.partition("/")[0] not in _SCHEMES:
            unknown["/".join(member.name.split("/", 2)[:2])] = None
    for name in unknown:
        yield SCHEME.found(f"The wheel has {shown(name)}, which is not a place that installers know.")


def _sdist(subject: Subject) -> Iterator[Finding]:
    facts = subject.filename
    expected = normal_stem(facts)
    first = dict.fromkeys(member.name.partition("/")[0] for member in subject.archive.members)
    if len(first) > 1:
        others = [name for name in first if name != subject.home][:3]
        names = ", ".join(map(shown, others))
        yield TOP.found(
            f"The source distribution has {len(first)} names at the top, among them {names}, instead of only "
            f"the directory {shown(expected)}."
        )
    elif not first:
        yield TOP.found(f"The source distribution is empty; it lacks the directory {shown(expected)}.")
    if subject.home and not belongs(subject.home, facts):
        yield TOP.found(f"The source distribution's directory is {shown(subject.home)} instead of {shown(expected)}.")
    elif subject.home and subject.home != expected and not subject.policy.legacy_names:
        yield TOP_SPELLING.found(
            f"The source distribution's directory is {shown(subject.home)} instead of {shown(expected)}."
        )
    path = f"{subject.home or expected}/PKG-INFO"
    count = sum(1 for member in subject.archive.members if member.name == path and member.kind == "file")
    if not count:
        yield LACKS_PKG_INFO.found(f"The source distribution lacks the file {shown(path)}.")
    elif count > 1:
        yield DOUBLED.found(f"The source distribution has {shown(path)} {count} times.")
    for member in subject.archive.members:
        if member.name != path and member.name.count("/") == 1 and _folded(member.name) == path.casefold():
            yield CASE.found(f"The source distribution has {shown(member.name)}, which is PKG-INFO in other letters.")
