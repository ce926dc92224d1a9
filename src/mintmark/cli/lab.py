"""`mintmark lab`: a command as if in a CI job, beside `mintmark lab up` or `mintmark serve --dev`."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from mintmark.cli.session import parse_assignments
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.providers import BY_SLUG as PROVIDERS
from mintmark.lab.child import NotStarted, private_folder, run_child
from mintmark.lab.kinds.model import PROTECTED_REF
from mintmark.lab.locate import locate
from mintmark.lab.places import BY_NAME as PLACES
from mintmark.lab.remote import JobOrder, LabRefused, LabUnreachable
from mintmark.lab.surroundings import surroundings

if TYPE_CHECKING:
    from mintmark.lab.locate import Found

T = TypeVar("T")
COMMANDS = ("up", "run", "token", "publisher", "fault", "journal", "status", "down")
# Every identity token has these, whoever made it.
_REGISTERED_CLAIMS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})

which_lab = click.option(
    "--lab", "named", metavar="DIR", help="The lab's directory. Default: $MINTMARK_LAB, else the only one that runs."
)
which_ci = click.option(
    "--ci", required=True, type=click.Choice(list(PLACES)), metavar="CI", help="The CI system: " + ", ".join(PLACES)
)
fields_of_job = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="Who the job is, as for a publisher. Default: the examples.",
)
_claim = click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace one claim of its token; NAME:=JSON for what is no string, NAME:=null to leave it out.",
)
_any_claim = click.option("--any-claim", is_flag=True, help="Allow claims that this CI system does not have.")
_ref = click.option("--ref", default=PROTECTED_REF, help=f"The branch or tag it runs on. Default: {PROTECTED_REF}.")
_audience = click.option(
    "--audience",
    "audiences",
    multiple=True,
    help="Audience of its identity token, or several. Default: those of every index of the lab.",
)
_same = click.option("--same-token", is_flag=True, help="The identity token that the same job got before, once more.")


class _Group(click.Group):
    """Commands in the order in which people need them, imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "up":
            from mintmark.cli.lab_up import up

            return up
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            from mintmark.cli import lab_tell

            self.commands.update(lab_tell.COMMANDS)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Group,
    epilog="\b\nExample:\n  mintmark lab up\n  mintmark lab publisher hello --ci gitlab\n"
    "  mintmark lab run --ci gitlab -- uv publish --publish-url https://localhost:8443/demo/legacy/",
)
def lab() -> None:
    """Run any command as if inside a CI system, offline."""


@lab.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExamples:\n  mintmark lab run --ci gitlab -- uv publish dist/*\n"
    "  mintmark lab run --ci github --field repository=acme/hello -- twine upload dist/*\n"
    "  mintmark lab run --ci github --claim event_name=pull_request_target -- uv publish dist/*\n"
    "\b\nExit codes:\n  that of COMMAND; 126 it cannot be run, 127 it is not there, 128 and more: ended by a signal\n"
    "  2   no job can be like this; 78  no lab was found, or several",
)
@which_lab
@which_ci
@fields_of_job
@_claim
@_any_claim
@_ref
@_audience
@_same
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    named: str | None,
    ci: str,
    fields: tuple[str, ...],
    claims: tuple[str, ...],
    any_claim: bool,
    ref: str,
    audiences: tuple[str, ...],
    same_token: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND as a job of the CI system CI, with a fresh identity token.

    The command sees the job's variables, commands and files, trusts the lab's CA, and reaches what the lab plays
    through its proxy. Ends with the exit code of COMMAND.
    """
    check_command(command)
    found = locate_lab(ctx, named)
    order = _order(found, ci, fields, claims, any_claim, ref, audiences, same_token)
    kit = ask(lambda: found.remote.job(order))
    with private_folder("mintmark-job-", found.jobs_path) as folder:
        environment = surroundings(found.lab, os.environ)
        environment |= kit.environment(folder, os.environ.get("PATH", os.defpath))
        try:
            code = run_child(command, environment)
        except NotStarted as error:
            click.echo(error.sentence, err=True)
            code = error.exit_code
    ctx.exit(code)


@lab.command(epilog="\b\nExample:\n  mintmark lab token --ci gitlab --audience mintmark_localhost_demo")
@which_lab
@which_ci
@fields_of_job
@_claim
@_any_claim
@_ref
@click.option("--audience", help="Audience of the token. Default: the host's, which uv asks for.")
@_same
@click.pass_context
def token(
    ctx: click.Context,
    named: str | None,
    ci: str,
    fields: tuple[str, ...],
    claims: tuple[str, ...],
    any_claim: bool,
    ref: str,
    audience: str | None,
    same_token: bool,
) -> None:
    """Print a fresh identity token, for the manual way with curl. Nothing but the lab trusts it."""
    found = locate_lab(ctx, named)
    audiences = (found.lab.audiences.get("", "") if audience is None else audience,)
    order = _order(found, ci, fields, claims, any_claim, ref, audiences, same_token)
    click.echo(ask(lambda: found.remote.token(order)))


# -- what the commands of this group share ----------------------------------------------------------------------------


def locate_lab(ctx: click.Context, named: str | None) -> Found:
    """The lab that is meant. Raises `Misconfigured`."""
    return locate(named, ctx.find_root().obj, os.environ)


def check_command(command: Sequence[str]) -> None:
    """An option that nobody knows is taken for the command otherwise. Raises `Rejected`."""
    if command and command[0].startswith("-"):
        raise Rejected(
            "invalid-request",
            f"There is no option {command[0].partition('=')[0]!r}.",
            hint="See --help; the command to run is what comes behind `--`.",
        )


def ask(question: Callable[[], T]) -> T:
    """Ask the running lab; raises `Rejected` or `Misconfigured`."""
    try:
        return question()
    except LabRefused as error:
        raise Rejected("invalid-request", error.sentence) from None
    except LabUnreachable as error:
        raise Misconfigured("lab", error.sentence, "Start `mintmark lab up` and leave it running.") from None


def config_of(ci: str, fields: Sequence[str]) -> dict[str, str]:
    """Who a job is: the examples of its provider's required fields, and what was given. Raises `Rejected`."""
    provider = PROVIDERS[PLACES[ci].provider]
    return {field.name: field.example for field in provider.fields if field.required} | parse_assignments(fields)


def _order(
    found: Found,
    ci: str,
    fields: tuple[str, ...],
    claims: tuple[str, ...],
    any_claim: bool,
    ref: str,
    audiences: tuple[str, ...],
    same_token: bool,
) -> JobOrder:
    wanted = audiences or tuple(dict.fromkeys(found.lab.audiences.values()))
    return JobOrder(ci, config_of(ci, fields), wanted, _claims(ci, claims, any_claim), ref, same_token)


def _claims(ci: str, pairs: Sequence[str], any_claim: bool) -> dict[str, object]:
    """`name=text` and `name:=JSON`. Raises `Rejected`."""
    typed = [pair for pair in pairs if pair.partition("=")[0].endswith(":")]
    claims: dict[str, object] = dict(parse_assignments([pair for pair in pairs if pair not in typed]))
    for pair in typed:
        name, _, value = pair.partition(":=")
        if not name or name in claims:
            raise Rejected(
                "invalid-request", f"{pair!r} names no claim, or one that comes twice.", hint="Name it once."
            )
        try:
            claims[name] = json.loads(value)
        except (ValueError, RecursionError):
            raise Rejected(
                "invalid-request",
                f"{pair!r} is no NAME:=JSON.",
                hint="Write it like exp:=0, or NAME=TEXT for a string.",
            ) from None
    known = PROVIDERS[PLACES[ci].provider].known | _REGISTERED_CLAIMS
    for name in claims:
        if name not in known and not any_claim:
            near = difflib.get_close_matches(name, known, 3) or sorted(known)
            raise Rejected(
                "invalid-request",
                f"{PLACES[ci].title} has no claim {name!r}.",
                hint=f"Use one of {', '.join(near)}; or add --any-claim.",
            )
    return claims
