"""Fixtures that every folder of tests shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from mintmark.lab.signer import Signer
from support.world import GITHUB, GITLAB, SELF_HOSTED, World, running_world

# The same examples in every run, and none judged by the time it takes on a busy machine.
hypothesis_settings.register_profile(
    "mintmark", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("mintmark")


@pytest.fixture(scope="session")
def signers() -> Mapping[str, Signer]:
    """Keys of the public issuers, made once a run: RSA keys take a while."""
    return {url: Signer() for url in (GITHUB, GITLAB, SELF_HOSTED)}


@pytest.fixture
async def world(tmp_path: Path, signers: Mapping[str, Signer]) -> AsyncIterator[World]:
    """A running index with the private registry `acme`, which trusts the self-hosted GitLab and github.com."""
    async with running_world(tmp_path, signers) as started:
        await started.registry("acme")
        await started.issuer("acme", SELF_HOSTED)
        await started.issuer("acme", GITHUB)
        yield started
