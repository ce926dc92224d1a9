"""`mintmark import`: an existing index, brought into a registry."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mintmark.cli.session import as_json, print_json, print_table, settings_of, with_index
from mintmark.core.errors import Rejected
from mintmark.core.import_choice import REQUIREMENTS_MAX_BYTES, Choice, parse_requirements
from mintmark.core.names import parse_pattern, parse_project
from mintmark.core.records import OPERATOR
from mintmark.service.import_report import COMPLAINTS, Outcome, Progress, Report

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from mintmark.assemble import Index
    from mintmark.service.import_source import ImportSource
    from mintmark.settings import Settings

PASSWORD_VARIABLE = "MINTMARK_IMPORT_PASSWORD"  # noqa: S105 - the name of the variable, not what is in it
EXIT_INCOMPLETE = 1
EXIT_STOPPED = 130
JOBS_MAX = 32
TOLD_MAX = 50
"""Complaints printed for people; `--json` has all."""
_WORDS: Mapping[str, str] = {
    "imported": "imported",
    "there": "already there",
    "wanted": "would be imported",
    "conflict": "conflict",
    "refused": "refused",
    "failed": "failed",
    "missing": "not in the source",
}
_KINDS = {"other": "no distribution"}
EPILOG = f"""
SOURCE is a folder with wheels and source distributions, flat or nested, or the URL of another index's
simple API (https; its password in {PASSWORD_VARIABLE}). What is there already is neither fetched
again nor replaced, so that a second run goes on where the first was stopped.

Exit code 1: the run is complete, but some files did not come in; the output names them.

\b
Examples:
  mintmark import acme ./packages
  mintmark import acme https://packages.example.com/simple/ --project 'acme-*'
  mintmark import acme https://packages.example.com/simple/ \\
      --requirements requirements.txt
  mintmark import acme ./packages --dry-run --json
"""


@click.command("import", epilog=EPILOG)
@click.argument("registry")
@click.argument("source")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="PATTERN",
    help="Only projects of this name; '*' stands for any characters. Repeatable.",
)
@click.option(
    "--requirements",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only the releases pinned there (name==version), and of these only files with its hashes, if it has any.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be imported.")
@click.option(
    "--jobs",
    default=4,
    type=click.IntRange(1, JOBS_MAX),
    help="How many files are fetched and checked at a time. Default: 4.",
)
@as_json
@click.pass_context
def import_(
    ctx: click.Context,
    registry: str,
    source: str,
    projects: tuple[str, ...],
    requirements: Path | None,
    dry_run: bool,
    jobs: int,
    as_json: bool,
) -> int:
    """Bring the files of SOURCE, a folder or another index, into the registry REGISTRY."""
    choice = Choice(tuple(_pattern(text) for text in projects), parse_requirements(_read(requirements)))
    settings = settings_of(ctx)

    async def use(index: Index) -> tuple[Report, _Told]:
        opened = _open(source, settings)
        try:
            with _told(keep_all=as_json) as told, _stopping() as stop:
                run = index.importer()
                report = await run(
                    registry, opened, choice, OPERATOR, jobs=jobs, dry_run=dry_run, progress=told, stop=stop
                )
            return report, told
        finally:
            await opened.close()

    report, told = with_index(ctx, use)
    if as_json:
        print_json(_facts(report, told))
    else:
        _print(report, told, registry)
    if report.stopped:
        return EXIT_STOPPED
    return 0 if report.complete else EXIT_INCOMPLETE


def _pattern(text: str) -> str:
    # A single name may be written as people write it.
    return text if text == "*" else parse_pattern(text) if "*" in text else parse_project(text)


def _read(requirements: Path | None) -> str:
    if requirements is None:
        return ""
    with requirements.open("rb") as file:
        data = file.read(REQUIREMENTS_MAX_BYTES + 1)
    if len(data) > REQUIREMENTS_MAX_BYTES:
        raise Rejected("invalid-import", f"The requirements file is larger than {REQUIREMENTS_MAX_BYTES >> 20} MiB.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("invalid-import", "The requirements file is not UTF-8.", hint="Save it as UTF-8.") from None


def _open(source: str, settings: Settings) -> ImportSource:
    from mintmark.store.import_folder import FolderSource
    from mintmark.store.import_http import HttpSource

    if "://" not in source:
        return FolderSource(Path(source))
    return HttpSource(source, password=os.environ.get(PASSWORD_VARIABLE, ""), proxy=settings.outbound_proxy or None)


@contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets; pressed again, it stops at once, as ever."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def pressed() -> None:
        click.echo("Stopping. What is here already will be recorded; press Ctrl-C again to stop at once.", err=True)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, former)
        stop.set()

    former = signal.getsignal(signal.SIGINT)
    added = False
    # Not in every thread.
    with suppress(ValueError, RuntimeError):
        loop.add_signal_handler(signal.SIGINT, pressed)
        added = True
    try:
        yield stop
    finally:
        if added and not stop.is_set():
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, former)


# -- telling ----------------------------------------------------------------------------------------------------------


class _Told(Progress):
    """What was told: complaints for people, or every file for machines; and a bar on a terminal."""

    def __init__(self, bar: Bar | None, task: TaskID | None, *, keep_all: bool) -> None:
        self._bar = bar
        self._task = task
        self._keep_all = keep_all
        self._files = self._done_files = self._bytes = 0
        self._began = time.monotonic()
        self.outcomes: list[Outcome] = []

    def found(self, files: int, size_bytes: int) -> None:
        self._files += files
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=self._files)

    def told(self, outcome: Outcome) -> None:
        if self._keep_all or (outcome.what in COMPLAINTS and len(self.outcomes) < TOLD_MAX):
            self.outcomes.append(outcome)
        self._done_files += 1
        self._bytes += outcome.size_bytes or 0 if outcome.what == "imported" else 0
        if self._bar is not None and self._task is not None:
            rate = round(self._done_files / max(0.001, time.monotonic() - self._began))
            self._bar.update(self._task, completed=self._done_files, size=_size(self._bytes), rate=rate)


@contextmanager
def _told(*, keep_all: bool) -> Iterator[_Told]:
    if not sys.stderr.isatty():
        yield _Told(None, None, keep_all=keep_all)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[size]}, {task.fields[rate]} a second"),
    )
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        yield _Told(bar, bar.add_task("import", total=None, size=_size(0), rate=0), keep_all=keep_all)


def _size(size_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def _facts(report: Report, told: _Told) -> dict[str, object]:
    return {
        "complete": report.complete,
        "stopped": report.stopped,
        "outcomes": {what: report.outcomes[what] for what in _WORDS},
        "imported-bytes": report.imported_bytes,
        "skipped": dict(sorted(report.skipped.items())),
        "findings": dict(sorted(report.findings.items())),
        "pages-behind": report.behind,
        "files": [_outcome(outcome) for outcome in told.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    facts = asdict(outcome) | {
        "findings": [{"check": each.check, "detail": each.sentence, "cure": each.cure} for each in outcome.findings]
    }
    return {name.replace("_", "-"): value for name, value in facts.items()}


def _print(report: Report, told: _Told, registry: str) -> None:
    for outcome in told.outcomes:
        name = outcome.filename or outcome.project
        code = f" ({outcome.code})" if outcome.code else ""
        click.echo(f"{_WORDS[outcome.what]}{code}: {f'{name}: ' if name else ''}{outcome.detail}", err=True)
    complaints = sum(report.outcomes[what] for what in COMPLAINTS)
    if complaints > len(told.outcomes):
        click.echo(f"And {complaints - len(told.outcomes)} more; --json tells all.", err=True)
    rows = [(_WORDS[what], report.outcomes[what]) for what in _WORDS if report.outcomes[what]]
    rows += [(f"skipped ({_KINDS.get(kind, kind)})", count) for kind, count in sorted(report.skipped.items()) if count]
    rows += [(f"warning ({check})", count) for check, count in sorted(report.findings.items())]
    print_table(("WHAT", "FILES"), rows, "There is nothing to import.")
    if report.imported_bytes:
        click.echo(f"{_size(report.imported_bytes)} came into {registry}.")
    if report.behind:
        click.echo(f"Pages are behind: {report.behind} The server renders them as soon as it can.", err=True)
    if report.stopped:
        click.echo("Stopped. The same command goes on from here.", err=True)
