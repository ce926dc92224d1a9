"""`mintmark apply`: trust as a file."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from mintmark.cli.session import as_json, host_of, print_json, read_text, settings_of, with_index
from mintmark.core.errors import Rejected
from mintmark.core.records import OPERATOR
from mintmark.core.trust import parse_trust
from mintmark.service.trust_plan import Change, Plan

EXIT_DIFFERS = 1
_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_COLOURS = {"add": "green", "change": "yellow", "remove": "red"}


@click.command(
    epilog=f"\b\nExit codes: 0 all is as FILE says; {EXIT_DIFFERS} it is not (with --check, or not agreed).\n\n"
    "\b\nExamples:\n  mintmark apply trust.toml\n  mintmark apply --check trust.toml"
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether there is something to do.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@click.pass_context
def apply(ctx: click.Context, file: Path, check: bool, yes: bool, as_json: bool) -> None:
    """Make registries, issuers and publishers exactly what FILE says: show the plan, ask, do all or nothing."""
    wanted = parse_trust(read_toml(file), host_of(settings_of(ctx)), read_text(file.parent))
    plan = with_index(ctx, lambda index: index.trust.plan(wanted))
    if as_json:
        print_json(_facts(plan))
    else:
        _show(plan)
    if check:
        ctx.exit(EXIT_DIFFERS if plan.changes else 0)
    if not plan.changes:
        return
    if not yes and not _agreed(err=as_json):
        ctx.exit(EXIT_DIFFERS)
    with_index(ctx, lambda index: index.trust.apply(wanted, plan, OPERATOR))
    if not as_json:
        what = "1 change" if len(plan.changes) == 1 else f"{len(plan.changes)} changes"
        click.echo(f"Applied {what}, effective now.")


def _agreed(*, err: bool) -> bool:
    """Ask; nobody there to answer means no."""
    try:
        agreed = click.confirm("Apply this?", err=err)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo("\nThere is nobody to ask: add --yes to apply without asking.", err=True)
        agreed = False
    if not agreed:
        click.echo("Nothing was changed.", err=True)
    return agreed


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file. Raises `Rejected` with the line that is wrong."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Rejected("invalid-trust", f"{file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid-trust", f"{file} is not TOML: {error}.", hint="Correct the line it names.") from None


def _show(plan: Plan) -> None:
    if not plan.changes:
        click.echo("Nothing to do: everything is as the file says.")
    for change in plan.changes:
        text = f"{_SIGNS[change.action]} {change.kind} {change.name}"
        click.secho(text, fg=_COLOURS[change.action], nl=not change.detail)
        if change.detail:
            click.echo(f": {change.detail}")
    for warning in plan.warnings:
        click.echo(f"Note: {warning}", err=True)


def _facts(plan: Plan) -> dict[str, object]:
    def entry(change: Change) -> dict[str, str]:
        return {"action": change.action, "kind": change.kind, "name": change.name, "detail": change.detail}

    return {"changes": [entry(change) for change in plan.changes], "warnings": list(plan.warnings)}
