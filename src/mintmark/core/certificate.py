"""A server's certificate as a file: until when it is good, and for which names.

Owns reading those facts. Leaves whether its key belongs to it to TLS itself, and verification to clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtensionOID


class BadCertificate(ValueError):
    """The text holds no certificate that can be read."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The first certificate of a chain. Times are in seconds since the epoch."""

    names: tuple[str, ...]
    since: float
    until: float

    def covers(self, host: str) -> bool:
        """Whether a client that asks for this host would take it (RFC 6125: a wildcard is one whole label)."""
        _, _, parent = host.lower().partition(".")
        return any(name.lower() in {host.lower(), f"*.{parent}"} for name in self.names)


def read_certificate(pem: bytes) -> Certificate:
    """The first certificate of a PEM chain. Raises `BadCertificate`."""
    try:
        found = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise BadCertificate("it holds no PEM certificate that can be read") from None
    try:
        names = found.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, ValueError):
        # Clients have not looked at the common name for years.
        return Certificate((), *_times(found))
    assert isinstance(names, x509.SubjectAlternativeName)
    texts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return Certificate(tuple(texts), *_times(found))


def _times(found: x509.Certificate) -> tuple[float, float]:
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
