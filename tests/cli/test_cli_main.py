"""The command as a whole: help, exit codes, and what is never printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mintmark import __version__
from mintmark.cli.main import COMMANDS, EXIT_BUG, EXIT_MISCONFIGURED, EXIT_REJECTED, EXIT_UNAVAILABLE, main, run
from mintmark.core.errors import Unavailable
from support.command import Done, Shell, shell_in


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    ctx = click.Context(main)
    for name in main.list_commands(ctx):
        found = main.get_command(ctx, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from ((f"{name} {inner}", command) for inner, command in found.commands.items())
        else:
            yield name, found


EVERY = dict(commands())


@pytest.mark.parametrize("name", EVERY)
def test_every_command_says_what_it_does_with_an_example(shell: Shell, name: str) -> None:
    done = shell.ok(*name.split(), "--help")
    assert done.out == shell.ok(*name.split(), "-h").out
    assert re.search(r"^  Examples?:\n    mintmark ", done.out, re.MULTILINE)
    example = done.out.partition("Example")[2]
    assert f"mintmark {name.partition(' ')[0]}" in example or f" {name}" in example
    help_text = EVERY[name].help
    assert help_text
    assert help_text.split("\n")[0].endswith((".", ":", "by"))
    for parameter in EVERY[name].params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("group", sorted({name.partition(" ")[0] for name in EVERY if " " in name}))
def test_every_group_lists_its_commands(shell: Shell, group: str) -> None:
    done = shell.ok(group, "--help")
    for name in EVERY:
        if name.startswith(group + " "):
            assert re.search(rf"^  {name.partition(' ')[2]} +\S", done.out, re.MULTILINE)


def test_the_overview(shell: Shell) -> None:
    done = shell.ok("--help")
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", done.out, re.MULTILINE)
    for code in (0, EXIT_REJECTED, EXIT_BUG, EXIT_UNAVAILABLE, EXIT_MISCONFIGURED):
        assert re.search(rf"^    {code} +\w", done.out, re.MULTILINE)
    assert "mintmark serve --dev" in done.out


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from mintmark.cli.main import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'sqlalchemy', 'msgspec', 'joserfc', 'cryptography', 'rich'} & sys.modules.keys()\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_version(shell: Shell) -> None:
    assert shell.ok("--version").out == f"mintmark, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["registry", "nonsense"], "No such command"),
        (["registry", "create"], "Missing argument 'NAME'"),
        (["--nonsense"], "No such option"),
        (["audit", "--limit", "0"], "0 is not in the range"),
        (["token", "revoke", "acme", "x"], "not a valid integer"),
        (["lab", "run", "--ci", "gitea", "--", "true"], "'gitea' is not one of"),
    ],
)
def test_usage_mistakes_exit_2(shell: Shell, arguments: list[str], message: str) -> None:
    done = shell(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "--help" in done.err


def test_refusals_exit_2_with_a_sentence(shell: Shell) -> None:
    done = shell("registry", "show", "nothing")
    assert (done.code, done.out) == (EXIT_REJECTED, "")
    assert done.err == (
        "Refused (invalid-trust): There is no registry 'nothing'. Create one with `mintmark registry create NAME`.\n"
    )


def test_settings_exit_78_with_the_cure(shell: Shell) -> None:
    shell.write("mintmark.toml", 'data_dir = "data"\nbase_url = "http://pkgs.example.com"\n')
    done = shell("registry", "list")
    assert (done.code, done.out) == (EXIT_MISCONFIGURED, "")
    assert done.err.startswith("Misconfigured (base_url): It is not https.\nWhat to do: ")
    missing = shell("--config", "nothing.toml", "registry", "list")
    assert missing.code == EXIT_MISCONFIGURED
    assert "nothing.toml cannot be read" in missing.err


def test_a_folder_of_something_else_is_no_data_directory(shell: Shell) -> None:
    (shell.folder / "data").mkdir()
    (shell.folder / "data" / "photo.jpg").touch()
    done = shell("registry", "list")
    assert done.code == EXIT_MISCONFIGURED
    assert "holds other files" in done.err


@click.command()
@click.argument("kind")
def failing(kind: str) -> None:
    """A command that fails in a given way."""
    failures: dict[str, BaseException] = {
        "unavailable": Unavailable("The ledger cannot be written right now.", private="sqlite: locked"),
        "package": ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp"),
        "module": ModuleNotFoundError("No module named 'mintmark.gone'", name="mintmark.gone"),
        "interrupt": KeyboardInterrupt(),
        "bug": ZeroDivisionError("division by zero"),
    }
    raise failures[kind]


def fail(kind: str) -> Done:
    with CliRunner().isolation() as (out, err, _), pytest.raises(SystemExit) as stop:
        run([kind], failing)
    assert isinstance(stop.value.code, int)
    return Done(stop.value.code, out.getvalue().decode(), err.getvalue().decode())


def test_what_may_work_later_exits_75() -> None:
    done = fail("unavailable")
    assert done == Done(EXIT_UNAVAILABLE, "", "Unavailable: The ledger cannot be written right now. Try again later.\n")


def test_a_missing_package_is_told_with_the_command_that_installs_it() -> None:
    done = fail("package")
    assert done.code == EXIT_MISCONFIGURED
    assert "pip install 'mintmark[server]'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("kind", "what"), [("bug", "ZeroDivisionError: division by zero"), ("module", "mintmark.gone")]
)
def test_bugs_exit_70_with_a_traceback_and_an_incident(kind: str, what: str) -> None:
    done = fail(kind)
    assert (done.code, done.out) == (EXIT_BUG, "")
    assert done.err.startswith("Traceback (most recent call last):\n")
    assert what in done.err
    last = done.err.splitlines()[-1]
    assert re.fullmatch(r"This is a bug in Mintmark \(incident [0-9a-f]{8}\)\. Please report it .*", last)
    assert fail(kind).err.splitlines()[-1] != last


def test_an_interrupt_is_no_bug() -> None:
    assert fail("interrupt") == Done(130, "", "\nStopped.\n")


# -- a real process ---------------------------------------------------------------------------------------------------


def process(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "MINTMARK_CONFIG": str(folder / "mintmark.toml"), **variables}
    command = [sys.executable, "-m", "mintmark", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_process_prints_no_colour_into_a_pipe(tmp_path: Path) -> None:
    shell_in(tmp_path)
    plan = "[registry.acme]\n[registry.old]\n"
    (tmp_path / "trust.toml").write_text(plan)
    for variables in ({}, {"TERM": "xterm-256color", "COLORTERM": "truecolor"}):
        for arguments in (
            ["apply", "trust.toml", "--yes"],
            ["registry", "list"],
            ["--help"],
            ["registry", "show", "x"],
        ):
            done = process(tmp_path, *arguments, **variables)
            assert "\x1b" not in done.stdout + done.stderr
            assert not re.search("[\u2500-\u257f]", done.stdout)
    assert process(tmp_path, "registry", "list").stdout.splitlines()[1].split("\t")[0] == "acme"


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    shell_in(tmp_path).ok("registry", "create", "acme", "--title", "[red]:smile:")
    ours, theirs = os.openpty()
    environment = {"PATH": os.environ["PATH"], "MINTMARK_CONFIG": str(tmp_path / "mintmark.toml"), "TERM": "dumb"}
    command = [sys.executable, "-m", "mintmark", "registry", "list"]
    try:
        subprocess.run(command, env=environment | {"COLUMNS": "100"}, stdout=theirs, check=True, timeout=60)
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "\u2500" in shown
    assert "\t" not in shown
    assert re.search(r"acme +private +mintmark_localhost_acme +0 +0", shown)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["nonsense"], 2), (["registry", "show", "x"], 2), (["--config", "no.toml", "audit"], 78)],
)
def test_a_process_exits_with_the_documented_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    shell_in(tmp_path)
    assert process(tmp_path, *arguments).returncode == code


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    shell_in(tmp_path)
    command = f"{sys.executable} -m mintmark audit --help | true"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
