"""A simulated job of Semaphore."""

from __future__ import annotations

from mintmark.lab.kinds.model import (
    Desk,
    Equipment,
    Job,
    Kind,
    Paths,
    is_branch_or_tag,
    stable_uuid,
)

LIFETIME_SECONDS = 86_400
_SHORT_TYPES = {"branch": "br", "tag": "tg"}


def claims(job: Job, now: int) -> dict[str, object]:
    """As Semaphore documents and makes them, of a pipeline that a push started."""
    project_id, repository = job.config["project-id"], job.config["repository"]
    ref_type, name = is_branch_or_tag(job.ref, "Semaphore")
    organization, repo = "mintmark-lab", repository.rpartition("/")[2]
    number = job.number()
    short = (organization, project_id, repo[:25], _SHORT_TYPES[ref_type], job.ref.removeprefix("refs/")[:35])
    return {
        "sub": f"org:{organization}:project:{project_id}:repo:{repo}:ref_type:{ref_type}:ref:{job.ref}",
        "sub127": ":".join(part.replace(":", "") for part in short)[:127],
        "org": organization,
        "org_id": job.config.get("organization-id") or stable_uuid("organization", organization),
        "prj": repo,
        "prj_id": project_id,
        "wf_id": stable_uuid("workflow", number),
        "ppl_id": stable_uuid("pipeline", number),
        "job_id": stable_uuid("job", number),
        "job_type": "pipeline_job",
        "repo": repo,
        "repo_slug": repository,
        "ref": job.ref,
        "ref_type": ref_type,
        "branch": name if ref_type == "branch" else "",
        "tag": name if ref_type == "tag" else "",
        "pr": "",
        "pr_branch": "",
        "actor": None,
        # By a hook, for the first time, the first pipeline, for the first time.
        "trg": "h:f-i:f",
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The variable with the job's only token. Its audience is the organization's URL, whatever the job wishes."""
    return Equipment({"CI": "true", "SEMAPHORE": "true", "SEMAPHORE_OIDC_TOKEN": desk.token(desk.issuer_url())})


KIND = Kind(
    "semaphore",
    Paths("/semaphore", "/semaphore/.well-known/jwks.json"),
    claims,
    equip,
    fixed_audience=lambda issuer_url: issuer_url,
)
