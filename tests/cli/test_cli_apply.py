"""`mintmark apply`: the plan is shown, agreed to, and done; or nothing is."""

from __future__ import annotations

import time

import pytest

from mintmark.lab.authority import Authority
from support.command import Shell

TRUST = """
[registry.acme]
[registry.acme.issuer.gitlab]
provider = "gitlab"
url = "https://gitlab.example.com"
projects = ["*"]
[[registry.acme.publisher]]
project = "widget"
issuer = "gitlab"
project-path = "team/widget"
workflow = ".gitlab-ci.yml"
"""
PLAN = """\
+ registry acme: audience mintmark_localhost_acme
+ issuer acme/gitlab: gitlab https://gitlab.example.com
+ pending publisher acme/widget from gitlab (project-path=team/widget, workflow=.gitlab-ci.yml): creates the project \
at its first use, within 30 days
"""
NOTHING = "Nothing to do: everything is as the file says.\n"


@pytest.fixture
def file(shell: Shell) -> str:
    return str(shell.write("trust.toml", TRUST))


def test_the_plan_is_shown_agreed_to_and_done(shell: Shell, file: str) -> None:
    done = shell.ok("apply", file, answer="y\n")
    assert done.out == PLAN + "Apply this? [y/N]: y\nApplied 3 changes, effective now.\n"
    assert done.err.startswith("Note: acme: widget from team/widget: no immutable id is given")
    again = shell.ok("apply", file)
    assert again.out == NOTHING
    assert [each["name"] for each in shell.ok("registry", "list", "--json").json] == ["acme"]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_without_agreement_nothing_is_done(shell: Shell, file: str, answer: str) -> None:
    done = shell("apply", file, answer=answer)
    assert done.code == 1
    assert done.out.startswith(PLAN)
    assert done.err.endswith("Nothing was changed.\n")
    assert shell.ok("registry", "list", "--json").json == []


def test_where_nobody_can_answer(shell: Shell, file: str) -> None:
    done = shell("apply", file)
    assert done.code == 1
    assert "add --yes" in done.err
    assert "Stopped" not in done.err
    assert shell.ok("registry", "list", "--json").json == []
    assert shell.ok("apply", file, "--yes").out == PLAN + "Applied 3 changes, effective now.\n"


def test_check_says_so_with_its_exit_code(shell: Shell, file: str) -> None:
    assert shell("apply", "--check", file).code == 1
    assert shell("apply", "--check", file).out == PLAN
    shell.ok("apply", "--yes", file)
    assert shell("apply", "--check", file).code == 0
    # Somebody changes something else: it is what the file no longer says.
    shell.ok("registry", "create", "other")
    done = shell("apply", "--check", file)
    assert (done.code, done.out) == (1, "- registry other\n")
    assert shell.ok("apply", "--yes", file).out.endswith("Applied 1 change, effective now.\n")


def test_plans_for_machines(shell: Shell, file: str) -> None:
    checked = shell("apply", "--check", "--json", file)
    assert checked.code == 1
    assert [(each["action"], each["kind"]) for each in checked.json["changes"]] == [
        ("add", "registry"),
        ("add", "issuer"),
        ("add", "pending publisher"),
    ]
    assert len(checked.json["warnings"]) == 1
    asked = shell.ok("apply", "--json", file, answer="y\n")
    assert asked.json == checked.json
    assert "Apply this?" in asked.err
    assert shell.ok("apply", "--json", file).json["changes"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registry.acme", "is not TOML"),
        ("[registry.acme]\nx = 1", "registry.acme has an unknown key 'x'"),
        (TRUST.replace('issuer = "gitlab"', 'issuer = "git"'), "registry.acme.publisher[1].issuer is 'git'"),
        (TRUST + 'allow = "upload-only"', "widget does not exist"),
    ],
)
def test_mistakes_are_refused_before_anything_is_asked(shell: Shell, text: str, message: str) -> None:
    file = str(shell.write("bad.toml", text))
    done = shell("apply", file, answer="y\n")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.startswith("Refused (invalid-trust): ")


def test_a_file_that_is_not_there(shell: Shell) -> None:
    done = shell("apply", "nothing.toml")
    assert done.code == 2
    assert "nothing.toml cannot be read: No such file or directory." in done.err


def test_files_are_found_beside_the_trust_file(shell: Shell) -> None:
    pem = Authority.open(shell.folder / "ca", time.time()).ca_pem
    (shell.folder / "trust").mkdir()
    shell.write("trust/ca.pem", pem)
    file = str(shell.write("trust/trust.toml", TRUST.replace('["*"]', '["*"]\nca-file = "ca.pem"')))
    done = shell("apply", file, "--yes")
    assert (done.code, "Refused (lab-issuer)" in done.err) == (2, True)
    # Beside a development index it is what one wants.
    shell.write("lab.json", "{}")
    shell.ok("apply", file, "--yes")


def test_what_goes_with_a_registry_is_shown(shell: Shell, file: str) -> None:
    shell.ok("apply", file, "--yes")
    empty = str(shell.write("empty.toml", ""))
    lines = shell.ok("apply", empty, "--yes").out.splitlines()
    assert lines[:2] == ["- registry acme", "- issuer acme/gitlab: goes with its registry"]
    assert lines[2].endswith("goes with its registry")
    assert lines[3] == "Applied 3 changes, effective now."
