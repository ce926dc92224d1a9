"""Hosts that the lab stands in for: clients believe they talk to them, and reach the lab's index.

Owns how such a host is written on the command line, and what a request to it means to the index. Leaves carrying the
requests to `lab.front` and `lab.connect_proxy`, and creating the registries to whoever starts the lab.

No host of a package registry is written down here: those of the words `pypi` and `testpypi` are read from twine.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from mintmark.core.errors import Rejected
from mintmark.core.names import RESERVED_SLUGS, SLUG_MAX_CHARACTERS, parse_host, parse_slug

WORDS = ("pypi", "testpypi")
PREFIX_MAX_CHARACTERS = 200
IMPERSONATIONS_MAX = 50
# Stands for the rest of a registry name that would be longer than allowed.
_DIGEST_CHARACTERS = 8
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~+@:-]|%[0-9A-Fa-f]{2})+\Z")
# Clients drop the upload URL's path before they ask for these, so they stand at the host's root.
_ROOTED = ("/_/oidc/", "/.well-known/")
_UPLOAD_PATH = "/legacy/"
# How the index's reason phrase for an upload with a wrong credential begins, and what public indexes say.
_REFUSED_CREDENTIAL = "The credential "
_THEIR_REFUSAL = "Invalid or non-existent authentication information."


class BadHost(ValueError):
    """A host cannot be impersonated as written. The message is a sentence with the cure."""


@dataclass(frozen=True, slots=True)
class Impersonation:
    """One host, or the part of it below a path, that leads to a registry of the lab."""

    host: str
    prefix: str
    """Empty, or a path like `/api/v4/projects/1/packages/pypi`, without a slash at the end."""
    registry: str
    registry_host: str
    """The registry's own host name in the index. Several hosts can lead to one registry."""
    audience: str | None
    """None: the index derives one."""


def parse_impersonation(text: str) -> list[Impersonation]:
    """Read `HOST[/PREFIX][=REGISTRY]`, or one of the words `pypi` and `testpypi`. Raises `BadHost`."""
    if text in WORDS:
        return _known(text)
    address, equals, registry = text.partition("=")
    host, slash, path = address.partition("/")
    host = _parse_host(host, text)
    prefix = _parse_prefix(slash + path)
    if not equals:
        return [Impersonation(host, prefix, registry_name(host), host, None)]
    try:
        return [Impersonation(host, prefix, parse_slug(registry), host, None)]
    except Rejected as error:
        raise BadHost(error.sentence) from None


def parse_impersonations(texts: Iterable[str]) -> list[Impersonation]:
    """Read several that are to work together: hosts of one registry share its host name. Raises `BadHost`."""
    found: list[Impersonation] = []
    for text in texts:
        for each in parse_impersonation(text):
            first = next((other for other in found if other.registry == each.registry), each)
            each = replace(each, registry_host=first.registry_host, audience=first.audience)
            for other in found:
                if other.host == each.host and other.registry != each.registry:
                    raise BadHost(
                        f"{each.host} would lead to the registries {other.registry!r} and {each.registry!r}. "
                        "Name one registry for all of a host's paths: clients ask for tokens at the host's root."
                    )
            if each not in found:
                found.append(each)
            if len(found) > IMPERSONATIONS_MAX:
                raise BadHost(f"The lab stands in for at most {IMPERSONATIONS_MAX} hosts. Name fewer.")
    return found


def registry_name(host: str) -> str:
    """A registry's name made from a host's name; another one for another host, as far as 40 characters allow."""
    name = re.sub(r"[^a-z0-9]+", "-", host).strip("-")
    if name in RESERVED_SLUGS:
        name += "-index"
    if len(name) > SLUG_MAX_CHARACTERS:
        digest = hashlib.sha256(host.encode("ascii")).hexdigest()[:_DIGEST_CHARACTERS]
        name = f"{name[: SLUG_MAX_CHARACTERS - 1 - _DIGEST_CHARACTERS].rstrip('-')}-{digest}"
    return name


def normal_host(text: str) -> str:
    """A host as it is compared: lower case, without the port and the root's dot."""
    if text.startswith("["):
        return text.partition("]")[0].lower() + "]"
    return text.partition(":")[0].lower().removesuffix(".")


def impersonation_of(impersonations: Iterable[Impersonation], host: str, path: str) -> Impersonation | None:
    """The impersonation that a request is for: of those of its host, the one with the longest prefix it is below."""
    name, path = normal_host(host), path.partition("?")[0]
    of_host = [each for each in impersonations if each.host == name]
    below = [each for each in of_host if path == each.prefix or path.startswith(f"{each.prefix}/")]
    if below:
        return max(below, key=lambda each: len(each.prefix))
    # All of a host's impersonations lead to one registry (`parse_impersonations`).
    return of_host[0] if of_host and path.startswith(_ROOTED) else None


def rewrite(impersonations: Sequence[Impersonation], host: str, method: str, path: str) -> tuple[str, str] | None:
    """The Host header and the raw path with its query that the index is to see.

    Hosts that are not impersonated pass unchanged. None: the host is impersonated, but not at this path.
    """
    name = normal_host(host)
    if not any(each.host == name for each in impersonations):
        return host, path
    found = impersonation_of(impersonations, host, path)
    if found is None:
        return None
    path, question, query = path.partition("?")
    if path == found.prefix or path.startswith(f"{found.prefix}/"):
        path = path[len(found.prefix) :] or "/"
    # Some indexes take uploads at their own address.
    if method == "POST" and path == "/":
        path = _UPLOAD_PATH
    return found.registry_host, path + question + query


def in_their_words(status: int, reason: str) -> tuple[int, str]:
    """The status and reason phrase with which a public index refuses an upload that this one refused like that.

    Scripts look for its words; ours follow, since they say what is wrong.
    """
    if status == 401 or (status == 403 and reason.startswith(_REFUSED_CREDENTIAL)):
        return 403, f"{_THEIR_REFUSAL} {reason}"
    return status, reason


def _known(word: str) -> list[Impersonation]:
    """The hosts behind a word, as twine names them."""
    try:
        from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY
    except ImportError:
        raise BadHost(
            f"The hosts of {word!r} are read from twine, which is not installed. "
            "Run `pip install twine` in the lab's environment, or write the host names out."
        ) from None
    host = urlsplit(DEFAULT_REPOSITORY if word == "pypi" else TEST_REPOSITORY).hostname or ""
    if word == "testpypi":
        return [Impersonation(host, "", word, host, word)]
    # Uploads go to a host of their own; pages are at the one above it.
    web = host.partition(".")[2]
    return [Impersonation(each, "", word, web, word) for each in (web, host)]


def _parse_host(text: str, whole: str) -> str:
    host = text.lower().removesuffix(".")
    if "://" in whole:
        raise BadHost(f"{whole!r} is a URL. Write the host name without scheme, and a path behind it if there is one.")
    if ":" in host and not host.startswith("[") and host.count(":") == 1:
        raise BadHost(f"{text!r} has a port. Leave it out: every port of an impersonated host leads to the lab.")
    if _is_address(host):
        raise BadHost(f"{text!r} is an IP address, for which the lab cannot stand in. Write a host name.")
    if host == "localhost" or host.endswith(".localhost"):
        raise BadHost(f"{text!r} is this machine, where the lab's index is anyway. Write the name of another host.")
    try:
        return parse_host(host)
    except Rejected:
        raise BadHost(
            f"{text!r} is no host name. Write HOST, HOST/PREFIX or HOST=REGISTRY, or one of the words "
            f"{' and '.join(WORDS)}."
        ) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        # Resolvers take `127.1` for an address.
        return host.rpartition(".")[2].isdecimal()
    return True


def _parse_prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if not prefix:
        return ""
    if len(prefix) > PREFIX_MAX_CHARACTERS:
        raise BadHost(f"The path of an impersonated host has at most {PREFIX_MAX_CHARACTERS} characters. Shorten it.")
    for segment in prefix[1:].split("/"):
        if not _SEGMENT.match(segment) or not {".", ".."}.isdisjoint(unquote(segment).split("/")):
            raise BadHost(f"{text!r} is no path for an impersonated host. Write it as in the upload URL, without '..'.")
    return prefix
