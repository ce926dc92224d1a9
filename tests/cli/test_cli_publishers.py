"""Commands for issuers with other audiences, registry-wide publishers, readers, rules and learned ids."""

from __future__ import annotations

import json

from support.command import Shell

WIDGET = ("project-path=team/widget", "workflow=.gitlab-ci.yml")


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


AZURE = ("--provider", "azure-devops", "--url", "https://vstoken.dev.azure.com/0ca3ddd9-f0b0-4635-a98c-5866526961b6")


def test_an_audience_that_is_not_the_indexs_is_said_and_warned_of(acme: Shell) -> None:
    refused = acme("issuer", "add", "acme", "azure", *AZURE, "--projects", "*")
    assert (refused.code, "audience = " in refused.err) == (2, True)
    done = acme.ok("issuer", "add", "acme", "azure", *AZURE, "--projects", "*", "--audience", "api://x", "--remint")
    assert "is believed with the audience 'api://x', which is not this index's" in done.err
    listed = {each["name"]: each for each in acme.ok("issuer", "list", "--json").json}
    assert (listed["azure"]["audience"], listed["azure"]["remint"]) == ("api://x", True)


def test_registry_wide_publishers_and_readers(acme: Shell) -> None:
    done = acme.ok("publisher", "add", "acme", "acme-*", "--issuer", "gitlab", *WIDGET)
    assert "acme-* from gitlab" in done.out
    assert "created by its first upload" not in done.out
    acme.ok("publisher", "add", "acme", "*", "--reads", "--issuer", "gitlab", *WIDGET, "project-id=1")
    first, second = acme.ok("publisher", "list", "--json").json
    assert {each["project"]: (each["reads"], each["pending"], each["pins"]) for each in (first, second)} == {
        "acme-*": (False, False, {}),
        "*": (True, False, {}),
    }
    rows = {row[2].partition(" from")[0]: row for row in table(acme.ok("publisher", "list", "acme").out)[1:]}
    assert rows["acme-*"][3].startswith("active, lapses unused on 2")
    assert rows["*"][3] == "active"
    assert rows["*"][2].endswith("reads)")
    done = acme("publisher", "add", "acme", "x-*", "--reads", "--tag", "v{version}", "--issuer", "gitlab", *WIDGET)
    assert (done.code, "reads, but has a tag or allow" in done.err) == (2, True)


def test_rules_for_an_issuer_without_a_table(acme: Shell) -> None:
    acme.ok("issuer", "add", "acme", "ci", "--provider", "generic", "--url", "https://ci.example", "--projects", "*")
    add = ("publisher", "add", "acme", "widget", "--issuer", "ci")
    acme.ok(*add, "--rule", 'sub == "team/widget"', "immutable-id=sub")
    (listed,) = acme.ok("publisher", "list", "--json").json
    assert json.loads(listed["fields"]["rules"]) == [{"claim": "sub", "equals": "team/widget"}]
    done = acme(*add, "--rule", "sub is team", "immutable-id=sub")
    assert (done.code, "is no rule" in done.err) == (2, True)


def test_repinning(acme: Shell) -> None:
    acme.ok("publisher", "add", "acme", "widget", "--issuer", "gitlab", *WIDGET)
    done = acme("publisher", "repin", "acme", "1", "--from", "1", "--to", "2")
    assert (done.code, "It has learned: nothing yet." in done.err) == (2, True)
    done = acme("publisher", "repin", "acme", "7", "--from", "1", "--to", "2")
    assert (done.code, "has no publisher 7" in done.err) == (2, True)
    done = acme("publisher", "repin", "acme", "1", "--from", "1")
    assert (done.code, "--to" in done.err) == (2, True)
