"""Semaphore: the service, and installations of one's own."""

import re

from mintmark.core.providers.model import (
    Expectation,
    Field,
    IssuerShape,
    Lookup,
    Provider,
    Rule,
    same,
    same_if_set,
    vendor_issuers,
)

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SEMAPHORE = Provider(
    slug="semaphore",
    title="Semaphore",
    docs_url="https://docs.semaphoreci.com/reference/openid",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(rf"https://{_LABEL}(?:\.{_LABEL})+(?::[0-9]+)?"),
        examples=("https://acme.semaphoreci.com", "https://acme.semaphore.example"),
        explanation="The URL of the organization: `https://ORGANIZATION.semaphoreci.com`, or "
        "`https://ORGANIZATION.DOMAIN` of an installation of your own.",
    ),
    fields=(
        Field(
            "project-id",
            "Project id",
            _UUID,
            "1e1fcfb5-09c0-487e-b051-2d0b5514c42a",
            "The project's UUID, which no other project ever gets.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "repository",
            "Repository",
            re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+"),
            "semaphoreci/docs",
            "Owner and name of the repository.",
            required=True,
        ),
        Field(
            "organization-id",
            "Organization id",
            _UUID,
            "d7dd33ad-9317-498c-9cc6-51c250749be7",
            "The organization's UUID: somebody who takes a name that was given up has another one. Older "
            "installations do not say it.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(("prj_id",), "project-id", "The job must belong to the registered project."),
        same(("repo_slug",), "repository", "The project must still build the registered repository."),
        Rule(
            ("ref_type",),
            lambda it: Expectation(("branch", "tag")),
            "A pull request may hold what a stranger wrote, and its `branch` is the branch it would be merged into.",
            "is `branch` or `tag`",
        ),
        Rule(
            ("job_type",),
            lambda it: Expectation(("pipeline_job",)),
            "In a debug job a person can run anything.",
            "is `pipeline_job`",
        ),
        same_if_set(("org_id",), "organization-id", "An organization made anew under the old name has another id."),
    ),
    lookup=Lookup(("prj_id",), "project-id"),
    pins=(("org_id",), ("prj_id",)),
    ref=("ref",),
    protected_ref=None,
    known=frozenset(
        [
            "actor",
            "aud",
            "branch",
            "exp",
            "https://aws.amazon.com/tags",
            "iat",
            "iss",
            "job_id",
            "job_type",
            "jti",
            "nbf",
            "org",
            "org_id",
            "ppl_id",
            "pr",
            "pr_branch",
            "prj",
            "prj_id",
            "ref",
            "ref_type",
            "repo",
            "repo_slug",
            "sub",
            "sub127",
            "tag",
            "trg",
            "wf_id",
        ]
    ),
    # The token is made when the job starts and lives for a day, as Semaphore's code has it.
    max_lifetime_seconds=86_400,
    reusable=False,
    audience="fixed",
    job="""\
# .semaphore/semaphore.yml
version: v1.0
name: release
agent:
  machine:
    type: e1-standard-2
    os_image: ubuntu2404
blocks:
  - name: publish
    run:
      when: "tag =~ '^v'"
    task:
      jobs:
        - name: publish
          commands:            # on a machine that has uv
            - checkout
            - uv build
            # uv does not know Semaphore, but takes the token from this variable as in GitLab CI.
            - export GITLAB_CI=true VARIABLE="$SEMAPHORE_OIDC_TOKEN"
            - uv publish --publish-url https://HOST/acme/legacy/
""",
)
