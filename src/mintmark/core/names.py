"""Names that people choose: registry slugs, audiences, host names, project names and patterns.

Owns their grammar and normal forms. Leaves uniqueness to the ledger.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

from packaging.utils import InvalidName, canonicalize_name

from mintmark.core.errors import Rejected

Slug = NewType("Slug", str)
Audience = NewType("Audience", str)
ProjectName = NewType("ProjectName", str)
"""A project name in the normal form of PEP 503."""

# Path segments that mean something else on a host (trusted-publishing contract, section 1).
RESERVED_SLUGS = frozenset({"api", "legacy", "simple", "files", "static", "integrity"})
# Audiences whose tokens are worth something elsewhere: a token made for them must never be asked for here.
FOREIGN_AUDIENCES = frozenset(
    {
        "pypi",
        "testpypi",
        "sigstore",
        "sts_amazonaws_com",
        "aws",
        "azure",
        "gcp",
        "google",
        "rubygems",
        "npm",
        "crates_io",
    }
)
SLUG_MAX_CHARACTERS = 40
AUDIENCE_MAX_CHARACTERS = 100
_LABEL_HINT = f"Use 1 to {SLUG_MAX_CHARACTERS} of the characters a-z and 0-9, with single '-' between words."
# Stands for the rest of an audience that would be longer than allowed.
_DIGEST_CHARACTERS = 16

# One '-' between words: then no two slugs make one audience.
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_AUDIENCE = re.compile(r"[a-z][a-z0-9_]*\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_LOOK_ALIKE = str.maketrans("lio", "110")
_PATTERN = re.compile(r"(?:[a-z0-9*]|[a-z0-9*][a-z0-9*-]*[a-z0-9*])\Z")


def parse_slug(text: str) -> Slug:
    """A registry's slug: the first path segment of its URLs."""
    if not _SLUG.match(text) or len(text) > SLUG_MAX_CHARACTERS:
        raise Rejected(
            "invalid-trust",
            f"{text!r} is not a registry name.",
            hint=_LABEL_HINT,
        )
    if text in RESERVED_SLUGS:
        raise Rejected(
            "invalid-trust", f"The registry name {text!r} is reserved for a route.", hint="Choose another one."
        )
    return Slug(text)


def parse_issuer_name(text: str) -> str:
    """The name under which a registry knows an issuer: written like a slug, but part of no URL."""
    if not _SLUG.match(text) or len(text) > SLUG_MAX_CHARACTERS:
        raise Rejected("invalid-trust", f"{text!r} is not a name for an issuer.", hint=_LABEL_HINT)
    return text


def parse_audience(text: str, *, foreign: bool = False) -> Audience:
    """An audience that every CI system and every client treats alike.

    The grammar is narrow because clients build a variable's name from it and disagree outside of it. `foreign` is for
    the lab, which plays other services.
    """
    if not _AUDIENCE.match(text) or len(text) > AUDIENCE_MAX_CHARACTERS:
        raise Rejected(
            "invalid-trust",
            f"{text!r} is not an audience.",
            hint="Use a-z, 0-9 and _, starting with a letter, at most 100 characters.",
        )
    if text in FOREIGN_AUDIENCES and not foreign:
        raise Rejected(
            "invalid-trust",
            f"The audience {text!r} belongs to another service.",
            hint="A token for it would be valid there too. Leave it out to get one made from this host's name.",
        )
    return Audience(text)


def derive_audience(host: str, slug: str = "") -> Audience:
    """The default audience: a function of the public host name, so that two installations never share one."""
    words = re.sub(r"[^a-z0-9]+", "_", f"mintmark_{host}_{slug}".lower()).strip("_")
    if len(words) > AUDIENCE_MAX_CHARACTERS:
        digest = hashlib.sha256(words.encode("ascii")).hexdigest()[:_DIGEST_CHARACTERS]
        words = f"{words[: AUDIENCE_MAX_CHARACTERS - 1 - _DIGEST_CHARACTERS]}_{digest}"
    return parse_audience(words)


def gitlab_variable(audience: str) -> str:
    """The name of the job variable in which uv, twine and pdm look for a GitLab identity token."""
    return f"{audience.upper()}_ID_TOKEN"


def parse_host(text: str) -> str:
    """A registry's own host name: lower-case DNS name without a port."""
    if not _HOST.match(text):
        raise Rejected(
            "invalid-trust", f"{text!r} is not a host name.", hint="Write it in lower case, without scheme or port."
        )
    return text


def parse_project(text: str) -> ProjectName:
    """The normal form of a project's name (PEP 503); raises `Rejected` for what is no name."""
    try:
        return ProjectName(str(canonicalize_name(text, validate=True)))
    except InvalidName:
        raise Rejected(
            "invalid-trust",
            f"{text!r} is not a project name.",
            hint="Names start and end with a letter or digit and hold only letters, digits, '.', '-' and '_'.",
        ) from None


def similarity_key(name: str) -> str:
    """What a project's name has in common with the names people take it for; equal keys mean confusable names.

    PyPI's rule: separators do not count, `l` and `i` look like `1`, `o` looks like `0`.
    """
    return re.sub(r"[-_.]", "", name.lower()).translate(_LOOK_ALIKE)


def parse_pattern(text: str) -> str:
    """A pattern of project names: a normal form in which `*` stands for any run of characters."""
    if not _PATTERN.match(text) or "--" in text:
        raise Rejected(
            "invalid-trust",
            f"{text!r} is not a pattern of project names.",
            hint="Write normalised names (lower case, '-' between words) and '*'; '*' alone means every project.",
        )
    return text


def matches_pattern(pattern: str, name: ProjectName) -> bool:
    """Whether the whole name fits the pattern. Linear: the text between stars is found from left to right."""
    parts = pattern.split("*")
    if len(parts) == 1:
        return pattern == name
    first, last = parts[0], parts[-1]
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    position = len(first)
    for part in parts[1:-1]:
        found = name.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(name) - len(last) >= position and name.endswith(last)
