"""`mintmark serve --dev` and the commands beside it, as processes."""

from __future__ import annotations

import json
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest

from mintmark.core import jwt
from mintmark.core.providers import BY_SLUG
from support.command import Shell
from support.ports import free_port
from support.server import Server, developing, listens

PRINT = "import os, sys; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items())); sys.exit(7)"


@pytest.fixture(autouse=True)
def no_other_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labs that run on this machine are not those of these tests."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MINTMARK_LAB", raising=False)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One development index for the tests of this file; it must stop cleanly after all of them."""
    for server in developing(tmp_path_factory.mktemp("dev"), free_port()):
        yield server
        code, rest = server.stop()
        assert (code, "Traceback" in rest) == (0, False), rest
        assert not listens(server.port)
        assert not listens(server.port + 1)


def variables_of(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_it_answers_over_tls_with_its_own_ca(dev: Server) -> None:
    assert dev.fetch("/-/health")[0] == 200
    assert dev.fetch("/demo/simple/")[0] == 401
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=ssl.create_default_context()))
    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
        opener.open(f"https://localhost:{dev.port}/-/health", timeout=10)


def test_the_banner_says_what_it_is_and_how_to_go_on(dev: Server) -> None:
    for text in (
        f"DEVELOPMENT INDEX: https://localhost:{dev.port}",
        "Never put real packages here",
        f"export MINTMARK_CONFIG={dev.folder}/dev/mintmark.toml",
        f"export SSL_CERT_FILE={dev.ca} REQUESTS_CA_BUNDLE={dev.ca}",
        "mintmark publisher add demo hello --issuer gitlab",
        "mintmark lab run --ci gitlab -- uv publish",
    ):
        assert text in dev.log
    assert "\x1b" not in dev.log


def test_its_secrets_are_its_owners(dev: Server) -> None:
    folder = dev.folder / "dev"
    secret = json.loads((folder / "lab.json").read_text())["secret"]
    assert secret not in dev.log
    for path in (folder, folder / "lab.json", folder / "tls", *folder.glob("tls/*-key.pem")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_it_is_not_served_without_dev(dev: Server) -> None:
    done = dev.run("serve")
    assert done.returncode == 78
    assert "made by `mintmark serve --dev`" in done.stderr


def test_a_second_one_on_the_same_port_says_so(dev: Server) -> None:
    done = dev.run("serve", "--dev", "--dir", "dev", "--port", str(dev.port))
    assert done.returncode == 78
    assert f"Port {dev.port + 1}, for the simulated identity providers, cannot be listened on" in done.stderr


@pytest.mark.parametrize(
    ("ci", "other"),
    [
        ("github", "repository=octo-org/other"),
        ("gitlab", "project-path=group/other"),
        ("buildkite", "organization=other"),
        ("circleci", "project-id=00000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_token_is_minted_from(dev: Server, ci: str, other: str) -> None:
    """The manual way: a publisher, a token, the exchange."""
    fields = [f"{field.name}={field.example}" for field in BY_SLUG[ci].fields if field.required]
    added = dev.run("publisher", "add", "demo", f"hello-{ci}", "--issuer", ci, *fields)
    assert added.returncode == 0, added.stderr
    done = dev.run("lab", "token", "--ci", ci)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.read(done.stdout.strip()).claims
    assert (claims["aud"], claims["iss"].startswith(f"https://localhost:{dev.port + 1}/{ci}")) == (
        "mintmark_localhost",
        True,
    )
    status, body = dev.fetch("/_/oidc/mint-token", {"token": done.stdout.strip()})
    assert status == 200, body
    assert json.loads(body)["scope"]["projects"] == [f"hello-{ci}"]
    # Another project of the same CI system is nobody.
    stranger = dev.run("lab", "token", "--ci", ci, "--field", other).stdout.strip()
    assert dev.fetch("/_/oidc/mint-token", {"token": stranger})[0] == 422


def test_tokens_as_ordered(dev: Server) -> None:
    done = dev.run(
        *("lab", "token", "--ci", "gitlab", "--audience", "mintmark_localhost_demo", "--ref", "refs/tags/v1"),
        *("--field", "project-path=team/x", "--claim", "user_login=eve"),
    )
    claims = jwt.read(done.stdout.strip()).claims
    assert claims["aud"] == "mintmark_localhost_demo"
    assert (claims["project_path"], claims["user_login"], claims["ref_path"]) == ("team/x", "eve", "refs/tags/v1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--field", "color=red"], "no field 'color'"),
        (["--field", "project-path"], "no NAME=VALUE"),
        (["--claim", "=x"], "no NAME=VALUE"),
        (["--ref", "main"], "refs/heads/"),
    ],
)
@pytest.mark.parametrize("command", [["token"], ["run"]])
def test_mistakes_in_an_order(dev: Server, command: list[str], arguments: list[str], message: str) -> None:
    tail = ["--", "true"] if command == ["run"] else []
    done = dev.run("lab", *command, "--ci", "gitlab", *arguments, *tail)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--claim", "user_logn=eve"], "Use one of user_login"),
        (["--claim", "nonsense=1"], "or add --any-claim"),
        (["--claim", "exp:=soon"], "is no NAME:=JSON"),
        (["--claim", "exp:=" + "[" * 100_000], "is no NAME:=JSON"),
        (["--claim", "exp:=NaN"], "The body is not a JSON object"),
        (["--claim", "exp=1", "--claim", "exp:=2"], "comes twice"),
        (["--claim", ":=1"], "names no claim"),
        (["--audience", ""], "audience must be a string of 1 to 1000 characters"),
        (["--field", "workflow=\udcff"], "is no value for workflow"),
        (["--ci", "gitlb"], "'gitlb' is not one of 'github'"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value)[:40].encode("ascii", "replace").decode(),
)
def test_more_mistakes_in_an_order(dev: Server, arguments: list[str], message: str) -> None:
    """Both commands read them in the same way."""
    done = dev.run("lab", "token", "--ci", "gitlab", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_sees_the_simulated_job_and_nothing_of_the_real_one(dev: Server) -> None:
    real = {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://real.example", "BUILDKITE": "true"}
    done = dev.run("lab", "run", "--ci", "gitlab", "--", sys.executable, "-c", PRINT, **real, no_proxy="x", KEPT="yes")
    assert (done.returncode, done.stderr) == (7, "")
    seen = variables_of(done.stdout)
    assert seen.keys() & real.keys() == set()
    assert (seen["GITLAB_CI"], seen["KEPT"]) == ("true", "yes")
    assert jwt.read(seen["MINTMARK_LOCALHOST_ID_TOKEN"]).claims["aud"] == "mintmark_localhost"
    assert seen["SSL_CERT_FILE"] == seen["REQUESTS_CA_BUNDLE"] == seen["PIP_CERT"] == str(dev.ca)
    assert "localhost" in seen["NO_PROXY"]
    assert "localhost" in seen["no_proxy"]


def test_claims_as_ordered(dev: Server) -> None:
    claims = (
        *("--claim", "exp:=7", "--claim", "sub:=null", "--claim", "pipeline_id:=[1]", "--claim", "user_login=eve"),
        *("--claim", "color=red", "--any-claim"),
    )
    done = dev.run("lab", "token", "--ci", "gitlab", *claims)
    assert done.returncode == 0, done.stderr
    seen = jwt.read(done.stdout.strip()).claims
    assert (seen["exp"], seen["pipeline_id"], seen["user_login"], seen["color"]) == (7, [1], "eve", "red")
    assert "sub" not in seen


def test_several_audiences(dev: Server) -> None:
    audiences = ("--audience", "one", "--audience", "two", "--audience", "one")
    done = dev.run("lab", "run", "--ci", "gitlab", *audiences, "--", sys.executable, "-c", PRINT)
    tokens = {name: value for name, value in variables_of(done.stdout).items() if name.endswith("_ID_TOKEN")}
    assert {name: jwt.read(token).claims["aud"] for name, token in tokens.items()} == {
        "ONE_ID_TOKEN": "one",
        "TWO_ID_TOKEN": "two",
    }


@pytest.mark.parametrize(("ci", "command"), [("buildkite", "buildkite-agent"), ("circleci", "circleci")])
def test_a_job_has_its_command_on_the_path_as_long_as_it_runs(dev: Server, ci: str, command: str) -> None:
    where = f"import shutil; print(shutil.which({command!r}))"
    done = dev.run("lab", "run", "--ci", ci, "--", sys.executable, "-c", where)
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.strip())
    assert path.name == command
    assert not path.parent.exists()
    asked = dev.run("lab", "run", "--ci", ci, "--", sys.executable, "-m", "id", "mintmark_localhost")
    assert asked.returncode == 0, asked.stderr
    claims = jwt.read(asked.stdout.strip()).claims
    assert (claims["aud"], claims["iss"]) == ("mintmark_localhost", f"https://localhost:{dev.port + 1}/{ci}")


def test_a_github_job_asks_for_its_token_itself(dev: Server) -> None:
    done = dev.run("lab", "run", "--ci", "github", "--", sys.executable, "-c", PRINT)
    seen = variables_of(done.stdout)
    assert seen["GITHUB_ACTIONS"] == "true"
    assert seen["ACTIONS_ID_TOKEN_REQUEST_URL"].startswith(f"https://localhost:{dev.port + 1}/")
    assert seen["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    assert not any(name.endswith("_ID_TOKEN") for name in seen)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -TERM $$"], 128 + 15, ""),
        (["no-such-command"], 127, "There is no command 'no-such-command' on PATH. Install it, or give its path."),
        (["/"], 126, "'/' cannot be run: Permission denied."),
    ],
)
def test_the_commands_exit_code_is_passed_on(dev: Server, command: list[str], code: int, message: str) -> None:
    done = dev.run("lab", "run", "--ci", "gitlab", "--", *command)
    assert (done.returncode, done.stderr.strip()) == (code, message)


def test_options_of_the_command_are_its_own(dev: Server) -> None:
    done = dev.run("lab", "run", "--ci", "gitlab", "--", "echo", "--ci", "github", "--help")
    assert done.stdout == "--ci github --help\n"


# -- without a development index --------------------------------------------------------------------------------------


def test_without_a_lab(shell: Shell) -> None:
    for arguments in (["token", "--ci", "gitlab"], ["run", "--ci", "gitlab", "--", "true"]):
        done = shell("lab", *arguments)
        assert (done.code, done.out) == (78, "")
        assert "No lab runs." in done.err
        assert "Start `mintmark lab up` (or `mintmark serve --dev`)" in done.err


def test_beside_one_that_was_stopped(shell: Shell, dev: Server) -> None:
    mark = json.loads((dev.folder / "dev" / "lab.json").read_text())
    shell.write("lab.json", json.dumps({**mark, "control_url": f"https://localhost:{free_port()}"}))
    done = shell("lab", "token", "--ci", "gitlab")
    assert (done.code, done.out) == (78, "")
    assert "Nothing answers at" in done.err
    assert "leave it running" in done.err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"control_url": 1}', "\x00"])
def test_beside_a_damaged_mark(shell: Shell, text: str) -> None:
    shell.write("lab.json", text)
    assert shell("lab", "token", "--ci", "gitlab").code == 78
