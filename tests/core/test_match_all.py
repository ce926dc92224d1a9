"""Judging many publishers at once says of each what judging it alone says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import Match, match, match_all
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.lab.signer import Signer
from support.tokens import ISSUER, claims, keys_of, rules, verify

SIGNER = Signer("ES256")
ENTRY = Issuer(1, 1, "gitlab", "gitlab", ISSUER, "gitlab.example.com", ("acme-*", "tool"))
CONFIGS = [
    {"project-path": "team/widget", "workflow": ".gitlab-ci.yml"},
    {"project-path": "team/widget", "workflow": ".gitlab-ci.yml", "environment": "release"},
    {"project-path": "team/other", "workflow": ".gitlab-ci.yml"},
]
LIMITS = [Constraints(), Constraints(ref="refs/heads/main"), Constraints(tag="v{version}")]
PINS: list[dict[str, str]] = [{}, {"project_id": "7"}, {"project_id": "8"}]
PUBLISHERS = st.builds(
    Publisher,
    id=st.integers(1, 9),
    registry_id=st.just(1),
    issuer_id=st.sampled_from([1, 1, 1, 2]),
    project=st.sampled_from(["acme-one", "acme-two", "tool", "other", "acme-*", "*"]),
    project_id=st.none(),
    config=st.sampled_from(CONFIGS),
    constraints=st.sampled_from(LIMITS),
    created_at=st.just(0),
    pins=st.sampled_from(PINS),
    reads=st.booleans(),
)


@pytest.fixture(scope="module")
def verified() -> VerifiedClaims:
    token = SIGNER.sign(
        claims(
            project_path="team/widget",
            project_id="7",
            job_project_id="7",
            job_project_path="team/widget",
            ci_config_ref_uri="gitlab.example.com/team/widget//.gitlab-ci.yml@refs/heads/main",
            ref="main",
            ref_type="branch",
            ref_path="refs/heads/main",
        )
    )
    return verify(token, keys_of(SIGNER), rules("ES256"))


@given(publishers=st.lists(PUBLISHERS, max_size=12), shared=st.booleans())
def test_each_as_if_alone(verified: VerifiedClaims, publishers: list[Publisher], shared: bool) -> None:
    if not shared:
        publishers = [replace(each, config=dict(each.config), pins=dict(each.pins)) for each in publishers]
    found = list(match_all(ENTRY, publishers, verified))
    assert [publisher for publisher, _ in found] == publishers
    for publisher, verdict in found:
        alone = match(ENTRY, publisher, verified)
        if isinstance(alone, Match):
            assert isinstance(verdict, Match)
            assert verdict.publisher is publisher
        else:
            assert verdict == alone


def test_some_match_and_some_do_not(verified: VerifiedClaims) -> None:
    one = Publisher(1, 1, 1, "acme-one", None, CONFIGS[0], LIMITS[0], 0)
    others = [replace(one, project="other"), replace(one, pins={"project_id": "8"}), replace(one, project="acme-two")]
    found = [isinstance(verdict, Match) for _, verdict in match_all(ENTRY, [one, *others], verified)]
    assert found == [True, False, False, True]
    reader = replace(one, project="other", reads=True)
    assert [isinstance(verdict, Match) for _, verdict in match_all(ENTRY, [reader], verified)] == [True]
