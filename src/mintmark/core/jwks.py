"""An issuer's keys: from the bytes of a JWK Set (RFC 7517) to keys that may verify a token.

Owns which keys are good enough. Leaves fetching, caching and pinned documents to the `Keys` port.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from mintmark.core import strict_json

# Invariant: an RSA key shorter than this never verifies a token.
RSA_MIN_BITS = 2048
# Bounds for documents of issuers, which are not ours.
JWKS_MAX_BYTES = 512 * 1024
JWKS_MAX_KEYS = 256
RSA_MAX_BITS = 8192
# Verifying costs as much as its exponent is long: with one of 2,000 bits, a key set full of such keys would hold up
# everybody for a second per token. 65,537 is what is used; FIPS 186-5 allows 256 bits.
RSA_EXPONENT_MAX_BITS = 64
# All keys of one kid are tried. Some issuers publish the former and the new one under it, none publishes many.
SAME_KID_MAX = 4
KID_MAX_CHARACTERS = 512

# Curve that each elliptic algorithm needs (RFC 7518 section 3.4, RFC 8037 section 3.1).
CURVES = {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
RSA_ALGORITHMS = frozenset({"RS256", "PS256"})
# Invariant: no symmetric algorithm and no `none` can ever be allowed, whatever an operator writes.
ALGORITHMS = RSA_ALGORITHMS | CURVES.keys()
# SPIFFE bundles mark their keys `jwt-svid` (JWT-SVID section 6.1).
_USES = frozenset({"sig", "jwt-svid"})


class BadKeySet(ValueError):
    """The document is no usable JWK Set. The message says why."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key with the algorithms it may verify."""

    kid: str | None
    key: Key
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer, and why the others were left out."""

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()

    def choose(self, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Keys that may verify a token with this header; without `kid`, only when exactly one key is usable."""
        if kid is None and len(self.keys) != 1:
            return ()
        return tuple(key for key in self.keys if kid in (None, key.kid) and algorithm in key.algorithms)


def parse_key_set(document: bytes) -> KeySet:
    """Parse whole, skip unknown or weak keys with a reason, and fail only when the document itself is bad."""
    if len(document) > JWKS_MAX_BYTES:
        raise BadKeySet(f"the key set is larger than {JWKS_MAX_BYTES} bytes")
    try:
        value = strict_json.parse(document)
    except strict_json.NotStrictJson as error:
        raise BadKeySet(f"the key set is not strict JSON: {error}") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise BadKeySet("the key set has no array named keys")
    if len(entries) > JWKS_MAX_KEYS:
        raise BadKeySet(f"the key set has more than {JWKS_MAX_KEYS} keys")
    usable: list[VerificationKey] = []
    skipped: list[str] = []
    for position, entry in enumerate(entries):
        try:
            key = _verification_key(entry)
            if key.kid is not None and sum(key.kid == other.kid for other in usable) >= SAME_KID_MAX:
                raise BadKeySet(f"{SAME_KID_MAX} keys have its kid already")
            usable.append(key)
        except BadKeySet as reason:
            skipped.append(f"key {position + 1}: {reason}")
    return KeySet(tuple(usable), tuple(skipped))


def _verification_key(entry: Any) -> VerificationKey:
    if not isinstance(entry, dict):
        raise BadKeySet("not an object")
    use = entry.get("use")
    if use is not None and not (isinstance(use, str) and use in _USES):
        raise BadKeySet("its use is not sig")
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise BadKeySet("its key_ops lack verify")
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_MAX_CHARACTERS):
        raise BadKeySet("its kid is no short string")
    if entry.get("kty") not in ("RSA", "EC", "OKP"):
        raise BadKeySet("its kty is not RSA, EC or OKP")
    # Only the public members: a published private key still verifies, and is never held in memory here.
    _check_size(entry)
    public = {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if isinstance(entry.get(name), str)}
    try:
        key = import_key(public)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        raise BadKeySet("it cannot be read") from None
    algorithms = _algorithms_of(key)
    declared = entry.get("alg")
    if declared is not None:
        algorithms &= {declared} if isinstance(declared, str) else set()
    if not algorithms:
        raise BadKeySet("it fits no allowed algorithm")
    return VerificationKey(kid, key, algorithms)


def _check_size(entry: dict[str, Any]) -> None:
    """Refuse an RSA key by its length before anything is computed with it (and before the library warns)."""
    modulus = entry.get("n")
    if entry["kty"] != "RSA" or not isinstance(modulus, str):
        return
    try:
        number = int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)), "big")
    except ValueError:
        raise BadKeySet("it cannot be read") from None
    _check_bits(number.bit_length())


def _check_bits(bits: int) -> None:
    if bits < RSA_MIN_BITS:
        raise BadKeySet(f"RSA with {bits} bits is too weak; {RSA_MIN_BITS} are needed")
    if bits > RSA_MAX_BITS:
        raise BadKeySet(f"RSA with {bits} bits is more than {RSA_MAX_BITS}")


def _algorithms_of(key: Key) -> frozenset[str]:
    if isinstance(key, RSAKey):
        _check_bits(key.public_key.key_size)
        if key.public_key.public_numbers().e < 65537:
            raise BadKeySet("its RSA exponent is below 65537")
        if key.public_key.public_numbers().e.bit_length() > RSA_EXPONENT_MAX_BITS:
            raise BadKeySet(f"its RSA exponent has more than {RSA_EXPONENT_MAX_BITS} bits")
        return RSA_ALGORITHMS
    if isinstance(key, ECKey | OKPKey):
        curve = str(key.curve_name)
        return frozenset(name for name, needed in CURVES.items() if needed == curve)
    raise BadKeySet("it is not an asymmetric key")
