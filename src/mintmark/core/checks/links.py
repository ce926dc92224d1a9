"""Links of an archive stay inside it, and nothing is written through one.

Owns resolving links the way a file system does, one part of a path after another and through other links, without a
file system. Leaves names to `checks.member_names`. What `tarfile`, pip and uv refuse in different ways is refused here
once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.member_names import COMPONENT_MAX_BYTES, PATH_MAX_BYTES
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.facts import Member

LINKS_FOLLOWED_MAX = 40
"""On the way to one target, as in Linux."""
STEPS_MAX = 1_000_000
"""Parts of paths that are looked at for all links of an archive."""
NODES_MAX = 100_000
"""Parts of the names of all symbolic links: each takes 300 bytes while links are followed."""

_CODE = "invalid-distribution"
_REPLACE = "Replace the link by the file it points to and build again."

IN_WHEEL = Rule(
    "link-in-wheel",
    Grade.REFUSE,
    _CODE,
    "A wheel has no links: installers unpack them as text files, as links, or not at all.",
    _REPLACE,
)
SPECIAL = Rule(
    "link-special",
    Grade.REFUSE,
    _CODE,
    "A distribution holds files, directories and links, no devices, pipes or sockets.",
    "Remove it and build again.",
)
OUTSIDE = Rule(
    "link-outside",
    Grade.REFUSE,
    _CODE,
    "No link of a source distribution leads out of its top directory, by itself or through other links: whoever "
    "follows it would read or overwrite something of the system.",
    _REPLACE,
)
TRAVERSED = Rule(
    "link-traversed",
    Grade.REFUSE,
    _CODE,
    "No member is written through a link of the same archive, since it would not be where its name says.",
    _REPLACE,
)
LOOP = Rule(
    "link-loop",
    Grade.STRICT,
    _CODE,
    f"No link leads to itself, or through more than {LINKS_FOLLOWED_MAX} others.",
    _REPLACE,
)
TOO_MANY = Rule(
    "link-too-many",
    Grade.REFUSE,
    _CODE,
    "The links of an archive can be followed in bounded time.",
    _REPLACE,
)
AMBIGUOUS = Rule(
    "link-ambiguous",
    Grade.REFUSE,
    _CODE,
    "No two links have one name, or names that differ in case only: where they lead depends on who unpacks them.",
    _REPLACE,
)
FINDINGS = (IN_WHEEL, SPECIAL, OUTSIDE, TRAVERSED, LOOP, TOO_MANY, AMBIGUOUS)


class _Node:
    """A place in the tree of all links."""

    __slots__ = ("children", "name", "target")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.name = ""
        """Of the link that is here, as the archive spells it."""
        self.target: str | None = None


class _ExhaustedError(Exception):
    """All steps are used up."""


def check(subject: Subject) -> Iterator[Finding]:
    """Every link, and every member that meets one."""
    links = []
    for member in subject.archive.members:
        if member.kind == "other":
            yield SPECIAL.found(f"{shown(member.name)} is a device or pipe.")
        elif member.kind in {"symlink", "hardlink"}:
            links.append(member)
    if not links:
        return
    if subject.is_wheel:
        for member in links:
            yield IN_WHEEL.found(f"{shown(member.name)} is a link.")
        return
    # Without a top directory of its own the archive is refused for that already.
    top = subject.home or subject.archive.members[0].name.partition("/")[0]
    # Whether "a" and "A" are one place depends on the disk, so the links have to be harmless both ways.
    told = set()
    for key in (str, _folded):
        for finding in _Tree(links, top, key).check(subject.archive.members):
            if finding not in told:
                told.add(finding)
                yield finding


class _Tree:
    """All symbolic links of an archive, by the keys of their paths' parts."""

    def __init__(self, links: list[Member], top: str, key: Callable[[str], str]) -> None:
        self._links = links
        self._top = top
        self._key = key
        self._root = _Node()
        self._steps = 0
        self._ambiguous: list[tuple[str, str]] = []
        self._nodes = 0
        for link in links:
            if link.kind == "symlink" and len(link.name) <= PATH_MAX_BYTES and self._nodes <= NODES_MAX:
                self._add(link)

    def _add(self, link: Member) -> None:
        node = self._root
        parts = _parts(link.name)
        self._nodes += len(parts)
        for part in parts:
            key = self._key(part)
            below = node.children.get(key)
            if below is None:
                below = node.children[key] = _Node()
            node = below
        if node.target is not None:
            self._ambiguous.append((node.name, link.name))
        node.name, node.target = link.name, link.link

    def check(self, members: tuple[Member, ...]) -> Iterator[Finding]:
        """The findings."""
        if self._nodes > NODES_MAX:
            yield self._too_many()
            return
        for one, other in self._ambiguous:
            yield AMBIGUOUS.found(f"{shown(one)} and {shown(other)} are two links with one name.")
        if self._root.children:
            for member in members:
                if (met := self._met_by(member)) is not None:
                    yield TRAVERSED.found(f"{shown(member.name)} would be written through the link {shown(met)}.")
        try:
            for link in self._links:
                finding = self._judge(link)
                if finding is not None:
                    yield finding
        except _ExhaustedError:
            yield self._too_many()

    def _too_many(self) -> Finding:
        return TOO_MANY.found(f"The {len(self._links)} links of the archive cannot be followed in bounded time.")

    def _met_by(self, member: Member) -> str | None:
        """The link that is a directory of the member's path, or that another member has the name of."""
        node = self._root
        parts = _parts(member.name)
        for position, part in enumerate(parts, start=1):
            found = node.children.get(self._key(part))
            if found is None:
                return None
            if found.target is not None and (position < len(parts) or member.kind == "file"):
                # A file beside a link that differs in case only is merely unwise.
                return found.name if position < len(parts) or _parts(found.name) == parts else None
            node = found
        return None

    def _judge(self, link: Member) -> Finding | None:
        if len(link.link) > PATH_MAX_BYTES or "\0" in link.link:
            return OUTSIDE.found(f"The target of the link {shown(link.name)} is no path.")
        # A hard link names another member from the root of the archive, a symbolic one starts where it is.
        base = _parts(link.name)[:-1] if link.kind == "symlink" else []
        path = self._resolve(base, link.link)
        if link.kind == "hardlink" and path is not None and path != _split(link.link):
            # What it names is a symbolic link or behind one: in another place that one leads elsewhere.
            return OUTSIDE.found(f"The hard link {shown(link.name)} leads to {shown(link.link)}, through another link.")
        if path is None:
            return LOOP.found(f"The link {shown(link.name)} leads in a circle.")
        if not path or path[0] != self._top:
            return OUTSIDE.found(f"The link {shown(link.name)} leads to {shown(link.link)}, out of the archive.")
        return None

    def _resolve(self, base: list[str], target: str) -> list[str] | None:
        """The path a target stands for; empty when it leads out, None when it leads in a circle."""
        path: list[str] = []
        places = [self._root]
        """The places in the tree along `path`, as long as there is one."""
        waiting = [*_split(target)[::-1], *base[::-1]]
        if not target or _is_absolute(target):
            return []
        followed = 0
        while waiting:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise _ExhaustedError
            part = waiting.pop()
            if part == "..":
                if not path:
                    return []
                path.pop()
                del places[len(path) + 1 :]
                continue
            place = places[-1].children.get(self._key(part)) if len(places) == len(path) + 1 else None
            if place is None or place.target is None:
                path.append(part)
                if place is not None:
                    places.append(place)
                continue
            followed += 1
            if followed > LINKS_FOLLOWED_MAX:
                return None
            if not place.target or _is_absolute(place.target) or len(place.target) > PATH_MAX_BYTES:
                return []
            self._steps += len(place.target)
            waiting += _split(place.target)[::-1]
        return path


def _folded(part: str) -> str:
    """One key for all spellings of a part that macOS or Windows take for one."""
    if part.isascii() or len(part) > COMPONENT_MAX_BYTES:
        return part.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())


def _is_absolute(target: str) -> bool:
    return target.startswith(("/", "\\")) or target[1:2] == ":"


def _split(target: str) -> list[str]:
    # On Windows a backslash separates as well; a name that holds one is odd enough to be read in the worst way.
    return [part for part in target.replace("\\", "/").split("/") if part not in {"", "."}]


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]
