"""One development index for all client tests of a worker; every test uses project names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.dev_index import Dev, running_dev


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running_dev(tmp_path_factory.mktemp("dev")) as started:
        yield started
