"""`mintmark registry`: the isolated registries of this host."""

from __future__ import annotations

import click

from mintmark.cli.session import as_json, host_of, print_json, print_table, settings_of, with_index
from mintmark.core.names import gitlab_variable
from mintmark.core.records import OPERATOR, Registry
from mintmark.core.trust import parse_registry
from mintmark.service.trust import find_registry


@click.group()
def registry() -> None:
    """Create, list, show and remove registries."""


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
        print_json(facts(created, settings_of(ctx).base_url))
        return
    click.echo(f"Created the {'private' if created.private else 'public'} registry {created.slug}.\n")
    _explain(created, settings_of(ctx).base_url)
    click.echo(f"\nNext: mintmark issuer add {created.slug} NAME --provider PROVIDER --url ISSUER --projects '*'")


@registry.command("list", epilog="\b\nExample:\n  mintmark registry list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the registries."""
    base = settings_of(ctx).base_url
    found = with_index(ctx, lambda index: index.trust.overview())
    if as_json:
        print_json([facts(each, base) for each, _, _ in found])
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
    """Show a registry's URLs and what a CI file needs."""
    found = with_index(ctx, lambda index: index.ledger.read(lambda tx: find_registry(tx, name)))
    base = settings_of(ctx).base_url
    if as_json:
        print_json(facts(found, base))
        return
    _explain(found, base)


@registry.command(epilog="\b\nExample:\n  mintmark registry remove acme")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove a registry that holds no projects."""
    with_index(ctx, lambda index: index.trust.remove_registry(name, OPERATOR))
    click.echo(f"Removed the registry {name}.")


def facts(found: Registry, base: str) -> dict[str, object]:
    """A registry for machines."""
    return {
        "name": found.slug,
        "title": found.title,
        "private": found.private,
        "enabled": found.enabled,
        "host": found.host,
        "audience": found.audience,
        "gitlab-variable": gitlab_variable(found.audience),
        "index-url": f"{base}/{found.slug}/simple/",
        "upload-url": f"{base}/{found.slug}/legacy/",
    }


def _reading(found: Registry) -> str:
    return ("private" if found.private else "public") if found.enabled else "disabled"


def _explain(found: Registry, base: str) -> None:
    shown = facts(found, base)
    click.echo(f"  install from   {shown['index-url']}")
    click.echo(f"  upload to      {shown['upload-url']}")
    click.echo(f"  audience       {found.audience}\n")
    click.echo("A GitLab job that publishes with mintmark's or any PEP 807 client needs:\n")
    click.echo(f"  id_tokens:\n    {shown['gitlab-variable']}:\n      aud: {found.audience}\n")
    click.echo("uv, pdm and maturin ask the host as a whole. For them the block is in `mintmark issuer guide`.")
