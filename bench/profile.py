"""Where the time goes: `python -m bench profile mint|page|private|upload`.

Runs the index in this process under cProfile, with wrk as its client, and prints the functions that cost most: first
those of the event loop's thread, then those of the other threads. The profiler itself makes calls look two or three
times as expensive as they are, most of all short ones; compare, do not add.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import pstats
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from bench import load, pages, seed, tokens, uploads
from bench.load import Result
from bench.server import settings_of
from bench.session import Session, missing, opened
from mintmark.assemble import Index
from mintmark.lab.signer import Signer
from mintmark.logs import configure
from mintmark.web.server import listening

_SHOWN = 35
_MINTS, _UPLOADS = 10_000, 4000


@dataclass
class _Case:
    """An index to profile and the requests it gets."""

    home: Path
    requests: Path
    again: bool


@dataclass
class _Profiles:
    """A profile of the event loop's thread and one of each other thread."""

    loop: cProfile.Profile = field(default_factory=cProfile.Profile)
    others: list[cProfile.Profile] = field(default_factory=list)

    def begin_thread(self, _frame: FrameType, _event: str, _argument: Any) -> None:
        """Called with the first event of each new thread: the profile takes over from there."""
        profile = cProfile.Profile()
        self.others.append(profile)
        profile.enable()


def _mint(session: Session) -> _Case:
    signer = Signer(kid="bench")
    home = session.folder / "mint"
    seed.create(home, lambda index: seed.publishers(index, signer.jwks(), 10))
    (made,) = tokens.sign(session.fresh("tokens"), signer, slices=1, count=_MINTS, publishers=10)
    return _Case(home, made.requests, again=False)


def _page(session: Session) -> _Case:
    return _pages(session, private=False)


def _private(session: Session) -> _Case:
    return _pages(session, private=True)


def _pages(session: Session, *, private: bool) -> _Case:
    async def fill(index: Index) -> tuple[str, list[str]]:
        names = await seed.pages(index, seed.REGISTRY, private=private, projects=pages.PROJECTS, files=pages.FILES)
        return await seed.token(index), names

    home = session.folder / "page"
    secret, names = seed.create(home, fill)
    headers = {"Accept": pages.ACCEPT, "Accept_Encoding": "gzip"} | (
        {"Authorization": load.basic(secret)} if private else {}
    )
    path = session.folder / "page.requests"
    load.write_requests(path, (load.get(f"/{seed.REGISTRY}/simple/{name}/", **headers) for name in names))
    return _Case(home, path, again=True)


def _upload(session: Session) -> _Case:
    home = session.folder / "upload"
    secret = seed.create(home, uploads.fill)
    path = session.folder / "upload.requests"
    uploads.write_uploads(path, secret, _UPLOADS, projects=uploads.PROJECTS)
    return _Case(home, path, again=False)


CASES: dict[str, Callable[[Session], _Case]] = {
    "mint": _mint,
    "page": _page,
    "private": _private,
    "upload": _upload,
}


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser("python -m bench profile")
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--by", choices=("tottime", "cumulative"), default="tottime")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="Keep the profiles for pstats or snakeviz.")
    options = parser.parse_args(arguments)
    if missing(["wrk"]):
        print("wrk not found")
        return 1
    with opened(quick=True, huge=False) as session:
        case = CASES[options.case](session)
        profiles = _Profiles()
        result = _profiled(case, profiles, options.connections, options.seconds, session.folder / "log")
        print(f"{result.requests} requests, {result.rate:,.0f}/s under the profiler, {result.cpu_us:.0f} us CPU each")
        _report("event loop", [profiles.loop], result.requests, options.by, options.save)
        _report("other threads", profiles.others, result.requests, options.by, options.save)
    return 0


def _profiled(case: _Case, profiles: _Profiles, connections: int, seconds: int, log: Path) -> Result:
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory
    with (
        open(log, "w") as errors,
        contextlib.redirect_stderr(errors),
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        configure("json")
        return runner.run(_serve(case, profiles, connections, seconds))


async def _serve(case: _Case, profiles: _Profiles, connections: int, seconds: int) -> Result:
    async with _index(case.home) as url:
        # wrk is waited for in a thread that was made before, and is not profiled.
        wrk = asyncio.get_running_loop().run_in_executor(
            None,
            lambda: load.run(
                url, case.requests, seconds, connections=connections, server_pid=os.getpid(), again=case.again
            ),
        )
        threading.setprofile(profiles.begin_thread)
        profiles.loop.enable()
        try:
            return await wrk
        finally:
            profiles.loop.disable()
            threading.setprofile(None)


@asynccontextmanager
async def _index(home: Path) -> AsyncIterator[str]:
    index = Index(settings_of(home))
    try:
        async with listening(index.application(), index.settings) as port:
            yield f"http://127.0.0.1:{port}"
    finally:
        await index.close()


def _report(title: str, found: list[cProfile.Profile], requests: int, by: str, save: Path | None) -> None:
    if not found:
        return
    stats = pstats.Stats(*found, stream=sys.stdout)
    total: float = getattr(stats, "total_tt", 0.0)
    print(f"\n== {title}: {total / requests * 1e6:.0f} us a request under the profiler, by {by} ==")
    stats.strip_dirs().sort_stats(by).print_stats(_SHOWN)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        stats.dump_stats(save / f"{title.replace(' ', '-')}.prof")
