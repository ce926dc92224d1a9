"""`mintmark project`: what becomes of projects, releases and files after their upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mintmark.cli.session import as_json, confirm, print_json, print_table, when, with_index
from mintmark.core.checks.finding import shown
from mintmark.core.life_cycle import STATUSES, OneFile, Target, WholeVersion
from mintmark.core.records import OPERATOR, File, Project
from mintmark.service.projects import Outcome, Portrait

F = TypeVar("F", bound=Callable[..., Any])
_YANKING = "Yanked files stay for whoever asks for exactly that version; nobody gets them by chance."
_STATUSES = """\b
Statuses:
  active        as usual
  deprecated    as usual; installers may warn
  archived      takes no uploads; its files stay
  quarantined   takes no uploads and offers no file, on no page and by no URL
"""


@click.group()
def project() -> None:
    """Yank, delete, archive, quarantine: what happens after an upload."""


def _aiming(command: F) -> F:
    """The arguments of a command about a version or a file."""
    file = click.option("--file", "filename", metavar="NAME", help="Only this file, instead of a whole version.")
    version = click.argument("version", required=False)
    return _project(version(file(command)))


def _project(command: F) -> F:
    return click.argument("registry")(click.argument("name", metavar="PROJECT")(command))


def _target(version: str | None, filename: str | None) -> Target:
    if (version is None) == (filename is None):
        raise click.UsageError("Name a VERSION, or one file with --file NAME, and not both.")
    return WholeVersion(version) if version is not None else OneFile(filename or "")


# -- looking ----------------------------------------------------------------------------------------------------------


@project.command("list", epilog="\b\nExample:\n  mintmark project list acme")
@click.argument("registry")
@as_json
@click.pass_context
def list_(ctx: click.Context, registry: str, as_json: bool) -> None:
    """List the projects of REGISTRY."""
    found = with_index(ctx, lambda index: index.life_cycle.every(registry))
    if as_json:
        print_json([{**_about(line.project), "files": line.files, "releases": line.releases} for line in found])
        return
    print_table(
        ("NAME", "STATUS", "RELEASES", "FILES", "CREATED"),
        [
            (line.project.display_name, line.project.status, line.releases, line.files, when(line.project.created_at))
            for line in found
        ],
        f"{registry} has no project yet. The first upload creates one.",
    )


@project.command(epilog="\b\nExample:\n  mintmark project show acme acme-widget")
@_project
@as_json
@click.pass_context
def show(ctx: click.Context, registry: str, name: str, as_json: bool) -> None:
    """Show a project of REGISTRY and all its files.

    Deleted files are listed too, since their names stay used.
    """
    found = with_index(ctx, lambda index: index.life_cycle.portrait(registry, name))
    if as_json:
        print_json(_in_full(found))
        return
    about = found.project
    click.echo(f"{about.display_name}, {about.status}, created {when(about.created_at)}, {found.size_bytes} bytes")
    for release in found.releases:
        if release.yanked_reason is not None:
            click.echo(f"The release {release.version} is yanked as a whole{_because(release.yanked_reason)}.")
    click.echo()
    print_table(
        ("VERSION", "FILE", "STATE", "BYTES", "UPLOADED"),
        [(file.version, file.filename, _state(file), file.size_bytes, when(file.uploaded_at)) for file in found.files],
        "It has no file.",
    )


# -- releases and files -----------------------------------------------------------------------------------------------


@project.command(
    epilog="\b\nExamples:\n  mintmark project yank acme acme-widget 1.4 --reason 'Breaks on ARM.'\n"
    "  mintmark project yank acme acme-widget --file acme_widget-1.4.tar.gz"
)
@_aiming
@click.option("--reason", default="", help="A line for whoever installs it all the same.")
@click.pass_context
def yank(ctx: click.Context, registry: str, name: str, version: str | None, filename: str | None, reason: str) -> None:
    """Keep installers from choosing VERSION, or one file, by themselves.

    Whoever asks for exactly that version still gets it, with the reason. Files of the version that come later are
    yanked too. Repeat the command to change the reason.
    """
    target = _target(version, filename)
    done = with_index(ctx, lambda index: index.life_cycle.yank(registry, name, target, reason, OPERATOR))
    more = f" {_YANKING}" if done.changed else ""
    if done.changed and not reason:
        more += " No reason is given; the same command with --reason gives one."
    click.echo(_sentence("Yanked", "is yanked already", target, done) + more)


@project.command(
    epilog="\b\nExamples:\n  mintmark project unyank acme acme-widget 1.4\n"
    "  mintmark project unyank acme acme-widget --file acme_widget-1.4.tar.gz"
)
@_aiming
@click.pass_context
def unyank(ctx: click.Context, registry: str, name: str, version: str | None, filename: str | None) -> None:
    """Take back that VERSION, or one file, was yanked.

    Once one file is taken back, its release is not yanked as a whole any more: its other files stay yanked, files that
    come later are not.
    """
    target = _target(version, filename)
    done = with_index(ctx, lambda index: index.life_cycle.unyank(registry, name, target, OPERATOR))
    click.echo(_sentence("Took back the yank of", "was not yanked", target, done))


@project.command(
    epilog="\b\nExamples:\n  mintmark project delete acme acme-widget 1.4\n"
    "  mintmark project delete acme acme-widget --file acme_widget-1.4.tar.gz"
)
@_aiming
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, registry: str, name: str, version: str | None, filename: str | None, yes: bool) -> None:
    """Delete VERSION, or one file, for ever.

    This cannot be undone. The names of the files stay used, even for the same bytes. The project stays. `mintmark
    sweep` frees the space later. To keep people from installing a version by chance, yank it instead.
    """
    target = _target(version, filename)
    if not yes:
        what = f"version {shown(version)}" if version is not None else f"the file {shown(filename or '')}"
        confirm(
            f"Delete {what} of {shown(name)} in {shown(registry)}?\n"
            "This cannot be undone, and the names of its files stay used."
        )
    done = with_index(ctx, lambda index: index.life_cycle.delete(registry, name, target, OPERATOR))
    names = "Its name stays" if isinstance(target, OneFile) else "The names of its files stay"
    more = f" {names} used; `mintmark sweep` frees the space later." if done.changed else ""
    click.echo(_sentence("Deleted", "is deleted already", target, done) + more)


# -- projects ---------------------------------------------------------------------------------------------------------


@project.command(
    epilog=_STATUSES
    + "\n\b\nExamples:\n  mintmark project status acme acme-widget archived\n"
    + "  mintmark project status acme acme-widget quarantined --reason 'Incident 42.'"
)
@_project
@click.argument("status", metavar="STATUS", type=click.Choice(STATUSES))
@click.option("--reason", default="", help="A line for whoever looks at the project.")
@click.pass_context
def status(ctx: click.Context, registry: str, name: str, status: str, reason: str) -> None:
    """Give a project of REGISTRY another status."""
    done = with_index(ctx, lambda index: index.life_cycle.set_status(registry, name, status, reason, OPERATOR))
    if done.changed and done.project.status == status:
        click.echo(f"{done.project.name} is {status} as before, now with {'this' if reason else 'no'} reason.")
    elif done.changed:
        click.echo(f"{done.project.name} is {status} now; it was {done.project.status}.")
    else:
        click.echo(f"Nothing changed: {done.project.name} is {status} already.")


@project.command(epilog="\b\nExample:\n  mintmark project rename acme acme-widget ACME.Widget")
@_project
@click.argument("spelling")
@click.pass_context
def rename(ctx: click.Context, registry: str, name: str, spelling: str) -> None:
    """Write a project's name differently for people.

    URLs, files and publishers keep its normal name.
    """
    done = with_index(ctx, lambda index: index.life_cycle.rename(registry, name, spelling, OPERATOR))
    if done.changed:
        click.echo(f"{done.project.name} is written {spelling} now; it was {done.project.display_name}.")
    else:
        click.echo(f"Nothing changed: {done.project.name} is written {spelling} already.")


# -- telling ----------------------------------------------------------------------------------------------------------


def _sentence(did: str, so: str, target: Target, done: Outcome) -> str:
    """What a change of a version or file did, in one sentence."""
    if isinstance(target, OneFile):
        what, count = target.filename, ""
    else:
        what = f"{done.project.name} {' and '.join(done.versions)}"
        count = f": {len(done.files)} file{'' if len(done.files) == 1 else 's'}"
    return f"{did} {what}{count}." if done.changed else f"Nothing changed: {what} {so}."


def _because(reason: str) -> str:
    return f": {reason.removesuffix('.')}" if reason else ""


def _state(file: File) -> str:
    return f"{file.state}{_because(file.yanked_reason or '')}"


def _about(found: Project) -> dict[str, object]:
    return {
        "name": found.name,
        "display-name": found.display_name,
        "status": found.status,
        "created": found.created_at,
    }


def _in_full(found: Portrait) -> dict[str, object]:
    """A project for machines."""
    return {
        **_about(found.project),
        "bytes": found.size_bytes,
        "releases": [
            {"version": release.version, "created": release.created_at, "yanked": release.yanked_reason}
            for release in found.releases
        ],
        "files": [
            {
                "filename": file.filename,
                "version": file.version,
                "state": file.state,
                "yanked": file.yanked_reason,
                "bytes": file.size_bytes,
                "sha256": file.sha256,
                "uploaded": file.uploaded_at,
            }
            for file in found.files
        ],
    }
