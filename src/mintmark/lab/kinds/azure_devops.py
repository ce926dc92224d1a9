"""A simulated job of Azure Pipelines."""

from __future__ import annotations

from mintmark.lab.kinds.model import (
    HEADS,
    PULL,
    TAGS,
    Desk,
    Equipment,
    ImpossibleJob,
    Job,
    Kind,
    Paths,
    digest,
    stable_uuid,
)

LIFETIME_SECONDS = 300
BACKDATE_SECONDS = 600
AUDIENCE = "api://AzureADTokenExchange"
"""Of every token: a job cannot ask for another one."""
_ORGANIZATION = stable_uuid("azure-devops", "organization")


def claims(job: Job, now: int) -> dict[str, object]:
    """As in the tokens that others published: Microsoft documents the request and not the claims."""
    if not job.ref.startswith((HEADS, TAGS, PULL)):
        raise ImpossibleJob(f"A job of Azure Pipelines has a ref that begins with {HEADS}, {TAGS} or {PULL}.")
    repository = job.config["repository"]
    return {
        "sub": "p://lab/widget/publish",
        # The issuer is the organization's.
        "org_id": job.issuer_url.rpartition("/")[2],
        "prj_id": job.config["project-id"],
        "def_id": job.config["pipeline-id"],
        "rpo_id": job.config.get("repository-id") or stable_uuid("repository", repository),
        "rpo_uri": repository,
        "rpo_ver": digest("sha", repository, job.ref),
        "rpo_ref": job.ref,
        "run_id": job.number(),
        "iat": now,
        "nbf": now - BACKDATE_SECONDS,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The agent's mark, where to ask, and the secret, which a step must be given by name."""
    return Equipment(
        {
            "TF_BUILD": "True",
            "SYSTEM_OIDCREQUESTURI": desk.azure_request_url(),
            "SYSTEM_ACCESSTOKEN": desk.request_secret(),
        }
    )


KIND = Kind(
    "azure-devops",
    Paths(f"/azure-devops/{_ORGANIZATION}", "/azure-devops/.well-known/jwks"),
    claims,
    equip,
    fixed_audience=lambda _issuer_url: AUDIENCE,
)
