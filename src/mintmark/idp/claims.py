"""The claims of an identity token that an organisation signs for itself.

Owns what may be said and by whom: the registered claims are this module's alone. Leaves signing to
`idp.signing_key`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mintmark.core import strict_json
from mintmark.core.errors import Rejected
from mintmark.idp.profile import LIFETIME_MIN_SECONDS, Profile

# Invariant: a claim that says who signed, for whom and for how long is never taken from whoever asks for a token.
REGISTERED = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
# The mark of the lab, which every index that is not for development refuses.
RESERVED = REGISTERED | {"mintmark_lab"}
CLAIMS_MAX = 50
NAME_MAX_CHARACTERS = 200
VALUE_MAX_CHARACTERS = 4096
SUBJECT_MAX_CHARACTERS = 500


def parse_claims(pairs: Sequence[str]) -> dict[str, Any]:
    """`NAME=TEXT` and `NAME:=JSON` as claims. Raises `Rejected("invalid-identity")`."""
    if len(pairs) > CLAIMS_MAX:
        raise _wrong(f"There are more than {CLAIMS_MAX} claims.", "Leave some out; an index reads only a few.")
    claims: dict[str, Any] = {}
    for pair in pairs:
        left, equals, right = pair.partition("=")
        name = left.removesuffix(":")
        if not equals or not name or len(name) > NAME_MAX_CHARACTERS or not name.isprintable():
            raise _wrong(
                f"{pair[:NAME_MAX_CHARACTERS]!r} is no claim.",
                "Write NAME=TEXT, or NAME:=JSON for numbers, true, false, lists and objects.",
            )
        if name in RESERVED:
            raise _wrong(
                f"The claim {name!r} cannot be given.",
                "This command sets iss, sub, aud, iat, nbf, exp and jti itself: see --subject, --audience, --lifetime.",
            )
        if name in claims:
            raise _wrong(f"The claim {name!r} comes twice.", "Give it once.")
        claims[name] = _json(name, right) if left.endswith(":") else _text(name, right)
    return claims


def _text(name: str, text: str) -> str:
    if len(text) > VALUE_MAX_CHARACTERS or not _is_unicode(text):
        raise _wrong(f"The claim {name!r} is too long, or no UTF-8 text.", f"At most {VALUE_MAX_CHARACTERS} bytes.")
    return text


def _json(name: str, text: str) -> Any:
    try:
        value = strict_json.parse(_text(name, text).encode("utf-8"))
    except strict_json.NotStrictJson as error:
        raise _wrong(
            f"The claim {name!r} is not strict JSON: {error}.", f"For a text write {name}=TEXT, without ':'."
        ) from None
    # JSON can spell half a surrogate pair, which no ledger stores.
    if not _is_unicode(json.dumps(value, ensure_ascii=False)):
        raise _wrong(f"The claim {name!r} is no Unicode text.", "Leave the lone surrogate out.")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def claims_of(
    profile: Profile,
    more: Mapping[str, Any],
    *,
    subject: str,
    audience: str,
    lifetime_seconds: int,
    now: float,
    jti: str,
) -> dict[str, Any]:
    """All claims of a fresh token. Raises `Rejected("invalid-identity")`."""
    if not LIFETIME_MIN_SECONDS <= lifetime_seconds <= profile.max_lifetime_seconds:
        raise _wrong(
            f"A token cannot live {lifetime_seconds} seconds.",
            f"Use {LIFETIME_MIN_SECONDS} to {profile.max_lifetime_seconds}: an identity token is exchanged at once.",
        )
    for what, text in (("subject", subject), ("audience", audience)):
        if not 0 < len(text) <= SUBJECT_MAX_CHARACTERS or not text.isprintable() or text != text.strip():
            raise _wrong(
                f"{text[:SUBJECT_MAX_CHARACTERS]!r} is no {what}.",
                f"Write one line of at most {SUBJECT_MAX_CHARACTERS} characters.",
            )
    issued = int(now)
    return {
        "iss": profile.issuer,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "nbf": issued,
        "exp": issued + lifetime_seconds,
        "jti": jti,
        **more,
    }


def _wrong(problem: str, cure: str) -> Rejected:
    return Rejected("invalid-identity", problem, hint=cure)
