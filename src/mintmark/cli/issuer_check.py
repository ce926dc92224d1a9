"""`mintmark issuer check`: a report card of an issuer, before anybody trusts it.

Owns options, printing and the exit code. Needs no index and no settings. Leaves asking to `store.issuer_probe` and
judging to `core.issuer_report`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import click

from mintmark.cli.session import as_json, print_json, printable, read_text
from mintmark.core.errors import Rejected
from mintmark.core.issuer_probe import Conditions
from mintmark.core.jwt import ISSUER_MAX_CHARACTERS
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.trust_files import problem_of_certificates, read

if TYPE_CHECKING:
    from mintmark.core.issuer_report import Report
    from mintmark.core.report_card import Line

EXIT_UNUSABLE = 2
EXIT_UNREACHABLE = 75


@click.command(
    epilog="\b\n"
    f"Exit codes: 0 a registry may trust it; {EXIT_UNUSABLE} it cannot be trusted as it is; {EXIT_UNREACHABLE} it "
    "cannot be reached.\n\n"
    "\b\nExamples:\n  mintmark issuer check https://gitlab.example.com\n"
    "  mintmark issuer check https://gitlab.corp.example --provider gitlab \\\n"
    "      --network 10.0.0.0/8 --ca-file corp-ca.pem"
)
@click.argument("url")
@click.option("--provider", type=click.Choice([p.slug for p in PROVIDERS]), help="The kind of CI system. Else guessed.")
@click.option("--network", "networks", multiple=True, help="Private network where its documents may be fetched.")
@click.option("--allow-http", is_flag=True, help="Fetch its documents without TLS.")
@click.option("--ca-file", default="", help="Certificates to trust for it instead of the system's (PEM).")
@click.option("--jwks-file", default="", help="A static key set; nothing is fetched then.")
@click.option("--proxy", default="", help="Proxy for fetching, like outbound_proxy of the settings.")
@click.option("--lab", is_flag=True, help="It is an issuer of `serve --dev` or `lab up`, and meant to be.")
@as_json
@click.pass_context
def check(
    ctx: click.Context,
    url: str,
    provider: str | None,
    networks: Sequence[str],
    allow_http: bool,
    ca_file: str,
    jwks_file: str,
    proxy: str,
    lab: bool,
    as_json: bool,
) -> None:
    """Report what the issuer at URL offers, and whether a registry may trust it.

    Fetches its discovery document and keys exactly as the server would, and changes nothing.
    """
    from mintmark.assemble import issuer_probe
    from mintmark.core.issuer_report import report_on

    if len(url) > ISSUER_MAX_CHARACTERS:
        raise _wrong("URL", f"is longer than {ISSUER_MAX_CHARACTERS} characters", "Give the issuer's own URL.")
    conditions = Conditions(
        url,
        tuple(map(_network, networks)),
        allow_http,
        ca_pem=_file("--ca-file", ca_file, problem_of_certificates),
        ca_file=ca_file,
        jwks=_file("--jwks-file", jwks_file, lambda _: ""),
        jwks_file=jwks_file,
        lab=lab,
    )
    probe = asyncio.run(issuer_probe(proxy)(conditions))
    report = report_on(probe, BY_SLUG[provider] if provider else None, time())
    _show(report, conditions, as_json=as_json)
    ctx.exit(0 if report.usable else EXIT_UNUSABLE if report.reachable else EXIT_UNREACHABLE)


def _show(report: Report, conditions: Conditions, *, as_json: bool) -> None:
    from mintmark.core.issuer_snippet import as_command, as_toml, trust_entry

    entry = trust_entry(conditions, report.provider.slug if report.provider else "", report.algorithms)
    command, table = as_command(entry), as_toml(entry)
    if as_json:
        print_json(
            {
                "url": report.url,
                "usable": report.usable,
                "reachable": report.reachable,
                "provider": report.provider.slug if report.provider else None,
                "provider_guessed": report.guessed,
                "lines": [line.facts() for line in report.lines],
                "command": command if report.usable else None,
                "trust_file": table if report.usable else None,
            }
        )
        return
    show_lines(report.lines)
    if not report.usable:
        what = "cannot be trusted as it is" if report.reachable else "cannot be reached"
        click.echo(f"\n{printable(report.url)} {what}. What helps stands under each line marked bad.")
        return
    click.echo(f"\nA registry may trust {printable(report.url)}. Either of these does it:\n\n{command}\n\n{table}")


def show_lines(lines: Sequence[Line]) -> None:
    """A report for people: grade, topic, sentence, and the cure below."""
    for line in lines:
        click.echo(f"{line.grade.upper():<8} {line.topic}: {printable(line.sentence)}")
        if line.cure:
            click.echo(f"{'':<8} -> {printable(line.cure)}")


def _network(text: str) -> str:
    import ipaddress

    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise _wrong("--network", f"{text!r} is no network", "Write it like 10.0.0.0/8.") from None
    if not network.prefixlen:
        raise _wrong("--network", f"{text!r} is every address there is", "Name the issuer's own network.")
    return str(network)


def _file(option: str, name: str, check: Callable[[str], str]) -> str:
    if not name:
        return ""
    text, problem = read(read_text(Path.cwd()), name)
    problem = problem or check(text)
    if problem:
        raise _wrong(option, f"{name!r} {problem}", "Name a file of the right kind.")
    return text


def _wrong(option: str, problem: str, cure: str) -> Rejected:
    return Rejected("invalid-request", f"{option} {problem}.", hint=cure)
