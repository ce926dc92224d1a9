"""The commands that tell a running lab something, or that it answers: publisher, fault, journal, status, down."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from mintmark.cli.lab import ask, config_of, fields_of_job, locate_lab, which_ci, which_lab
from mintmark.cli.session import as_json, print_json, print_table
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.lab.temporary import running

FOLLOW_SECONDS = 0.5
PLACES_SHOWN = 3


@click.command(
    epilog="\b\nExamples:\n  mintmark lab publisher hello --ci gitlab\n"
    "  mintmark lab publisher hello --ci github --field repository=acme/hello --registry testpypi"
)
@which_lab
@which_ci
@fields_of_job
@click.option("--registry", default="demo", help="The registry it may publish in. Default: demo.")
@click.argument("project")
@click.pass_context
def publisher(
    ctx: click.Context, named: str | None, ci: str, fields: tuple[str, ...], registry: str, project: str
) -> None:
    """Let the identity that `lab run --ci CI` has publish PROJECT."""
    found = locate_lab(ctx, named)
    settings = config_of(ci, fields) | {"project": project}
    number = ask(lambda: found.remote.add_publisher(registry, ci, settings))
    who = ", ".join(f"{name}={value}" for name, value in settings.items() if name != "project")
    click.echo(f"Registered publisher {number} of {registry}: {ci} with {who} may publish {project}.")


@click.command(
    epilog="\b\nExamples:\n  mintmark lab fault mint-500 --times 2\n  mintmark lab fault provider-slow --seconds 5\n"
    "  mintmark lab fault --list\n  mintmark lab fault --clear"
)
@which_lab
@click.argument("name", required=False)
@click.option("--times", default=1, help="For so many requests. Default: 1.")
@click.option("--seconds", type=float, help="How long, or how far, where the fault has a measure.")
@click.option("--ci", help="Only for this CI system's identity provider.")
@click.option("--list", "listed", is_flag=True, help="Tell what faults there are, and which are on.")
@click.option("--clear", is_flag=True, help="Switch every fault off.")
@as_json
@click.pass_context
def fault(
    ctx: click.Context,
    named: str | None,
    name: str | None,
    times: int,
    seconds: float | None,
    ci: str | None,
    listed: bool,
    clear: bool,
    as_json: bool,
) -> None:
    """Switch the fault NAME on: what goes wrong next."""
    found = locate_lab(ctx, named)
    if sum((name is not None, listed, clear)) != 1:
        raise Rejected("invalid-request", "Name one fault, or say --list or --clear.")
    if seconds is not None and not math.isfinite(seconds):
        raise Rejected("invalid-request", f"{seconds} is no number of seconds.", hint="Write it like --seconds 2.5.")
    if clear:
        ask(found.remote.clear_faults)
        click.echo("Every fault is off.")
    elif name is not None:
        ask(lambda: found.remote.set_fault(name, times=times, seconds=seconds, ci=ci))
        click.echo(f"{name} is on, {_times(times)}.")
    else:
        _list_faults(ask(found.remote.faults), as_json)


def _list_faults(faults: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(faults)
        return
    on = _what_is_on(faults["active"])
    rows = [(each["name"], each["does"], *([on.get(each["name"], "")] if on else [])) for each in faults["known"]]
    print_table(("FAULT", "WHAT HAPPENS", *(["ON"] if on else [])), rows, "There are no faults.")


def _what_is_on(active: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For each fault that is on: how often more, and of which CI systems."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(each["name"] for each in active):
        of_name = [each for each in active if each["name"] == name]
        places = [each["ci"] for each in of_name if each["ci"]]
        whom = ", ".join(places) if len(places) <= PLACES_SHOWN else f"{len(places)} CI systems"
        found[name] = _times(max(each["left"] for each in of_name)) + (f" for {whom}" if whom else "")
    return found


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


@click.command(
    epilog="\b\nExamples:\n  mintmark lab journal\n  mintmark lab journal --follow\n  mintmark lab journal --json\n"
    "  mintmark lab journal --clear"
)
@which_lab
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--all", "everything", is_flag=True, help="Also what the proxy and the index's own requests to issuers did."
)
@click.option("--clear", is_flag=True, help="Forget every entry.")
@click.option("--json", "lines", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def journal(ctx: click.Context, named: str | None, follow: bool, everything: bool, clear: bool, lines: bool) -> None:
    """Show what was asked of the lab, and what it answered. No token is in it."""
    found = locate_lab(ctx, named)
    if clear:
        ask(found.remote.clear_journal)
        click.echo("The journal is empty.")
        return
    last, empty, begun = 0, True, False
    while True:
        try:
            entries, last = ask(lambda: found.remote.journal(last))  # noqa: B023 - called at once
        except Misconfigured:
            if not begun:
                raise
            click.echo("The lab has ended.", err=True)
            return
        begun = True
        for entry in filter(None if everything or lines else _is_of_clients, entries):
            click.echo(json.dumps(entry, ensure_ascii=False) if lines else _line(entry))
            empty = False
        if entries:
            continue
        if not follow:
            break
        time.sleep(FOLLOW_SECONDS)
    if empty and not lines:
        click.echo("Nothing was asked yet.", err=True)


def _is_of_clients(entry: Mapping[str, Any]) -> bool:
    """Whether a client of the index wants to know it: not what went as ever behind the scenes."""
    behind = entry["action"] in {"connect", "discovery", "keys"}
    return not behind or bool(entry["fault"]) or entry["status"] is None or entry["status"] >= 400


def _line(entry: Mapping[str, Any]) -> str:
    """One request on one line: when, whom, what, the answer, and what is worth knowing about it."""
    at = datetime.fromtimestamp(entry["at"], UTC).strftime("%H:%M:%S")
    answer = f"{entry['status']} {entry['reason']}".strip() if entry["status"] else "no answer"
    identity = entry.get("identity") or {}
    notes = [
        f"[fault: {entry['fault']}]" if entry["fault"] else "",
        f"as {identity['sub']}" if identity.get("sub") else "",
        entry["note"],
    ]
    what = f"{entry['method']} {entry['host']}{entry['path']}"
    words = (at, f"{entry['action']:<13}", what, "->", answer, f"{entry['milliseconds']:.0f} ms", *notes)
    # A name from outside may hold what moves a terminal's cursor.
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(filter(None, words)))


@click.command(epilog="\b\nExample:\n  mintmark lab status")
@which_lab
@as_json
@click.pass_context
def status(ctx: click.Context, named: str | None, as_json: bool) -> None:
    """Tell where the lab is, which faults are on, and how much was asked of it."""
    found = locate_lab(ctx, named)
    faults = ask(found.remote.faults)["active"]
    _, last = ask(lambda: found.remote.journal(2**53, 1))
    lab = found.lab
    facts = {
        "directory": str(found.directory),
        "index": lab.base_url,
        "proxy": lab.proxy,
        "ca": str(lab.ca_path),
        "process": lab.process_id,
        "audiences": dict(lab.audiences),
        "requests": last,
        "faults": faults,
        "labs": [str(path) for path in running()],
    }
    if as_json:
        print_json(facts)
        return
    on = ", ".join(f"{name} ({what})" for name, what in _what_is_on(faults).items()) or "none"
    audiences = ", ".join(f"{name or 'the whole host'}: {value}" for name, value in lab.audiences.items())
    rows = [
        ("directory", facts["directory"]),
        ("index", lab.base_url),
        ("proxy", lab.proxy or "none"),
        ("CA", facts["ca"]),
        ("audiences", audiences),
        ("requests", last),
        ("faults on", on),
    ]
    print_table(("WHAT", "IS"), rows, "")


@click.command(epilog="\b\nExample:\n  mintmark lab down")
@which_lab
@click.pass_context
def down(ctx: click.Context, named: str | None) -> None:
    """Stop the lab, as Ctrl-C does where it was started."""
    found = locate_lab(ctx, named)
    ask(found.remote.stop)
    click.echo(f"The lab in {found.directory} ends.")


COMMANDS: dict[str, click.Command] = {
    command.name or "": command for command in (publisher, fault, journal, status, down)
}
