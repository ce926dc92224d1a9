"""`mintmark backup` and `mintmark restore`: everything into another folder, and back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from mintmark import __version__
from mintmark.cli.meter import metering, size
from mintmark.cli.session import as_json, print_json, settings_of

EXIT_INCOMPLETE = 1


@click.command(
    epilog=f"Exit codes: 0 done; {EXIT_INCOMPLETE} done, but files of the index itself are missing or damaged.\n\n"
    "\b\nExamples:\n  mintmark backup /backup/mintmark\n  mintmark backup --verify /backup/mintmark\n"
    "  mintmark backup --link /var/lib/mintmark/backup"
)
@click.argument("target", type=click.Path(file_okay=False, path_type=Path))
@click.option("--link", is_flag=True, help="Link files instead of copying them; on the same file system only.")
@click.option("--verify", is_flag=True, help="Read every file and compare its digest, those of former backups too.")
@as_json
@click.pass_context
def backup(ctx: click.Context, target: Path, link: bool, verify: bool, as_json: bool) -> None:
    """Copy everything into the folder TARGET, beside a running server.

    A folder of former backups gets one more, for which only new files are copied.
    """
    from mintmark.store import backup as backups

    directory = Path(settings_of(ctx).data_dir)
    with metering() as progress:
        made = backups.make(
            directory, target, version=__version__, now=time.time(), link=link, verify=verify, progress=progress
        )
    if as_json:
        print_json(_facts(made))
    else:
        click.echo(
            f"Backup {made.name}: {_projects(made.rows['projects'])}, {_files(made.files)}, "
            f"{made.copied} of them new ({size(made.copied_bytes)})."
        )
    if made.faulty:
        click.echo(
            f"The backup lacks {_files(len(made.faulty))}, missing or damaged in the index itself: "
            "`mintmark fsck` names what.",
            err=True,
        )
    ctx.exit(EXIT_INCOMPLETE if made.faulty else 0)


@click.command(
    epilog="\b\nExamples:\n  mintmark --config new.toml restore /backup/mintmark\n"
    "  mintmark --config new.toml restore /backup/mintmark \\\n      --snapshot 20260921T101500Z"
)
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--snapshot", default="", metavar="NAME", help="Which backup of the folder. Default: the latest.")
@click.option("--incomplete", is_flag=True, help="Go on when files of the backup are missing or damaged.")
@as_json
@click.pass_context
def restore(ctx: click.Context, source: Path, snapshot: str, incomplete: bool, as_json: bool) -> None:
    """Make a new or empty data directory of a backup in SOURCE. Nothing is overwritten.

    Minted credentials end, and identity tokens issued until now are refused: jobs that run now have to run again. API
    tokens, publishers and files are as they were when the backup was made.
    """
    from mintmark.assemble import restore_backup

    directory = Path(settings_of(ctx).data_dir)
    with metering() as progress:
        made = asyncio.run(restore_backup(source, snapshot, directory, incomplete=incomplete, progress=progress))
    if as_json:
        print_json(_facts(made))
        return
    click.echo(f"Restored {made.name} into {directory}: {_projects(made.rows['projects'])}, {_files(made.files)}.")
    click.echo(
        "Before you start the server: revoke API tokens and remove publishers that were ended since then "
        "(`mintmark token list`, `mintmark apply --check`).",
        err=True,
    )
    if made.faulty:
        click.echo(
            f"Not restored, since the backup lacks them: {_files(len(made.faulty))}. `mintmark fsck` names what.",
            err=True,
        )


def _facts(made: object) -> dict[str, object]:
    from dataclasses import asdict

    return {name.replace("_", "-"): value for name, value in asdict(made).items()}  # type: ignore[call-overload]


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _projects(count: int) -> str:
    return "1 project" if count == 1 else f"{count} projects"
