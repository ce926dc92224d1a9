"""Bitbucket Pipelines (Bitbucket Cloud).

The issuer's URL holds the workspace's name, which can be changed; so workspace and repository are demanded by their
UUIDs, which the tokens write in braces. `sub` holds the step and is another one each time.
"""

import re

from mintmark.core.providers.model import Field, IssuerShape, Lookup, Provider, same, same_if_set, vendor_issuers

_UUID = re.compile(r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}")

BITBUCKET = Provider(
    slug="bitbucket",
    title="Bitbucket Pipelines",
    docs_url="https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(
            r"https://api\.bitbucket\.org/2\.0/workspaces/[A-Za-z0-9_-]+/pipelines-config/identity/oidc"
        ),
        examples=("https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc",),
        explanation="The identity provider URL on the page OpenID Connect of a repository's settings. It exists once "
        "a pipeline with `oidc` has run.",
    ),
    fields=(
        Field(
            "workspace-uuid",
            "Workspace UUID",
            _UUID,
            "{922e118c-f34f-4226-a897-0e0afbec553d}",
            "The workspace's UUID in braces, from the page OpenID Connect of a repository's settings.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "repository-uuid",
            "Repository UUID",
            _UUID,
            "{1de489be-ce6a-42a0-a8c8-eadbf1174ac7}",
            "The repository's UUID in braces, from the same page.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "environment-uuid",
            "Deployment environment UUID",
            _UUID,
            "{bd715740-c970-486b-b68a-b421ec2a1f8b}",
            "The UUID of the step's deployment environment, from the same page. Recommended: its branch restrictions "
            "and permissions then guard publishing; without it every step of the repository can publish.",
        ),
    ),
    rules=(
        same(("workspaceUuid",), "workspace-uuid", "The repository must be in the registered workspace."),
        same(("repositoryUuid",), "repository-uuid", "The pipeline must be one of the registered repository."),
        same_if_set(
            ("deploymentEnvironmentUuid",),
            "environment-uuid",
            "The step must deploy to the registered environment.",
        ),
    ),
    lookup=Lookup(("repositoryUuid",), "repository-uuid"),
    # `branchName` is no full ref, and a branch may be called like a tag.
    pins=(("workspaceUuid",), ("repositoryUuid",)),
    ref=None,
    protected_ref=None,
    known=frozenset(
        [
            "accountUuid",
            "aud",
            "branchName",
            "deploymentEnvironment",
            "deploymentEnvironmentUuid",
            "exp",
            "iat",
            "iss",
            "pipelineUuid",
            "repositoryUuid",
            "stepUuid",
            "sub",
            "workspaceUuid",
        ]
    ),
    max_lifetime_seconds=3600,
    requires_jti=False,
    # One variable, filled when the step starts.
    reusable=False,
    # The vendor's page lists no claims; these are those of its example and of programs that read real tokens.
    confirmed=False,
    job="""\
# bitbucket-pipelines.yml
pipelines:
  tags:
    "v*":
      - step:
          deployment: production
          oidc:
            audiences:
              - AUDIENCE
          script:              # in an image that has uv
            - uv build
            # uv does not know Bitbucket, but takes the token from this variable as in GitLab CI.
            - export GITLAB_CI=true VARIABLE="$BITBUCKET_STEP_OIDC_TOKEN"
            - uv publish --publish-url https://HOST/acme/legacy/
""",
)
