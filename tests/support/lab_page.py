"""The page on the lab, played as it is written: its lab in the background, its blocks in a second shell.

Owns reading the blocks of `docs/lab.md` and starting the lab that the page starts, on ports of its own. Leaves which
blocks are played, with which programs, and what they must say, to the tests.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ports import free_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lab.md"
PORT = "8443"
PORTS = 5
MARK = "@@@ "
READY = "The lab is ready"
PLAY_SECONDS = 110.0
END_SECONDS = 30.0

_BLOCK = re.compile(
    r"<!-- test:begin (?P<name>[a-z]+)(?P<fails> fails)? -->\n```sh\n(?P<body>.*?)```\n<!-- test:end -->", re.DOTALL
)
_OUTPUT = re.compile(r"<!-- test:output (?P<name>[a-z]+) -->\n```text\n(?P<body>.*?)```\n<!-- test:end -->", re.DOTALL)


def blocks() -> dict[str, tuple[str, bool]]:
    """The marked shell blocks in their order: the text, and whether it must fail."""
    found = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return {name: (body, bool(fails)) for name, fails, body in found}


def outputs() -> dict[str, str]:
    """What the page shows of the output of a block."""
    return dict(_OUTPUT.findall(PAGE.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Played:
    """The page's lab, running. `environment` is that of both terminals."""

    folder: Path
    port: int
    environment: dict[str, str]

    def play(self, *names: str) -> dict[str, str]:
        """Run blocks in one shell, as a reader does; what each printed."""
        lines = ["exec 2>&1", "set -euo pipefail"]
        for name in names:
            body, fails = blocks()[name]
            lines.append(f"echo '{MARK}{name}'")
            lines.append(f"if (\n{body}\n); then echo 'this must fail'; exit 9; fi" if fails else body)
        done = subprocess.run(
            ["bash", "-c", self.ported("\n".join(lines))],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PLAY_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        parts = done.stdout.split(MARK)[1:]
        return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}

    def ported(self, text: str) -> str:
        """The page's text with the port that it has here."""
        return text.replace(PORT, str(self.port))


@contextmanager
def playing(folder: Path, *programs: Path) -> Iterator[Played]:
    """Start the page's lab, with these folders first on PATH; it must end by itself and leave nothing."""
    temporary = folder / "tmp"
    temporary.mkdir()
    played = Played(folder, free_ports(PORTS), _environment(folder, temporary, programs))
    words = shlex.split(played.ported(blocks()["start"][0]))
    with subprocess.Popen(words, cwd=folder, env=played.environment, stderr=subprocess.PIPE, text=True) as lab:
        assert lab.stderr is not None
        try:
            first = lab.stderr.readline()
            assert READY in first, first + lab.stderr.read()
            yield played
        finally:
            lab.terminate()
            # Its banner is short: the pipe holds it.
            code = lab.wait(END_SECONDS)
    assert code == 0
    assert list(temporary.iterdir()) == []


def _environment(folder: Path, temporary: Path, programs: tuple[Path, ...]) -> dict[str, str]:
    """What a reader's terminal has, without this machine's settings of clients."""
    home = folder / "home"
    home.mkdir()
    return {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "UV_NO_CONFIG": "1",
        "NO_COLOR": "1",
    }
