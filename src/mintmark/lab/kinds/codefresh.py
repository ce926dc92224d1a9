"""A simulated build of a Codefresh pipeline, started by a git push."""

from __future__ import annotations

from mintmark.lab.kinds.model import (
    PULL,
    Desk,
    Equipment,
    ImpossibleJob,
    Job,
    Kind,
    Paths,
    digest,
    is_branch_or_tag,
)

LIFETIME_SECONDS = 300
ID_CHARACTERS = 24


def claims(job: Job, now: int) -> dict[str, object]:
    """As Codefresh documents them for a git trigger."""
    account, pipeline = job.config["account-id"], job.config["pipeline-id"]
    repository = job.config.get("repository") or "https://git.example.com/team/widget"
    pull = job.ref.startswith(PULL)
    if pull and not job.ref.removeprefix(PULL):
        raise ImpossibleJob(f"A Codefresh build of a pull request has a ref such as {PULL}1/head; not {job.ref!r}.")
    ref = "feature" if pull else is_branch_or_tag(job.ref, "Codefresh")[1]
    user = "codefresh-user"
    subject = f"account:{account}:pipeline:{pipeline}:scm_repo_url:{repository}:scm_user_name:{user}:scm_ref:{ref}"
    return {
        "sub": subject + (":scm_pull_request_target_branch:main" if pull else ""),
        "account_id": account,
        "account_name": "mintmark-lab",
        "pipeline_id": pipeline,
        "pipeline_name": "lab/publish",
        "workflow_id": digest("workflow", job.number())[:ID_CHARACTERS],
        "scm_user_name": user,
        "scm_repo_url": repository,
        "scm_ref": ref,
        **({"scm_pull_request_target_branch": "main"} if pull else {}),
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The two variables of every build, and the one that the step `obtain-oidc-id-token` sets."""
    return Equipment(
        {
            "CI": "true",
            "CF_OIDC_REQUEST_URL": desk.codefresh_request_url(),
            "CF_OIDC_REQUEST_TOKEN": desk.request_secret(),
            "ID_TOKEN": desk.token(desk.wanted_audience()),
        }
    )


KIND = Kind("codefresh", Paths("/codefresh/oidc", "/codefresh/oidc/jwks"), claims, equip, jti=False)
