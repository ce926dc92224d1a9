"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Shell, shell_in


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell whose settings name an index that does not exist yet."""
    return shell_in(tmp_path)


@pytest.fixture
def acme(shell: Shell) -> Shell:
    """The same, with the registry `acme`, which trusts a self-hosted GitLab."""
    shell.ok("registry", "create", "acme")
    shell.ok("issuer", "add", "acme", "gitlab", *GITLAB, "--projects", "*")
    return shell


GITLAB = ("--provider", "gitlab", "--url", "https://gitlab.example.com")
