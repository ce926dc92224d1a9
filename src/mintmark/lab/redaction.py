"""What of a request may be kept: who it was, never with what.

Owns turning credentials, query strings and identity tokens into something that can be compared and not used. Leaves
keeping it to `lab.journal`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from urllib.parse import unquote_plus

from mintmark.core import strict_json
from mintmark.core.credentials import PREFIX, USER

HIDDEN = "***"
DIGEST_CHARACTERS = 8
CLAIMS = ("iss", "sub", "aud", "jti", "exp")
AUDIENCES_MAX = 20
USER_MAX_CHARACTERS = 20
# What is looked at; servers take headers of 8 KB and bodies of 64 KB.
TOKEN_MAX_CHARACTERS = 64 * 1024

_SECRET_NAMES = ("token", "secret", "password", "passwd", "key", "code", "auth", "credential", "signature", "jwt")
_SCHEMES = frozenset({"basic", "bearer", "token", "digest", "negotiate"})
_USER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z|__token__\Z")
# JSON Web Tokens, our own credentials, and those of PyPI's kind, wherever they turn up.
_CREDENTIAL = re.compile(rf"eyJ[A-Za-z0-9_-]{{8,}}[A-Za-z0-9_.-]*|{PREFIX}[a-z][0-9A-Za-z]{{20,}}|pypi-AgE[\w-]{{16,}}")
_USER_INFO = re.compile(r"//[^/?#\s]*@")
_ORIGIN = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_BETWEEN = re.compile(r"([&;])")
_WITHIN = re.compile(r"[?&;#]")


def digest_shown(secret: str) -> str:
    """Says whether two secrets are the same one, and nothing about them."""
    return "sha256:" + hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


def scrub(text: str) -> str:
    """A text without what looks like a credential."""
    return _USER_INFO.sub(f"//{HIDDEN}@", _CREDENTIAL.sub(HIDDEN, text))


def credential_shown(header: str | None) -> str | None:
    """An Authorization or Proxy-Authorization header: scheme, user name if plain, digest of the secret."""
    if not header or not header.strip():
        return None
    scheme, _, rest = header.strip().partition(" ")
    if not rest:
        # Codefresh sends its secret without a scheme.
        return f"bare {digest_shown(scheme)}"
    scheme, secret = scheme.lower(), rest.strip()
    if scheme != "basic":
        return f"{scheme if scheme in _SCHEMES else 'other'} {digest_shown(secret)}"
    try:
        user, colon, password = base64.b64decode(secret, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return f"basic - {digest_shown(secret)}"
    if not colon or not password:
        # Some clients send a token as the user name.
        return f"basic - {digest_shown(user)}"
    return f"basic {_user_shown(user, password)} {digest_shown(password)}"


def _user_shown(user: str, password: str) -> str:
    plain = len(user) <= USER_MAX_CHARACTERS and _USER.match(user) is not None
    return user if user == USER or (plain and password not in user) else "-"


def path_shown(raw_path: str) -> str:
    """The path and the query of a request line; values of parameters that may be secret are hidden."""
    path, mark, query = _ORIGIN.sub("", raw_path, count=1).partition("?")
    pieces = [each if each in "&;" else _parameter_shown(each) for each in _BETWEEN.split(query) if each]
    return scrub(path + mark + "".join(pieces))


def _parameter_shown(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    plain = unquote_plus(value)
    # A value may be a URL with parameters of its own.
    if equals and (_is_secret(parameter) or scrub(plain) != plain or any(map(_is_secret, _WITHIN.split(plain)))):
        return f"{name}={HIDDEN}"
    return parameter


def _is_secret(parameter: str) -> bool:
    name, equals, _ = parameter.partition("=")
    lowered = unquote_plus(name).lower()
    return bool(equals) and any(part in lowered for part in _SECRET_NAMES)


def posted_token(body: bytes) -> str | None:
    """The member `token` of a mint or burn request."""
    try:
        value = strict_json.parse(body)
    except strict_json.NotStrictJson:
        return None
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, str) and len(token) <= TOKEN_MAX_CHARACTERS else None


def identity_shown(token: str) -> dict[str, object]:
    """An identity token: its digest and what it claims. Nothing of it is verified."""
    shown: dict[str, object] = {"digest": digest_shown(token)}
    claims = _claims(token)
    for name in CLAIMS:
        value = claims.get(name)
        if isinstance(value, list):
            value = [each for each in value if isinstance(each, str)][:AUDIENCES_MAX]
        if isinstance(value, str | list) or (isinstance(value, int | float) and abs(value) < 2**53):
            shown[name] = value
    return shown


def _claims(token: str) -> dict[str, object]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        padded = parts[1].encode("ascii") + b"=" * (-len(parts[1]) % 4)
        value = strict_json.parse(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
