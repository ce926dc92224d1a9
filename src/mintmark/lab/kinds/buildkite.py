"""A simulated job of Buildkite."""

from __future__ import annotations

from mintmark.lab.kinds.commands import REQUEST_FILE, request_of, script
from mintmark.lab.kinds.model import (
    Desk,
    Equipment,
    Job,
    Kind,
    Paths,
    digest,
    is_branch_or_tag,
    stable_uuid,
)

LIFETIME_SECONDS = 300


def claims(job: Job, now: int) -> dict[str, object]:
    """As Buildkite documents them, with every optional claim of a job in a cluster but agent tags.

    The job's `buildkite-agent` leaves out the optional ones that it is not asked for.
    """
    organization, pipeline = job.config["organization"], job.config["pipeline"]
    kind, name = is_branch_or_tag(job.ref, "Buildkite")
    commit = digest("sha", organization, pipeline, job.ref)
    number = int(job.number())
    step_key = job.config.get("step-key")
    return {
        "sub": f"organization:{organization}:pipeline:{pipeline}:ref:{job.ref}:commit:{commit}:step:{step_key or ''}",
        "organization_slug": organization,
        "organization_id": job.config.get("organization-id") or stable_uuid("organization", organization),
        "pipeline_slug": pipeline,
        "pipeline_id": job.config.get("pipeline-id") or stable_uuid("pipeline", organization, pipeline),
        "build_number": number,
        "build_id": stable_uuid("build", str(number)),
        # A webhook of a tag has its name for the branch.
        "build_branch": name,
        "build_tag": name if kind == "tag" else None,
        "build_commit": commit,
        "build_source": "webhook",
        "step_key": step_key,
        "job_id": stable_uuid("job", str(number)),
        "agent_id": stable_uuid("agent", organization),
        "cluster_id": job.config.get("cluster-id") or stable_uuid("cluster", organization),
        "cluster_name": "Default cluster",
        "queue_id": stable_uuid("queue", organization),
        "queue_key": "default",
        "runner_environment": "self-hosted",
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The agent, and the variable by which clients know that it is there."""
    return Equipment(
        {"CI": "true", "BUILDKITE": "true"},
        {"buildkite-agent": script("buildkite_agent")},
        {REQUEST_FILE: request_of(desk)},
    )


KIND = Kind("buildkite", Paths("/buildkite", "/buildkite/.well-known/jwks"), claims, equip)
