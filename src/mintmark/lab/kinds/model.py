"""What the lab knows of one kind of CI system: how its identities look and how a job gets one.

Owns the shapes, and what the builders of claims share. Leaves each kind to its own module, signing to `lab.signer` and
the wire to `lab.provider_server`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

PROTECTED_REF = "refs/heads/main"
HEADS, TAGS, PULL = "refs/heads/", "refs/tags/", "refs/pull/"
JOB_FOLDER = "{JOB_FOLDER}"
"""In a variable's value: the folder into which the command line puts the job's files and commands."""


class ImpossibleJob(ValueError):
    """No job of this provider could look like this. The message is a sentence for people."""


class BadOrder(ValueError):
    """What was ordered cannot be read. The message is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a builder of claims starts from."""

    issuer_url: str
    server: str
    config: Mapping[str, str]
    ref: str
    random: Random
    old_subject: bool = False

    def number(self) -> str:
        """The number of something that happens once: a run, a pipeline, a job."""
        return str(self.random.randrange(10**9, 10**10))


@dataclass(frozen=True, slots=True)
class Paths:
    """Where an issuer lives below the lab's URL, in the shape of the real one's URLs."""

    issuer: str
    jwks: str


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a job finds. Values are secrets of the job: never print them."""

    variables: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    """Python scripts without a first line, by the name under which they are on the job's PATH."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Contents by name, in the job's folder."""


class Desk(Protocol):
    """What equipping a job may ask of the lab, for this very job."""

    def token(self, audience: str) -> str:
        """An identity token, now."""

    def wanted_audience(self) -> str:
        """The first audience of the order; raises `BadOrder` when it names none."""

    def wanted_audiences(self) -> tuple[str, ...]:
        """All audiences of the order, where a job has a token for each; raises `BadOrder` when it names none."""

    def issuer_url(self) -> str:
        """The URL of the job's issuer, as `iss` says it."""

    def request_url(self) -> str:
        """Where the job asks for further tokens, GitHub's way: a URL with a query to which `&audience=` is added."""

    def request_secret(self) -> str:
        """The bearer token of that request."""

    def codefresh_request_url(self) -> str:
        """The same, Codefresh's way: `?audience=` is added, and the secret is the whole Authorization header."""

    def azure_request_url(self) -> str:
        """The same, Azure's way: a POST to this URL with `?api-version=`."""

    def vault_url(self) -> str:
        """What Vault's programs take for its address: they add `/v1/…`."""

    def vault_token(self) -> str:
        """Their token, in the form of Vault's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of CI system. `slug` is that of its provider table."""

    slug: str
    paths: Paths
    claims: Callable[[Job, int], dict[str, object]]
    """The claims of a token made at a time (whole seconds), but `jti`, `iss` and `aud`."""
    equip: Callable[[Desk], Equipment]
    jti: bool = True
    """Whether its tokens have an id."""
    fixed_audience: Callable[[str], str] | None = None
    """Makes the one audience of all tokens from the issuer's URL, where a job cannot choose it."""
    audience_as_list: bool = False
    """Whether `aud` is a list, even of one."""


def stable_id(*path: str) -> str:
    """An id that is always the same for the same path, and another one for another path."""
    return str(10**8 + int(digest(*path), 16) % (9 * 10**8))


def stable_uuid(*path: str) -> str:
    """The same in the form of a UUID."""
    text = digest(*path)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def digest(*path: str) -> str:
    """Forty hexadecimal digits, as of a commit; always the same for the same path."""
    # Text from JSON may hold half a surrogate pair; it is as good as any other name here.
    return hashlib.sha1("\0".join(path).lower().encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def flag(value: bool) -> str:
    """A boolean as most providers write it: as a string."""
    return "true" if value else "false"


def is_branch_or_tag(ref: str, title: str) -> tuple[str, str]:
    """`branch` or `tag`, and the name; raises `ImpossibleJob`."""
    for prefix, kind in ((HEADS, "branch"), (TAGS, "tag")):
        if ref.startswith(prefix) and ref != prefix:
            return kind, ref.removeprefix(prefix)
    raise ImpossibleJob(f"A {title} job has a ref that begins with {HEADS} or {TAGS}; not {ref!r}.")
