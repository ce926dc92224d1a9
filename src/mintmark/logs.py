"""The log: text for people, or one JSON object a line.

Owns its form. What is logged is decided where it happens; tokens and credentials never are.
"""

from __future__ import annotations

import sys

import structlog

INFO, ERROR = 20, 40


def configure(log_format: str, *, quiet: bool = False) -> None:
    """Write the log to standard error in this form, `text` or `json`; `quiet`: only what is a bug."""
    final: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=20,
            # Invariant: no local variables in tracebacks, as the default would show them: some are secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if log_format == "json" else []),
            final,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(ERROR if quiet else INFO),
        cache_logger_on_first_use=True,
    )
