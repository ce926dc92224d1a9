"""Signals as a program finds them that somebody starts at a terminal, whatever the tests were started with."""

from __future__ import annotations

import signal


def as_at_a_terminal() -> None:
    """For `preexec_fn`: a signal that is ignored stays so in a child, and `nohup make test` ignores one."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
