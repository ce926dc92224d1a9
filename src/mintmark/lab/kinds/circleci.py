"""A simulated job of CircleCI."""

from __future__ import annotations

from mintmark.lab.kinds.commands import REQUEST_FILE, request_of, script
from mintmark.lab.kinds.model import Desk, Equipment, Job, Kind, Paths, is_branch_or_tag, stable_uuid

LIFETIME_SECONDS = 3600
_NAMESPACE = "oidc.circleci.com/"


def claims(job: Job, now: int) -> dict[str, object]:
    """As CircleCI documents them, of a job that somebody's push started."""
    is_branch_or_tag(job.ref, "CircleCI")
    organization, project = job.config["organization-id"], job.config["project-id"]
    origin = job.config["vcs-origin"]
    user = stable_uuid("user", organization)
    number = job.number()
    return {
        "sub": f"org/{organization}/project/{project}/user/{user}/vcs-origin/{origin}/vcs-ref/{job.ref}",
        _NAMESPACE + "org-id": organization,
        _NAMESPACE + "project-id": project,
        _NAMESPACE + "pipeline-definition-id": job.config["pipeline-definition-id"],
        _NAMESPACE + "pipeline-id": stable_uuid("pipeline", number),
        _NAMESPACE + "workflow-id": stable_uuid("workflow", number),
        _NAMESPACE + "job-id": stable_uuid("job", number),
        _NAMESPACE + "context-ids": [job.config["context-id"]] if "context-id" in job.config else [],
        _NAMESPACE + "ssh-rerun": False,
        _NAMESPACE + "vcs-origin": origin,
        _NAMESPACE + "vcs-ref": job.ref,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The command, and the variable by which clients know that it is there.

    The variables with ready-made tokens are not set: their issuer is the organization's, and the lab is the shared one.
    """
    return Equipment(
        {"CI": "true", "CIRCLECI": "true"}, {"circleci": script("circleci")}, {REQUEST_FILE: request_of(desk)}
    )


KIND = Kind("circleci", Paths("/circleci", "/circleci/.well-known/jwks-pub.json"), claims, equip, jti=False)
