"""The lab's certificate authority: TLS for servers on loopback, because clients insist on https.

Owns the authority's key, its certificate and the certificates it issues, in one directory. Leaves trusting it to
whoever sets SSL_CERT_FILE for one command; nothing here touches the system's trust store.

The certificates are judged by real clients with real clocks, so `now` must be the time, even where a lab freezes it.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import ipaddress
import os
import re
import secrets
import ssl
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mintmark.core.errors import Misconfigured

ORGANIZATION = "Mintmark lab"
COMMON_NAME = "Mintmark lab CA - never trust outside a lab"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DAY_SECONDS = 86_400
LIFETIME_SECONDS = 30 * DAY_SECONDS
# A certificate with less than this left is made anew, so that no lab session ends in the middle of one.
RENEW_SECONDS = DAY_SECONDS
# Clocks of containers and virtual machines run a little behind.
BACKDATE_SECONDS = 3600
PEM_MAX_BYTES = 64 * 1024

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class Authority:
    """A local certificate authority. Made by `open`.

    Invariant: private keys are never readable by others, from the moment their files exist.
    """

    def __init__(self, directory: Path, pair: _Pair) -> None:
        self._directory = directory
        self._certificate, self._key = pair
        self.ca_path = directory / "ca.pem"
        self.ca_pem = _pem(self._certificate).decode("ascii")

    @classmethod
    def open(cls, directory: Path, now: float) -> Authority:
        """The directory's authority, made first if there is none that is good for another day."""
        _prepare(directory)
        with _exclusive(directory):
            pair = _load(directory, "ca")
            if pair is None or not _is_current(pair[0], now):
                pair = _make_authority(now)
                _store(directory, "ca", pair)
        return cls(directory, pair)

    def issue(self, names: Sequence[str]) -> tuple[Path, Path]:
        """Certificate and key of a server with these DNS names and IP addresses; as long-lived as the authority."""
        wanted = _general_names(names)
        label = "server-" + hashlib.sha256("\n".join(sorted(names)).encode("ascii")).hexdigest()[:16]
        with _exclusive(self._directory):
            pair = _load(self._directory, label)
            if pair is None or not self._issued(pair[0]):
                _store(self._directory, label, self._make_server(wanted))
        return self._directory / f"{label}.pem", self._directory / f"{label}-key.pem"

    def server_context(self, names: Sequence[str] = LOOPBACK) -> ssl.SSLContext:
        """A context for a TLS server that answers to these names."""
        certificate, key = self.issue(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        return context

    def _issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _make_server(self, names: list[x509.GeneralName]) -> _Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        authority_id = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(_name("Mintmark lab server"), self._certificate.subject, key)
            .not_valid_before(self._certificate.not_valid_before_utc)
            .not_valid_after(self._certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate, key


def _make_authority(now: float) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(COMMON_NAME)
    begins = datetime.datetime.fromtimestamp(int(now) - BACKDATE_SECONDS, datetime.UTC)
    certificate = (
        _builder(name, name, key)
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(seconds=LIFETIME_SECONDS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    if not names:
        raise ValueError("a server's certificate needs at least one name")
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not _HOST.match(name):
                raise ValueError(f"{name!r} is neither a host name in lower case nor an IP address") from None
            found.append(x509.DNSName(name))
    return found


def _is_current(certificate: x509.Certificate, now: float) -> bool:
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begins <= now < ends - RENEW_SECONDS


# -- files ------------------------------------------------------------------------------------------------------------


def _prepare(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    # Whoever can write here can put his own authority in place of ours.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Misconfigured(
            "lab directory",
            f"{directory} is not a directory of yours that only you can write to.",
            "Name another one; it is made if it does not exist.",
        )


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory against other processes, so that two starting labs share one authority."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load(directory: Path, label: str) -> _Pair | None:
    """A stored certificate with its key; None when either is missing, unsafe, unreadable or of another pair."""
    try:
        certificate = x509.load_pem_x509_certificate(_read(directory / f"{label}.pem", others_may=0o044))
        key = serialization.load_pem_private_key(_read(directory / f"{label}-key.pem", others_may=0), password=None)
    except (OSError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _read(path: Path, *, others_may: int) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077 & ~others_may:
            raise PermissionError(f"{path} is not a file of ours")
        return file.read(PEM_MAX_BYTES)


def _store(directory: Path, label: str, pair: _Pair) -> None:
    certificate, key = pair
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # A crash in between leaves a pair that does not fit, which is made anew.
    _replace(directory / f"{label}-key.pem", private, 0o600)
    _replace(directory / f"{label}.pem", _pem(certificate), 0o644)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Put a file in place whole. Creates exclusively, so an existing link is neither followed nor reused."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
