"""`mintmark mint-log`: why did my mint fail?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mintmark.cli.session import as_json, parse_duration, print_json, printable, when, with_index

if TYPE_CHECKING:
    from mintmark.service.mint_log import Attempt

PROJECTS_SHOWN = 5


@click.command(
    epilog="\b\nExamples:\n  mintmark mint-log acme --since 1h --failed\n  mintmark mint-log --limit 5 --json"
)
@click.argument("registry", required=False)
@click.option("--since", metavar="TIME", help="Only what happened in the last TIME: 30m, 12h or 7d.")
@click.option("--failed", is_flag=True, help="Only what was refused.")
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="How many, newest first. Default: 20.")
@as_json
@click.pass_context
def mint_log(
    ctx: click.Context, registry: str | None, since: str | None, failed: bool, limit: int, as_json: bool
) -> None:
    """Show which identity tokens were exchanged for REGISTRY, or all, and why others were refused.

    Only tokens whose signature was right are listed: others, which anybody can send, leave no line.
    """
    seconds = parse_duration(since) if since else None
    found = with_index(ctx, lambda index: index.mint_log(registry, since_seconds=seconds, failed=failed, limit=limit))
    if as_json:
        print_json([asdict(attempt) for attempt in found])
        return
    if not found:
        click.echo("No identity token was exchanged or refused." if not failed else "No identity token was refused.")
        return
    # The newest stands last, next to the prompt, like in any log.
    for attempt in reversed(found):
        _show(attempt)


def _show(attempt: Attempt) -> None:
    who = f"{attempt.provider or attempt.issuer} {attempt.identity}"
    click.echo(
        f"{when(attempt.at)}  {printable(attempt.outcome)}  {attempt.registry or '(whole host)'}  {printable(who)}"
    )
    if attempt.succeeded:
        names = ", ".join(map(printable, attempt.projects[:PROJECTS_SHOWN]))
        more = f" and {attempt.covered - PROJECTS_SHOWN} more" if attempt.covered > PROJECTS_SHOWN else ""
        click.echo(f"    covers {names}{more}")
    elif attempt.detail:
        click.echo(f"    {printable(attempt.detail)}")
    for near in attempt.nearest:
        for mismatch in near.mismatches:
            click.echo(f"    {printable(near.project)}: {printable(mismatch)}")
