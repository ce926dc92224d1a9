"""`mintmark serve`: run the index, for real or for development."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mintmark.cli.session import settings_of
from mintmark.core.errors import Misconfigured
from mintmark.core.names import derive_audience
from mintmark.core.records import SYSTEM, Issuer
from mintmark.core.trust import Host, parse_issuer, parse_registry
from mintmark.core.trust_files import is_of_the_lab
from mintmark.lab.home import DEFAULT_DIRECTORY, DEFAULT_PORT, Home, Lab, announce, is_dev, prepare
from mintmark.lab.kinds import KINDS
from mintmark.settings import Settings, is_loopback, load, parse_listen

if TYPE_CHECKING:
    from mintmark.assemble import Index
    from mintmark.lab.provider_server import LabProviders

DEV_REGISTRY = "demo"


@click.command(
    epilog="\b\nExamples:\n  mintmark serve --dev\n  mintmark --config /etc/mintmark.toml serve\n"
    "  mintmark --config /etc/mintmark.toml serve --reuse-port"
)
@click.option("--dev", is_flag=True, help="For development: own CA, loopback only, simulated identity providers.")
@click.option(
    "--dir", "directory", default=DEFAULT_DIRECTORY, help=f"With --dev: its folder. Default: {DEFAULT_DIRECTORY}."
)
@click.option(
    "--port", default=DEFAULT_PORT, help=f"With --dev: its port; the next one is used as well. Default: {DEFAULT_PORT}."
)
@click.option("--listen", default=None, help="With --dev: HOST:PORT, this machine only. Otherwise see the settings.")
@click.option("--reuse-port", is_flag=True, help="Let several processes share the port.")
@click.pass_context
def serve(ctx: click.Context, dev: bool, directory: str, port: int, listen: str | None, reuse_port: bool) -> None:
    """Run the index until it is told to stop (Ctrl-C or SIGTERM)."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if dev:
        if reuse_port:
            raise Misconfigured("reuse-port", "--dev is one process.", "Leave --reuse-port out.")
        home = prepare(
            Path(directory), port if listen is None else _dev_port(listen, port if "port" in given else None)
        )
        settings = load(home.settings_path, {})
        _run(lambda: _dev(settings, home), settings)
        return
    for name, cure in (
        ("listen", "Set listen in the settings file."),
        ("port", "Set listen in the settings file."),
        ("directory", "Set data_dir in the settings file."),
    ):
        if name in given:
            option = "dir" if name == "directory" else name
            raise Misconfigured(option, f"--{option} is an option of --dev.", cure)
    settings = settings_of(ctx)
    if is_dev(Path(settings.data_dir)):
        raise Misconfigured(
            "data_dir",
            "It was made by `mintmark serve --dev` or `mintmark lab up`, and trusts issuers that sign anything.",
            "Name another data directory, or add --dev.",
        )
    _run(lambda: _serve(settings, reuse_port=reuse_port), settings)


def _dev_port(listen: str, port: int | None) -> int:
    """The port of --listen, which may name this machine only."""
    host, wanted = parse_listen(listen)
    if not is_loopback(host):
        raise Misconfigured(
            "listen",
            "--dev trusts identity providers that sign anything, so it serves this machine only.",
            "Leave --listen out, or run without --dev and with settings of your own.",
        )
    if port not in (None, wanted):
        raise Misconfigured("listen", "--listen and --port name two ports.", "Leave one of them out.")
    return wanted


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
    from mintmark.web.server import listening

    index = Index(settings)
    try:
        async with listening(index.application(), settings, reuse_port=reuse_port):
            await _until_stopped(f"Mintmark serves {settings.base_url} (listening on {settings.listen}).")
    finally:
        await index.close()


async def _until_stopped(announcement: str) -> None:
    from mintmark.web.server import stopped

    waiting = asyncio.create_task(stopped())
    # Whoever reads the announcement may send a signal at once: by then it must be listened to.
    await asyncio.sleep(0)
    click.echo(announcement, err=True)
    await waiting


async def _dev(settings: Settings, home: Home) -> None:
    from mintmark.assemble import Index
    from mintmark.lab.provider_server import LabProviders
    from mintmark.web.server import listening

    index = Index(settings)
    tls = home.authority.server_context()
    providers = LabProviders(clock=index.clock, ssl_context=tls, port=home.provider_port)
    try:
        try:
            await providers.start()
        except OSError as error:
            raise Misconfigured(
                "port",
                f"Port {home.provider_port}, for the simulated identity providers, cannot be listened on: "
                f"{os.strerror(error.errno) if error.errno else error}.",
                "Stop what uses it, or choose another --port.",
            ) from None
        # Invariant: the mark of a development index is there before anything in its data trusts the lab.
        announce(home.directory, _reached_at(home, settings, providers))
        await _trust_lab(index, home, providers)
        async with listening(index.application(accept_lab=True), settings):
            await _until_stopped(_banner(home))
    finally:
        await providers.close()
        await index.close()


def _reached_at(home: Home, settings: Settings, providers: LabProviders) -> Lab:
    audiences = {"": settings.host_audience, DEV_REGISTRY: derive_audience(settings.host, DEV_REGISTRY)}
    ca_path = home.authority.ca_path
    return Lab(
        providers.base_url, providers.secret, ca_path, home.base_url, audiences=audiences, process_id=os.getpid()
    )


async def _trust_lab(index: Index, home: Home, providers: LabProviders) -> None:
    """A private registry that trusts every simulated provider, where it is now."""
    host = Host(index.settings.host, index.settings.host_audience, accept_lab=True)
    existing = {registry.slug: issuers for registry, issuers, _ in await index.trust.overview()}
    if DEV_REGISTRY not in existing:
        registry = parse_registry(DEV_REGISTRY, {"title": "For trying things out"}, host)
        await index.trust.add_registry(registry, SYSTEM)
    former = {issuer.name: issuer for issuer in existing.get(DEV_REGISTRY, ())}
    for kind in KINDS:
        slug, url = kind.slug, providers.issuer_url(kind.slug)
        entry: dict[str, object] = {
            "provider": slug,
            "url": url,
            "projects": ["*"],
            "networks": ["127.0.0.0/8", "::1/128"],
            "ca-file": str(home.authority.ca_path),
        }
        if kind.fixed_audience is not None:
            entry["audience"] = kind.fixed_audience(url)
        issuer = parse_issuer(slug, entry, host, lambda name: Path(name).read_text(encoding="utf-8"))
        if slug in former:
            # Another port, or a CA made anew after its month: publishers stay as they are. An issuer of one's own
            # under that name stays what it is.
            if is_of_the_lab(former[slug].ca_pem) and former[slug] != _move(former[slug], to=issuer):
                await index.trust.change_issuer(DEV_REGISTRY, slug, partial(_move, to=issuer), SYSTEM)
        elif all(each.url != issuer.url for each in former.values()):
            await index.trust.add_issuer(DEV_REGISTRY, issuer, SYSTEM)


def _move(former: Issuer, *, to: Issuer) -> Issuer:
    return replace(former, url=to.url, server=to.server, ca_pem=to.ca_pem, audience=to.audience)


def _banner(home: Home) -> str:
    rule = "=" * 78
    settings, ca = shlex.quote(str(home.settings_path)), shlex.quote(str(home.authority.ca_path))
    return f"""{rule}
  DEVELOPMENT INDEX: {home.base_url}   (this machine only)
  It trusts simulated identity providers that sign whatever they are asked to.
  Never put real packages here. Everything is in {home.directory}
{rule}

In another terminal:

  export MINTMARK_CONFIG={settings}
  export SSL_CERT_FILE={ca} REQUESTS_CA_BUNDLE={ca}

  mintmark publisher add {DEV_REGISTRY} hello --issuer gitlab \\
      project-path=group/subgroup/project workflow=.gitlab-ci.yml
  mintmark lab run --ci gitlab -- uv publish --publish-url {home.base_url}/{DEV_REGISTRY}/legacy/ dist/*

Ctrl-C stops it."""
