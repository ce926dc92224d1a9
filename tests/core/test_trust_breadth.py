"""Trust that is too broad: what is refused, and what is said about the rest."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mintmark.core.breadth import SHARED
from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Issuer
from mintmark.core.rules import canonical, parse_rule_text
from mintmark.core.trust import Host, WantedPublisher, parse_publisher, parse_trust
from mintmark.core.trust_warnings import covers, warnings_for

SUBJECT = {"claim": "sub", "equals": "team/widget"}
PRIVATE = Issuer(1, 1, "ci", "generic", "https://ci.acme.example")
GITLAB_COM = replace(PRIVATE, url="https://gitlab.com")


def wanted(issuer: Issuer, *rules: dict[str, Any], **more: Any) -> WantedPublisher:
    given = {key.replace("_", "-"): value for key, value in more.items()}
    if rules:
        given = {"rule": list(rules), "immutable-id": "project_id", **given}
    return parse_publisher("publisher[1]", {"project": "widget", **given}, issuer)


def said(issuer: Issuer, *rules: dict[str, Any], **more: Any) -> list[str]:
    return warnings_for([wanted(issuer, *rules, **more)], {issuer.name: issuer})


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        [{"claim": "ref", "equals": "refs/heads/main"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "project_path", "matches": "**/widget"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "project_path", "matches": "acme*"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "project_path", "matches": "*/widget"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "project_id", "not-equals": "1"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "sub", "matches": "project_path:acme*"}],
        [{"claim": ["x", "project_id"], "equals": "1"}],
        # A customer may choose what a subject is made of.
        [{"claim": "sub", "equals": "environment:release"}],
        [{"claim": "ref", "equals": "refs/heads/main"}, {"claim": "sub", "matches": "ref:refs/heads/*"}],
    ],
    ids=repr,
)
def test_invariant_rules_that_every_customer_meets_are_refused(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(Rejected, match="every customer of GitLab CI") as caught:
        wanted(GITLAB_COM, *rules)
    assert caught.value.detail.startswith("publisher[1]: ")
    assert "project_id" in caught.value.hint
    assert "provider = 'gitlab'" in caught.value.hint
    # The same rules say enough where nobody else has a token.
    assert wanted(PRIVATE, *rules).publisher.config


@pytest.mark.parametrize("url", SHARED)
def test_under_every_shared_issuer_somebody_is_meant(url: str) -> None:
    issuer = replace(PRIVATE, url=url)
    with pytest.raises(Rejected, match="every customer"):
        wanted(issuer, {"claim": "stage", "equals": "release"})
    for path in SHARED[url].tenants:
        assert wanted(issuer, {"claim": list(path), "equals": "1"}).publisher.config


@pytest.mark.parametrize("limit", [{"ref": "refs/heads/main"}, {"tag": "v{version}"}, {"protected_ref": True}])
@pytest.mark.parametrize("slug", ["generic", "vault", "spiffe", "google"])
def test_a_constraint_that_nobody_can_meet_is_refused(slug: str, limit: dict[str, Any]) -> None:
    fields = {field.written: field.example for field in BY_SLUG[slug].fields if field.required}
    issuer = Issuer(1, 1, "ci", slug, BY_SLUG[slug].issuer.examples[0])
    with pytest.raises(Rejected, match="cannot be demanded") as caught:
        wanted(issuer, **fields, **limit)
    assert caught.value.hint.startswith("Leave it out")


def test_a_typo_in_a_rule_names_its_place_in_the_file() -> None:
    document = {
        "registry": {
            "acme": {
                "issuer": {"ci": {"provider": "generic", "url": PRIVATE.url, "projects": ["*"]}},
                "publisher": [
                    {"project": "a", "issuer": "ci", "rule": [SUBJECT], "no-immutable-id": True},
                    {
                        "project": "b",
                        "issuer": "ci",
                        "rule": [SUBJECT, {"claim": "ref", "matchs": "x"}],
                        "immutable-id": "id",
                    },
                ],
            }
        }
    }
    with pytest.raises(Rejected) as caught:
        parse_trust(document, Host("pkgs.example.com", "mintmark_pkgs_example_com"), lambda name: "")
    assert caught.value.sentence == (
        "registry.acme.publisher[2]: rule 2 has an unknown key 'matchs'. "
        "Its keys are: claim, equals, not-equals, in, matches."
    )


# -- said -------------------------------------------------------------------------------------------------------------


def test_a_narrow_publisher_gets_no_word() -> None:
    assert said(PRIVATE, SUBJECT) == []


@pytest.mark.parametrize(
    ("issuer", "given", "words"),
    [
        (
            PRIVATE,
            {"rule": [SUBJECT], "no_immutable_id": True, "immutable_id": ""},
            ["no immutable id is checked", "immutable-id"],
        ),
        (
            PRIVATE,
            {"rule": [{"claim": "a", "equals": "b"}, {"claim": "sub", "matches": "**:widget"}], "immutable_id": "n"},
            ["sub may begin with anything", "write its beginning out"],
        ),
        (
            GITLAB_COM,
            {"rule": [{"claim": "project_path", "equals": "acme/widget"}], "immutable_id": "n"},
            ["'gitlab' knows this issuer"],
        ),
        (
            Issuer(1, 1, "gh", "github", "https://token.actions.githubusercontent.com"),
            {"repository": "acme/widget", "workflow": "release.yml", "repository_id": "7"},
            ["all customers of GitHub Actions", "add owner-id"],
        ),
        (
            Issuer(1, 1, "gh", "github", "https://token.actions.githubusercontent.com"),
            {"repository": "acme/widget", "workflow": "release.yml"},
            ["no immutable id is given (repository-id or owner-id)"],
        ),
        (
            Issuer(1, 1, "bk", "buildkite", "https://agent.buildkite.com"),
            {"organization": "acme", "pipeline": "release", "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b1f0"},
            ["all customers of Buildkite", "add organization-id"],
        ),
    ],
)
def test_what_is_weaker_than_it_looks(issuer: Issuer, given: dict[str, Any], words: list[str]) -> None:
    found = said(issuer, **given)
    for word in words:
        assert any(word in sentence for sentence in found), found
    assert all(sentence.startswith("widget from ") and sentence.endswith(".") for sentence in found)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://kubernetes.default.svc.cluster.local", True),
        ("https://kubernetes.default.svc", True),
        ("https://kubernetes.default.svc:443", True),
        ("https://kubernetes.default", True),
        ("https://kubernetes.default.svc.cluster.local/", True),
        ("https://kubernetes.default.acme.example", False),
        ("https://kubernetes.acme.example", False),
        ("https://oidc.eks.eu-central-1.amazonaws.com/id/1", False),
    ],
)
def test_the_name_that_every_cluster_has(url: str, own: bool) -> None:
    issuer = Issuer(1, 1, "cluster", "kubernetes", url)
    found = warnings_for([], {"cluster": issuer})
    assert bool(found) is own
    if own:
        assert "jwks-file" in found[0]
        (found_with_keys,) = warnings_for([], {"cluster": replace(issuer, jwks="{}")})
        assert "jwks-file" not in found_with_keys


def test_the_audience_of_others_is_said() -> None:
    (sentence,) = warnings_for([], {"ci": replace(PRIVATE, audience="api://AzureADTokenExchange")})
    assert "api://AzureADTokenExchange" in sentence


def test_rules_are_compared_one_by_one() -> None:
    narrow = wanted(PRIVATE, SUBJECT, {"claim": "ref", "matches": "refs/tags/*"})
    wide, other = wanted(PRIVATE, SUBJECT), wanted(PRIVATE, {"claim": "sub", "equals": "x"})
    assert covers(wide, narrow)
    assert not covers(narrow, wide)
    assert not covers(other, narrow)
    assert any("asks for less" in each for each in warnings_for([wide, narrow], {"ci": PRIVATE}))


def test_a_pattern_covers_its_projects() -> None:
    wide, narrow = wanted(PRIVATE, SUBJECT, project="wid*"), wanted(PRIVATE, SUBJECT, {"claim": "a", "equals": "b"})
    assert covers(wide, narrow)
    assert not covers(replace(wide, publisher=replace(wide.publisher, reads=True)), narrow)
    assert not covers(wanted(PRIVATE, SUBJECT, project="other-*"), narrow)
    assert sum("asks for less" in each for each in warnings_for([wide, narrow], {"ci": PRIVATE})) == 1


def test_the_page_on_rules_shows_a_file_that_is_read() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "generic-rules.md"
    example = page.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    host = Host("pkgs.example.com", "mintmark_pkgs_example_com")
    (acme,) = parse_trust(tomllib.loads(example), host, lambda name: "")
    (found,) = acme.publishers
    lines = [
        'project_id == "4711"',
        'event in ["push", "release"]',
        'ref matches "refs/tags/v*"',
        '["runner", "pool"] != "shared"',
    ]
    assert found.publisher.config["rules"] == canonical([parse_rule_text(line) for line in lines])
    assert all(f"'{line}'" in page.read_text(encoding="utf-8") for line in lines)
    assert warnings_for(acme.publishers, {issuer.name: issuer for issuer in acme.issuers}) == []
