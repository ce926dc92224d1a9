"""A simulated job of GitLab CI."""

from __future__ import annotations

import re

from mintmark.core.names import gitlab_variable
from mintmark.lab.kinds.model import (
    PROTECTED_REF,
    BadOrder,
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

LIFETIME_SECONDS = 3600
BACKDATE_SECONDS = 5
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*\Z")


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
    """The variables of `id_tokens` entries, one for each audience: the job cannot ask for another token."""
    tokens: dict[str, str] = {}
    for audience in desk.wanted_audiences():
        name = audience_variable(audience)
        if name in tokens:
            raise BadOrder(f"Two audiences make the variable {name}; order them one at a time.")
        tokens[name] = desk.token(audience)
    return Equipment({"CI": "true", "GITLAB_CI": "true", **tokens})


def audience_variable(audience: str) -> str:
    """The job variable for a token with this audience; raises `BadOrder` where no shell could set it."""
    name = gitlab_variable(audience)
    if not _VARIABLE.match(name):
        raise BadOrder(
            f"The audience {audience!r} makes no name of a variable; use letters, digits and _, a letter first."
        )
    return name


# Under a relative root.
KIND = Kind("gitlab", Paths("/gitlab", "/gitlab/oauth/discovery/keys"), claims, equip)
