"""Listening: the application on a port, until it is told to stop.

Owns sockets, TLS and graceful shutdown.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mintmark.core.errors import Misconfigured
from mintmark.settings import Settings, parse_listen
from mintmark.web import hot
from mintmark.web.unreadable import Runner

# Uploads on their way may finish; after this they are cut off.
SHUTDOWN_SECONDS = 20.0


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS configuration, None behind a proxy. Raises `Misconfigured`."""
    if not settings.tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            "tls_certificate", f"Certificate and key cannot be used: {error}.", "Give a matching pair in PEM form."
        ) from None
    return context


@asynccontextmanager
async def listening(app: web.Application, settings: Settings, *, reuse_port: bool = False) -> AsyncIterator[int]:
    """Serve `app` while the block runs; gives the port. Raises `Misconfigured` when it is taken."""
    host, port = parse_listen(settings.listen)
    context = tls_context(settings)
    runner = Runner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    hot.install(runner)
    try:
        site = web.TCPSite(runner, host, port, ssl_context=context, reuse_port=reuse_port or None)
        try:
            await site.start()
        except OSError as error:
            raise Misconfigured(
                "listen",
                f"{settings.listen} cannot be listened on: {error.strerror}.",
                "Stop what uses it, or choose another port.",
            ) from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def stopped() -> None:
    """Wait for SIGINT or SIGTERM."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    await event.wait()
