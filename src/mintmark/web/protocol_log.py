"""What the HTTP server below the application has to say, as lines of our own log.

Owns keeping requests that are no HTTP out of it: the server quotes them, and with them a credential that stood on the
line it could not read. Leaves requests that reach the application to `web.boundary`.
"""

from __future__ import annotations

import logging

import structlog
from aiohttp.http_exceptions import HttpProcessingError

LOG = structlog.get_logger("mintmark.http")


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | ConnectionError | TimeoutError):
            LOG.info("not understood", error=type(error).__name__)
        elif record.levelno >= logging.WARNING:
            LOG.error("server", what=record.getMessage(), exc_info=error)


def protocol_logger() -> logging.Logger:
    """A logger for aiohttp's protocol handler, apart from the logging of everybody else."""
    logger = logging.getLogger("mintmark.http")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [_Lines()]
    return logger
