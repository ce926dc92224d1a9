"""`python -m bench`: run the benches, print a table, write every figure as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import checks, importing, issuers, machine, memory, mint, pages, peers, profile, scale, startup, uploads
from bench.figures import Row, table
from bench.session import FOLDER, BenchError, Session, missing, opened


@dataclass(frozen=True)
class Bench:
    """One bench: what it answers, what it needs, and its code."""

    name: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[Session], Iterable[Row]]


BENCHES = (
    Bench("mint", "Identity token in, upload credential out", ("wrk",), mint.run),
    Bench("issuers", "Many issuers, some of them hanging, and many projects of one identity", ("wrk",), issuers.run),
    Bench("pages", "Project pages against nginx", ("wrk", "nginx"), pages.run),
    Bench("scale", "10,000 projects against 100", ("wrk",), scale.run),
    Bench("memory", "Memory of a large upload and download", (), memory.run),
    Bench("checks", "Checking wheels", (), checks.run),
    Bench("importing", "Importing a folder", (), importing.run),
    Bench("uploads", "Small uploads, durable and visible", ("wrk",), uploads.run),
    Bench("peers", "Small uploads beside pypiron", ("wrk", "pypiron"), peers.run),
    Bench("startup", "Starting (for information)", (), startup.run),
)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if arguments and arguments[0] == "profile":
        return profile.main(arguments[1:])
    parser = argparse.ArgumentParser(
        "python -m bench", epilog="Where time goes: python -m bench profile mint|page|private|upload"
    )
    parser.add_argument("names", nargs="*", metavar="BENCH", help="Benches to run; all of them if none is named.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write every figure and the machine's facts.")
    parser.add_argument("--quick", action="store_true", help="Fewer and shorter runs, for developing.")
    parser.add_argument("--huge", action="store_true", help="Measure an upload and a download of 2 GB as well.")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="Where the servers' data is for the time being; a real disk."
    )
    parser.add_argument("--list", action="store_true", help="List the benches and stop.")
    options = parser.parse_args(arguments)
    if options.list:
        for bench in BENCHES:
            print(f"{bench.name:10}{bench.title}" + (f" (needs {', '.join(bench.needs)})" if bench.needs else ""))
        return 0
    unknown = set(options.names) - {bench.name for bench in BENCHES}
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; see --list")
    chosen = [bench for bench in BENCHES if not options.names or bench.name in options.names]
    with opened(quick=options.quick, huge=options.huge, below=options.folder.absolute()) as session:
        return _run(session, chosen, options.json)


def _run(session: Session, chosen: Sequence[Bench], output: Path | None) -> int:
    facts = machine.facts(session.folder)
    print(machine.headline(facts))
    print(f"Medians of {session.rounds} interleaved runs of {session.seconds} s; ratios are made pair by pair.")
    if session.quick:
        print("--quick: too short for a verdict that counts.")
    busy = machine.is_busy(facts)
    if busy:
        print("The machine is busy with other things: rates and their ratios get no verdict. Stop them and try again.")
    figures: dict[str, object] = {}
    failed = short = 0
    for bench in chosen:
        absent = missing(bench.needs)
        print(f"\n{bench.name}: {bench.title}")
        if absent:
            print(f"  skipped: {' and '.join(absent)} not found")
            figures[bench.name] = {"skipped": absent}
            continue
        started = time.monotonic()
        try:
            rows = list(bench.run(session))
        except BenchError as error:
            print(f"  FAILED: {error}")
            figures[bench.name] = {"failed": str(error)}
            failed += 1
            continue
        print(table(rows, busy=busy), flush=True)
        short += sum(row.verdict(busy=busy) == "short" for row in rows)
        figures[bench.name] = {
            "rows": [row.as_json(busy=busy) for row in rows],
            "seconds": round(time.monotonic() - started, 1),
        }
    facts["load_average_after"] = [round(each, 2) for each in os.getloadavg()]
    print(f"\n{short} target(s) missed, {failed} bench(es) failed; load average now {facts['load_average_after']}.")
    if output is not None:
        document = {"machine": facts, "rounds": session.rounds, "seconds": session.seconds, "benches": figures}
        output.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
