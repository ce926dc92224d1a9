"""A simulated job of GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping

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

LIFETIME_SECONDS = 300
BACKDATE_SECONDS = 600


def claims(job: Job, now: int) -> dict[str, object]:
    """As GitHub documents them."""
    repository, ref = job.config["repository"], job.ref
    owner = repository.partition("/")[0]
    sha = digest("sha", repository, ref)
    # A deployment of a bare commit has no ref; GitHub then puts the commit in its place.
    workflow_ref = f"{repository}/.github/workflows/{job.config['workflow']}@{ref or sha}"
    ids = {
        "repository_id": job.config.get("repository-id") or stable_id("repository", repository),
        "repository_owner_id": job.config.get("owner-id") or stable_id("owner", owner),
    }
    event, ref_type, head, base = _event(ref)
    on_github = "githubusercontent.com" in job.issuer_url or ".ghe.com" in job.issuer_url
    return {
        **ids,
        **_environment(job),
        "sub": _subject(job, ids, event),
        "ref": ref,
        "ref_type": ref_type,
        "ref_protected": flag(ref == PROTECTED_REF),
        "sha": sha,
        "repository": repository,
        "repository_owner": owner,
        "repository_visibility": "private",
        "actor": "octocat",
        "actor_id": stable_id("actor", "octocat"),
        "event_name": event,
        "head_ref": head,
        "base_ref": base,
        "run_id": job.number(),
        "run_number": "10",
        "run_attempt": "1",
        "check_run_id": job.number(),
        "runner_environment": "github-hosted" if on_github else "self-hosted",
        "workflow": job.config["workflow"].rpartition(".")[0],
        "workflow_ref": workflow_ref,
        "workflow_sha": sha,
        "job_workflow_ref": _steps_of(job, workflow_ref),
        "job_workflow_sha": sha,
        "enterprise": "mintmark-lab",
        "enterprise_id": stable_id("enterprise", "mintmark-lab"),
        "iat": now,
        "nbf": now - BACKDATE_SECONDS,
        "exp": now + LIFETIME_SECONDS,
    }


def _event(ref: str) -> tuple[str, str, str, str]:
    """Event, type of the ref, head and base of the pull request."""
    if not ref:
        return "deployment", "", "", ""
    if ref.startswith(PULL):
        return "pull_request", "branch", "feature", "main"
    if ref.startswith((HEADS, TAGS)):
        return "push", "tag" if ref.startswith(TAGS) else "branch", "", ""
    raise ImpossibleJob(f"A GitHub job has a ref that begins with {HEADS}, {TAGS} or {PULL}, or none; not {ref!r}.")


def _steps_of(job: Job, workflow_ref: str) -> str:
    """The workflow whose steps the job runs: its own, or one that it calls."""
    called = job.config.get("called-workflow")
    if not called:
        return workflow_ref
    return called if "@" in called else f"{called}@{PROTECTED_REF}"


def _environment(job: Job) -> dict[str, object]:
    environment = job.config.get("environment")
    if not environment:
        return {}
    node = digest("environment", job.config["repository"], environment)[:16]
    return {"environment": environment, "environment_node_id": f"EN_{node}"}


def _subject(job: Job, ids: Mapping[str, str], event: str) -> str:
    owner, _, name = job.config["repository"].partition("/")
    if not job.old_subject:
        owner, name = f"{owner}@{ids['repository_owner_id']}", f"{name}@{ids['repository_id']}"
    environment = job.config.get("environment")
    if environment:
        tail = "environment:" + environment.replace(":", "%3A")
    elif event == "pull_request":
        tail = "pull_request"
    else:
        tail = "ref:" + job.ref.replace(":", "%3A")
    return f"repo:{owner}/{name}:{tail}"


def equip(desk: Desk) -> Equipment:
    """The runner's variables."""
    return Equipment(
        {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": desk.request_url(),
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": desk.request_secret(),
        }
    )


# As an Enterprise Server has it.
KIND = Kind("github", Paths("/github/_services/token", "/github/_services/token/.well-known/jwks"), claims, equip)
