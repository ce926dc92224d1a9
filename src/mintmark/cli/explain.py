"""`mintmark explain`: why an identity token would be taken or refused, without spending it.

Owns where the token comes from (a file or standard input, never the command line), bounds, and printing. Leaves the
steps to `service.explain`. Neither a token nor a piece of one is ever printed.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mintmark.cli.issuer_check import show_lines
from mintmark.cli.session import as_json, print_json, printable, with_index
from mintmark.core import credentials
from mintmark.core.errors import Rejected

if TYPE_CHECKING:
    from mintmark.assemble import Index
    from mintmark.core.jwt import UnverifiedToken
    from mintmark.service.explain import Explanation, Nearby

EXIT_REFUSED = 2
STDIN = "-"
# More than any token, with room for the line's end and for claims that somebody laid out prettily.
INPUT_MAX_BYTES = 64 * 1024


@click.command(
    epilog="\b\n"
    f"Exit codes: 0 it would be exchanged; {EXIT_REFUSED} it would be refused, or cannot be read.\n\n"
    "\b\nExamples:\n  mintmark explain --registry acme --token-file token.jwt\n"
    "  pbpaste | mintmark explain --registry acme --claims-file -"
)
@click.option("--registry", "registry", required=True, help="The registry that it would be exchanged for.")
@click.option("--token-file", metavar="FILE", help="File with the identity token; - for standard input.")
@click.option("--claims-file", metavar="FILE", help="File with its claims as JSON; - for standard input.")
@click.option("--offline", is_flag=True, help="Fetch no keys; the signature is not looked at.")
@as_json
@click.pass_context
def explain(
    ctx: click.Context, registry: str, token_file: str | None, claims_file: str | None, offline: bool, as_json: bool
) -> None:
    """Say what would happen to an identity token, and spend nothing.

    Goes through the steps of an exchange: issuer, signature, audience and dates, whether it was exchanged before, and
    every publisher that is near, with what differs.
    """
    if (token_file is None) == (claims_file is None):
        raise Rejected("invalid-request", "Name one of --token-file and --claims-file.", hint="- is standard input.")
    token = _claims(_read(claims_file)) if claims_file is not None else _token(_read(token_file or ""))

    async def work(index: Index) -> Explanation:
        from mintmark.assemble import fresh_keys
        from mintmark.lab.home import is_dev
        from mintmark.service.explain import Asked

        keys = None
        if token_file is not None and not offline:
            keys = fresh_keys(index.settings, accept_lab=is_dev(Path(index.settings.data_dir)))
        why = "claims alone have none" if claims_file is not None else "--offline was given"
        return await index.explain(registry, Asked(token, token_file is not None, keys, why))

    found = with_index(ctx, work)
    if as_json:
        print_json(_facts(found))
    else:
        _show(found)
    ctx.exit(0 if found.would_mint else EXIT_REFUSED)


def _read(name: str) -> str:
    """A small text. What cannot be read is not named: it may be a token that somebody gave instead of a file."""
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(INPUT_MAX_BYTES + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(INPUT_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no file name"
        raise Rejected(
            "invalid-request",
            f"The file cannot be read: {why}.",
            hint="Give a file, or - for standard input; never the token itself, which other processes could see.",
        ) from None
    if len(data) > INPUT_MAX_BYTES:
        raise Rejected("invalid-request", f"It is larger than {INPUT_MAX_BYTES} bytes.", hint="Give one token only.")
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise Rejected(
            "invalid-request", "It is no UTF-8 text.", hint="Give the token or its claims as text."
        ) from None


def _token(text: str) -> UnverifiedToken:
    from mintmark.core import jwt

    if credentials.digest(text) is not None:
        raise Rejected(
            "invalid-request",
            "That is a credential of an index, not an identity token.",
            hint="Give the token that the CI system gave to the job.",
        )
    try:
        return jwt.read(text)
    except Rejected as refusal:
        raise Rejected(
            "invalid-payload", f"{refusal.detail}: {refusal.private}.", hint="Give the whole token, on one line."
        ) from None


def _claims(text: str) -> UnverifiedToken:
    """Claims as a token that nobody signed, so that they are read by the rules of tokens."""
    from mintmark.core import jwt

    if text.count(".") == 2 and not text.startswith("{"):
        raise Rejected("invalid-request", "That is a token, not its claims.", hint="Use --token-file.")
    segments = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (b"{}", text.encode("utf-8"))]
    try:
        return jwt.read(".".join([*segments, ""]))
    except Rejected as refusal:
        hint = 'Give a JSON object with iss, such as {"iss": "https://gitlab.com", "sub": "…"}.'
        raise Rejected("invalid-payload", f"no claims: {refusal.private}.", hint=hint) from None


def _show(found: Explanation) -> None:
    show_lines(found.lines)
    for each in found.nearby:
        click.echo(f"\nPublisher {each.publisher.id} of {each.publisher.project}: {_state(each)}")
        for name, value in each.publisher.config.items():
            click.echo(f"    {name} = {printable(repr(value))}")
        for fault in each.mismatches:
            click.echo(f"  ! {printable(f'{fault.claim}: expected {fault.expected}, got {fault.actual}')}")
            click.echo(f"    {printable(fault.why)}")
    if found.found > len(found.nearby):
        click.echo(f"\n… and {found.found - len(found.nearby)} more that are less near.")
    click.echo()
    if found.would_mint:
        click.echo("It would be exchanged. The credential would cover:")
        for what, names in (("upload", found.uploads), ("read", found.reads)):
            for name in names:
                click.echo(f"  {what} {name}")
    else:
        click.echo("It would be refused. What helps stands under each line marked bad.")


def _state(near: Nearby) -> str:
    if near.lapsed:
        return "matches, but has lapsed" if not near.mismatches else "has lapsed"
    if not near.mismatches:
        return "matches"
    return "1 rule does not hold" if len(near.mismatches) == 1 else f"{len(near.mismatches)} rules do not hold"


def _facts(found: Explanation) -> dict[str, object]:
    return {
        "registry": found.registry,
        "provider": found.provider,
        "would_mint": found.would_mint,
        "lines": [line.facts() for line in found.lines],
        "publishers": [
            {
                "id": each.publisher.id,
                "project": each.publisher.project,
                "fields": dict(each.publisher.config),
                "matches": each.matches,
                "lapsed": each.lapsed,
                "mismatches": [
                    {"claim": it.claim, "expected": it.expected, "actual": it.actual, "why": it.why}
                    for it in each.mismatches
                ],
            }
            for each in found.nearby
        ],
        "publishers_found": found.found,
        "uploads": found.uploads,
        "reads": found.reads,
    }
