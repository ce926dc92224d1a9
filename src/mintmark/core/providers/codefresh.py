"""Codefresh pipelines.

All its customers share one issuer, so account and pipeline are demanded by their ids. The claims about the git event
depend on the trigger; a branch and a tag of one name look alike in them, so no ref is made of them.
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
)


def _not_a_pull_request(it: Identity) -> Expectation | None:
    return None if it.claims.get("scm_pull_request_target_branch") is None else Expectation(())


_ID = re.compile(r"[0-9a-z]{1,64}")

CODEFRESH = Provider(
    slug="codefresh",
    title="Codefresh",
    docs_url="https://codefresh.io/docs/docs/integrations/oidc-pipelines/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*"),
        examples=("https://oidc.codefresh.io", "https://codefresh.acme.example/oidc"),
        explanation="`https://oidc.codefresh.io` for the service; what an installation of your own has as `iss`.",
    ),
    fields=(
        Field(
            "account-id",
            "Account id",
            _ID,
            "5f30ebd30312313ae7f17948",
            "The id of the Codefresh account. Everybody's pipelines have the same issuer.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "pipeline-id",
            "Pipeline id",
            _ID,
            "64de5cd47626b3ca134e760a",
            "The id of the pipeline that publishes; its settings show it.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "repository",
            "Repository",
            re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)+"),
            "https://git.acme.example/team/widget",
            "The URL of the git repository whose push or tag started the pipeline. Recommended where triggers of "
            "several repositories share it; scheduled builds have none.",
        ),
    ),
    rules=(
        same(("account_id",), "account-id", "The pipeline must belong to the registered account."),
        same(("pipeline_id",), "pipeline-id", "Only the registered pipeline may publish."),
        same_if_set(
            ("scm_repo_url",),
            "repository",
            "The build must be for the registered repository. A scheduled build, which has none, is none of it.",
        ),
        Rule(
            ("scm_pull_request_target_branch",),
            _not_a_pull_request,
            "A build for a pull request runs what a stranger may have prepared.",
            "is missing",
        ),
    ),
    lookup=Lookup(("pipeline_id",), "pipeline-id"),
    pins=(("account_id",), ("pipeline_id",)),
    ref=None,
    protected_ref=None,
    known=frozenset(
        [
            "account_id",
            "account_name",
            "aud",
            "exp",
            "iat",
            "initiator",
            "iss",
            "pipeline_id",
            "pipeline_name",
            "platform_url",
            "runner_environment",
            "scm_pull_request_target_branch",
            "scm_ref",
            "scm_repo_url",
            "scm_user_name",
            "sub",
            "workflow_id",
        ]
    ),
    # The documented token lives five minutes; an hour leaves room for installations configured otherwise.
    max_lifetime_seconds=3600,
    requires_jti=False,
    shared=("https://oidc.codefresh.io",),
    tenants=(("account_id",), ("pipeline_id",)),
    organization="account-id",
    job="""\
# codefresh.yml, behind the step that clones the repository
id_token:
  title: Ask for an identity token
  type: obtain-oidc-id-token
  arguments:
    AUDIENCE: AUDIENCE
publish:
  title: Publish
  image: your-image            # one that has uv
  working_directory: ${{clone}}
  commands:
    - uv build
    # uv does not know Codefresh, but takes the token from this variable as in GitLab CI.
    - export GITLAB_CI=true VARIABLE="$ID_TOKEN"
    - uv publish --publish-url https://HOST/acme/legacy/
""",
)
