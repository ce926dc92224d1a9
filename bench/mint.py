"""Mints over HTTP against the limits of the same work without HTTP, and many publishers against few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bench import load, seed, server
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.server import Running
from bench.session import BenchError, Session, settle
from bench.tokens import Slice, sign
from mintmark.lab.signer import Signer

FEW, MANY = 10, 100_000
# More than any run uses up; a run that does run out is an error, not a figure.
TOKENS_PER_SECOND = 7000
CONNECTIONS, CONNECTIONS_MANY = 8, 32


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    signer = Signer(kid="bench")
    jwks = signer.jwks()
    count = TOKENS_PER_SECOND * session.seconds
    homes = {n: session.folder / f"mint-{n}" for n in (FEW, MANY)}
    # Each way to mint has a ledger of its own, so that it may use the same tokens.
    limits = {callers: session.folder / f"mint-limit-{callers}" for callers in (0, 1, 8, 32)}
    wide = session.folder / "mint-wide"
    for home in (homes[FEW], wide, *limits.values()):
        seed.create(home, lambda index: seed.publishers(index, jwks, FEW))
    seed.create(homes[MANY], lambda index: seed.publishers(index, jwks, MANY))
    folder = session.fresh("mint-tokens")
    few = sign(folder, signer, slices=session.rounds, count=count, publishers=FEW)
    many = sign(folder, signer, slices=session.rounds, count=count, publishers=MANY)
    settle()
    with (
        server.mintmark(homes[FEW]) as ours,
        server.mintmark(homes[MANY]) as crowded,
        server.mintmark(wide) as wider,
    ):
        results = take_turns(
            session.rounds,
            {
                "http": _over_http(session, ours, few),
                "many": _over_http(session, crowded, many),
                "inline": _inside(session, limits[0], few, 0),
                "8 callers": _inside(session, limits[8], few, 8),
                "http 32": _over_http(session, wider, few, CONNECTIONS_MANY),
                "32 callers": _inside(session, limits[32], few, 32),
                "1 caller": _inside(session, limits[1], few, 1),
                "health": _health(session, ours, folder),
            },
        )
    return _rows(results)


def _over_http(
    session: Session, target: Running, slices: list[Slice], connections: int = CONNECTIONS
) -> Callable[[int], Result]:
    def once(number: int) -> Result:
        settle()
        return load.run(
            target.url,
            slices[number].requests,
            session.seconds,
            connections=connections,
            server_pid=target.pid,
            again=False,
        )

    return once


def _inside(session: Session, home: Path, slices: list[Slice], callers: int) -> Callable[[int], Result]:
    def once(number: int) -> Result:
        settle()
        found = server.child(
            "bench.limits", home=home, tokens=slices[number].tokens, callers=callers, seconds=session.seconds
        )
        if found["ran_out"]:
            raise BenchError(f"{callers} callers used up all tokens: raise TOKENS_PER_SECOND")
        return Result(0, found["rate"], 0.0, found["cpu_us"])

    return once


def _health(session: Session, target: Running, folder: Path) -> Callable[[int], Result]:
    requests = folder / "health.requests"
    load.write_requests(requests, [load.get(server.HEALTH)])
    return lambda _number: load.run(target.url, requests, session.seconds, server_pid=target.pid, again=True)


def _rows(results: dict[str, list[Result]]) -> list[Row]:
    rates = {name: [result.rate for result in found] for name, found in results.items()}

    def rate(name: str, measure: str) -> Row:
        cpu = sorted(result.cpu_us for result in results[name])[len(results[name]) // 2]
        p99 = sorted(result.p99_ms for result in results[name])[len(results[name]) // 2]
        note = f"{cpu:.0f} us CPU each" + (f", p99 {p99:.1f} ms" if p99 else "")
        return Row(measure, "/s", tuple(rates[name]), note=note)

    return [
        rate("http", "HTTP, 8 connections, 10 publishers"),
        rate("many", "HTTP, 8 connections, 100,000 publishers"),
        rate("http 32", "HTTP, 32 connections, 10 publishers"),
        rate("inline", "in-process, one commit each"),
        rate("1 caller", "in-process, one caller awaiting each"),
        rate("8 callers", "in-process, 8 callers share commits"),
        rate("32 callers", "in-process, 32 callers share commits"),
        rate("health", "HTTP without work (/-/health), 8 connections"),
        Row("HTTP c8 / one commit each", "", ratios(rates["http"], rates["inline"]), Target(1.0)),
        Row("HTTP c8 / 8 callers sharing", "", ratios(rates["http"], rates["8 callers"]), Target(0.5)),
        Row("HTTP c8 / 32 callers sharing", "", ratios(rates["http"], rates["32 callers"])),
        Row("HTTP c32 / 32 callers sharing", "", ratios(rates["http 32"], rates["32 callers"])),
        Row("100,000 publishers / 10", "", ratios(rates["many"], rates["http"]), Target(0.8)),
    ]
