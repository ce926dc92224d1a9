"""`mintmark audit`: what happened, by whom."""

from __future__ import annotations

import click

from mintmark.cli.session import as_json, print_json, print_table, when, with_index
from mintmark.core.records import Event
from mintmark.service.ports import Transaction
from mintmark.service.trust import find_registry


@click.command(epilog="\b\nExample:\n  mintmark audit acme --limit 20")
@click.argument("registry", required=False)
@click.option("--limit", default=50, type=click.IntRange(1, 10_000), help="How many events, newest first. Default: 50.")
@as_json
@click.pass_context
def audit(ctx: click.Context, registry: str | None, limit: int, as_json: bool) -> None:
    """Show the latest events, of one REGISTRY or all: mints and why they failed, uploads, changes of trust."""

    def work(tx: Transaction) -> list[Event]:
        return tx.audit.latest(find_registry(tx, registry).id if registry else None, limit)

    found = with_index(ctx, lambda index: index.ledger.read(work))
    if as_json:
        print_json(
            [
                {
                    "at": e.at,
                    "by": {"kind": e.principal.kind, "name": e.principal.name},
                    "action": e.action,
                    "project": e.project,
                    "outcome": e.outcome,
                    "facts": e.facts,
                }
                for e in found
            ]
        )
        return
    print_table(
        ("WHEN", "BY", "ACTION", "OUTCOME", "ABOUT"),
        [(when(e.at), f"{e.principal.kind} {e.principal.name}", e.action, e.outcome, _about(e)) for e in found],
        "Nothing happened yet.",
    )


def _about(event: Event) -> str:
    facts = {key: value for key, value in event.facts.items() if key != "claims"}
    text = ", ".join(f"{key}={value!r}" for key, value in facts.items() if value)
    return f"{event.project} {text}".strip()[:300]
