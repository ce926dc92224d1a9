"""Signing keys that never leave their device: a hardware security module, a smart card, a TPM, through PKCS#11.

Owns talking to the module. Leaves the form of tokens to `idp.signing_key`. The package `python-pkcs11` is an extra,
imported when it is needed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mintmark.core.errors import Misconfigured
from mintmark.idp.profile import Hardware

RSA_BITS = 3072
# P-256 (RFC 5480) by its object identifier, and Ed25519 by the name that PKCS#11 3.0 gives it, as DER.
_CURVES = {"ES256": bytes.fromhex("06082a8648ce3d030107"), "EdDSA": b"\x13\x0cedwards25519"}
_POINT_BYTES = {"ES256": 65, "EdDSA": 32}
_SETTING = "PKCS#11"


class HardwareKey:
    """A key pair in an open session, found by its label."""

    def __init__(self, pkcs11: Any, session: Any, algorithm: str, label: str) -> None:
        self.algorithm = algorithm
        self._pkcs11 = pkcs11
        kind = _kind(pkcs11, algorithm)
        self._private = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, kind, label)
        self.public = _public(pkcs11, session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, kind, label), algorithm)

    def sign(self, data: bytes) -> bytes:
        mechanisms = self._pkcs11.Mechanism
        if self.algorithm == "ES256":
            # The digest is made here: not every device knows ECDSA with SHA-256 in one step.
            return bytes(self._private.sign(hashlib.sha256(data).digest(), mechanism=mechanisms.ECDSA))
        mechanism = mechanisms.EDDSA if self.algorithm == "EdDSA" else mechanisms.SHA256_RSA_PKCS
        return bytes(self._private.sign(data, mechanism=mechanism))


@contextmanager
def opened(hardware: Hardware, algorithm: str, label: str, pin: str, *, make: bool = False) -> Iterator[HardwareKey]:
    """The key with this label, as long as the session lasts. With `make` it is made there if there is none."""
    pkcs11 = _library()
    if not Path(hardware.module).is_absolute():
        raise Misconfigured(
            _SETTING, f"{hardware.module!r} is no absolute path.", "Name the module's library with its whole path."
        )
    try:
        token = pkcs11.lib(hardware.module).get_token(token_label=hardware.token_label)
        with token.open(rw=make, user_pin=pin) as session:
            if make and not _is_there(pkcs11, session, label):
                _make(pkcs11, session, algorithm, label)
            yield HardwareKey(pkcs11, session, algorithm, label)
    # The module's own exceptions, and what loading a library raises. None of them holds the PIN.
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise _told(pkcs11, error, hardware, label) from None


def _library() -> Any:
    try:
        return importlib.import_module("pkcs11")
    except ModuleNotFoundError:
        raise Misconfigured(
            "installation", "The package python-pkcs11 is not installed.", "pip install 'mintmark[pkcs11]'"
        ) from None


def _kind(pkcs11: Any, algorithm: str) -> Any:
    kinds = pkcs11.KeyType
    return {"RS256": kinds.RSA, "ES256": kinds.EC, "EdDSA": kinds.EC_EDWARDS}[algorithm]


def _is_there(pkcs11: Any, session: Any, label: str) -> bool:
    """Whether any private key has the label: a second one under it would be a key of doubtful choice."""
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.Attribute.LABEL: label}
    return bool(list(session.get_objects(wanted)))


def _make(pkcs11: Any, session: Any, algorithm: str, label: str) -> None:
    attributes = pkcs11.Attribute
    # Invariant: a key made in a device can sign, and can never be read out of it.
    private = {attributes.SENSITIVE: True, attributes.EXTRACTABLE: False, attributes.SIGN: True}
    uses = pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY
    options = {"store": True, "label": label, "capabilities": uses, "private_template": private}
    if algorithm == "RS256":
        session.generate_keypair(pkcs11.KeyType.RSA, RSA_BITS, **options)
        return
    curve = {attributes.EC_PARAMS: _CURVES[algorithm]}
    session.create_domain_parameters(_kind(pkcs11, algorithm), curve, local=True).generate_keypair(**options)


def _public(pkcs11: Any, key: Any, algorithm: str) -> dict[str, str]:
    attributes = pkcs11.Attribute
    if algorithm == "RS256":
        # Some devices fill numbers up with zeros, which a JWK must not have.
        modulus, exponent = (
            bytes(key[name]).lstrip(b"\0") for name in (attributes.MODULUS, attributes.PUBLIC_EXPONENT)
        )
        return {"kty": "RSA", "n": _base64(modulus), "e": _base64(exponent)}
    point = bytes(key[attributes.EC_POINT])
    # An OCTET STRING of DER, or in some devices the bare point.
    if len(point) == _POINT_BYTES[algorithm] + 2 and point[:2] == bytes((4, _POINT_BYTES[algorithm])):
        point = point[2:]
    if len(point) != _POINT_BYTES[algorithm] or bytes(key[attributes.EC_PARAMS]) not in _parameters(algorithm):
        raise Misconfigured(_SETTING, f"The key is none for {algorithm}.", "Name another key or another algorithm.")
    if algorithm == "EdDSA":
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64(point)}
    return {"kty": "EC", "crv": "P-256", "x": _base64(point[1:33]), "y": _base64(point[33:])}


def _parameters(algorithm: str) -> tuple[bytes, ...]:
    # Ed25519 also has an object identifier (RFC 8410).
    return (_CURVES[algorithm], bytes.fromhex("06032b6570")) if algorithm == "EdDSA" else (_CURVES[algorithm],)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _told(pkcs11: Any, error: Exception, hardware: Hardware, label: str) -> Misconfigured:
    """A failure in the operator's words. Only the exception's kind is told: its text is the module's."""
    known: tuple[tuple[str, str, str], ...] = (
        ("PinIncorrect", "The PIN is wrong.", "Devices lock after a few wrong ones: check it before the next try."),
        ("PinLocked", "The PIN is locked.", "Unlock the token with its own tools."),
        ("NoSuchToken", f"The module has no token {hardware.token_label!r}.", "Compare with the module's own tools."),
        ("MultipleTokensReturned", f"Several tokens are {hardware.token_label!r}.", "Give each a label of its own."),
        ("NoSuchKey", f"The token has no such key {label!r}.", "Compare label and algorithm with what is in it."),
        ("MultipleObjectsReturned", f"Several keys are {label!r}.", "Give each a label of its own."),
    )
    for name, problem, cure in known:
        if isinstance(error, getattr(pkcs11, name, ())):
            return Misconfigured(_SETTING, problem, cure)
    return Misconfigured(
        _SETTING,
        f"The module {hardware.module} failed ({type(error).__name__}).",
        "Check that it is a PKCS#11 library, that it can read its configuration, and that the device is there.",
    )
