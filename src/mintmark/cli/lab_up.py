"""`mintmark lab up`: an index, the CI systems around it, and the hosts they believe to talk to."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mintmark.core.errors import Misconfigured, Rejected

if TYPE_CHECKING:
    from mintmark.assemble_lab import Running, Wishes
    from mintmark.lab.signer import Signer

TOKEN_MAX_BYTES = 64 * 1024
# Of a terminal.
WIDTH = 80
_MARGIN = " " * 14


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExamples:\n  mintmark lab up\n  mintmark lab up --impersonate testpypi --mirror wheels/\n"
    "  mintmark lab up --json -- pytest tests/publish\n"
    "\b\nExit codes:\n  0   stopped, or that of COMMAND (126, 127: it could not be run)\n"
    "  2   something asked for cannot be played; 78  no port, no folder",
)
@click.option("--port", default=0, type=click.IntRange(0, 65531), help="The first of five ports. Default: free ones.")
@click.option(
    "--impersonate",
    "impersonate",
    multiple=True,
    metavar="HOST[/PATH][=REGISTRY]",
    help="Play the index on this host, for commands inside the lab. `pypi` and `testpypi` are known by name.",
)
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of wheels and source distributions that the played index has, such as build backends.",
)
@click.option(
    "--pass-through", multiple=True, metavar="HOST", help="Let commands reach this real host. Default: none at all."
)
@click.option(
    "--known-token",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with an API token that a script has built in; the played indexes take it.",
)
@click.option("--until-eof", is_flag=True, help="Also end when standard input is closed.")
@click.option("--json", "as_json", is_flag=True, help="When ready, print one line of JSON on standard output.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def up(
    ctx: click.Context,
    port: int,
    impersonate: tuple[str, ...],
    mirror: Path | None,
    pass_through: tuple[str, ...],
    known_token: Path | None,
    until_eof: bool,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Start a lab, and stop it with Ctrl-C; or run COMMAND in it, and stop when that ends.

    An index, a dozen CI systems, TLS, a proxy, a journal and fault switches, on this machine only and in one temporary
    directory that goes with it. Other commands find it by themselves.
    """
    from mintmark.cli.lab import check_command

    check_command(command)
    if until_eof and command:
        raise click.UsageError("--until-eof is for a lab without COMMAND, which reads standard input itself.")
    from mintmark.lab.hosts import BadHost, parse_impersonations

    try:
        impersonations = tuple(parse_impersonations(impersonate))
    except BadHost as error:
        raise Rejected("invalid-request", str(error)) from None
    token = _token_in(known_token)
    from mintmark.lab.places import LAB_PLACES
    from mintmark.lab.signer import prepared

    # Making keys takes a second of another core, and importing the rest one of this.
    signers = prepared(place.name for place in LAB_PLACES)
    from mintmark.assemble_lab import Wishes

    wishes = Wishes(port, impersonations, mirror, pass_through, token)
    ctx.exit(_run(lambda: _live(wishes, signers, command, as_json=as_json, until_eof=until_eof)))


def _token_in(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_bytes()[: TOKEN_MAX_BYTES + 1].decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or len(text) > TOKEN_MAX_BYTES or not text.isprintable():
        raise Misconfigured("known-token", f"{path} holds no token.", "Write the token alone into it.")
    return text


def _run(main: Callable[[], Any]) -> int:
    from mintmark.logs import configure

    # What goes wrong is in the journal; the terminal belongs to whoever tests.
    configure("text", quiet=True)
    with asyncio.Runner() as runner:
        code: int = runner.run(main())
    return code


async def _live(
    wishes: Wishes, signers: Mapping[str, Signer], command: Sequence[str], *, as_json: bool, until_eof: bool
) -> int:
    from mintmark.assemble_lab import print_facts, running_lab
    from mintmark.lab.child import EXIT_SIGNAL_BASE

    began = time.monotonic()
    told = _told_to_end()
    async with AsyncExitStack() as last_first:
        lab = await _started(last_first, running_lab(wishes, signers), told)
        if lab is None:
            return EXIT_SIGNAL_BASE + told.get_nowait() if command else 0
        if as_json:
            click.echo(print_facts(lab.facts))
            sys.stdout.flush()
        elif not command:
            click.echo(_banner(lab, time.monotonic() - began), err=True)
        ending = asyncio.create_task(_pass_on(lab.stop, told))
        last_first.callback(ending.cancel)
        if command:
            return await _child(command, lab, told)
        if until_eof:
            _tell_end_of_input(told)
        await told.get()
        return 0


def _told_to_end() -> asyncio.Queue[int]:
    """The signals that end a lab, as they come; a closed terminal is one of them."""
    from mintmark.lab.child import endings

    told: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in endings():
        loop.add_signal_handler(number, told.put_nowait, number)
    return told


async def _started(
    last_first: AsyncExitStack, lab: AbstractAsyncContextManager[Running], told: asyncio.Queue[int]
) -> Running | None:
    """The lab, for as long as the stack lives; None when a signal came first, which is left in the queue."""
    starting = asyncio.create_task(last_first.enter_async_context(lab))
    signalled = asyncio.create_task(told.get())
    await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
    if not signalled.cancel():
        told.put_nowait(signalled.result())
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        return None
    return await starting


async def _pass_on(stop: asyncio.Event, told: asyncio.Queue[int]) -> None:
    """`mintmark lab down` is like being told to end."""
    await stop.wait()
    told.put_nowait(signal.SIGTERM)


def _tell_end_of_input(told: asyncio.Queue[int]) -> None:
    """Reads in a thread: whatever standard input is, and without changing how others that have it read it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):
            while os.read(0, 2**16):
                pass
        # The lab may have ended for another reason.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(told.put_nowait, signal.SIGTERM)

    if sys.stdin is None:  # it was closed already, and its number may be in use for something else
        told.put_nowait(signal.SIGTERM)
        return
    threading.Thread(target=read, name="mintmark-lab-input", daemon=True).start()


async def _child(command: Sequence[str], lab: Running, told: asyncio.Queue[int]) -> int:
    """Run the command beside the lab; its exit code."""
    from mintmark.lab.child import END_SECONDS, NotStarted, exit_code, not_started

    facts: Any = lab.facts
    try:
        child = await asyncio.create_subprocess_exec(*command, env={**os.environ, **facts["environment"]})
    except OSError as error:
        refused: NotStarted = not_started(command[0], error)
        click.echo(refused.sentence, err=True)
        return refused.exit_code
    ended = asyncio.create_task(child.wait())
    while not ended.done():
        signalled = asyncio.create_task(told.get())
        await asyncio.wait({ended, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if signalled.cancel() or ended.done() or signalled.result() == signal.SIGINT:
            # Ctrl-C has reached the command from the terminal already.
            continue
        with suppress(ProcessLookupError):
            child.send_signal(signalled.result())
        await asyncio.wait({ended}, timeout=END_SECONDS)
        if not ended.done():
            with suppress(ProcessLookupError):
                child.kill()
    return exit_code(ended.result())


def _banner(lab: Running, seconds: float) -> str:
    facts: Any = lab.facts
    index = facts["index"]
    plays = [f"  plays       {each['upload_url']} (registry {each['registry']})" for each in facts["impersonated"]]
    plays += [f"  mirror      {lab.mirrored} files"] if lab.mirrored else []
    swept = [f"  removed     what a killed lab left: {path}" for path in lab.swept]
    places = textwrap.wrap(", ".join(facts["places"]), WIDTH - len(_MARGIN), break_on_hyphens=False)
    lines = (
        f"The lab is ready after {seconds:.1f} s, on this machine only. It trusts whoever asks.",
        "",
        f"  upload to   {index['upload_url']}",
        f"  install     {index['simple_url']}",
        f"  no TLS      {index['plain_upload_url']}",
        *plays,
        f"  proxy       {facts['proxy']}",
        f"  CA          {facts['ca']}",
        f"  CI systems  {f'{chr(10)}{_MARGIN}'.join(places)}",
        *swept,
        "",
        "In another terminal:",
        "",
        *(f"  export {name}={shlex.quote(value)}" for name, value in facts["environment"].items()),
        "  mintmark lab publisher hello --ci gitlab    # trust who the next line is",
        "  mintmark lab run --ci gitlab -- \\",
        f"      uv publish --publish-url {index['upload_url']} dist/*",
        "  mintmark lab journal                        # what was asked and answered",
        "",
        "Ctrl-C stops it, and removes everything.",
    )
    return "\n".join(lines)
