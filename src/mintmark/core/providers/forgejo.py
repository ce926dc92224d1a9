"""Forgejo Actions (15.0 and later): Codeberg and every other instance.

It speaks GitHub's request protocol, but its tokens are not GitHub's: no `job_workflow_ref`, no environment, no `jti`,
and `event_name` is `workflow_call` inside a reusable workflow, whatever started the run.
"""

import re

from mintmark.core.providers.model import (
    Expectation,
    Field,
    Identity,
    IssuerShape,
    Lookup,
    Provider,
    Refusal,
    Rule,
    same,
    same_if_set,
)

# Where Forgejo looks for workflows; the first folder that exists is the only one.
_FOLDERS = (".forgejo/workflows", ".gitea/workflows", ".github/workflows")


def _runs_the_workflow(it: Identity) -> Expectation:
    """`OWNER/REPO/FOLDER/FILE@REF`, spelled as the token spells its repository."""
    repository, ref = it.claims.get("repository"), it.claims.get("ref")
    if not (isinstance(ref, str) and ref):
        return Expectation(())
    return Expectation(tuple(f"{repository}/{folder}/{it.config['workflow']}@{ref}" for folder in _FOLDERS))


def _not_a_pull_request(it: Identity) -> Expectation | None:
    """Empty or missing outside of pull requests: the only trace of one inside a reusable workflow."""
    return None if it.claims.get("base_ref") in (None, "") else Expectation(())


_ID = re.compile(r"[0-9]{1,20}")

FORGEJO = Provider(
    slug="forgejo",
    title="Forgejo Actions",
    docs_url="https://forgejo.org/docs/next/user/actions/security-openid-connect/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*/api/actions"),
        examples=(
            "https://codeberg.org/api/actions",
            "https://forgejo.acme.example/api/actions",
            "https://acme.example:3000/git/api/actions",
        ),
        explanation="The instance's URL followed by `/api/actions`.",
    ),
    fields=(
        Field(
            "repository",
            "Repository",
            re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+"),
            "team/widget",
            "Owner and name of the repository.",
            required=True,
        ),
        Field(
            "workflow",
            "Workflow file",
            re.compile(r"[^/@\s\\]+\.ya?ml"),
            "release.yml",
            "The file that publishes, without its folder (.forgejo/workflows, or the folder used instead of it).",
            required=True,
        ),
        Field(
            "repository-id",
            "Repository id",
            _ID,
            "456789",
            "The repository's number, which survives renames and is never given away. Older versions do not send it.",
            immutable_id=True,
        ),
        Field(
            "owner-id",
            "Owner id",
            _ID,
            "123456",
            "The owner's number: somebody who re-registers a deleted account's name has another one.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(
            ("repository",),
            "repository",
            "The job must run in the registered repository. Forgejo ignores case in names.",
            ignore_case=True,
        ),
        Rule(
            ("workflow_ref",),
            _runs_the_workflow,
            "Only the registered workflow file may publish, not any file somebody adds to the repository.",
            "is `REPOSITORY/FOLDER/WORKFLOW@REF`",
        ),
        Rule(
            ("base_ref",),
            _not_a_pull_request,
            "A run for a pull request works on content that a stranger may have prepared; inside a reusable workflow "
            "no other claim says so.",
            "is empty or missing",
        ),
        same_if_set(("repository_id",), "repository-id", "A repository re-created under the old name has another id."),
        same_if_set(("repository_owner_id",), "owner-id", "A re-registered account name has another id."),
    ),
    refuse=(
        Refusal(
            ("event_name",),
            ("pull_request", "pull_request_target"),
            "Nobody publishes from a pull request, and `pull_request_target` has a token even for a stranger's.",
            required=True,
        ),
    ),
    lookup=Lookup(("repository",), "repository"),
    pins=(("repository_id",), ("repository_owner_id",)),
    ref=("ref",),
    protected_ref=("ref_protected",),
    known=frozenset(
        [
            "actor",
            "actor_id",
            "aud",
            "base_ref",
            "event_name",
            "exp",
            "head_ref",
            "iat",
            "iss",
            "nbf",
            "ref",
            "ref_protected",
            "ref_type",
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "run_attempt",
            "run_id",
            "run_number",
            "sha",
            "sub",
            "workflow",
            "workflow_ref",
        ]
    ),
    max_lifetime_seconds=3600,
    requires_jti=False,
    job="""\
# .forgejo/workflows/release.yml
name: release
on:
  push:
    tags: ["v*"]
jobs:
  publish:
    runs-on: docker
    enable-openid-connect: true    # lets the job ask Forgejo for an identity token
    steps:
      - uses: actions/checkout@v4
      - run: uv build              # in an image that has uv
      - run: uv publish --publish-url https://HOST/acme/legacy/
""",
)
