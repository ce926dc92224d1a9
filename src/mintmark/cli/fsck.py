"""`mintmark fsck`: check every file, every row and every page."""

from __future__ import annotations

from collections import Counter

import click

from mintmark.cli.meter import metering
from mintmark.cli.session import as_json, print_json, with_index
from mintmark.service.fsck import Fault

EXIT_FAULTS = 1
# A folder full of strays is told by its first thousand. All are counted.
SHOWN_MAX = 1000


@click.command(
    epilog=f"\b\nExit codes: 0 no fault, or all repaired; {EXIT_FAULTS} faults were found.\n\n"
    "\b\nExamples:\n  mintmark fsck\n  mintmark fsck --quick --repair"
)
@click.option("--quick", is_flag=True, help="Compare sizes instead of reading every file.")
@click.option("--repair", is_flag=True, help="Render wrong pages again. Files and rows are never touched.")
@as_json
@click.pass_context
def fsck(ctx: click.Context, quick: bool, repair: bool, as_json: bool) -> None:
    """Check that files, ledger and pages agree.

    Every file is compared with what the ledger says of it, rows with each other, and every page with what it should
    show. Changes nothing, and may run beside a server.
    """
    shown: list[Fault] = []
    counts: Counter[str] = Counter()
    open_faults = 0

    def found(fault: Fault) -> None:
        nonlocal open_faults
        counts[fault.kind] += 1
        open_faults += not fault.is_note and not fault.repaired
        if len(shown) < SHOWN_MAX:
            shown.append(fault)

    with metering() as progress:
        with_index(ctx, lambda index: index.fsck(found, quick=quick, repair=repair, progress=progress))
    if as_json:
        print_json({"faults": open_faults, "kinds": dict(counts), "found": [_facts(fault) for fault in shown]})
    else:
        _show(shown, counts, open_faults)
    ctx.exit(EXIT_FAULTS if open_faults else 0)


def _show(shown: list[Fault], counts: Counter[str], open_faults: int) -> None:
    for fault in shown:
        word = "note" if fault.is_note else "repaired" if fault.repaired else "fault"
        click.echo(f"{word} {fault.kind}: {fault.where}: {fault.what}")
    if counts.total() > len(shown):
        click.echo(f"… and {counts.total() - len(shown)} more.")
    if any(fault.repaired for fault in shown):
        click.echo(f"Repaired: {sum(fault.repaired for fault in shown)}.")
    cures: dict[str, list[str]] = {}
    for fault in shown:
        if not fault.repaired:
            kinds = cures.setdefault(fault.cure, [])
            kinds += [fault.kind] if fault.kind not in kinds else []
    for cure, kinds in cures.items():
        click.echo(f"{', '.join(kinds)}: {cure}")
    if not open_faults:
        click.echo("No fault was found." if not any(fault.repaired for fault in shown) else "No fault is left.")
    else:
        left = "left" if any(fault.repaired for fault in shown) else "found"
        click.echo(f"1 fault was {left}." if open_faults == 1 else f"{open_faults} faults were {left}.")


def _facts(fault: Fault) -> dict[str, object]:
    return {
        "kind": fault.kind,
        "where": fault.where,
        "what": fault.what,
        "cure": fault.cure,
        "note": fault.is_note,
        "repaired": fault.repaired,
    }
