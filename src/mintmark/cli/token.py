"""`mintmark token`: API tokens, for what has no identity token."""

from __future__ import annotations

import click

from mintmark.cli.session import as_json, parse_duration, print_json, print_table, when, with_index
from mintmark.core.records import OPERATOR, Credential


@click.group()
def token() -> None:
    """API tokens, for what has no identity token."""


@token.command(
    epilog="\b\nExamples:\n  mintmark token create acme jo --upload --project 'acme-*' --expires 30d\n"
    "  mintmark token create acme ci-install --read --expires 90d"
)
@click.argument("registry")
@click.argument("name")
@click.option("--upload", is_flag=True, help="It may upload.")
@click.option("--read", is_flag=True, help="It may install.")
@click.option("--project", "projects", multiple=True, default=("*",), help="Pattern of projects. Default: all.")
@click.option("--expires", "expires", default="90d", help="Life, like 90d or 12h; `never` for no end. Default: 90d.")
@as_json
@click.pass_context
def create(
    ctx: click.Context,
    registry: str,
    name: str,
    upload: bool,
    read: bool,
    projects: tuple[str, ...],
    expires: str,
    as_json: bool,
) -> None:
    """Create a token of REGISTRY. It is printed once, on standard output, and stored nowhere."""
    lifetime = None if expires == "never" else parse_duration(expires)
    secret, stored = with_index(
        ctx,
        lambda index: index.tokens.create(
            registry,
            name,
            projects,
            can_upload=upload,
            can_read=read,
            lifetime_seconds=lifetime,
            principal=OPERATOR,
        ),
    )
    if as_json:
        print_json({"token": secret, **facts(stored)})
        return
    click.echo(secret)
    click.echo(
        f"Token {stored.id} of {registry} for {', '.join(stored.projects)}: {rights(stored)}, "
        f"{'until ' + when(stored.expires_at) if stored.expires_at else 'without end'}. "
        "It is not shown again; use it as the password of the user __token__.",
        err=True,
    )


@token.command("list", epilog="\b\nExample:\n  mintmark token list acme")
@click.argument("registry")
@as_json
@click.pass_context
def list_(ctx: click.Context, registry: str, as_json: bool) -> None:
    """List the tokens of REGISTRY, without their secrets."""
    found = with_index(ctx, lambda index: index.tokens.every(registry))
    if as_json:
        print_json([facts(each) for each in found])
        return
    print_table(
        ("ID", "NAME", "PROJECTS", "RIGHTS", "CREATED", "EXPIRES", "REVOKED"),
        [
            (
                each.id,
                each.name,
                ", ".join(each.projects),
                rights(each),
                when(each.created_at),
                when(each.expires_at),
                when(each.ended_at, "no"),
            )
            for each in found
        ],
        f"{registry} has no API token. Create one with `mintmark token create {registry} NAME`.",
    )


@token.command(epilog="\b\nExample:\n  mintmark token revoke acme 3")
@click.argument("registry")
@click.argument("number", type=int)
@click.pass_context
def revoke(ctx: click.Context, registry: str, number: int) -> None:
    """End token NUMBER at once."""
    former = with_index(ctx, lambda index: index.tokens.revoke(registry, number, OPERATOR))
    if former.ended_at is not None:
        click.echo(f"Token {number} ({former.name}) was revoked already, on {when(former.ended_at)}.")
        return
    click.echo(f"Revoked token {number} ({former.name}). It is refused from now on.")


def rights(stored: Credential) -> str:
    """What a token may do, in words."""
    return " and ".join(word for word, yes in (("upload", stored.can_upload), ("read", stored.can_read)) if yes)


def facts(stored: Credential) -> dict[str, object]:
    """A token for machines, without its secret."""
    return {
        "id": stored.id,
        "name": stored.name,
        "projects": stored.projects,
        "upload": stored.can_upload,
        "read": stored.can_read,
        "created": stored.created_at,
        "expires": stored.expires_at,
        "revoked": stored.ended_at,
    }
