"""`mintmark serve`: run the index, for real or for development."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mintmark.cli.session import settings_of
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.records import SYSTEM
from mintmark.core.trust import Host, parse_issuer, parse_registry
from mintmark.lab.home import DEFAULT_DIRECTORY, DEFAULT_PORT, Home, announce, is_dev, prepare
from mintmark.settings import Settings, is_loopback, load, parse_listen

if TYPE_CHECKING:
    from mintmark.assemble import Index
    from mintmark.lab.provider_server import LabProviders

DEV_REGISTRY = "demo"


@click.command(
    epilog="\b\nExamples:\n  mintmark serve --dev\n  mintmark --config /etc/mintmark.toml serve\n"
    "  mintmark --config /etc/mintmark.toml serve --reuse-port   (several processes, one port)"
)
@click.option("--dev", is_flag=True, help="For development: own CA, loopback only, simulated identity providers.")
@click.option(
    "--dir", "directory", default=DEFAULT_DIRECTORY, help=f"With --dev: its folder. Default: {DEFAULT_DIRECTORY}."
)
@click.option(
    "--port", default=DEFAULT_PORT, help=f"With --dev: its port; the next one is used as well. Default: {DEFAULT_PORT}."
)
@click.option("--listen", default=None, help="With --dev: refused unless it is loopback. Otherwise see the settings.")
@click.option("--reuse-port", is_flag=True, help="Let several processes share the port.")
@click.pass_context
def serve(ctx: click.Context, dev: bool, directory: str, port: int, listen: str | None, reuse_port: bool) -> None:
    """Run the index until it is told to stop (Ctrl-C or SIGTERM)."""
    if dev:
        if listen is not None and not is_loopback(parse_listen(listen)[0]):
            raise Misconfigured(
                "listen",
                "--dev trusts identity providers that sign anything, so it serves this machine only.",
                "Leave --listen out, or run without --dev and with settings of your own.",
            )
        home = prepare(Path(directory), port)
        settings = load(home.settings_path, {})
        _run(lambda: _dev(settings, home), settings)
        return
    if listen is not None:
        raise Misconfigured("listen", "--listen is an option of --dev.", "Set listen in the settings file.")
    settings = settings_of(ctx)
    if is_dev(Path(settings.data_dir)):
        raise Misconfigured(
            "data_dir",
            "It was made by `mintmark serve --dev` and trusts identity providers that sign anything.",
            "Name another data directory, or add --dev.",
        )
    _run(lambda: _serve(settings, reuse_port=reuse_port), settings)


def _run(main: Callable[[], Coroutine[Any, Any, None]], settings: Settings) -> None:
    from mintmark.logs import configure

    configure(settings.log_format)
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    # An extra: the standard loop does the same work a little slower.
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def _serve(settings: Settings, *, reuse_port: bool) -> None:
    from mintmark.assemble import Index
    from mintmark.web.server import listening, stopped

    index = Index(settings)
    try:
        async with listening(index.application(), settings, reuse_port=reuse_port):
            click.echo(f"Mintmark serves {settings.base_url} (listening on {settings.listen}).", err=True)
            await stopped()
    finally:
        await index.close()


async def _dev(settings: Settings, home: Home) -> None:
    from mintmark.assemble import Index
    from mintmark.lab.provider_server import LabProviders
    from mintmark.web.server import listening, stopped

    index = Index(settings)
    tls = home.authority.server_context()
    providers = LabProviders(clock=index.clock, ssl_context=tls, port=home.provider_port)
    try:
        try:
            await providers.start()
        except OSError as error:
            raise Misconfigured(
                "port", f"Port {home.provider_port} cannot be listened on: {error.strerror}.", "Choose another --port."
            ) from None
        await _trust_lab(index, home, providers)
        announce(home, providers.base_url, providers.secret)
        async with listening(index.application(accept_lab=True), settings):
            click.echo(_banner(home), err=True)
            await stopped()
    finally:
        await providers.close()
        await index.close()


async def _trust_lab(index: Index, home: Home, providers: LabProviders) -> None:
    """At the first start: a private registry that trusts both simulated providers."""
    host = Host(index.settings.host, index.settings.host_audience, accept_lab=True)
    if DEV_REGISTRY in {registry.slug for registry, _, _ in await index.trust.overview()}:
        return
    await index.trust.add_registry(parse_registry(DEV_REGISTRY, {"title": "For trying things out"}, host), SYSTEM)
    for slug in ("github", "gitlab"):
        entry = {
            "provider": slug,
            "url": providers.issuer_url(slug),
            "projects": ["*"],
            "networks": ["127.0.0.0/8", "::1/128"],
            "ca-file": str(home.authority.ca_path),
        }
        issuer = parse_issuer(slug, entry, host, lambda name: Path(name).read_text(encoding="utf-8"))
        try:
            await index.trust.add_issuer(DEV_REGISTRY, issuer, SYSTEM)
        except Rejected as error:
            raise Misconfigured("dev", error.sentence, "Remove the folder to begin anew.") from None


def _banner(home: Home) -> str:
    rule = "=" * 78
    return f"""{rule}
  DEVELOPMENT INDEX: {home.base_url}   (this machine only)
  It trusts simulated identity providers that sign whatever they are asked to.
  Never put real packages here. Everything is in {home.directory}
{rule}

In another terminal:

  export MINTMARK_CONFIG={home.settings_path}
  export SSL_CERT_FILE={home.authority.ca_path} REQUESTS_CA_BUNDLE={home.authority.ca_path}

  mintmark publisher add {DEV_REGISTRY} hello --issuer gitlab \\
      project-path=group/subgroup/project workflow=.gitlab-ci.yml
  mintmark lab run --ci gitlab -- uv publish --publish-url {home.base_url}/{DEV_REGISTRY}/legacy/ dist/*

Ctrl-C stops it."""
