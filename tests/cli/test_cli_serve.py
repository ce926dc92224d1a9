"""`mintmark serve`: what it refuses to do, and that it stops when told to."""

from __future__ import annotations

import signal
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mintmark.core.providers import PROVIDERS
from support.command import Shell
from support.ports import free_port
from support.server import developing, listens, mintmark, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import Server

start_dev = contextmanager(developing)


@pytest.mark.parametrize(
    ("settings", "setting", "cure"),
    [
        ('base_url = "http://pkgs.example.com"', "base_url", "use https"),
        ('base_url = "https://pkgs.example.com"', "trusted_proxies", "tls_certificate and tls_key"),
        ('base_url = "http://localhost"\nlisten = "0.0.0.0:80"', "listen", "Listen on 127.0.0.1"),
        ('base_url = "http://localhost"\nunknown = 1', "unknown", "docs/settings.md"),
        ("", "base_url", "--dev"),
    ],
)
def test_unsafe_settings_are_refused_with_the_cure(shell: Shell, settings: str, setting: str, cure: str) -> None:
    shell.write("mintmark.toml", f'data_dir = "data"\n{settings}\n')
    done = shell("serve")
    assert (done.code, done.out) == (78, "")
    assert done.err.startswith(f"Misconfigured ({setting}): ")
    assert cure in done.err.partition("What to do: ")[2]
    assert not (shell.folder / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "setting", "word"),
    [
        (["--dev", "--listen", "0.0.0.0:1"], "listen", "this machine only"),
        (["--dev", "--listen", "[::]:1"], "listen", "this machine only"),
        (["--dev", "--listen", "example.com:1"], "listen", "this machine only"),
        (["--dev", "--listen", "x"], "listen", "no address and port"),
        (["--dev", "--listen", "127.0.0.1:5", "--port", "6"], "listen", "two ports"),
        (["--dev", "--port", "0"], "port", "no port with one behind it"),
        (["--dev", "--port", "65535"], "port", "no port with one behind it"),
        (["--dev", "--reuse-port"], "reuse-port", "one process"),
        (["--listen", "127.0.0.1:1"], "listen", "an option of --dev"),
        (["--port", "1"], "port", "an option of --dev"),
        (["--dir", "x"], "dir", "an option of --dev"),
    ],
)
def test_options_that_do_not_fit(shell: Shell, arguments: list[str], setting: str, word: str) -> None:
    done = shell("serve", *arguments)
    assert done.code == 78
    assert done.err.startswith(f"Misconfigured ({setting}): ")
    assert word in done.err
    assert not (shell.folder / "mintmark-dev").exists()


# Whose jobs can ask for our audience.
TRUSTED = len(PROVIDERS)


def test_a_development_index_is_not_served_for_real(shell: Shell) -> None:
    shell.write("lab.json", "{}")
    done = shell("serve")
    assert done.code == 78
    assert "made by `mintmark serve --dev`" in done.err


def test_the_folder_of_a_real_index_is_left_alone(shell: Shell) -> None:
    before = shell.config.read_bytes()
    done = shell("serve", "--dev", "--dir", str(shell.folder), "--port", str(free_port()))
    assert done.code == 78
    assert "--dir" in done.err
    assert shell.config.read_bytes() == before
    assert sorted(path.name for path in shell.folder.iterdir()) == ["mintmark.toml"]


def test_a_folder_that_cannot_be_made(shell: Shell) -> None:
    done = shell("serve", "--dev", "--dir", str(shell.folder / "no" / "such"), "--port", str(free_port()))
    assert done.code == 78
    assert "No such file or directory" in done.err


@pytest.mark.parametrize(("taken", "setting"), [(0, "listen"), (1, "port")])
def test_a_port_in_use_is_a_sentence(tmp_path: Path, taken: int, setting: str) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + taken))
        other.listen()
        done = mintmark("serve", "--dev", "--dir", "dev", "--port", str(port), folder=tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith(f"Misconfigured ({setting}): ")
    assert f"{port + taken}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "What to do: Stop what uses it, or choose another" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_index_serves_until_it_is_told_to_stop(tmp_path: Path, number: int) -> None:
    port = free_port()
    text = f'data_dir = "data"\nbase_url = "http://localhost:{port}"\nlisten = "127.0.0.1:{port}"\n'
    (tmp_path / "mintmark.toml").write_text(text)
    with serving(tmp_path, "serve", port=port, ready="Mintmark serves") as server:
        assert f"Mintmark serves http://localhost:{port} (listening on 127.0.0.1:{port})." in server.log
        assert listens(port)
        code, rest = server.stop(number)
    assert (code, "Traceback" in rest) == (0, False)
    assert not listens(port)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o007 == 0


def test_several_processes_share_a_port_when_asked(tmp_path: Path) -> None:
    port = free_port()
    text = f'data_dir = "data"\nbase_url = "http://localhost:{port}"\nlisten = "127.0.0.1:{port}"\n'
    (tmp_path / "mintmark.toml").write_text(text)
    with (
        serving(tmp_path, "serve", "--reuse-port", port=port, ready="Mintmark serves") as one,
        serving(tmp_path, "serve", "--reuse-port", port=port, ready="Mintmark serves") as two,
    ):
        assert one.stop()[0] == 0
        assert listens(port)
        assert two.stop()[0] == 0
    assert not listens(port)


def issuers(server: Server) -> Iterator[str]:
    listed = server.run("issuer", "list", "demo")
    assert listed.returncode == 0, listed.stderr
    yield from (line.split("\t")[3] for line in listed.stdout.splitlines()[1:])


def test_a_development_index_moves_to_another_port_with_its_publishers(tmp_path: Path) -> None:
    """The simulated providers move along; a token of theirs must not come from an unknown issuer."""
    first = free_port()
    with start_dev(tmp_path, first) as server:
        added = server.run(
            *("publisher", "add", "demo", "hello", "--issuer", "gitlab"),
            *("project-path=group/subgroup/project", "workflow=.gitlab-ci.yml"),
        )
        assert added.returncode == 0, added.stderr
        assert all(f":{first + 1}/" in url for url in issuers(server))
        assert server.stop()[0] == 0
    second = free_port()
    assert second != first
    with start_dev(tmp_path, second) as server:
        assert all(f":{second + 1}/" in url for url in issuers(server))
        token = server.run("lab", "token", "--ci", "gitlab").stdout.strip()
        status, body = server.fetch("/_/oidc/mint-token", {"token": token})
        assert status == 200, body
        assert server.stop()[0] == 0


def test_a_restart_trusts_every_simulated_provider_and_leaves_others_alone(tmp_path: Path) -> None:
    port = free_port()
    own = "https://gitlab.example.com"
    with start_dev(tmp_path, port) as server:
        assert len(list(issuers(server))) == TRUSTED
        for arguments in (
            ("remove", "demo", "circleci"),
            ("remove", "demo", "buildkite"),
            ("add", "demo", "buildkite", "--provider", "gitlab", "--url", own, "--projects", "*"),
        ):
            done = server.run("issuer", *arguments)
            assert done.returncode == 0, done.stderr
        assert server.stop()[0] == 0
    with start_dev(tmp_path, free_port()) as server:
        urls = list(issuers(server))
        assert len(urls) == TRUSTED
        assert own in urls
        assert sum(url.endswith("/circleci") for url in urls) == 1
        assert not any(url.endswith("/buildkite") for url in urls)
        assert server.stop()[0] == 0
