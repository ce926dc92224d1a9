"""A simulated job of Forgejo Actions."""

from __future__ import annotations

from mintmark.lab.kinds.model import (
    HEADS,
    PROTECTED_REF,
    PULL,
    TAGS,
    Desk,
    Equipment,
    ImpossibleJob,
    Job,
    Kind,
    Paths,
    digest,
    flag,
    stable_id,
)

LIFETIME_SECONDS = 3600


def claims(job: Job, now: int) -> dict[str, object]:
    """As Forgejo documents them, with the ids and refs that its source adds."""
    repository, ref, file = job.config["repository"], job.ref, job.config["workflow"]
    owner, _, name = repository.partition("/")
    if not ref.startswith((HEADS, TAGS, PULL)):
        raise ImpossibleJob(f"A Forgejo job has a ref that begins with {HEADS}, {TAGS} or {PULL}; not {ref!r}.")
    pull = ref.startswith(PULL)
    repository_id = job.config.get("repository-id") or stable_id("repository", repository)
    owner_id = job.config.get("owner-id") or stable_id("owner", owner)
    subject = repository if job.old_subject else f"{owner}-{owner_id}/{name}-{repository_id}"
    return {
        "sub": f"repo:{subject}:" + ("pull_request" if pull else f"ref:{ref}"),
        "actor": "user1",
        "actor_id": stable_id("actor", "user1"),
        "base_ref": "main" if pull else "",
        "event_name": "pull_request" if pull else "push",
        "head_ref": "feature" if pull else "",
        "ref": ref,
        "ref_protected": flag(ref == PROTECTED_REF),
        "ref_type": "tag" if ref.startswith(TAGS) else "branch",
        "repository": repository,
        "repository_id": repository_id,
        "repository_owner": owner,
        "repository_owner_id": owner_id,
        "run_attempt": "1",
        "run_id": job.number(),
        "run_number": "43",
        "sha": digest("sha", repository, ref),
        "workflow": file,
        "workflow_ref": f"{repository}/.forgejo/workflows/{file}@{ref}",
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The runner's variables: GitHub's, so that its programs work unchanged, and Forgejo's own mark."""
    return Equipment(
        {
            "FORGEJO_ACTIONS": "true",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": desk.request_url(),
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": desk.request_secret(),
        }
    )


KIND = Kind("forgejo", Paths("/forgejo/api/actions", "/forgejo/api/actions/.well-known/keys"), claims, equip, jti=False)
