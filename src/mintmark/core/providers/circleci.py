"""CircleCI: the cloud, and CircleCI servers."""

import re

from mintmark.core.providers.model import (
    Expectation,
    Field,
    Identity,
    IssuerShape,
    Lookup,
    Provider,
    Rule,
    same,
    vendor_issuers,
)

_NAMESPACE = "oidc.circleci.com/"
_PULL_REQUEST = re.compile(r"refs/heads/(?:[^/]+/)?pull/[0-9]+")


def _claim(name: str) -> tuple[str]:
    return (_NAMESPACE + name,)


def _uses_the_context(it: Identity) -> Expectation | None:
    wanted = it.config.get("context-id")
    return Expectation((wanted,), in_list=True) if wanted else None


def _is_no_pull_request(it: Identity) -> Expectation:
    """CircleCI gives the build of a fork's pull request a branch named `pull/NUMBER`."""
    ref = it.claims.get(_NAMESPACE + "vcs-ref")
    is_own = isinstance(ref, str) and ref.startswith(("refs/heads/", "refs/tags/")) and not _PULL_REQUEST.fullmatch(ref)
    return Expectation((str(ref),) if is_own else ())


_UUID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(_UUID_PATTERN)

CIRCLECI = Provider(
    slug="circleci",
    title="CircleCI",
    docs_url="https://circleci.com/docs/guides/permissions-authentication/openid-connect-tokens/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(
            rf"https://oidc\.circleci\.com|https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*/org/{_UUID_PATTERN}"
        ),
        examples=(
            "https://oidc.circleci.com",
            "https://oidc.circleci.com/org/a64b0a19-f221-4291-b000-8d24bd842b72",
        ),
        explanation="`https://oidc.circleci.com`, which uv and twine ask for, or the issuer of your organization: it "
        "ends in `/org/ORGANIZATION-ID`.",
    ),
    fields=(
        Field(
            "organization-id",
            "Organization id",
            _UUID,
            "a64b0a19-f221-4291-b000-8d24bd842b72",
            "The organization's UUID, from Organization Settings.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "project-id",
            "Project id",
            _UUID,
            "5a301f56-eaa7-4cce-9441-37810f7c8452",
            "The project's UUID, from Project Settings.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "pipeline-definition-id",
            "Pipeline definition id",
            _UUID,
            "17c50866-1802-5aeb-874e-7f4dfce1b6b5",
            "The UUID of the pipeline definition, from Project Settings: which configuration file of which repository.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "vcs-origin",
            "Repository",
            re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9_.~-]+){2,}"),
            "github.com/organization-123/repo-1",
            "Host and path of the repository, without `https://`.",
            required=True,
        ),
        Field(
            "context-id",
            "Context id",
            _UUID,
            "a74579f1-2e7d-451e-b009-5c082ad2729e",
            "The UUID of a context that the job must use. Recommended: its restrictions then guard publishing.",
        ),
    ),
    rules=(
        same(
            _claim("org-id"),
            "organization-id",
            "All organizations of CircleCI share the issuer that clients ask for: nothing else tells yours apart.",
        ),
        same(_claim("project-id"), "project-id", "The job must belong to the registered project."),
        same(
            _claim("pipeline-definition-id"),
            "pipeline-definition-id",
            "Only the registered definition may publish, not any configuration that is added to the project.",
        ),
        same(
            _claim("vcs-origin"),
            "vcs-origin",
            "A project that passes secrets to builds of forks gives them identities too; they name the fork here.",
        ),
        Rule(
            _claim("vcs-ref"),
            _is_no_pull_request,
            "A pull request may hold what a stranger wrote.",
            "is a branch or tag, and not the `pull/NUMBER` of a fork's pull request",
        ),
        Rule(
            _claim("ssh-rerun"),
            lambda it: Expectation((False,)),
            "In a job that was started again with SSH a person can run anything.",
            "is false, as a boolean",
        ),
        Rule(
            _claim("context-ids"),
            _uses_the_context,
            "The job must have been allowed to use the registered context.",
            "is a list with the field `context-id`, if that is filled in",
        ),
    ),
    lookup=Lookup(_claim("project-id"), "project-id"),
    pins=(_claim("org-id"), _claim("project-id"), _claim("pipeline-definition-id")),
    ref=_claim("vcs-ref"),
    protected_ref=None,
    known=frozenset(
        [
            "aud",
            "exp",
            "iat",
            "iss",
            "sub",
            *(
                _NAMESPACE + name
                for name in (
                    "context-ids",
                    "job-id",
                    "org-id",
                    "pipeline-definition-id",
                    "pipeline-id",
                    "project-id",
                    "ssh-rerun",
                    "vcs-origin",
                    "vcs-ref",
                    "workflow-id",
                )
            ),
        ]
    ),
    # An hour, as documented.
    max_lifetime_seconds=3600,
    requires_jti=False,
    shared=("https://oidc.circleci.com",),
    tenants=(_claim("org-id"), _claim("project-id")),
    organization="organization-id",
    job="""\
# .circleci/config.yml
version: 2.1
jobs:
  publish:
    docker:
      - image: your-image      # one that has uv
    steps:
      - checkout
      - run: uv build
      - run: uv publish --publish-url https://HOST/acme/legacy/
workflows:
  release:
    jobs:
      - publish:
          context: release     # its restrictions say who may publish
          filters:
            tags:
              only: /^v.*/
            branches:
              ignore: /.*/
""",
)
