"""`mintmark doctor`: the server's own configuration and surroundings.

Owns options, printing and the exit code. Leaves looking and judging to `assemble.diagnose`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mintmark.cli.issuer_check import show_lines
from mintmark.cli.session import as_json, print_json, settings_of
from mintmark.core.errors import Misconfigured
from mintmark.core.report_card import Grade, Line, bad, worst

EXIT_CODES = {Grade.OK: 0, Grade.NOTE: 0, Grade.WARNING: 1, Grade.BAD: 2}


@click.command(
    epilog="Exit codes: 0 all is well; 1 with warnings; 2 something is wrong.\n\n"
    "\b\nExamples:\n  mintmark doctor\n  mintmark doctor --backup /backup/mintmark --json"
)
@click.option("--offline", is_flag=True, help="Ask no issuer.")
@click.option(
    "--backup",
    "backups",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder that `mintmark backup` is given; says how old the newest is.",
)
@as_json
@click.pass_context
def doctor(ctx: click.Context, offline: bool, backups: tuple[Path, ...], as_json: bool) -> None:
    """Check the settings, the machine, the ledger and the issuers, and say what helps.

    Changes nothing, and may run beside a server, as the server's user. `mintmark fsck` checks every file.
    """
    lines = _examine(ctx, offline=offline, backups=backups)
    found = worst(lines)
    if as_json:
        print_json({"worst": str(found), "lines": [line.facts() for line in lines]})
    else:
        show_lines(lines)
        click.echo()
        click.echo(_summary(lines))
    ctx.exit(EXIT_CODES[found])


def _examine(ctx: click.Context, *, offline: bool, backups: tuple[Path, ...]) -> list[Line]:
    from mintmark.assemble import diagnose
    from mintmark.lab.home import is_dev

    try:
        settings = settings_of(ctx)
        development = is_dev(Path(settings.data_dir))
        return asyncio.run(diagnose(settings, development=development, offline=offline, backups=backups))
    except Misconfigured as error:
        # Without settings, or with a ledger that does not open, there is nothing further to look at.
        return [bad(f"setting {error.setting}", error.problem, error.cure)]


def _summary(lines: list[Line]) -> str:
    counts = [(sum(line.grade is grade for line in lines), str(grade)) for grade in (Grade.BAD, Grade.WARNING)]
    wrong = [f"{count} {word}" for count, word in counts if count]
    checks = "1 check" if len(lines) == 1 else f"{len(lines)} checks"
    return f"{checks}: {', '.join(wrong)}." if wrong else f"{checks}, and nothing is wrong."
