"""What was seen when an issuer was asked for its documents.

Owns the shape of the findings. Leaves asking to `store.issuer_probe` and judging to `core.issuer_report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why nothing usable came: nobody there, TLS, an address that must not be asked, or a bad answer."""

    UNREACHABLE = "unreachable"
    TLS = "tls"
    FORBIDDEN = "forbidden"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Where asking ended. `reason` quotes nothing that the issuer sent."""

    kind: Kind
    stage: str
    """`discovery` or `keys`."""
    reason: str
    network: str = ""
    """The network that would have to be allowed, where that is the trouble."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate that was verified."""

    version: str
    authority: str
    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A document as it came."""

    url: str
    body: bytes
    milliseconds: int
    redirects: int = 0
    cache_control: str = ""
    served_at: float | None = None
    """The issuer's clock."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the operator allows, as in a trust entry. Files are contents here; their names are for the snippet."""

    url: str
    networks: tuple[str, ...] = ()
    allow_http: bool = False
    ca_pem: str = ""
    ca_file: str = ""
    jwks: str = ""
    jwks_file: str = ""
    lab: bool = False
    """The issuers of a lab are meant to be trusted."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at an issuer."""

    conditions: Conditions
    discovery: Answer | None = None
    keys: Answer | None = None
    trouble: Trouble | None = None
    tls: Tls | None = None
    private: tuple[str, ...] = ()
    """Addresses of it that are not on the public internet."""
    lab_certificate: bool = False
