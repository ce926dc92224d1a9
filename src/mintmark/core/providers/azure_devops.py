"""Azure Pipelines, of the service Azure DevOps.

Microsoft documents how a job asks for a token and not what the token says: the claims are those of tokens that others
published. All organizations' tokens are signed with the same keys, so only the issuer tells them apart. The audience
is Azure's own, for every job: believing these tokens is believing everybody who gets one for Azure.
"""

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
    same_if_set,
    vendor_issuers,
)

_UUID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(_UUID_PATTERN)


def _is_of_a_pipeline(it: Identity) -> Expectation:
    subject = it.claims.get("sub")
    return Expectation((subject,) if isinstance(subject, str) and subject.startswith("p://") else ())


def _is_no_pull_request(it: Identity) -> Expectation:
    """The builds of pull requests have refs of their own: `refs/pull/NUMBER/merge`."""
    ref = it.claims.get("rpo_ref")
    return Expectation((ref,) if isinstance(ref, str) and ref.startswith(("refs/heads/", "refs/tags/")) else ())


AZURE_DEVOPS = Provider(
    slug="azure-devops",
    title="Azure Pipelines",
    docs_url="https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(rf"https://vstoken\.dev\.azure\.com/{_UUID_PATTERN}"),
        examples=("https://vstoken.dev.azure.com/0ca3ddd9-f0b0-4635-a98c-5866526961b6",),
        explanation="`https://vstoken.dev.azure.com/ORGANIZATION-ID`, with the organization's UUID in small letters.",
    ),
    fields=(
        Field(
            "project-id",
            "Project id",
            _UUID,
            "271ef6f7-5998-4b0f-86fb-4b54d9129990",
            "The project's UUID, which a job finds in `SYSTEM_TEAMPROJECTID`.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "pipeline-id",
            "Pipeline id",
            re.compile(r"[1-9][0-9]{0,9}"),
            "12",
            "The number of the pipeline: `definitionId` in the URL of its page.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "repository",
            "Repository",
            # A name may hold a space, and Azure puts the organization before its own host.
            re.compile(r"https://(?:[A-Za-z0-9._~-]+@)?[A-Za-z0-9.-]+(?::[0-9]+)?(?:/(?:[A-Za-z0-9._~()-]|%20)+)+"),
            "https://github.com/team/widget.git",
            "The URL of the repository, as a job finds it in `BUILD_REPOSITORY_URI`.",
            required=True,
        ),
        Field(
            "repository-id",
            "Repository id",
            _UUID,
            "67a4da4f-3d1c-4a3b-9f0e-5b8a2b6d1c77",
            "The repository's UUID in Azure Repos: another one made under its name has another UUID. Repositories "
            "elsewhere have none.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(("prj_id",), "project-id", "The pipeline must belong to the registered project."),
        same(("def_id",), "pipeline-id", "Only the registered pipeline may publish."),
        same(
            ("rpo_uri",),
            "repository",
            "Somebody who may edit the pipeline can let it build another repository.",
        ),
        Rule(
            ("rpo_ref",),
            _is_no_pull_request,
            "A pull request may hold what a stranger wrote.",
            "is a branch or a tag",
        ),
        Rule(
            ("sub",),
            _is_of_a_pipeline,
            "A token of a service connection (`sc://`) is for what that connection opens, and does not say which "
            "pipeline has it.",
            "begins with `p://`",
        ),
        same_if_set(("rpo_id",), "repository-id", "A repository made anew under the old name has another UUID."),
    ),
    lookup=Lookup(("def_id",), "pipeline-id"),
    pins=(("org_id",), ("prj_id",), ("def_id",), ("rpo_id",)),
    ref=("rpo_ref",),
    protected_ref=None,
    known=frozenset(
        [
            "aud",
            "def_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "nbf",
            "org_id",
            "prj_id",
            "rpo_id",
            "rpo_ref",
            "rpo_uri",
            "rpo_ver",
            "run_id",
            "sub",
        ]
    ),
    # Those that were published live five to ten minutes.
    max_lifetime_seconds=3600,
    confirmed=False,
    audience="fixed",
    job="""\
# azure-pipelines.yml
trigger:
  tags:
    include: ["v*"]
steps:
  - script: |                  # on an agent that has uv and jq
      uv build
      # uv does not know Azure Pipelines, but takes the token from this variable as in GitLab CI.
      export GITLAB_CI=true VARIABLE="$(curl --silent --show-error --fail --request POST \\
        --header "Authorization: Bearer $SYSTEM_ACCESSTOKEN" --header "Content-Length: 0" \\
        "$SYSTEM_OIDCREQUESTURI?api-version=7.1" | jq --raw-output .oidcToken)"
      uv publish --publish-url https://HOST/acme/legacy/
    env:
      SYSTEM_ACCESSTOKEN: $(System.AccessToken)    # no step has it unless it says so
""",
)
