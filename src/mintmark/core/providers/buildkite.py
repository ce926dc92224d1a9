"""Buildkite Pipelines."""

import re

from mintmark.core.providers.model import (
    Claims,
    Expectation,
    Field,
    Identity,
    IssuerShape,
    Lookup,
    Provider,
    Rule,
    same,
    same_if_set,
    vendor_issuers,
)


def _is_no_forks_branch(it: Identity) -> Expectation:
    """No branch has a ':' in its name: Buildkite writes one there for forks, as `CONTRIBUTOR:BRANCH`."""
    branch = it.claims.get("build_branch")
    return Expectation((branch,) if isinstance(branch, str) and branch and ":" not in branch else ())


def _full_ref(claims: Claims) -> str | None:
    """`refs/tags/` and `build_tag`, or `refs/heads/` and `build_branch` where there is no tag"""
    tag, branch = claims.get("build_tag"), claims.get("build_branch")
    if tag is not None:
        return f"refs/tags/{tag}" if isinstance(tag, str) and tag else None
    return f"refs/heads/{branch}" if isinstance(branch, str) and branch else None


_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ASK = "Jobs must ask for the claim: `BUILDKITE_OIDC_TOKEN_CLAIMS`."

BUILDKITE = Provider(
    slug="buildkite",
    title="Buildkite",
    docs_url="https://buildkite.com/docs/agent/cli/reference/oidc",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(r"https://agent\.buildkite\.com"),
        examples=("https://agent.buildkite.com",),
        explanation="`https://agent.buildkite.com`, which all organizations share.",
    ),
    fields=(
        Field(
            "organization",
            "Organization",
            _SLUG,
            "acme-inc",
            "The organization's slug, as in the URLs of its pipelines.",
            required=True,
        ),
        Field(
            "pipeline",
            "Pipeline",
            _SLUG,
            "super-duper-app",
            "The pipeline's slug. Make one that only publishes, and let few people change its steps.",
            required=True,
        ),
        Field(
            "step-key",
            "Step key",
            re.compile(r"[A-Za-z0-9_:.-]+"),
            "publish",
            "The `key` of the step that publishes. Whoever may change the pipeline's steps chooses it.",
        ),
        Field(
            "organization-id",
            "Organization id",
            _UUID,
            "f892efa9-103e-4d28-97a1-3b8616a0994d",
            f"The organization's UUID, which nobody else ever gets. {_ASK}",
            immutable_id=True,
        ),
        Field(
            "pipeline-id",
            "Pipeline id",
            _UUID,
            "0184990a-4782-42b5-afc1-16715b10b1f0",
            f"The pipeline's UUID, which no other pipeline ever gets. {_ASK}",
            immutable_id=True,
        ),
        Field(
            "cluster-id",
            "Cluster id",
            _UUID,
            "0191f956-042f-7ec4-aa62-8e5eeae396d0",
            f"The UUID of the cluster whose agents run the job. {_ASK}",
        ),
    ),
    rules=(
        same(
            ("organization_slug",),
            "organization",
            "All organizations of Buildkite have the same issuer: nothing else tells yours from a stranger's.",
        ),
        same(("pipeline_slug",), "pipeline", "Only the registered pipeline of the organization may publish."),
        Rule(
            ("build_branch",),
            _is_no_forks_branch,
            "A build of a fork runs what a stranger wrote. Buildkite can mark its branch with the contributor's name.",
            "is the name of a branch, without a `CONTRIBUTOR:` before it",
        ),
        same_if_set(("step_key",), "step-key", "Only the registered step may publish."),
        same_if_set(
            ("organization_id",),
            "organization-id",
            "Slugs can be given up and taken by others; such an organization has another id.",
        ),
        same_if_set(("pipeline_id",), "pipeline-id", "A pipeline made anew under the old slug has another id."),
        same_if_set(("cluster_id",), "cluster-id", "Only agents of the registered cluster may publish."),
    ),
    lookup=Lookup(("pipeline_slug",), "pipeline"),
    pins=(("organization_id",), ("pipeline_id",)),
    ref=("build_branch",),
    full_ref=_full_ref,
    protected_ref=None,
    known=frozenset(
        [
            "agent_id",
            "aud",
            "build_branch",
            "build_commit",
            "build_id",
            "build_number",
            "build_source",
            "build_tag",
            "cluster_id",
            "cluster_name",
            "exp",
            "https://aws.amazon.com/tags",
            "iat",
            "iss",
            "job_id",
            "jti",
            "nbf",
            "organization_id",
            "organization_slug",
            "pipeline_id",
            "pipeline_slug",
            "queue_id",
            "queue_key",
            "runner_environment",
            "step_key",
            "sub",
        ]
    ),
    # Five minutes unless a job asks for another lifetime; it has no reason to ask for more than an hour.
    max_lifetime_seconds=3600,
    shared=("https://agent.buildkite.com",),
    tenants=(("organization_id",), ("organization_slug",), ("pipeline_id",)),
    organization="organization-id",
    job="""\
# .buildkite/pipeline.yml
steps:
  - key: publish
    if: build.tag =~ /^v/
    agents:
      queue: release           # agents that have uv
    env:
      BUILDKITE_OIDC_TOKEN_CLAIMS: organization_id,pipeline_id
    commands:
      - uv build
      - uv publish --publish-url https://HOST/acme/legacy/
""",
)
