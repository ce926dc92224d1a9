"""Identity tokens: what may be read before the signature is checked, and what is true after it.

Owns every rule of the trusted-publishing contract's section 3 that needs no network: form, header, algorithm, key
choice, signature, registered claims (RFC 7519, RFC 8725). Leaves fetching keys to the `Keys` port and the meaning of
the other claims to `core.match`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from mintmark.core import strict_json
from mintmark.core.errors import Rejected
from mintmark.core.jwks import ALGORITHMS, KeySet

TOKEN_MAX_BYTES = 16 * 1024
# Invariant: one leeway for the clocks of issuers and for the life of replay records. A replay record must outlive
# every moment at which its token would still be accepted; `VerifiedClaims.replay_until` is made from this constant.
LEEWAY_SECONDS = 30
ISSUER_MAX_CHARACTERS = 500
JTI_MAX_CHARACTERS = 500
# Beyond this a date is a mistake, and arithmetic with it another one.
NUMERIC_DATE_MAX = 253_402_300_799

# RFC 9864 retires `EdDSA`, which names two curves. Here it always meant this one: `core.jwks` lets no other key in.
_EXACT_NAMES = {"EdDSA": "Ed25519"}
_SEGMENT = re.compile(r"[A-Za-z0-9_-]*\Z")
_SEAL: Final = object()


class UnknownKey(Rejected):
    """No key of the set fits the token's header; a fresh set may have one."""


class BadSignature(Rejected):
    """A key fits, but the signature does not; the issuer may have rotated under the same `kid`."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token whose form is right and whose every word may be a lie. Only `issuer` may be used, to choose keys."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signature: bytes
    issuer: str


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a trust entry demands of its tokens."""

    algorithms: frozenset[str]
    max_lifetime_seconds: int
    types: frozenset[str] = frozenset({"jwt"})
    """Allowed `typ` header values besides none at all, in lower case."""
    requires_jti: bool = True


class VerifiedClaims:
    """The claims of a token whose signature, audience and lifetime were checked.

    Invariant: only `verify` makes one, and it never changes. Holding an instance is the proof; nothing checks again.
    """

    __slots__ = ("claims", "expires_at", "issuer", "replay_key", "replay_until")
    issuer: str
    claims: Mapping[str, Any]
    expires_at: int
    replay_key: str
    replay_until: int

    def __init__(self, seal: object, issuer: str, claims: Mapping[str, Any], expires_at: int, replay_key: str) -> None:
        if seal is not _SEAL:
            raise TypeError("VerifiedClaims are made by core.jwt.verify only")
        until = expires_at + LEEWAY_SECONDS + 1
        for name, value in zip(
            self.__slots__, (MappingProxyType(claims), expires_at, issuer, replay_key, until), strict=True
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("VerifiedClaims never change")


def _malformed(private: str) -> Rejected:
    return Rejected("invalid-payload", "malformed JWT", private=private)


def _invalid(private: str) -> Rejected:
    # One flat sentence for the caller: details about a token that was not verified would help only a forger.
    return Rejected("invalid-token", "malformed or invalid token", private=private)


def _segment(text: str, what: str) -> Any:
    if not _SEGMENT.match(text):
        raise _malformed(f"the {what} is not base64url")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"the {what} is not base64url") from None
    # Bits that decoding throws away would give one token several texts.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != text:
        raise _malformed(f"the {what} is not base64url in its only form")
    if what == "signature":
        return data
    try:
        value = strict_json.parse(data)
    except strict_json.NotStrictJson as error:
        raise _malformed(f"the {what} is not strict JSON: {error}") from None
    if not isinstance(value, dict):
        raise _malformed(f"the {what} is not a JSON object")
    return value


def read(text: str) -> UnverifiedToken:
    """Check a token's form and read its issuer; raises `Rejected("invalid-payload")`."""
    if len(text) > TOKEN_MAX_BYTES:
        raise _malformed(f"the token is longer than {TOKEN_MAX_BYTES} characters")
    segments = text.split(".")
    if len(segments) != 3 or not all(segments[:2]):
        raise _malformed("the token has not three segments")
    header = _segment(segments[0], "header")
    claims = _segment(segments[1], "payload")
    signature = _segment(segments[2], "signature")
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= ISSUER_MAX_CHARACTERS:
        raise _malformed("the token has no iss")
    return UnverifiedToken(text, header, claims, signature, issuer)


def verify(token: UnverifiedToken, keys: KeySet, rules: TokenRules, audience: str, now: float) -> VerifiedClaims:
    """Check header, signature and registered claims, in this order.

    Raises `UnknownKey` or `BadSignature` where newer keys may help, else `Rejected("invalid-token")`. `now` is in
    seconds since the epoch.
    """
    check_signature(token, keys, rules)
    expires, replay_key = _check_claims(token, rules, audience, now)
    return VerifiedClaims(_SEAL, token.issuer, token.claims, expires, replay_key)


def check_signature(token: UnverifiedToken, keys: KeySet, rules: TokenRules) -> None:
    """Check header and signature only, which proves nothing about dates and audience. Raises as `verify` does."""
    algorithm, kid = _check_header(token.header, rules)
    candidates = keys.choose(kid, algorithm)
    if not candidates:
        raise UnknownKey(
            "invalid-token", "malformed or invalid token", private=f"no usable {algorithm} key for the kid"
        )
    signed = token.text.rpartition(".")[0].encode("ascii")
    if not any(_is_signed_by(candidate.key, algorithm, signed, token.signature) for candidate in candidates):
        raise BadSignature("invalid-token", "malformed or invalid token", private="the signature does not match")


def replay_key_of(token: UnverifiedToken, rules: TokenRules, audience: str, now: float) -> str:
    """Check the registered claims of a token that may be forged, to explain it; returns its replay key."""
    return _check_claims(token, rules, audience, now)[1]


def _is_signed_by(key: Key, algorithm: str, signed: bytes, signature: bytes) -> bool:
    # The algorithm itself, on the bytes that arrived: the token is not read a second time by another parser.
    model = jws.JWSRegistry.algorithms[_EXACT_NAMES.get(algorithm, algorithm)]
    try:
        model.check_key(key)
        return model.verify(signed, signature, key)
    except (JoseError, ValueError):
        return False


def _check_header(header: Mapping[str, Any], rules: TokenRules) -> tuple[str, str | None]:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in (rules.algorithms & ALGORITHMS):
        raise _invalid("the algorithm is not allowed for this issuer")
    # RFC 7515 section 4.1.11: what is critical and not understood must be refused; we understand no extension.
    if "crit" in header or header.get("b64") is not None:
        raise _invalid("the header has critical extensions")
    kind = header.get("typ")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in rules.types):
        raise _invalid("the header's typ is not allowed")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _invalid("the header's kid is not a string")
    return algorithm, kid


def _numeric_date(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= NUMERIC_DATE_MAX:
        raise _invalid(f"{name} is not a whole number of seconds")
    return value


def _check_claims(token: UnverifiedToken, rules: TokenRules, audience: str, now: float) -> tuple[int, str]:
    """When the token expires, and its replay key. Whether it was signed is not looked at."""
    claims = token.claims
    if not _is_text(token):
        raise _invalid("a claim is not Unicode text")
    wanted = claims.get("aud")
    # An array is accepted with exactly one element: Kubernetes always sends one, and with several, each of the other
    # relying parties could replay the token here.
    if isinstance(wanted, list) and len(wanted) == 1:
        wanted = wanted[0]
    if not isinstance(wanted, str) or wanted != audience:
        raise _invalid("the audience is another one")
    expires, issued, begins = (_numeric_date(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        raise _invalid("exp or iat is missing")
    if now > expires + LEEWAY_SECONDS:
        raise _invalid("the token has expired")
    if issued > now + LEEWAY_SECONDS or (begins is not None and begins > now + LEEWAY_SECONDS):
        raise _invalid("the token is not valid yet")
    if not 0 < expires - issued <= rules.max_lifetime_seconds:
        raise _invalid("the token's lifetime is longer than its provider's limit")
    return expires, _replay_key(token, rules)


def _is_text(token: UnverifiedToken) -> bool:
    """Whether every claim can be written: JSON can spell half a surrogate pair, which no ledger stores."""
    payload = token.text.split(".")[1]
    if b"\\u" not in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)):
        return True
    try:
        json.dumps(token.claims, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _replay_key(token: UnverifiedToken, rules: TokenRules) -> str:
    identifier = token.claims.get("jti")
    if identifier is None:
        if rules.requires_jti:
            raise Rejected(
                "invalid-publisher",
                "valid token, but no corresponding publisher (Missing claim 'jti')",
                hint="This provider always sends one; the issuer is older than this index supports.",
            )
        signed_part = token.text.rpartition(".")[0]
        return "sha256:" + hashlib.sha256(signed_part.encode("ascii")).hexdigest()
    if not isinstance(identifier, str) or not 0 < len(identifier) <= JTI_MAX_CHARACTERS:
        raise _invalid("jti is not a short string")
    return "jti:" + identifier
