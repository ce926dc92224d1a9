"""What an identity provider of one's own is: issuer, algorithm, limits and keys, and their form as `idp.toml`.

Owns which key signs and which are published at a moment. Leaves private keys to `idp.signing_key`, and files, their
order and their permissions to `idp.folder`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.jwt import ISSUER_MAX_CHARACTERS

ALGORITHMS = ("ES256", "RS256", "EdDSA")
# What an identity token may live. It is used at once; whoever finds it in a log should find it expired.
LIFETIME_SECONDS = 300
LIFETIME_MIN_SECONDS = 60
LIFETIME_MAX_SECONDS = 3600
# Keys that are published at once. Two are enough for a rotation.
KEYS_MAX = 8
LABEL_MAX_CHARACTERS = 255

KEY_FILE = re.compile(r"key-[A-Za-z0-9_-]{1,64}\.pem\Z")
_ISSUER = re.compile(r"https://[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*\Z")
_PUBLIC_MEMBERS = frozenset({"kty", "n", "e", "crv", "x", "y"})
_HEAD = """\
# Made by `mintmark idp`. It says which keys there are; the private ones are not in it.
"""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where keys are that never leave a device: a PKCS#11 module, and the token in it."""

    module: str
    token_label: str


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key. `file` names its private part in the folder, or `label` the object in the hardware token."""

    kid: str
    public: Mapping[str, str]
    """The public members of its JWK, without `kid`, `use` and `alg`."""
    signs_from: int
    published_until: int | None = None
    """None: until something replaces it."""
    file: str = ""
    label: str = ""

    def is_published(self, now: float) -> bool:
        """Whether the key set has it."""
        return self.published_until is None or now < self.published_until


@dataclass(frozen=True, slots=True)
class Profile:
    """An identity provider. `keys` are in the order in which they begin to sign."""

    issuer: str
    algorithm: str
    keys: tuple[KeyEntry, ...]
    hardware: Hardware | None = None
    max_lifetime_seconds: int = LIFETIME_MAX_SECONDS

    def signing_key(self, now: float) -> KeyEntry:
        """The youngest key that has begun to sign, and is still published."""
        begun = [key for key in self.keys if key.signs_from <= now and key.is_published(now)]
        if not begun:
            raise Misconfigured(
                "idp.toml", "No key signs at this moment.", "Look at its times and at this machine's clock."
            )
        return begun[-1]

    def key_set(self, now: float) -> bytes:
        """The JWK Set as it is published: public keys only."""
        keys = [
            {**key.public, "kid": key.kid, "use": "sig", "alg": self.algorithm}
            for key in self.keys
            if key.is_published(now)
        ]
        return json.dumps({"keys": keys}, indent=2).encode("ascii") + b"\n"


def parse_issuer(text: str) -> str:
    """The issuer's URL, which becomes every token's `iss`. Nothing is ever fetched from it."""
    if len(text) > ISSUER_MAX_CHARACTERS or not _ISSUER.match(text):
        raise Rejected(
            "invalid-identity",
            f"{text!r} is no issuer.",
            hint="Write a URL of a name that is yours: https, in lower case, without query and without a '/' at its "
            "end, like https://identity.acme.example. Nothing has to answer there.",
        )
    return text


def parse_label(what: str, text: str) -> str:
    """The label of a hardware token or of a key in it, or the path of a module."""
    if not text or len(text) > LABEL_MAX_CHARACTERS or not text.isprintable():
        raise Rejected("invalid-identity", f"{text!r} is no {what}.", hint="Write one line of printable characters.")
    return text


# -- idp.toml ---------------------------------------------------------------------------------------------------------


def write(profile: Profile) -> str:
    """The text of `idp.toml`."""
    lines = [
        _HEAD,
        f"issuer = {_quoted(profile.issuer)}",
        f"algorithm = {_quoted(profile.algorithm)}",
        f"kid = {_quoted(profile.keys[-1].kid)}",
        f"max-lifetime-seconds = {profile.max_lifetime_seconds}",
    ]
    if profile.hardware is not None:
        module, token = profile.hardware.module, profile.hardware.token_label
        lines += ["", "[pkcs11]", f"module = {_quoted(module)}", f"token-label = {_quoted(token)}"]
    for key in profile.keys:
        lines += ["", "[[key]]", f"kid = {_quoted(key.kid)}", f"signs-from = {key.signs_from}"]
        if key.published_until is not None:
            lines.append(f"published-until = {key.published_until}")
        lines.append(f"label = {_quoted(key.label)}" if key.label else f"file = {_quoted(key.file)}")
        lines.append("public = { " + ", ".join(f"{n} = {_quoted(v)}" for n, v in key.public.items()) + " }")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A basic string of TOML; what JSON escapes, TOML escapes alike, and one character more.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(text: str) -> Profile:
    """The profile that an `idp.toml` describes. Raises `Misconfigured`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad(f"is no TOML: {error}") from None
    expected = {"issuer", "algorithm", "kid", "max-lifetime-seconds", "key", "pkcs11"}
    unknown = sorted(document.keys() - expected)
    if unknown:
        raise _bad(f"has an unknown key {unknown[0]!r}")
    algorithm = _text(document, "algorithm")
    if algorithm not in ALGORITHMS:
        raise _bad(f"has the algorithm {algorithm!r}")
    lifetime = _number(document, "max-lifetime-seconds")
    if not LIFETIME_MIN_SECONDS <= lifetime <= LIFETIME_MAX_SECONDS:
        raise _bad(
            f"has {lifetime} as max-lifetime-seconds, which is not {LIFETIME_MIN_SECONDS} to {LIFETIME_MAX_SECONDS}"
        )
    hardware = _hardware(document.get("pkcs11"))
    entries = document.get("key")
    if not isinstance(entries, list) or not 0 < len(entries) <= KEYS_MAX:
        raise _bad(f"has not 1 to {KEYS_MAX} keys")
    keys = tuple(_key(entry, in_hardware=hardware is not None) for entry in entries)
    if len({key.kid for key in keys}) != len(keys) or _text(document, "kid") != keys[-1].kid:
        raise _bad("has a kid twice, or one that is not its last key's")
    try:
        issuer = parse_issuer(_text(document, "issuer"))
    except Rejected as error:
        raise _bad(f"has no issuer: {error.detail}") from None
    return Profile(issuer, algorithm, keys, hardware, lifetime)


def _hardware(table: Any) -> Hardware | None:
    if table is None:
        return None
    if not isinstance(table, dict) or table.keys() != {"module", "token-label"}:
        raise _bad("has a [pkcs11] that is not module and token-label")
    return Hardware(_text(table, "module"), _text(table, "token-label"))


def _key(entry: Any, *, in_hardware: bool) -> KeyEntry:
    place = "label" if in_hardware else "file"
    needed = {"kid", "signs-from", "public", place}
    if not isinstance(entry, dict) or not needed <= entry.keys() <= needed | {"published-until"}:
        raise _bad(f"has a [[key]] that is not {', '.join(sorted(needed))} and perhaps published-until")
    public = entry["public"]
    if not isinstance(public, dict) or not public.keys() <= _PUBLIC_MEMBERS or not _are_texts(public.values()):
        raise _bad("has a key whose public is no public key")
    # The name is joined to the folder's.
    if not in_hardware and not KEY_FILE.match(_text(entry, "file")):
        raise _bad("has a key whose file is no name that this command gives")
    until = _number(entry, "published-until") if "published-until" in entry else None
    where = {place: _text(entry, place)}
    return KeyEntry(_text(entry, "kid"), public, _number(entry, "signs-from"), until, **where)


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(f"lacks {name}, or it is no text")
    return value


def _number(table: Mapping[str, Any], name: str) -> int:
    value = table.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(f"lacks {name}, or it is no number")
    return value


def _bad(problem: str) -> Misconfigured:
    return Misconfigured(
        "idp.toml", f"The file {problem}.", "Restore it from a backup, or begin anew with `mintmark idp init`."
    )
