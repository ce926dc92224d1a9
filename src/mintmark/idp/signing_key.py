"""Keys that sign identity tokens, and signing with them.

Owns the protocol `SigningKey`, keys in files, and the form of a token. Leaves keys in hardware to `idp.pkcs11_key`,
where files are to `idp.folder`, and what a token says to `idp.claims`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key

from mintmark.core import jwt
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.jwks import parse_key_set
from mintmark.idp.profile import Profile

RSA_BITS = 3072
# RFC 9864 retires `EdDSA`, which names two curves. Here it means this one.
_EXACT_NAMES = {"EdDSA": "Ed25519"}
_TYPES: Mapping[str, type[Key]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y")


class SigningKey(Protocol):
    """A private key, wherever it is. Nothing here can read it out."""

    @property
    def algorithm(self) -> str:
        """The `alg` of what it signs."""
        ...

    @property
    def public(self) -> Mapping[str, str]:
        """The public members of its JWK."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature in the form of JWS (RFC 7518, section 3; RFC 8037)."""
        ...


class FileKey:
    """A key in memory, from a file."""

    def __init__(self, algorithm: str, key: Key) -> None:
        self.algorithm = algorithm
        self.public = public_members(key.as_dict(private=False))
        self._key = key

    @classmethod
    def make(cls, algorithm: str) -> FileKey:
        """A new key."""
        if algorithm == "RS256":
            return cls(algorithm, RSAKey.generate_key(RSA_BITS))
        return cls(algorithm, OKPKey.generate_key("Ed25519") if algorithm == "EdDSA" else ECKey.generate_key("P-256"))

    @classmethod
    def load(cls, algorithm: str, pem: bytes) -> FileKey:
        """The key of a PEM file. Raises `Misconfigured`, which never quotes the file."""
        try:
            key = _TYPES[algorithm].import_key(pem)
            if not key.is_private:
                raise ValueError("it is a public key")
            return cls(algorithm, key)
        except (JoseError, ValueError, TypeError, KeyError):
            # Without the cause: what it says of the file is nobody's business.
            raise Misconfigured(
                "idp key", f"The key file holds no private key for {algorithm}.", "Restore it from a backup."
            ) from None

    def sign(self, data: bytes) -> bytes:
        return jws.JWSRegistry.algorithms[_EXACT_NAMES.get(self.algorithm, self.algorithm)].sign(data, self._key)

    def pem(self) -> bytes:
        """The private key for its file, in PKCS #8."""
        assert not isinstance(self._key, OctKey)
        return self._key.as_pem(private=True)


def public_members(jwk: Mapping[str, Any]) -> dict[str, str]:
    """What of a JWK may be published."""
    return {name: str(jwk[name]) for name in _PUBLIC_MEMBERS if name in jwk}


def kid_of(public: Mapping[str, str]) -> str:
    """A key's id: its thumbprint (RFC 7638), so that two keys never share one."""
    return import_key(dict(public)).thumbprint()


def sign_token(profile: Profile, key: SigningKey, claims: Mapping[str, Any], now: float) -> str:
    """A signed token, proven with the published key set by the rules of an index. Raises `Rejected`."""
    header = {"alg": key.algorithm, "typ": "JWT", "kid": kid_of(key.public)}
    signed = f"{_segment(header)}.{_segment(claims)}"
    token = f"{signed}.{_base64(key.sign(signed.encode('ascii')))}"
    if len(token) > jwt.TOKEN_MAX_BYTES:
        raise Rejected(
            "invalid-identity",
            f"The token would be longer than {jwt.TOKEN_MAX_BYTES} characters, which no index takes.",
            hint="Leave claims out.",
        )
    rules = jwt.TokenRules(frozenset({profile.algorithm}), profile.max_lifetime_seconds)
    # A signature made wrongly by a faulty device can give its key away, so none leaves this process unproven.
    try:
        jwt.verify(jwt.read(token), parse_key_set(profile.key_set(now)), rules, claims["aud"], now)
    except Rejected as error:
        raise Misconfigured(
            "idp key",
            f"What the key signed is not valid with the published key set ({error.private}).",
            "Check that key and idp.toml belong together; a device may be faulty.",
        ) from None
    return token


def _segment(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode("ascii"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
