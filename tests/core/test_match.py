"""Matching: a publisher's demands, and words that say which one failed."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import SHOWN_MAX_CHARACTERS, Match, Mismatch, match, shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.core.trust import WantedPublisher
from mintmark.core.trust_warnings import covers
from mintmark.lab.identity import claims_for
from mintmark.lab.signer import Signer
from support.tokens import AUDIENCE, NOW, keys_of, rules, verify

SIGNER = Signer("ES256")
GITHUB = Issuer(1, 1, "github", "github", "https://token.actions.githubusercontent.com", algorithms=("ES256",))
GITLAB = Issuer(2, 1, "gitlab", "gitlab", "https://gitlab.example.com", server="gitlab.example.com")
CONFIGS = {
    "github": {"repository": "Octo/Repo", "workflow": "release.yml", "environment": "K8s-prod"},
    "gitlab": {"project-path": "group/widget", "workflow": ".gitlab-ci.yml", "environment": "release"},
}


def verified(
    issuer: Issuer, config: dict[str, str] | None = None, ref: str = "refs/heads/main", **more: Any
) -> VerifiedClaims:
    """The claims of a genuine job; keywords replace claims, None removes one."""
    provider = BY_SLUG[issuer.provider]
    claims = claims_for(
        provider,
        issuer.url,
        issuer.server,
        config or CONFIGS[issuer.provider],
        overrides=more,
        ref=ref,
        now=NOW,
        random=Random(1),
        audience=AUDIENCE,
    )
    return verify(SIGNER.sign(claims), keys_of(SIGNER), rules("ES256"))


def publisher(issuer: Issuer, limits: Constraints | None = None, project: str = "widget", **config: str) -> Publisher:
    given = {name.replace("_", "-"): value for name, value in config.items()}
    wanted = BY_SLUG[issuer.provider].parse_config({**CONFIGS[issuer.provider], **given})
    return Publisher(7, 1, issuer.id, project, 1, wanted, limits or Constraints(), NOW)


def faults(issuer: Issuer, wanted: Publisher, claims: VerifiedClaims) -> tuple[Mismatch, ...]:
    found = match(issuer, wanted, claims)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("issuer", [GITHUB, GITLAB], ids=lambda issuer: issuer.provider)
def test_a_genuine_job_matches_its_publisher(issuer: Issuer) -> None:
    wanted = publisher(issuer)
    found = match(issuer, wanted, verified(issuer))
    assert isinstance(found, Match)
    assert found.publisher is wanted


def test_every_failed_demand_is_named_with_what_came_and_why() -> None:
    found = faults(GITLAB, publisher(GITLAB), verified(GITLAB, project_path="evil/widget", environment=None))
    by_claim = {fault.claim: fault for fault in found}
    assert by_claim.keys() == {"project_path", "ci_config_ref_uri", "environment"}
    project, environment = by_claim["project_path"], by_claim["environment"]
    assert (project.expected, project.actual) == ("'group/widget'", "'evil/widget'")
    assert (environment.expected, environment.actual) == ("'release'", "nothing")
    assert str(project).startswith("project_path: expected 'group/widget', got 'evil/widget'. The pipeline must")
    assert all(fault.why.endswith(".") for fault in found)


def test_refused_values_are_named_whatever_the_publisher_says() -> None:
    for event in ("pull_request_target", "workflow_run", None, 1):
        (fault,) = faults(GITHUB, publisher(GITHUB), verified(GITHUB, event_name=event))
        assert fault.claim == "event_name"
        assert "pull_request_target or workflow_run" in fault.expected


@pytest.mark.parametrize(
    ("claim", "value"),
    [("repository", ["Octo/Repo"]), ("repository", {"Octo/Repo": 1}), ("environment", True), ("environment", 8)],
)
def test_comparison_is_typed(claim: str, value: object) -> None:
    changed: dict[str, Any] = {claim: value}
    assert claim in {fault.claim for fault in faults(GITHUB, publisher(GITHUB), verified(GITHUB, **changed))}
    number = publisher(GITHUB, repository_id="456789")
    assert faults(GITHUB, number, verified(GITHUB, repository_id=456789))[0].claim == "repository_id"


def test_case_is_ignored_where_the_provider_ignores_it() -> None:
    assert isinstance(match(GITHUB, publisher(GITHUB, environment="k8S-PROD"), verified(GITHUB)), Match)
    assert isinstance(match(GITHUB, publisher(GITHUB, repository="octo/REPO"), verified(GITHUB)), Match)
    assert faults(GITHUB, publisher(GITHUB, workflow="Release.yml"), verified(GITHUB))
    assert faults(GITLAB, publisher(GITLAB, environment="Release"), verified(GITLAB))[0].claim == "environment"


def test_a_letter_that_python_lowers_to_ascii_is_another_letter() -> None:
    """An environment `\u212a8s-prod` (Kelvin sign) is made by naming it, without the protection of `K8s-prod`."""
    assert "\u212a".lower() == "k"
    found = faults(GITHUB, publisher(GITHUB), verified(GITHUB, environment="\u212a8s-prod"))
    assert [fault.claim for fault in found] == ["environment"]


def test_publishers_belong_to_one_issuer() -> None:
    other = Issuer(3, 1, "other", "gitlab", "https://gitlab.other.example", server="gitlab.other.example")
    wanted = publisher(GITLAB)
    assert "iss" in {fault.claim for fault in faults(other, wanted, verified(other))}
    assert "iss" in {fault.claim for fault in faults(GITLAB, wanted, verified(other))}
    trailing = verified(Issuer(2, 1, "gitlab", "gitlab", GITLAB.url + "/", server=GITLAB.server))
    assert [fault.claim for fault in faults(GITLAB, wanted, trailing)] == ["iss"]


@pytest.mark.parametrize(
    ("patterns", "accepted"),
    [(("*",), True), (("acme-*", "wid*"), True), (("acme-*",), False), (("widget-*",), False), ((), False)],
)
def test_issuers_are_trusted_for_some_projects(patterns: tuple[str, ...], accepted: bool) -> None:
    issuer = Issuer(2, 1, "gitlab", "gitlab", GITLAB.url, server=GITLAB.server, projects=patterns)
    found = match(issuer, publisher(issuer), verified(issuer))
    assert isinstance(found, Match) == accepted
    if isinstance(found, tuple):
        assert found[0].expected == "an issuer trusted for widget"


@pytest.mark.parametrize(
    ("limits", "ref", "claims", "fault"),
    [
        (Constraints(ref="refs/heads/main"), "refs/heads/main", {}, None),
        (Constraints(ref="refs/heads/release-*"), "refs/heads/release-1", {}, None),
        (Constraints(ref="refs/heads/release-*"), "refs/heads/release-1/x", {}, "ref_path"),
        (Constraints(ref="refs/heads/release-*"), "refs/tags/release-1", {}, "ref_path"),
        (Constraints(tag="v{version}"), "refs/tags/v1.0", {}, None),
        (Constraints(tag="v{version}"), "refs/heads/v1.0", {}, "ref_path"),
        (Constraints(protected_ref=True), "refs/heads/main", {}, None),
        (Constraints(protected_ref=True), "refs/heads/feature", {}, "ref_protected"),
        (Constraints(protected_ref=True), "refs/heads/main", {"ref_protected": True}, None),
        (Constraints(protected_ref=True), "refs/heads/main", {"ref_protected": "True"}, "ref_protected"),
        (Constraints(protected_ref=True), "refs/heads/main", {"ref_protected": 1}, "ref_protected"),
        (Constraints(protected_ref=True), "refs/heads/main", {"ref_protected": None}, "ref_protected"),
    ],
)
def test_constraints_on_the_ref(limits: Constraints, ref: str, claims: dict[str, Any], fault: str | None) -> None:
    found = match(GITLAB, publisher(GITLAB, limits), verified(GITLAB, ref=ref, **claims))
    assert [each.claim for each in found] == [fault] if isinstance(found, tuple) else fault is None


# -- what people are shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        ("a", "'a'"),
        (1, "1"),
        (True, "True"),
        ("a\x1b[31m\n", r"'a\x1b[31m\n'"),
        ("\ud800", r"'\ud800'"),
    ],
)
def test_values_are_shown_without_their_control_characters(value: object, text: str) -> None:
    assert shown(value) == text


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 10_000)) == SHOWN_MAX_CHARACTERS + 1
    assert shown(["x"] * 1000).endswith("…")


# -- proof ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seal", [None, object(), True])
def test_nobody_else_makes_a_match(seal: object) -> None:
    with pytest.raises(TypeError, match=r"core\.match\.match"):
        Match(seal, publisher(GITLAB))


def test_a_match_is_never_changed() -> None:
    found = match(GITLAB, publisher(GITLAB), verified(GITLAB))
    assert isinstance(found, Match)
    with pytest.raises(AttributeError):
        found.publisher = publisher(GITLAB, project="other")


# -- narrower is never wider ------------------------------------------------------------------------------------------

FIELDS = {
    "environment": st.sampled_from(["release", "test"]),
    "project-id": st.sampled_from(["1", "2"]),
    "namespace-id": st.sampled_from(["1", "2"]),
}
LIMITS = st.builds(
    Constraints,
    ref=st.sampled_from(["", "refs/heads/main", "refs/heads/*", "refs/tags/*"]),
    protected_ref=st.booleans(),
    tag=st.sampled_from(["", "v{version}"]),
)
PUBLISHERS = st.builds(
    lambda config, limits: Publisher(
        7, 1, 2, "widget", 1, {"project-path": "group/widget", "workflow": ".gitlab-ci.yml", **config}, limits, NOW
    ),
    st.fixed_dictionaries({}, optional=FIELDS),
    LIMITS,
)
JOBS = st.builds(
    lambda config, ref: verified(GITLAB, {**CONFIGS["gitlab"], **config}, ref),
    st.fixed_dictionaries({}, optional=FIELDS),
    st.sampled_from(["refs/heads/main", "refs/heads/other", "refs/tags/v1"]),
)


@given(job=JOBS, one=PUBLISHERS, two=PUBLISHERS)
@example(
    verified(GITLAB),
    publisher(GITLAB, environment="", project_id=""),
    publisher(GITLAB, Constraints(ref="refs/heads/main")),
)
def test_who_satisfies_the_narrower_satisfies_the_wider(job: VerifiedClaims, one: Publisher, two: Publisher) -> None:
    wide, narrow = (WantedPublisher("gitlab", each, "group/widget") for each in (one, two))
    if covers(wide, narrow) and isinstance(match(GITLAB, two, job), Match):
        assert isinstance(match(GITLAB, one, job), Match)
    assert not (covers(wide, narrow) and covers(narrow, wide))


@given(job=JOBS, wanted=PUBLISHERS, field=st.sampled_from(sorted(FIELDS)))
def test_taking_a_demand_away_refuses_nobody(job: VerifiedClaims, wanted: Publisher, field: str) -> None:
    if isinstance(match(GITLAB, wanted, job), tuple):
        return
    config = {name: value for name, value in wanted.config.items() if name != field}
    free = Publisher(7, 1, 2, "widget", 1, config, Constraints(), NOW)
    assert isinstance(match(GITLAB, free, job), Match)


@given(job=JOBS, publishers=st.lists(PUBLISHERS, max_size=4), keep=st.sets(st.integers(0, 3)))
def test_fewer_publishers_never_accept_what_more_refuse(
    job: VerifiedClaims, publishers: list[Publisher], keep: set[int]
) -> None:
    def accepted(some: list[Publisher]) -> bool:
        return any(isinstance(match(GITLAB, each, job), Match) for each in some)

    fewer = [each for n, each in enumerate(publishers) if n in keep]
    assert accepted(publishers) or not accepted(fewer)
