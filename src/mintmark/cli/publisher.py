"""`mintmark publisher`: who may publish what."""

from __future__ import annotations

import textwrap
from time import time

import click

from mintmark.cli.session import as_json, parse_assignments, print_json, print_table, when, with_index
from mintmark.core.providers import PROVIDERS
from mintmark.core.records import OPERATOR, Issuer, Publisher
from mintmark.core.trust import WantedPublisher, parse_publisher
from mintmark.core.trust_warnings import warnings_for
from mintmark.service.trust import requires_fields
from mintmark.service.trust_plan import identify

_FIELDS = "\n".join(
    textwrap.fill(
        f"{provider.slug}: {requires_fields(provider.slug)}",
        76,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    for provider in PROVIDERS
)


@click.group()
def publisher() -> None:
    """Say who may publish what."""


@publisher.command(
    epilog="\b\nFields:\n"
    + _FIELDS
    + "\n\n\b\nExample:\n  mintmark publisher add acme acme-widget --issuer gitlab \\\n"
    "      project-path=team/widget workflow=.gitlab-ci.yml"
)
@click.argument("registry")
@click.argument("project")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE…")
@click.option("--issuer", "issuer_name", required=True, help="One of the registry's issuers.")
@click.option("--ref", default="", help="Only from refs like refs/heads/release-*.")
@click.option("--protected-ref", is_flag=True, help="Only from a protected branch or tag.")
@click.option("--tag", default="", help="Only from the tag of the uploaded version: v{version}.")
@click.option("--allow", default="any", type=click.Choice(["any", "create-only", "upload-only"]), help="Which uploads.")
@click.pass_context
def add(
    ctx: click.Context,
    registry: str,
    project: str,
    fields: tuple[str, ...],
    issuer_name: str,
    ref: str,
    protected_ref: bool,
    tag: str,
    allow: str,
) -> None:
    """Let a CI identity publish PROJECT in REGISTRY."""
    wanted = parse_assignments(fields)
    wanted |= {"project": project, "ref": ref, "protected-ref": protected_ref, "tag": tag, "allow": allow}
    warnings: list[str] = []

    def parse(issuer: Issuer) -> WantedPublisher:
        parsed = parse_publisher(f"publisher of {project}", wanted, issuer)
        warnings.extend(warnings_for([parsed], {issuer.name: issuer}))
        return parsed

    added = with_index(ctx, lambda index: index.trust.add_publisher(registry, issuer_name, parse, OPERATOR))
    state = "" if added.project_id else f" The project is created by its first upload, until {when(added.expires_at)}."
    click.echo(f"Registered publisher {added.id}: {identify(added, issuer_name)}.{state}")
    for warning in warnings:
        click.echo(f"Note: {warning}", err=True)


@publisher.command("list", epilog="\b\nExample:\n  mintmark publisher list acme")
@click.argument("registry", required=False)
@as_json
@click.pass_context
def list_(ctx: click.Context, registry: str | None, as_json: bool) -> None:
    """List publishers, of one REGISTRY or all."""
    found = with_index(ctx, lambda index: index.trust.overview(registry))
    rows = []
    for home, issuers, publishers in found:
        names = {issuer.id: issuer.name for issuer in issuers}
        rows += [(home.slug, names[p.issuer_id], p) for p in publishers]
    if as_json:
        print_json(
            [
                {
                    "id": p.id,
                    "registry": slug,
                    "issuer": issuer,
                    "project": p.project,
                    "pending": p.project_id is None,
                    "fields": dict(p.config),
                    "last-used": p.last_used_at,
                    "expires": p.expires_at,
                }
                for slug, issuer, p in rows
            ]
        )
        return
    print_table(
        ("ID", "REGISTRY", "PUBLISHER", "STATE", "LAST USED"),
        [
            (
                p.id,
                slug,
                identify(p, issuer),
                _state(p),
                when(p.last_used_at),
            )
            for slug, issuer, p in rows
        ],
        "No publisher is registered yet. Register one with `mintmark publisher add`.",
    )


def _state(found: Publisher) -> str:
    if found.project_id is not None:
        return "active"
    lapsed = found.expires_at is not None and found.expires_at <= time()
    return f"{'lapsed on' if lapsed else 'pending until'} {when(found.expires_at)}"


@publisher.command(epilog="\b\nExample:\n  mintmark publisher remove acme 3")
@click.argument("registry")
@click.argument("number", type=int)
@click.pass_context
def remove(ctx: click.Context, registry: str, number: int) -> None:
    """Detach publisher NUMBER, as `publisher list` shows it.

    Credentials minted through it no longer cover its project.
    """
    with_index(ctx, lambda index: index.trust.remove_publisher(registry, number, OPERATOR))
    click.echo(f"Removed publisher {number}.")
