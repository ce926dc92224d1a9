"""The command line inside the test's own process: exit code, standard output and standard error of one command."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mintmark.cli.main import run

BASE_URL = "http://localhost:8080"


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Somebody at a terminal, or rather a script: nothing is a terminal here."""

    folder: Path
    variables: dict[str, str | None] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "mintmark.toml"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *arguments: str, answer: str = "") -> Done:
        """Run a command and answer its questions."""
        environment = {"MINTMARK_CONFIG": str(self.config), **self.variables}
        with CliRunner().isolation(input=answer, env=environment) as (out, err, _):
            try:
                run(arguments)
            except SystemExit as stop:
                code = stop.code
        assert isinstance(code, int)
        return Done(code, out.getvalue().decode(), err.getvalue().decode())

    def ok(self, *arguments: str, answer: str = "") -> Done:
        """Run a command that must succeed."""
        done = self(*arguments, answer=answer)
        assert done.code == 0, done
        return done


def shell_in(folder: Path) -> Shell:
    """A shell with settings for an index in this folder."""
    shell = Shell(folder)
    shell.write("mintmark.toml", f'data_dir = "data"\nbase_url = "{BASE_URL}"\n')
    return shell
