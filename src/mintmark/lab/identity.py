"""What a simulated CI job says about itself: the claims of a fresh identity token.

Owns one builder per provider, which fills in everything a real token of that provider holds from what a publisher's
registration says. Leaves signing to `lab.signer`. Nothing here decides what is accepted: the claims are written after
the vendors' documentation, and `core.match` judges them like any others.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from mintmark.core.providers.model import Provider

GITHUB_LIFETIME_SECONDS = 300
GITHUB_BACKDATE_SECONDS = 600
GITLAB_LIFETIME_SECONDS = 3600
GITLAB_BACKDATE_SECONDS = 5
PROTECTED_REF = "refs/heads/main"

_HEADS, _TAGS, _PULL = "refs/heads/", "refs/tags/", "refs/pull/"


class ImpossibleJob(ValueError):
    """No job of this provider could look like this. The message is a sentence for people."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What a builder starts from."""

    issuer_url: str
    server: str
    config: Mapping[str, str]
    ref: str
    random: Random
    old_subject: bool

    def number(self) -> str:
        """The number of something that happens once: a run, a pipeline, a job."""
        return str(self.random.randrange(10**9, 10**10))


def claims_for(
    provider: Provider,
    issuer_url: str,
    server: str,
    config: Mapping[str, str],
    *,
    overrides: Mapping[str, object] | None = None,
    ref: str = PROTECTED_REF,
    now: float,
    random: Random,
    audience: str,
    old_subject: bool = False,
) -> dict[str, object]:
    """The claims of a token that matches a publisher with this configuration.

    `overrides` replace claims as they are, without changing what is derived from them, and None removes one. Raises
    `Rejected` for a configuration that the provider does not allow and `ImpossibleJob` for a ref that no job has.
    `old_subject` asks for GitHub's `sub` as it was before owner and repository ids became part of it.
    """
    build = _BUILDERS.get(provider.slug)
    if build is None:
        raise ImpossibleJob(f"The lab cannot simulate {provider.title}.")
    job = _Job(issuer_url, server, provider.parse_config(config), ref, random, old_subject)
    claims: dict[str, object] = {
        "jti": str(uuid.UUID(int=random.getrandbits(128), version=4)),
        "iss": issuer_url,
        "aud": audience,
        **build(job, int(now)),
        **(overrides or {}),
    }
    removed = {name for name, value in (overrides or {}).items() if value is None}
    return {name: value for name, value in claims.items() if name not in removed}


def stable_id(*path: str) -> str:
    """An id that is always the same for the same path, and another one for another path."""
    return str(10**8 + int(_digest(*path), 16) % (9 * 10**8))


def _digest(*path: str) -> str:
    # Text from JSON may hold half a surrogate pair; it is as good as any other name here.
    return hashlib.sha1("\0".join(path).lower().encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


# -- GitHub -----------------------------------------------------------------------------------------------------------


def _github(job: _Job, now: int) -> dict[str, object]:
    repository, ref = job.config["repository"], job.ref
    owner = repository.partition("/")[0]
    sha = _digest("sha", repository, ref)
    # A deployment of a bare commit has no ref; GitHub then puts the commit in its place.
    workflow_ref = f"{repository}/.github/workflows/{job.config['workflow']}@{ref or sha}"
    ids = {
        "repository_id": job.config.get("repository-id") or stable_id("repository", repository),
        "repository_owner_id": job.config.get("owner-id") or stable_id("owner", owner),
    }
    event, ref_type, head, base = _github_event(ref)
    on_github = "githubusercontent.com" in job.issuer_url or ".ghe.com" in job.issuer_url
    return {
        **ids,
        **_github_environment(job),
        "sub": _github_subject(job, ids, event),
        "ref": ref,
        "ref_type": ref_type,
        "ref_protected": _flag(ref == PROTECTED_REF),
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
        "job_workflow_ref": workflow_ref,
        "job_workflow_sha": sha,
        "enterprise": "mintmark-lab",
        "enterprise_id": stable_id("enterprise", "mintmark-lab"),
        "iat": now,
        "nbf": now - GITHUB_BACKDATE_SECONDS,
        "exp": now + GITHUB_LIFETIME_SECONDS,
    }


def _github_event(ref: str) -> tuple[str, str, str, str]:
    """Event, type of the ref, head and base of the pull request."""
    if not ref:
        return "deployment", "", "", ""
    if ref.startswith(_PULL):
        return "pull_request", "branch", "feature", "main"
    if ref.startswith((_HEADS, _TAGS)):
        return "push", "tag" if ref.startswith(_TAGS) else "branch", "", ""
    raise ImpossibleJob(f"A GitHub job has a ref that begins with {_HEADS}, {_TAGS} or {_PULL}, or none; not {ref!r}.")


def _github_environment(job: _Job) -> dict[str, object]:
    environment = job.config.get("environment")
    if not environment:
        return {}
    node = _digest("environment", job.config["repository"], environment)[:16]
    return {"environment": environment, "environment_node_id": f"EN_{node}"}


def _github_subject(job: _Job, ids: Mapping[str, str], event: str) -> str:
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


# -- GitLab -----------------------------------------------------------------------------------------------------------


def _gitlab(job: _Job, now: int) -> dict[str, object]:
    path, ref = job.config["project-path"], job.ref
    namespace = path.rpartition("/")[0]
    ref_type, name = _gitlab_ref(ref)
    sha = _digest("sha", path, ref)
    project_id = job.config.get("project-id") or stable_id("project", path)
    namespace_id = job.config.get("namespace-id") or stable_id("namespace", namespace)
    return {
        **_gitlab_environment(job),
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
        "ref_protected": _flag(ref == PROTECTED_REF),
        # The only number that is a number.
        "runner_id": int(stable_id("runner", job.server)),
        "runner_environment": "gitlab-hosted" if job.server == "gitlab.com" else "self-hosted",
        "sha": sha,
        "ci_config_ref_uri": f"{job.server}/{path}//{job.config['workflow']}@{ref}",
        "ci_config_sha": sha,
        "iat": now,
        "nbf": now - GITLAB_BACKDATE_SECONDS,
        "exp": now + GITLAB_LIFETIME_SECONDS,
    }


def _gitlab_ref(ref: str) -> tuple[str, str]:
    for prefix, kind in ((_HEADS, "branch"), (_TAGS, "tag")):
        if ref.startswith(prefix) and ref != prefix:
            return kind, ref.removeprefix(prefix)
    raise ImpossibleJob(f"A GitLab job has a ref that begins with {_HEADS} or {_TAGS}; not {ref!r}.")


def _gitlab_environment(job: _Job) -> dict[str, object]:
    environment = job.config.get("environment")
    if not environment:
        return {}
    return {
        "environment": environment,
        "environment_protected": "false",
        "deployment_tier": "production",
        "environment_action": "start",
    }


def _flag(value: bool) -> str:
    """Both providers write booleans as strings."""
    return "true" if value else "false"


_BUILDERS: dict[str, Callable[[_Job, int], dict[str, object]]] = {"github": _github, "gitlab": _gitlab}
