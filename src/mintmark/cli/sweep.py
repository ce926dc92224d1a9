"""`mintmark sweep`: remove what nobody needs any more."""

from __future__ import annotations

import click

from mintmark.cli.meter import metering, size
from mintmark.cli.session import as_json, print_json, print_table, with_index


@click.command(epilog="\b\nExamples:\n  mintmark sweep --dry-run\n  mintmark sweep")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@as_json
@click.pass_context
def sweep(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Remove what nobody needs any more.

    That is content that no file refers to, expired credentials, records of exchanged identity tokens, lapsed pending
    publishers, old audit events, and pages of what is gone.

    A running server does it once a day by itself.
    """
    with metering() as progress:
        swept = with_index(ctx, lambda index: index.sweep(dry_run=dry_run, progress=progress))
    if as_json:
        facts = {"dry_run": dry_run, **swept.facts()}
        print_json({name.replace("_", "-"): value for name, value in facts.items()})
        return
    rows = [
        ("blobs without a file", swept.blobs, size(swept.blob_bytes)),
        ("minted credentials", swept.credentials, ""),
        ("API tokens", swept.tokens, ""),
        ("replay records", swept.replays, ""),
        ("lapsed publishers", swept.publishers, ""),
        ("audit events", swept.events, ""),
        ("pages", swept.pages, ""),
        ("unfinished files", swept.leftovers, ""),
    ]
    print_table(
        ("WHAT", "WOULD GO" if dry_run else "REMOVED", "SIZE"),
        [row for row in rows if row[1]],
        "There is nothing to sweep. Content that no file needs goes a day after it was written.",
    )
    if swept.blobs_held:
        click.echo("A backup or check is running, so blobs were left alone. Sweep again when it is done.", err=True)
