"""What the administrative commands share: opening the index beside a running server, and printing.

Owns tables and JSON on standard output. No colour and no drawing when the output is not a terminal.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mintmark import settings as settings_module
from mintmark.core.errors import Rejected
from mintmark.core.trust import Host

if TYPE_CHECKING:
    from mintmark.assemble import Index
    from mintmark.settings import Settings

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def settings_of(ctx: click.Context) -> Settings:
    """The settings of `--config` or the environment."""
    config = ctx.find_root().obj
    return settings_module.load(Path(config) if config else None, os.environ)


def with_index(ctx: click.Context, use: Callable[[Index], Awaitable[T]]) -> T:
    """Open the index, run one use case, close it."""
    from mintmark.assemble import Index

    settings = settings_of(ctx)

    async def session() -> T:
        index = Index(settings)
        try:
            return await use(index)
        finally:
            await index.close()

    return asyncio.run(session())


def host_of(settings: Settings) -> Host:
    """What trust entries need to know about this host."""
    from mintmark.lab.home import is_dev

    return Host(settings.host, settings.host_audience, accept_lab=is_dev(Path(settings.data_dir)))


def print_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """A table for people, or a sentence when there is nothing."""
    if not rows:
        click.echo(empty)
        return
    cells = [[str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (columns, *cells):
            click.echo("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)


def printable(text: str) -> str:
    """A text that others may have written, without what would move the cursor, colour the screen or reverse lines."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def when(seconds: int | None, never: str = "never") -> str:
    """A time for people."""
    if seconds is None:
        return never
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def confirm(question: str) -> None:
    """Ask before something that cannot be undone; anything but yes stops the command."""
    try:
        click.confirm(question, abort=True)
    except click.Abort:
        if not sys.stdin.isatty():
            click.echo("\nNobody said yes, and nothing was changed. To go on without being asked, add --yes.", err=True)
        raise


def parse_duration(text: str) -> int:
    """`90d`, `12h`, `30m` in seconds. Raises `Rejected`."""
    units = {"m": 60, "h": 3600, "d": 86_400}
    if not re.fullmatch(r"[0-9]{1,5}[mhd]", text) or not int(text[:-1]):
        raise Rejected("invalid-trust", f"{text!r} is no duration.", hint="Write it like 90d, 12h or 30m.")
    return int(text[:-1]) * units[text[-1]]


def parse_assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` arguments. Raises `Rejected`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or name in values:
            raise Rejected(
                "invalid-trust",
                f"{pair!r} is no NAME=VALUE, or its name comes twice.",
                hint="Write it like workflow=release.yml.",
            )
        values[name] = value
    return values


def read_text(base: Path) -> Callable[[str], str]:
    """A loader of files that trust entries name, relative to `base`."""
    return lambda name: (base / name).read_text(encoding="utf-8")
