"""A simulated job of GitLab CI."""

from __future__ import annotations

from mintmark.lab.kinds.model import (
    PROTECTED_REF,
    Desk,
    Equipment,
    Job,
    Kind,
    Paths,
    digest,
    flag,
    is_branch_or_tag,
    stable_id,
)
from mintmark.lab.orders import audience_variable

LIFETIME_SECONDS = 3600
BACKDATE_SECONDS = 5


def claims(job: Job, now: int) -> dict[str, object]:
    """As GitLab documents them."""
    path, ref = job.config["project-path"], job.ref
    namespace = path.rpartition("/")[0]
    ref_type, name = is_branch_or_tag(ref, "GitLab")
    sha = digest("sha", path, ref)
    project_id = job.config.get("project-id") or stable_id("project", path)
    namespace_id = job.config.get("namespace-id") or stable_id("namespace", namespace)
    return {
        **_environment(job),
        "sub": f"project_path:{path}:ref_type:{ref_type}:ref:{name}",
        "namespace_id": namespace_id,
        "namespace_path": namespace,
        "project_id": project_id,
        "project_path": path,
        "project_visibility": "private",
        "job_namespace_id": namespace_id,
        "job_namespace_path": namespace,
        "job_project_id": project_id,
        "job_project_path": path,
        "user_id": stable_id("user", "sample-user"),
        "user_login": "sample-user",
        "user_email": "sample-user@example.com",
        "user_access_level": "maintainer",
        "groups_direct": [namespace],
        "pipeline_id": job.number(),
        "pipeline_source": "push",
        "job_id": job.number(),
        "ref": name,
        "ref_type": ref_type,
        "ref_path": ref,
        "ref_protected": flag(ref == PROTECTED_REF),
        # The only number that is a number.
        "runner_id": int(stable_id("runner", job.server)),
        "runner_environment": "gitlab-hosted" if job.server == "gitlab.com" else "self-hosted",
        "sha": sha,
        "ci_config_ref_uri": f"{job.server}/{path}//{job.config['workflow']}@{ref}",
        "ci_config_sha": sha,
        "iat": now,
        "nbf": now - BACKDATE_SECONDS,
        "exp": now + LIFETIME_SECONDS,
    }


def _environment(job: Job) -> dict[str, object]:
    environment = job.config.get("environment")
    if not environment:
        return {}
    return {
        "environment": environment,
        "environment_protected": "false",
        "deployment_tier": "production",
        "environment_action": "start",
    }


def equip(desk: Desk) -> Equipment:
    """The variable of one `id_tokens` entry: the job cannot ask for another token."""
    audience = desk.wanted_audience()
    return Equipment({"GITLAB_CI": "true", audience_variable(audience): desk.token(audience)})


# Under a relative root.
KIND = Kind("gitlab", Paths("/gitlab", "/gitlab/oauth/discovery/keys"), claims, equip)
