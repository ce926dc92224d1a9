"""The pytest plugin: a lab for every test session, a registry of its own for every test.

Owns the fixture `mintmark_lab`, and that nothing outlives the session. Leaves the lab to `mintmark lab up`, which it
starts as a process, one for each worker of pytest-xdist.

pytest imports this module in every environment that Mintmark is installed in, so that it imports nothing else of
Mintmark until a test asks for the fixture.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mintmark.lab.session import LabSession

START_SECONDS = 60.0
END_SECONDS = 20.0
OPTIONS = "mintmark_lab_options"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting, in the ini file."""
    parser.addini(OPTIONS, "Options of `mintmark lab up` for the fixture mintmark_lab.", type="args", default=[])


@pytest.fixture(scope="session")
def mintmark_lab_facts(pytestconfig: pytest.Config) -> Iterator[Mapping[str, Any]]:
    """A running lab of this test session: what `mintmark lab up --json` tells."""
    command = [sys.executable, "-m", "mintmark", "lab", "up", "--json", "--until-eof", *pytestconfig.getini(OPTIONS)]
    with tempfile.TemporaryFile() as complaints:
        # Ctrl-C ends the tests first, which still need the lab to clean up.
        lab = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
        )
        try:
            yield _ready(lab, complaints)
        finally:
            _end(lab)


@pytest.fixture
def mintmark_lab(mintmark_lab_facts: Mapping[str, Any]) -> Iterator[LabSession]:
    """An index of this test's own, CI systems to publish from, the journal of what is asked, and fault switches."""
    from mintmark.lab.session import open_session

    with open_session(mintmark_lab_facts) as session:
        yield session


def _ready(lab: subprocess.Popen[bytes], complaints: Any) -> Mapping[str, Any]:
    assert lab.stdout is not None
    readable, _, _ = select.select([lab.stdout], [], [], START_SECONDS)
    line = lab.stdout.readline() if readable else b""
    if not line:
        _end(lab)
        complaints.seek(0)
        why = complaints.read().decode("utf-8", "replace").strip()
        pytest.fail(f"The lab did not start: {why or f'it was not ready in {START_SECONDS:.0f} s'}", pytrace=False)
    facts: Mapping[str, Any] = json.loads(line)
    return facts


def _end(lab: subprocess.Popen[bytes]) -> None:
    """The lab ends when its input does: also when this process is killed."""
    assert lab.stdin is not None
    assert lab.stdout is not None
    lab.stdin.close()
    lab.stdout.close()
    try:
        lab.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        lab.kill()
        lab.wait()
