"""A command as a child process: its signals and its exit code, as a shell has them.

Owns that the child gets the signals that were meant for it, that it is gone before whoever started it cleans up, and
the folder for its secrets, which no signal leaves behind. Leaves what is in that folder to `lab.remote`.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

# As shells have them.
EXIT_NOT_RUNNABLE, EXIT_NOT_FOUND, EXIT_SIGNAL_BASE = 126, 127, 128
# A child that was told to end and does not is killed.
END_SECONDS = 10.0


def endings() -> tuple[signal.Signals, ...]:
    """The signals that end a command. Under `nohup`, a closed terminal is none of them."""
    hang_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hang_up)


class NotStarted(Exception):
    """The command cannot be run. `sentence` says why, `exit_code` is the shell's for it."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.exit_code = exit_code


def not_started(command: str, error: OSError) -> NotStarted:
    """What a failed start means."""
    if isinstance(error, FileNotFoundError):
        return NotStarted(f"There is no command {command!r} on PATH. Install it, or give its path.", EXIT_NOT_FOUND)
    return NotStarted(f"{command!r} cannot be run: {error.strerror}.", EXIT_NOT_RUNNABLE)


def exit_code(returned: int) -> int:
    """A process's return code, as a shell gives it."""
    return returned if returned >= 0 else EXIT_SIGNAL_BASE - returned


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; its exit code. Raises `NotStarted`.

    Ctrl-C reaches the child from the terminal, as it belongs to the same group; being told to end is passed on.
    """
    ended: list[int] = []
    started: list[subprocess.Popen[bytes]] = []
    killers: list[threading.Timer] = []

    def pass_on(number: int, _frame: FrameType | None = None) -> None:
        ended.append(number)
        for child in started:
            child.send_signal(number)
            killer = threading.Timer(END_SECONDS, child.kill)
            killers.append(killer)
            killer.daemon = True
            killer.start()

    # A handler, and not SIG_IGN, which the child would inherit.
    handlers = {number: _ignore if number == signal.SIGINT else pass_on for number in endings()}
    with _handling(handlers):
        try:
            child = subprocess.Popen(command, env=dict(environment))  # noqa: S603 - that is what it is for
        except OSError as error:
            raise not_started(command[0], error) from None
        started.append(child)
        if ended:
            pass_on(ended[0])
        try:
            return exit_code(child.wait())
        finally:
            for killer in killers:
                killer.cancel()
                killer.join()


@contextmanager
def private_folder(prefix: str, parent: Path | None) -> Iterator[Path]:
    """A folder for secrets. It goes at the end, also when that is a signal."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(EXIT_SIGNAL_BASE + number)

    with _handling({number: end for number in endings() if number != signal.SIGINT}):
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=parent)
        try:
            yield Path(folder.name)
        finally:
            # A second signal waits until everything is gone.
            former = signal.pthread_sigmask(signal.SIG_BLOCK, endings())
            try:
                folder.cleanup()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """The default handler of Ctrl-C would end the parent first."""


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
