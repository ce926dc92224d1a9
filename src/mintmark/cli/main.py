"""The command `mintmark`.

Owns exit codes and how failures are told. Each command is a file of its own and is imported when it is called, so
that `mintmark --help` is quick and the bare install needs no server packages.
"""

from __future__ import annotations

import importlib
import secrets
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from mintmark import __version__
from mintmark.core.errors import Misconfigured, Rejected, Unavailable

EXIT_REJECTED = 2
EXIT_BUG = 70
EXIT_UNAVAILABLE = 75
EXIT_MISCONFIGURED = 78

# Command, module, attribute, and the line of `mintmark --help` (known without importing the command).
COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("mintmark.cli.serve:serve", "Run the index."),
    "apply": ("mintmark.cli.apply:apply", "Make registries, issuers and publishers what a file says."),
    "registry": ("mintmark.cli.registry:registry", "Create, list, show, change and remove registries."),
    "issuer": ("mintmark.cli.issuer:issuer", "Trust identity providers."),
    "publisher": ("mintmark.cli.publisher:publisher", "Say who may publish what."),
    "project": ("mintmark.cli.project:project", "Yank, delete, archive, quarantine: what happens after an upload."),
    "import": ("mintmark.cli.import_:import_", "Bring an existing index, or a folder of packages, into a registry."),
    "token": ("mintmark.cli.token:token", "API tokens, for what has no identity token."),
    "sweep": ("mintmark.cli.sweep:sweep", "Remove what nobody needs any more."),
    "fsck": ("mintmark.cli.fsck:fsck", "Check every file, every row and every page."),
    "backup": ("mintmark.cli.backup:backup", "Copy everything to another folder, beside a running server."),
    "restore": ("mintmark.cli.backup:restore", "Make a data directory of a backup."),
    "explain": ("mintmark.cli.explain:explain", "Say why an identity token would be taken or refused."),
    "mint-log": (
        "mintmark.cli.mint_log:mint_log",
        "Show which identity tokens were exchanged, and why others were not.",
    ),
    "doctor": ("mintmark.cli.doctor:doctor", "Check the server's own configuration and surroundings."),
    "audit": ("mintmark.cli.audit:audit", "Show what happened, by whom."),
    "idp": ("mintmark.cli.idp:idp", "Sign identity tokens yourself, where no CI system does it."),
    "lab": ("mintmark.cli.lab:lab", "Run a command as if in a CI job (beside serve --dev)."),
}

EPILOG = f"""\b
Exit codes:
  0   done
  {EXIT_REJECTED}   refused: the message says what to change
  {EXIT_BUG}  a bug in Mintmark
  {EXIT_UNAVAILABLE}  something needed does not work right now; try again
  {EXIT_MISCONFIGURED}  the settings are incomplete or unsafe; the message has the cure

\b
Try it:
  mintmark serve --dev
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mintmark")
@click.option(
    "--config", "config", metavar="FILE", help="Settings file. Default: $MINTMARK_CONFIG, else mintmark.toml."
)
@click.pass_context
def main(ctx: click.Context, config: str | None) -> None:
    """A Python package index whose uploads need no stored secret."""
    ctx.obj = config


def run(arguments: Sequence[str] | None = None, command: click.Command = main) -> NoReturn:
    """The entry point: run a command and turn failures into a sentence and an exit code. Default: `sys.argv`."""
    try:
        code = command(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Rejected as error:
        _tell(f"Refused ({error.code.name}): {error.sentence}", EXIT_REJECTED)
    except Unavailable as error:
        _tell(f"Unavailable: {error.what} Try again later.", EXIT_UNAVAILABLE)
    except Misconfigured as error:
        _tell(f"Misconfigured ({error.setting}): {error.problem}\nWhat to do: {error.cure}", EXIT_MISCONFIGURED)
    except ModuleNotFoundError as error:
        _missing(error)
    except Exception as error:  # noqa: BLE001 - the last resort: everything that is not a refusal is a bug
        _bug(error)
    sys.exit(code if isinstance(code, int) else 0)


def _tell(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def _bug(error: BaseException) -> NoReturn:
    """The traceback for whoever mends it, the sentence last for whoever sees it."""
    traceback.print_exception(error, file=sys.stderr)
    _tell(
        f"This is a bug in Mintmark (incident {secrets.token_hex(4)}). Please report it with the lines above.",
        EXIT_BUG,
    )


def _missing(error: ModuleNotFoundError) -> NoReturn:
    if not error.name or error.name.partition(".")[0] == "mintmark":
        _bug(error)
    _tell(
        f"Misconfigured (installation): The package {error.name} is not installed.\n"
        "What to do: pip install 'mintmark[server]'",
        EXIT_MISCONFIGURED,
    )
