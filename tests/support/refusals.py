"""Calling something that may refuse, and nothing worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mintmark.core.checks import finding
from mintmark.core.errors import Misconfigured, Rejected


def refusal(do: Callable[[], object]) -> Rejected | None:
    """The refusal, None when there is none; any other exception goes on its way and fails the test."""
    try:
        do()
    except Rejected as error:
        return error
    return None


def mistake(do: Callable[[], object]) -> Misconfigured | None:
    """The same for what an operator got wrong."""
    try:
        do()
    except Misconfigured as error:
        return error
    return None


def refuse(findings: Iterable[finding.Finding]) -> None:
    """Raises one refusal that tells all findings for which a file is not taken, if there are any."""
    if refusing := finding.those_that_refuse(findings):
        raise finding.refusal(refusing)
