"""A simulated step of Bitbucket Pipelines."""

from __future__ import annotations

from mintmark.lab.kinds.model import Desk, Equipment, Job, Kind, Paths, is_branch_or_tag, stable_uuid

LIFETIME_SECONDS = 3600


def claims(job: Job, now: int) -> dict[str, object]:
    """As Bitbucket's example has them; a tag has no `branchName`."""
    repository, environment = job.config["repository-uuid"], job.config.get("environment-uuid")
    kind, name = is_branch_or_tag(job.ref, "Bitbucket")
    step = _braced("step", job.number())
    return {
        "sub": ":".join(part for part in (repository, environment, step) if part),
        "accountUuid": _braced("account", job.config["workspace-uuid"]),
        "workspaceUuid": job.config["workspace-uuid"],
        "repositoryUuid": repository,
        "pipelineUuid": _braced("pipeline", job.number()),
        "stepUuid": step,
        **({"deploymentEnvironmentUuid": environment} if environment else {}),
        **({"branchName": name} if kind == "branch" else {}),
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }


def _braced(*path: str) -> str:
    return f"{{{stable_uuid(*path)}}}"


def equip(desk: Desk) -> Equipment:
    """The variable of a step with `oidc`: the job cannot ask for another token."""
    token = desk.token(desk.wanted_audience())
    return Equipment({"CI": "true", "BITBUCKET_BUILD_NUMBER": "1", "BITBUCKET_STEP_OIDC_TOKEN": token})


_ISSUER = "/bitbucket/workspaces/lab/pipelines-config/identity/oidc"
KIND = Kind("bitbucket", Paths(_ISSUER, f"{_ISSUER}/keys.json"), claims, equip, jti=False, audience_as_list=True)
