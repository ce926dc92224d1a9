"""`mintmark registry`: the isolated registries of this host."""

from __future__ import annotations

import json
import textwrap
from urllib.parse import urlsplit

import click

from mintmark.cli.session import (
    as_json,
    confirm,
    host_of,
    parse_assignments,
    print_json,
    print_table,
    settings_of,
    with_index,
)
from mintmark.core.names import gitlab_variable
from mintmark.core.records import OPERATOR, Registry
from mintmark.core.trust import parse_registry
from mintmark.core.trust_change import changed, written
from mintmark.core.trust_keys import REGISTRY_KEYS
from mintmark.service.trust import find_registry
from mintmark.settings import Settings

_KEYS = textwrap.fill(", ".join(REGISTRY_KEYS), 76, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


@click.group()
def registry() -> None:
    """Create, list, show, change and remove registries."""


@registry.command(epilog="\b\nExample:\n  mintmark registry create acme")
@click.argument("name")
@click.option("--title", default="", help="A name for people.")
@click.option("--host", default=None, help="A host name of its own.")
@click.option("--audience", default=None, help="Audience of its identity tokens. Default: made from the host name.")
@click.option("--public", is_flag=True, help="Anyone may read it. Default: reading needs a credential.")
@as_json
@click.pass_context
def create(
    ctx: click.Context, name: str, title: str, host: str | None, audience: str | None, public: bool, as_json: bool
) -> None:
    """Create the registry NAME, the first part of its URLs."""
    wanted: dict[str, object] = {"title": title, "private": not public}
    wanted |= {key: value for key, value in (("host", host), ("audience", audience)) if value}
    parsed = parse_registry(name, wanted, host_of(settings_of(ctx)))
    created = with_index(ctx, lambda index: index.trust.add_registry(parsed, OPERATOR))
    if as_json:
        print_json(facts(created, settings_of(ctx)))
        return
    click.echo(f"Created the {'private' if created.private else 'public'} registry {created.slug}.\n")
    _explain(created, settings_of(ctx))
    click.echo(f"\nNext: mintmark issuer add {created.slug} NAME --provider PROVIDER --url ISSUER --projects '*'")


@registry.command("list", epilog="\b\nExample:\n  mintmark registry list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the registries."""
    settings = settings_of(ctx)
    found = with_index(ctx, lambda index: index.trust.overview())
    if as_json:
        print_json([facts(each, settings) for each, _, _ in found])
        return
    print_table(
        ("NAME", "READING", "AUDIENCE", "ISSUERS", "PUBLISHERS"),
        [(r.slug, _reading(r), r.audience, len(issuers), len(publishers)) for r, issuers, publishers in found],
        "There is no registry yet. Create one with `mintmark registry create NAME`.",
    )


@registry.command(epilog="\b\nExample:\n  mintmark registry show acme")
@click.argument("name")
@as_json
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a registry's URLs, what a CI file needs, and its settings."""
    found = with_index(ctx, lambda index: index.ledger.read(lambda tx: find_registry(tx, name)))
    settings = settings_of(ctx)
    if as_json:
        print_json(facts(found, settings))
        return
    _explain(found, settings)
    click.echo(f"\nSettings, by their keys in a trust file (`mintmark registry change {found.slug} KEY=VALUE`):\n")
    for key, value in written(found).items():
        # As a trust file writes them.
        click.echo(f"  {key} = {json.dumps(value, ensure_ascii=False)}" if value is not None else f"  {key}: not set")


@registry.command(
    epilog="\b\nKeys:\n"
    + _KEYS
    + "\n\n\b\nExamples:\n  mintmark registry change acme platform-tags=pypi file-limit-bytes=104857600\n"
    "  mintmark registry change acme projects='acme-*,tools' similar-names=warn\n"
    "  mintmark registry change acme file-limit-bytes=\n"
    "  mintmark registry change acme enabled=false"
)
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@as_json
@click.pass_context
def change(ctx: click.Context, name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Change settings and policies of a registry.

    KEY= takes a key back to its default. Lists are written with commas. Effective with the next request. `mintmark
    registry show` prints what is set; docs/trust-file.md says what each key means.
    """
    given, ours = parse_assignments(settings), settings_of(ctx)
    now, detail, note = with_index(
        ctx,
        lambda index: index.trust.change_registry(name, lambda found: changed(found, given, host_of(ours)), OPERATOR),
    )
    if as_json:
        print_json(facts(now, ours))
    else:
        click.echo(f"Changed {now.slug}: {detail}." if detail else f"Nothing changed: {now.slug} is set so already.")
    if note:
        click.echo(f"Note: {note}", err=True)
    if "audience" in given or "host" in given:
        click.echo(f"Next: adapt the CI files to what `mintmark registry show {now.slug}` prints.", err=True)


@registry.command(epilog="\b\nExample:\n  mintmark registry remove acme")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, name: str, yes: bool) -> None:
    """Remove a registry that holds no projects.

    Its issuers, publishers and API tokens go too.
    """
    if not yes:
        confirm(f"Remove {name} with its issuers, publishers and API tokens?")
    with_index(ctx, lambda index: index.trust.remove_registry(name, OPERATOR))
    click.echo(f"Removed the registry {name}.")


def facts(found: Registry, settings: Settings) -> dict[str, object]:
    """A registry for machines. With a host name of its own, its URLs are there."""
    base = f"{settings.base_url}/{found.slug}"
    if found.host:
        shared = urlsplit(settings.base_url)
        base = f"{shared.scheme}://{found.host}{f':{shared.port}' if shared.port else ''}"
    return {
        "name": found.slug,
        "title": found.title,
        "private": found.private,
        "enabled": found.enabled,
        "host": found.host,
        "audience": found.audience,
        "gitlab-variable": gitlab_variable(found.audience),
        "index-url": f"{base}/simple/",
        "upload-url": f"{base}/legacy/",
        "settings": written(found),
    }


def _reading(found: Registry) -> str:
    return ("private" if found.private else "public") if found.enabled else "disabled"


def _explain(found: Registry, settings: Settings) -> None:
    shown = facts(found, settings)
    click.echo(f"  install from   {shown['index-url']}")
    click.echo(f"  upload to      {shown['upload-url']}")
    click.echo(f"  audience       {found.audience}\n")
    if not found.host:
        # What people need first: today's clients look at the host only, whatever the path.
        click.echo("A GitLab job with uv, pdm or maturin, which ask the host as a whole, needs:\n")
        _id_tokens(settings.host_audience)
    click.echo(
        "A client that asks for this registry (PEP 807, or curl) needs:\n"
        if not found.host
        else "A GitLab job needs:\n"
    )
    _id_tokens(found.audience)
    click.echo("GitHub and others: `mintmark issuer guide`.")


def _id_tokens(audience: str) -> None:
    click.echo(f"  id_tokens:\n    {gitlab_variable(audience)}:\n      aud: {audience}\n")
