"""Single commands for registries, issuers and publishers."""

from __future__ import annotations

import json

import pytest

from mintmark.core.names import gitlab_variable
from support.command import BASE_URL, Shell

GITLAB = ("--provider", "gitlab", "--url", "https://gitlab.example.com")
OTHER = ("acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "*")
WIDGET = ("project-path=team/widget", "workflow=.gitlab-ci.yml")

DEFAULTS = {
    "title": "",
    "host": None,
    "audience": "mintmark_localhost_acme",
    "private": True,
    "enabled": True,
    "trusted-publishing": True,
    "trusted-publishing-only": False,
    "publishers-read": False,
    "host-mint": True,
    "credential-lifetime-seconds": 900,
    "projects": ["*"],
    "platform-tags": "any",
    "similar-names": "refuse",
    "legacy-names": False,
    "file-limit-bytes": None,
    "project-limit-bytes": None,
    "releases-limit": 10_000,
    "release-files-limit": 1_000,
}


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


# -- registries -------------------------------------------------------------------------------------------------------


def test_creating_a_registry_says_how_to_use_it_and_what_comes_next(shell: Shell) -> None:
    done = shell.ok("registry", "create", "acme", "--title", "Team Acme")
    assert done.out.startswith("Created the private registry acme.\n")
    for text in (f"{BASE_URL}/acme/simple/", f"{BASE_URL}/acme/legacy/", "MINTMARK_LOCALHOST_ACME_ID_TOKEN:", "Next: "):
        assert text in done.out
    assert done.err == ""
    shown = shell.ok("registry", "show", "acme").out
    assert shown.partition("\nSettings, ")[0] in done.out


def test_registries_for_machines(shell: Shell) -> None:
    created = shell.ok("registry", "create", "acme", "--public", "--host", "acme.example", "--json").json
    assert created == {
        "name": "acme",
        "title": "",
        "private": False,
        "enabled": True,
        "host": "acme.example",
        "audience": "mintmark_localhost_acme",
        "gitlab-variable": gitlab_variable("mintmark_localhost_acme"),
        "index-url": f"{BASE_URL.replace('localhost', 'acme.example')}/simple/",
        "upload-url": f"{BASE_URL.replace('localhost', 'acme.example')}/legacy/",
        "settings": DEFAULTS | {"host": "acme.example", "audience": "mintmark_localhost_acme", "private": False},
    }
    assert shell.ok("registry", "list", "--json").json == [created]
    assert shell.ok("registry", "show", "acme", "--json").json == created


def test_listing_registries(shell: Shell) -> None:
    assert "There is no registry yet" in shell.ok("registry", "list").out
    assert shell.ok("registry", "list", "--json").json == []
    shell.ok("registry", "create", "acme", "--audience", "mintmark_acme")
    assert table(shell.ok("registry", "list").out) == [
        ["NAME", "READING", "AUDIENCE", "ISSUERS", "PUBLISHERS"],
        ["acme", "private", "mintmark_acme", "0", "0"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme"], "The registry acme has the slug 'acme' already."),
        (["Acme"], "'Acme' is not a registry name."),
        (["simple"], "reserved"),
        (["b", "--audience", "mintmark_localhost_acme"], "The registry acme has the audience"),
        (["b", "--audience", "mintmark_localhost"], "as that of the whole host"),
        (["b", "--audience", "sigstore"], "another service"),
        (["b", "--host", "acme.example"], "The registry acme has the host"),
        (["b", "--host", "localhost"], "shared host"),
        (["b", "--host", "https://b"], "not a host name"),
    ],
)
def test_registries_that_cannot_be(shell: Shell, arguments: list[str], message: str) -> None:
    shell.ok("registry", "create", "acme", "--host", "acme.example")
    done = shell("registry", "create", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def settings_of(shell: Shell) -> dict[str, object]:
    found: dict[str, object] = shell.ok("registry", "show", "acme", "--json").json["settings"]
    return found


def test_settings_are_shown_by_their_keys(acme: Shell) -> None:
    assert settings_of(acme) == DEFAULTS
    _, said, shown = acme.ok("registry", "show", "acme").out.partition("\nSettings, by their keys")
    assert "mintmark registry change acme KEY=VALUE" in shown
    for key, value in DEFAULTS.items():
        assert (f"  {key} = {json.dumps(value)}\n" if value is not None else f"  {key}: not set\n") in said + shown


def test_changing_settings(acme: Shell) -> None:
    done = acme.ok(
        "registry", "change", "acme", "platform-tags=pypi", "projects=acme-*, tools", "file-limit-bytes=1000000",
        "legacy-names=true", "title=Packages of team Acme",
    )  # fmt: skip
    assert done.out == (
        'Changed acme: title: "" -> Packages of team Acme, projects: [*] -> [acme-*, tools], '
        "platform-tags: any -> pypi, legacy-names: false -> true, file-limit-bytes: none -> 1000000.\n"
    )
    assert done.err == ""
    wanted = {
        "platform-tags": "pypi",
        "projects": ["acme-*", "tools"],
        "file-limit-bytes": 1_000_000,
        "legacy-names": True,
        "title": "Packages of team Acme",
    }
    assert settings_of(acme) == DEFAULTS | wanted
    again = acme.ok("registry", "change", "acme", "platform-tags=pypi")
    assert again.out == "Nothing changed: acme is set so already.\n"
    told = acme.ok("registry", "change", "acme", "file-limit-bytes=", "projects=", "--json").json
    assert told["settings"] == settings_of(acme) == DEFAULTS | wanted | {"file-limit-bytes": None, "projects": ["*"]}
    events = acme.ok("audit", "acme", "--json").json
    assert [event["action"] for event in events[:3]] == ["registry-change", "registry-change", "issuer-add"]
    assert events[0]["facts"] == {
        "name": "acme",
        "detail": "projects: [acme-*, tools] -> [*], file-limit-bytes: 1000000 -> none",
    }


def test_another_audience_needs_other_ci_files(acme: Shell) -> None:
    done = acme.ok("registry", "change", "acme", "audience=mintmark_acme")
    assert "Next: adapt the CI files to what `mintmark registry show acme` prints." in done.err
    assert acme.ok("registry", "change", "acme", "audience=").out == (
        "Changed acme: audience: mintmark_acme -> mintmark_localhost_acme.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "title=x"], "There are: acme, other."),
        (["acme", "colour=red"], "has an unknown key 'colour'. Its keys are: title, host"),
        (["acme", "colour="], "has an unknown key 'colour'"),
        (["acme", "private"], "no NAME=VALUE"),
        (["acme", "title=\udcff"], "registry.acme.title is no title. Write one line of at most 200 characters."),
        (["\udcff", "title=x"], "There is no registry '\\udcff'."),
        (["acme", "private=no"], "registry.acme.private is not of the right type: 'no'. Example: private = true"),
        (["acme", "releases-limit=many"], "is not of the right type: 'many'. Example: releases-limit = 10000"),
        (["acme", "releases-limit=0"], "Use a number from 1 to 1000000."),
        (["acme", "platform-tags=some"], "registry.acme.platform-tags is 'some'. Use any or pypi."),
        (["acme", "projects=Acme*"], "not a pattern"),
        (["acme", "credential-lifetime-seconds=60"], "PEP 807 allows 900 to 21600."),
        (["acme", "audience=mintmark_localhost_other"], "The registry other has the audience"),
        (["acme", "host=other.example"], "The registry other has the host"),
        (["acme", "projects=tools"], "publisher 1 is for widget, but the registry acme is for tools only."),
    ],
)
def test_settings_that_cannot_be(acme: Shell, arguments: list[str], message: str) -> None:
    acme.ok("registry", "create", "other", "--host", "other.example")
    acme.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *WIDGET)
    done = acme("registry", "change", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert settings_of(acme) == DEFAULTS


def test_removing_a_registry(acme: Shell) -> None:
    done = acme("registry", "remove", "acme")
    assert (done.code, "Nobody said yes, and nothing was changed." in done.err) == (130, True)
    assert acme.ok("registry", "remove", "acme", "--yes").out == "Removed the registry acme.\n"
    done = acme("registry", "remove", "acme", "--yes")
    assert done.code == 2
    assert "no registry 'acme'" in done.err


# -- issuers ----------------------------------------------------------------------------------------------------------


def test_trusting_an_issuer_says_what_comes_next(shell: Shell) -> None:
    shell.ok("registry", "create", "acme")
    done = shell.ok("issuer", "add", "acme", "gitlab", *GITLAB, "--projects", "acme-*", "--projects", "widget")
    assert done.out.splitlines() == [
        "acme now trusts https://gitlab.example.com for acme-*, widget.",
        "Next: mintmark publisher add acme PROJECT --issuer gitlab FIELD=VALUE …",
        "Fields: project-path (required), workflow (required), environment, project-id, namespace-id.",
    ]
    row = ["acme", "gitlab", "gitlab", "https://gitlab.example.com", "acme-*, widget", "on"]
    assert table(shell.ok("issuer", "list").out)[1:] == [row]
    assert table(shell.ok("issuer", "list", "acme").out)[1:] == [row]
    assert shell.ok("issuer", "list", "--json").json == [
        {
            "registry": "acme",
            "name": "gitlab",
            "provider": "gitlab",
            "url": "https://gitlab.example.com",
            "projects": ["acme-*", "widget"],
            "enabled": True,
            "audience": "",
            "remint": False,
        }
    ]


def test_no_issuer_is_trusted_yet(shell: Shell) -> None:
    assert shell.ok("issuer", "list").out.startswith("No issuer is trusted yet.")
    done = shell("issuer", "list", "nothing")
    assert (done.code, "no registry 'nothing'" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "a", *GITLAB, "--projects", "*"], "There are: acme."),
        (["acme", "gitlab", *GITLAB, "--projects", "*"], "has the issuer gitlab (https://gitlab.example.com) already"),
        (["acme", "other", *GITLAB, "--projects", "*"], "has the issuer gitlab (https://gitlab.example.com) already"),
        (["acme", "Git", *GITLAB, "--projects", "*"], "'Git' is not a name for an issuer"),
        (["acme", "a", "--provider", "github", "--url", "https://github.com", "--projects", "*"], "GitHub Enterprise"),
        (["acme", "a", "--provider", "gitlab", "--url", "http://a.example", "--projects", "*"], "not https"),
        (["acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "A"], "not a pattern"),
        (
            ["acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "*", "--algorithm", "HS256"],
            "HS256",
        ),
        (
            ["acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "*", "--network", "x"],
            "no network",
        ),
        (
            ["acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "*", "--ca-file", "x"],
            "No such file",
        ),
        (
            ["acme", "a", "--provider", "gitlab", "--url", "https://a", "--projects", "*", "--server", "https://b"],
            "without",
        ),
    ],
)
def test_issuers_that_cannot_be(acme: Shell, arguments: list[str], message: str) -> None:
    done = acme("issuer", "add", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_turning_an_issuer_off_and_on(acme: Shell) -> None:
    assert "refuses tokens of gitlab" in acme.ok("issuer", "disable", "acme", "gitlab").out
    assert table(acme.ok("issuer", "list").out)[1][-1] == "off"
    assert "trusts gitlab again" in acme.ok("issuer", "enable", "acme", "gitlab").out
    assert acme.ok("issuer", "list", "--json").json[0]["enabled"] is True


@pytest.mark.parametrize("command", ["enable", "disable", "refresh", "purge-keys", "remove"])
def test_issuers_that_are_not_there(acme: Shell, command: str) -> None:
    assert "has no issuer '\\udcff'" in acme("issuer", command, "acme", "\udcff").err
    done = acme("issuer", command, "acme", "nothing")
    assert done.code == 2
    assert "acme has no issuer 'nothing'. It has: gitlab." in done.err


def test_keys_are_fetched_anew_and_forgotten(acme: Shell) -> None:
    assert acme.ok("issuer", "refresh", "acme", "gitlab").out == "The keys of gitlab are fetched anew.\n"
    assert acme.ok("issuer", "purge-keys", "acme", "gitlab").out == "The keys of gitlab are forgotten.\n"
    details = [event["facts"].get("detail", "") for event in acme.ok("audit", "acme", "--json").json]
    assert any(detail.startswith("keys-epoch: 0 -> ") for detail in details)
    assert any(detail.startswith("purge-epoch: 0 -> ") for detail in details)


def test_the_guide_names_what_ci_files_need(shell: Shell) -> None:
    text = shell.ok("issuer", "guide").out
    for part in (BASE_URL, "mintmark_localhost", "MINTMARK_LOCALHOST_ID_TOKEN:", "id-token: write", "uv publish"):
        assert part in text
    assert "enable-openid-connect: true" in text
    # Those that no client looks for.
    assert text.count('export GITLAB_CI=true MINTMARK_LOCALHOST_ID_TOKEN="$') == 4


# -- publishers -------------------------------------------------------------------------------------------------------


def test_registering_a_publisher(acme: Shell) -> None:
    done = acme.ok("publisher", "add", "acme", "Widget", "--issuer", "gitlab", *WIDGET, "--tag", "v{version}")
    facts = "project-path=team/widget, workflow=.gitlab-ci.yml, tag=v{version}"
    assert done.out.startswith(f"Registered publisher 1: widget from gitlab ({facts}).")
    assert "created by its first upload, until 2" in done.out
    assert "no immutable id" in done.err
    (row,) = table(acme.ok("publisher", "list", "acme").out)[1:]
    assert row[:2] == ["1", "acme"]
    assert row[3].startswith("pending until ")
    assert row[4] == "never"
    (listed,) = acme.ok("publisher", "list", "--json").json
    assert listed["fields"] == {"project-path": "team/widget", "workflow": ".gitlab-ci.yml"}
    assert (listed["pending"], listed["project"], listed["last-used"]) == (True, "widget", None)
    assert acme.ok("publisher", "remove", "acme", "1").out == "Removed publisher 1.\n"
    assert acme.ok("publisher", "list").out.startswith("No publisher is registered yet.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme", "widget", "--issuer", "nothing", *WIDGET], "acme has no issuer 'nothing'. It has: gitlab."),
        (["nothing", "widget", "--issuer", "gitlab", *WIDGET], "There are: acme."),
        (["acme", "wid get", "--issuer", "gitlab", *WIDGET], "not a project name"),
        (["acme", "widget", "--issuer", "gitlab", "workflow=a.yml"], "The field 'project-path' is missing."),
        (["acme", "widget", "--issuer", "gitlab", *WIDGET, "color=red"], "no field 'color'"),
        (["acme", "widget", "--issuer", "gitlab", "workflow"], "no NAME=VALUE"),
        (["acme", "widget", "--issuer", "gitlab", *WIDGET, WIDGET[0]], "its name comes twice"),
        (["acme", "widget", "--issuer", "gitlab", *WIDGET, "--ref", "main"], "no pattern of refs"),
        (["acme", "widget", "--issuer", "gitlab", *WIDGET, "--allow", "upload-only"], "never creates it"),
    ],
)
def test_publishers_that_cannot_be(acme: Shell, arguments: list[str], message: str) -> None:
    done = acme("publisher", "add", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_publisher_of_a_project_that_the_registry_does_not_hold(acme: Shell) -> None:
    acme.ok("registry", "change", "acme", "projects=acme-*,tools")
    done = acme("publisher", "add", "acme", "widget", "--issuer", "gitlab", *WIDGET)
    assert (done.code, done.out) == (2, "")
    assert "publisher of widget is for widget, but the registry acme is for acme-*, tools only." in done.err
    assert "Widen the registry's projects, or remove the publisher." in done.err
    acme.ok("publisher", "add", "acme", "acme-widget", "--issuer", "gitlab", *WIDGET)


def test_the_same_publisher_twice(acme: Shell) -> None:
    acme.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *WIDGET)
    done = acme("publisher", "add", "acme", "widget", "--issuer", "gitlab", *reversed(WIDGET))
    assert (done.code, "is registered already" in done.err) == (2, True)


def test_publishers_that_are_not_there(acme: Shell) -> None:
    done = acme("publisher", "remove", "acme", "7")
    assert (done.code, "has no publisher 7. `mintmark publisher list`" in done.err) == (2, True)
    done = acme("publisher", "list", "nothing")
    assert (done.code, "no registry 'nothing'" in done.err) == (2, True)
