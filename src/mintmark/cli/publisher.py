"""`mintmark publisher`: who may publish what."""

from __future__ import annotations

import textwrap
from time import time

import click

from mintmark.cli.session import as_json, parse_assignments, print_json, print_table, when, with_index
from mintmark.core.providers import PROVIDERS
from mintmark.core.records import OPERATOR, Issuer, Publisher
from mintmark.core.rules import parse_rule_text
from mintmark.core.trust import WantedPublisher, parse_publisher
from mintmark.core.trust_warnings import warnings_for
from mintmark.service.trust import requires_fields
from mintmark.service.trust_plan import identify, learned

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
    + "\n\n\b\nExamples:\n  mintmark publisher add acme acme-widget --issuer gitlab \\\n"
    "      project-path=team/widget workflow=.gitlab-ci.yml\n"
    "  mintmark publisher add acme 'acme-*' --issuer gitlab \\\n"
    "      project-path=team/monorepo workflow=.gitlab-ci.yml\n"
    "  mintmark publisher add acme '*' --reads --issuer gitlab \\\n"
    "      project-path=team/widget workflow=.gitlab-ci.yml\n"
    "  mintmark publisher add acme acme-widget --issuer ci \\\n"
    "      --rule 'sub == \"team/widget\"' immutable-id=sub"
)
@click.argument("registry")
@click.argument("project")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE…")
@click.option("--issuer", "issuer_name", required=True, help="One of the registry's issuers.")
@click.option("--ref", default="", help="Only from refs like refs/heads/release-*.")
@click.option("--protected-ref", is_flag=True, help="Only from a protected branch or tag.")
@click.option("--tag", default="", help="Only from the tag of the uploaded version: v{version}.")
@click.option("--allow", default="any", type=click.Choice(["any", "create-only", "upload-only"]), help="Which uploads.")
@click.option("--reads", is_flag=True, help="Only read PROJECT, and upload nothing.")
@click.option("--rule", "rules", multiple=True, help="Of a generic issuer: what a claim must be.")
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
    reads: bool,
    rules: tuple[str, ...],
) -> None:
    """Let a CI identity publish PROJECT in REGISTRY.

    PROJECT may be a pattern such as 'acme-*', for all projects that fit it, new ones too.
    """
    wanted = parse_assignments(fields)
    if rules:
        wanted["rule"] = [parse_rule_text(text) for text in rules]
    wanted |= {"project": project, "ref": ref, "protected-ref": protected_ref, "tag": tag, "allow": allow}
    wanted["reads"] = reads
    warnings: list[str] = []

    def parse(issuer: Issuer) -> WantedPublisher:
        parsed = parse_publisher(f"publisher of {project}", wanted, issuer)
        warnings.extend(warnings_for([parsed], {issuer.name: issuer}))
        return parsed

    added = with_index(ctx, lambda index: index.trust.add_publisher(registry, issuer_name, parse, OPERATOR))
    until = when(added.expires_at)
    state = f" The project is created by its first upload, until {until}." if added.is_pending else ""
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
                    "pending": p.is_pending,
                    "reads": p.reads,
                    "fields": dict(p.config),
                    "pins": dict(p.pins),
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
    if found.expires_at is not None and found.expires_at <= time():
        return f"lapsed on {when(found.expires_at)}"
    if found.is_pending:
        return f"pending until {when(found.expires_at)}"
    if found.pins:
        return f"active, learned {learned(found)}"
    # Nothing protects it from whoever gets its name.
    return "active" if found.expires_at is None else f"active, lapses unused on {when(found.expires_at)}"


@publisher.command(epilog="\b\nExample:\n  mintmark publisher repin acme 3 --from 456789 --to 987654")
@click.argument("registry")
@click.argument("number", type=int)
@click.option("--from", "former", required=True, help="The id that it has learned.")
@click.option("--to", "new", required=True, help="The id that it demands from now on.")
@click.option("--claim", default="", help="Which of its ids, where two are equal.")
@click.pass_context
def repin(ctx: click.Context, registry: str, number: int, former: str, new: str, claim: str) -> None:
    """Let publisher NUMBER demand another id than it learned, for example after its repository moved.

    `publisher list` shows the ids.
    """

    found, changed = with_index(
        ctx, lambda index: index.trust.repin_publisher(registry, number, former, new, OPERATOR, claim)
    )
    click.echo(f"Publisher {number} of {found.project} demands {changed}={new} from now on.")


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
