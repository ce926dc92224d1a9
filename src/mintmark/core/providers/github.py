"""GitHub Actions: github.com, enterprise-slug issuers, GHE.com and GitHub Enterprise Server."""

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


def _runs_the_workflow(it: Identity) -> Expectation:
    """`OWNER/REPO/.github/workflows/FILE@REF`, spelled as the token spells its repository.

    The repository was compared with the publisher by a rule of its own, ignoring case. A deployment of a bare commit
    has an empty ref and ends in `@SHA`.
    """
    repository, ref, sha = (it.claims.get(name) for name in ("repository", "ref", "sha"))
    stem = f"{repository}/.github/workflows/{it.config['workflow']}@"
    return Expectation(tuple(stem + end for end in (ref, sha) if isinstance(end, str) and end))


def _runs_the_steps(it: Identity) -> Expectation | None:
    """The called workflow where one is registered, in any of its branches and tags unless that is registered, too.

    Otherwise the workflow itself: its own steps, or a token that does not say whose they are.
    """
    called, actual = it.config.get("called-workflow"), it.claims.get("job_workflow_ref")
    if not called:
        return _runs_the_workflow(it) if actual is not None else None
    if "@" in called:
        return Expectation((called,))
    # Nothing but a ref or a commit comes behind the file: `a.yml@b.yml` is another file.
    text = actual if isinstance(actual, str) else ""
    is_it = text.startswith(f"{called}@") and _CALLED_END.fullmatch(text, len(called) + 1)
    return Expectation((text,) if is_it else ())


_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ID = re.compile(r"[0-9]{1,20}")
_CALLED_END = re.compile(r"refs/(?:heads|tags)/.+|[0-9a-f]{40}")
_WORKFLOW_HOW = "is `REPOSITORY/.github/workflows/WORKFLOW@REF`, or ends in the commit where there is no ref"

GITHUB = Provider(
    slug="github",
    title="GitHub Actions",
    docs_url="https://docs.github.com/en/actions/reference/security/oidc",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(
            r"https://token\.actions\.githubusercontent\.com(?:/[A-Za-z0-9-]+)?"
            r"|https://token\.actions\.[A-Za-z0-9-]+\.ghe\.com(?:/[A-Za-z0-9-]+)?"
            r"|https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9_-]+)*/_services/token"
        ),
        examples=(
            "https://token.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com/acme",
            "https://token.actions.acme.ghe.com",
            "https://github.acme.example/_services/token",
        ),
        explanation="github.com, with or without an enterprise's slug, GHE.com, or `https://HOST/_services/token` of a "
        "GitHub Enterprise Server.",
    ),
    fields=(
        Field(
            "repository",
            "Repository",
            re.compile(rf"{_NAME}/[A-Za-z0-9._-]+"),
            "octo-org/octo-repo",
            "Owner and name of the repository.",
            required=True,
        ),
        Field(
            "workflow",
            "Workflow file",
            re.compile(r"[^/@\s\\]+\.ya?ml"),
            "release.yml",
            "The file in .github/workflows that publishes, without its folder.",
            required=True,
        ),
        Field(
            "environment",
            "Environment",
            re.compile(r"[^\s'\"`,;\\\x00-\x1f](?:[^'\"`,;\\\x00-\x1f]*[^\s'\"`,;\\\x00-\x1f])?"),
            "release",
            "The job's environment. Recommended: its protection rules then guard publishing.",
        ),
        Field(
            "called-workflow",
            "Called workflow",
            re.compile(
                rf"{_NAME}/[A-Za-z0-9._-]+/\.github/workflows/[^/@\s\\]+\.ya?ml(?:@(?:refs/(?:heads|tags)/[^\s\\]+|[0-9a-f]{{40}}))?"
            ),
            "octo-org/automation/.github/workflows/publish.yml@refs/tags/v1",
            "The reusable workflow whose steps publish, where the workflow file above only calls it. Without `@REF` "
            "any branch, tag or commit of it may.",
        ),
        Field(
            "repository-id",
            "Repository id",
            _ID,
            "456789",
            "The repository's number, which survives renames and is never given away.",
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
            "The job must run in the registered repository. GitHub ignores case in names.",
            ignore_case=True,
        ),
        Rule(
            ("workflow_ref",),
            _runs_the_workflow,
            "Only the registered workflow file may publish, not any file somebody adds to the repository.",
            _WORKFLOW_HOW,
        ),
        Rule(
            ("job_workflow_ref",),
            _runs_the_steps,
            "The job's steps must come from that file too, not from a reusable workflow that it calls, unless that is "
            "registered.",
            "is the field `called-workflow`, if that is filled in; otherwise, if the claim is present, "
            "`REPOSITORY/.github/workflows/WORKFLOW@REF`, or with the commit where there is no ref",
        ),
        same_if_set(
            ("environment",), "environment", "The job must run in the registered environment.", ignore_case=True
        ),
        same_if_set(("repository_id",), "repository-id", "A repository re-created under the old name has another id."),
        same_if_set(("repository_owner_id",), "owner-id", "A re-registered account name has another id."),
    ),
    refuse=(
        Refusal(
            ("event_name",),
            ("pull_request_target", "workflow_run"),
            "Such workflows run with the repository's rights on content that a stranger may have prepared.",
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
            "check_run_id",
            "enterprise",
            "enterprise_id",
            "environment",
            "environment_node_id",
            "event_name",
            "exp",
            "head_ref",
            "iat",
            "iss",
            "job_workflow_ref",
            "job_workflow_sha",
            "jti",
            "nbf",
            "ref",
            "ref_protected",
            "ref_type",
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "repository_visibility",
            "run_attempt",
            "run_id",
            "run_number",
            "runner_environment",
            "sha",
            "sub",
            "workflow",
            "workflow_ref",
            "workflow_sha",
        ]
    ),
    # The documented token lives five minutes; an hour leaves room for servers configured otherwise.
    max_lifetime_seconds=3600,
    shared=("https://token.actions.githubusercontent.com",),
    tenants=(("repository_id",), ("repository_owner_id",), ("repository",), ("repository_owner",), ("enterprise_id",)),
    organization="owner-id",
    job="""\
# .github/workflows/release.yml
name: release
on:
  push:
    tags: ["v*"]
jobs:
  publish:
    runs-on: ubuntu-latest
    environment: release
    permissions:
      contents: read
      id-token: write        # lets the job ask GitHub for an identity token
    steps:
      - uses: actions/checkout@v4
      - uses: astral-sh/setup-uv@v6
      - run: uv build
      - run: uv publish --publish-url https://HOST/acme/legacy/
""",
)
