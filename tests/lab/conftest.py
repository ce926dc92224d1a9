"""Shared parts of the lab's tests: one RSA key a session, one authority, a lab that runs on loopback over TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from mintmark.lab.authority import Authority
from mintmark.lab.kinds import KINDS
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.signer import Signer


@dataclass
class FrozenClock:
    """A clock that a test sets."""

    at: float = 1_795_000_000.0

    def now(self) -> float:
        return self.at


@pytest.fixture(scope="session")
def rsa_signer() -> Signer:
    """Never rotated by a test: making one costs a tenth of a second."""
    return Signer("RS256")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    # Certificates are judged by the real time.
    return Authority.open(tmp_path_factory.mktemp("authority") / "lab", time.time())


@pytest.fixture(scope="session")
def trusting(authority: Authority) -> ssl.SSLContext:
    """A client's context as Python 3.13 makes it by default: strict."""
    context = ssl.create_default_context(cadata=authority.ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest_asyncio.fixture
async def lab(authority: Authority, rsa_signer: Signer, clock: FrozenClock) -> AsyncIterator[LabProviders]:
    """GitHub with RS256, the others with ES256, so that both kinds of keys are served."""
    providers = LabProviders(
        clock=clock,
        ssl_context=authority.server_context(),
        signers={kind.slug: rsa_signer if kind.slug == "github" else Signer("ES256") for kind in KINDS},
        random=Random(1),
    )
    async with providers:
        yield providers


@pytest.fixture
def ca_path(authority: Authority) -> Path:
    return authority.ca_path
