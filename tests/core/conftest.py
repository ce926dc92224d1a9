"""One RSA key for the tests of tokens: making one takes a while."""

from __future__ import annotations

import pytest

from mintmark.core.jwks import KeySet
from mintmark.lab.signer import Signer
from support.tokens import keys_of


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer("RS256")


@pytest.fixture(scope="session")
def keys(signer: Signer) -> KeySet:
    return keys_of(signer)
