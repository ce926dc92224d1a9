"""GitLab CI: gitlab.com, self-hosted GitLab and GitLab Dedicated."""

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


def _runs_the_configuration(it: Identity) -> Expectation:
    """`SERVER/PROJECT//FILE@REF`, spelled as the token spells its project.

    The claim is null where the pipeline's definition lives in another project; then nothing matches.
    """
    project, ref, sha = (it.claims.get(name) for name in ("project_path", "ref_path", "sha"))
    stem = f"{it.server}/{project}//{it.config['workflow']}@"
    return Expectation(tuple(stem + end for end in (ref, sha) if isinstance(end, str) and end))


def _runs_in_its_own_project(it: Identity) -> Expectation | None:
    """In a merge-request pipeline `project_path` names the *source*, which may be the victim's fork.

    GitLab 18.4 and later say in `job_project_id` which project really runs the job. Older ones do not; there, merge
    request pipelines cannot publish (a rule of their own).
    """
    project = it.claims.get("project_id")
    if it.claims.get("job_project_id") is None:
        return None
    return Expectation((project,)) if isinstance(project, str) else Expectation(())


# Every way to start a pipeline but a merge request (GitLab's documented CI_PIPELINE_SOURCE values).
_OWN_SOURCES = [
    "api",
    "chat",
    "external",
    "ondemand_dast_scan",
    "ondemand_dast_validation",
    "parent_pipeline",
    "pipeline",
    "push",
    "schedule",
    "security_orchestration_policy",
    "trigger",
    "web",
    "webide",
]


def _not_a_merge_request(it: Identity) -> Expectation | None:
    return Expectation(tuple(_OWN_SOURCES)) if it.claims.get("job_project_id") is None else None


_ID = re.compile(r"[0-9]{1,20}")
_PART = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"

GITLAB = Provider(
    slug="gitlab",
    title="GitLab CI",
    docs_url="https://docs.gitlab.com/ci/secrets/id_token_authentication/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*"),
        examples=(
            "https://gitlab.com",
            "https://acme.gitlab-dedicated.com",
            "https://gitlab.acme.example",
            "https://acme.example:8443/gitlab",
        ),
        explanation="The instance's URL, also of GitLab Dedicated, or what its administrator set as "
        "`ci_id_tokens.issuer_url`.",
        server=lambda url: url.split("://", 1)[-1],
    ),
    fields=(
        Field(
            "project-path",
            "Project path",
            re.compile(rf"{_PART}(?:/{_PART})+"),
            "group/subgroup/project",
            "The project's path with all its groups.",
            required=True,
        ),
        Field(
            "workflow",
            "CI configuration file",
            re.compile(r"(?:[^/@\s\\]+/)*[^/@\s\\]+\.ya?ml"),
            ".gitlab-ci.yml",
            "The project's CI configuration file, as a path from the root of the repository.",
            required=True,
        ),
        Field(
            "environment",
            "Environment",
            re.compile(r"[A-Za-z0-9_/${}. -]+"),
            "release",
            "The job's environment. Recommended, and protected: claims describe the pipeline, so any job "
            "of it can ask for a token.",
        ),
        Field(
            "project-id",
            "Project id",
            _ID,
            "4711",
            "The project's number, which survives renames and is never given away.",
            immutable_id=True,
        ),
        Field(
            "namespace-id",
            "Namespace id",
            _ID,
            "42",
            "The number of the group or user that owns the project.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(
            ("project_path",),
            "project-path",
            "The pipeline must belong to the registered project. GitLab ignores case in paths.",
            ignore_case=True,
        ),
        Rule(
            ("ci_config_ref_uri",),
            _runs_the_configuration,
            "Only the registered configuration file of that very project and server may publish.",
            "is `SERVER/PROJECT//WORKFLOW@REF`, or ends in the commit",
        ),
        Rule(
            ("job_project_id",),
            _runs_in_its_own_project,
            "A merge request from a fork names the fork as its project but runs elsewhere.",
            "equals `project_id`, if present (GitLab 18.4 and later)",
        ),
        Rule(
            ("pipeline_source",),
            _not_a_merge_request,
            "Without `job_project_id` a merge-request pipeline cannot be told from one of the project itself.",
            "is not a merge request, if `job_project_id` is missing",
        ),
        same_if_set(("environment",), "environment", "The job must run in the registered environment."),
        same_if_set(("project_id",), "project-id", "A project re-created under the old path has another id."),
        same_if_set(("namespace_id",), "namespace-id", "A group re-created under the old path has another id."),
    ),
    lookup=Lookup(("project_path",), "project-path"),
    pins=(("project_id",), ("namespace_id",)),
    ref=("ref_path",),
    protected_ref=("ref_protected",),
    known=frozenset(
        [
            "aud",
            "ci_config_ref_uri",
            "ci_config_sha",
            "deployment_tier",
            "environment",
            "environment_action",
            "environment_protected",
            "exp",
            "groups_direct",
            "iat",
            "iss",
            "job_config",
            "job_id",
            "job_namespace_id",
            "job_namespace_path",
            "job_project_id",
            "job_project_path",
            "job_source",
            "jti",
            "namespace_id",
            "namespace_path",
            "nbf",
            "pipeline_id",
            "pipeline_source",
            "project_id",
            "project_path",
            "project_visibility",
            "ref",
            "ref_path",
            "ref_protected",
            "ref_type",
            "runner_environment",
            "runner_id",
            "sha",
            "sub",
            "target_audience",
            "user_access_level",
            "user_email",
            "user_id",
            "user_identities",
            "user_login",
        ]
    ),
    # A GitLab token is made when the job starts and lives as long as the job may run; a day covers nearly every job,
    # and an operator with longer ones raises the limit for that issuer.
    max_lifetime_seconds=86_400,
    reusable=False,
    shared=("https://gitlab.com",),
    tenants=(("project_id",), ("namespace_id",), ("project_path",), ("namespace_path",)),
    organization="namespace-id",
    job="""\
# .gitlab-ci.yml
publish:
  environment: release
  rules:
    - if: $CI_COMMIT_TAG
  id_tokens:
    VARIABLE:
      aud: AUDIENCE
  script:                    # in an image that has uv
    - uv build
    - uv publish --publish-url https://HOST/acme/legacy/
""",
)
