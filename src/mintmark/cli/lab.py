"""`mintmark lab`: a command as if in a CI job, beside `mintmark serve --dev`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from mintmark.cli.session import parse_assignments, settings_of
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.lab.home import find
from mintmark.lab.job import JobKit, LabRefused, LabUnreachable, job_kit, job_token
from mintmark.lab.kinds import KINDS
from mintmark.settings import Settings

T = TypeVar("T")
# Of whatever CI system this really runs in: the command must see the simulated one only.
_REAL_CI = (
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BUILDKITE",
    "CIRCLECI",
    "SEMAPHORE",
    "SEMAPHORE_OIDC_TOKEN",
    "FORGEJO_ACTIONS",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "CF_OIDC_REQUEST_URL",
    "CF_OIDC_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)
# As shells have them.
EXIT_NOT_RUNNABLE, EXIT_NOT_FOUND, EXIT_SIGNAL_BASE = 126, 127, 128

_ci = click.option(
    "--ci", required=True, type=click.Choice([kind.slug for kind in KINDS]), help="The kind of CI system."
)
_field = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="Who the job is, as for a publisher. Default: the examples.",
)
_claim = click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Replace one claim of its token.")
_ref = click.option("--ref", default="refs/heads/main", help="The branch or tag it runs on. Default: refs/heads/main.")
_audience = click.option("--audience", help="Audience of its token. Default: the host's, which uv asks for.")


@click.group()
def lab() -> None:
    """Run a command as if in a CI job, beside `mintmark serve --dev`."""


@lab.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExample:\n  mintmark lab run --ci gitlab --field project-path=team/hello -- \\\n"
    "      uv publish --publish-url https://localhost:8443/demo/legacy/",
)
@_ci
@_field
@_claim
@_ref
@_audience
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    ci: str,
    fields: tuple[str, ...],
    claims: tuple[str, ...],
    ref: str,
    audience: str | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND as a simulated CI job, with a fresh identity token.

    Ends with the exit code of COMMAND.
    """
    kit = _ask(job_kit, settings_of(ctx), ci, fields, claims, ref, audience)
    with tempfile.TemporaryDirectory(prefix="mintmark-job-") as folder:
        ctx.exit(_run(command, _environment(kit, Path(folder))))


def _environment(kit: JobKit, folder: Path) -> dict[str, str]:
    """The command's variables: ours without those of a real CI system, and the job's."""
    variables = kit.environment(folder, os.environ.get("PATH", os.defpath))
    environment = {name: value for name, value in os.environ.items() if name not in _REAL_CI} | variables
    # uv and pip must reach the index and the providers directly (some read one spelling first, some the other), and
    # trust the lab's CA.
    direct = "localhost,127.0.0.1"
    return environment | {"NO_PROXY": direct, "no_proxy": direct, "PIP_CERT": variables["SSL_CERT_FILE"]}


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command; its exit code, as a shell would give it."""
    try:
        code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - that is what it is for
    except FileNotFoundError:
        click.echo(f"There is no command {command[0]!r} on PATH.", err=True)
        return EXIT_NOT_FOUND
    except OSError as error:
        click.echo(f"{command[0]!r} cannot be run: {error.strerror}.", err=True)
        return EXIT_NOT_RUNNABLE
    return code if code >= 0 else EXIT_SIGNAL_BASE - code


@lab.command(epilog="\b\nExample:\n  mintmark lab token --ci gitlab --audience mintmark_localhost_demo")
@_ci
@_field
@_claim
@_ref
@_audience
@click.pass_context
def token(
    ctx: click.Context, ci: str, fields: tuple[str, ...], claims: tuple[str, ...], ref: str, audience: str | None
) -> None:
    """Print a fresh identity token, for the manual way with curl. Nothing but the lab trusts it."""
    click.echo(_ask(job_token, settings_of(ctx), ci, fields, claims, ref, audience))


def _config(ci: str, fields: tuple[str, ...]) -> dict[str, str]:
    provider = BY_SLUG[ci]
    defaults = {field.name: field.example for field in provider.fields if field.required}
    return defaults | parse_assignments(fields)


def _ask(
    question: Callable[..., T],
    settings: Settings,
    ci: str,
    fields: tuple[str, ...],
    claims: tuple[str, ...],
    ref: str,
    audience: str | None,
) -> T:
    """Ask the running lab for a job's environment or token."""
    at = find(Path(settings.data_dir))
    try:
        return question(
            at.control_url,
            at.secret,
            at.ca_path,
            ci,
            _config(ci, fields),
            audience or settings.host_audience,
            parse_assignments(claims),
            ref,
        )
    except (LabRefused, LabUnreachable) as error:
        raise _told(error) from None


def _told(error: LabRefused | LabUnreachable) -> Exception:
    if isinstance(error, LabRefused):
        return Rejected("invalid-request", error.sentence)
    return Misconfigured("lab", error.sentence, "Start `mintmark serve --dev` and leave it running.")
