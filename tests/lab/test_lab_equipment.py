"""What jobs find whose CI system hands out a variable or a file, and what its tokens look like."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from mintmark.core import jwt
from mintmark.core.names import gitlab_variable
from mintmark.core.providers import BY_SLUG
from mintmark.lab.home import Lab
from mintmark.lab.identity import claims_for
from mintmark.lab.kinds import BY_SLUG as KIND_OF
from mintmark.lab.kinds.model import ImpossibleJob
from mintmark.lab.provider_server import LabProviders
from mintmark.lab.remote import JobOrder, Remote

AUDIENCE = "mintmark_example"
NOW = 1_795_000_000
PRODUCT = Path("/sys/class/dmi/id/product_name")
ON_GOOGLE = PRODUCT.exists() and PRODUCT.read_text(errors="replace").startswith("Google")
DETECT = "import id, sys; sys.stdout.write(id.detect_credential(sys.argv[1]))"
# What makes programs that know only GitLab CI find the token; `mintmark issuer guide` prints the same.
TOLD = {
    "bitbucket": "$BITBUCKET_STEP_OIDC_TOKEN",
    "jenkins": "$ID_TOKEN",
    "codefresh": "$ID_TOKEN",
    "kubernetes": '$(cat "$ID_TOKEN_FILE")',
}


def examples(slug: str, *, every: bool = True) -> dict[str, str]:
    return {field.name: field.example for field in BY_SLUG[slug].fields if every or field.required}


def made(slug: str, **options: Any) -> dict[str, object]:
    """The claims of a fresh token of the examples' job."""
    provider = BY_SLUG[slug]
    url = provider.issuer.examples[0]
    options = {"now": float(NOW), "random": Random(7), "audience": AUDIENCE, **options}
    return claims_for(provider, url, provider.issuer.server(url), options.pop("config", examples(slug)), **options)


async def environment(lab: LabProviders, ca_path: Path, folder: Path, slug: str) -> dict[str, str]:
    remote = Remote(Lab(lab.base_url, lab.secret, ca_path))
    kit = await asyncio.to_thread(remote.job, JobOrder(slug, examples(slug), (AUDIENCE,)))
    trust = {"SSL_CERT_FILE": str(ca_path), "REQUESTS_CA_BUNDLE": str(ca_path)}
    return kit.environment(folder, os.environ["PATH"]) | trust


async def run(command: list[str], variables: Mapping[str, str]) -> str:
    """A program with the job's variables and nothing else of ours; its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_id_package_asks_forgejo_as_github(lab: LabProviders, ca_path: Path, tmp_path: Path) -> None:
    variables = await environment(lab, ca_path, tmp_path, "forgejo")
    assert variables["FORGEJO_ACTIONS"] == "true"
    token = await run([sys.executable, "-c", DETECT, AUDIENCE], variables)
    claims = jwt.read(token).claims
    assert (claims["iss"], claims["aud"]) == (lab.issuer_url("forgejo"), AUDIENCE)
    assert claims["workflow_ref"] == "team/widget/.forgejo/workflows/release.yml@refs/heads/main"


@pytest.mark.parametrize("slug", TOLD)
async def test_the_id_package_can_be_told_where_the_token_is(
    lab: LabProviders, ca_path: Path, tmp_path: Path, slug: str
) -> None:
    if ON_GOOGLE:
        pytest.skip("the id package looks for Google's metadata server before it looks for GitLab")
    variables = await environment(lab, ca_path, tmp_path, slug)
    script = f'export GITLAB_CI=true {gitlab_variable(AUDIENCE)}="{TOLD[slug]}"; exec "$0" -c "$1" {AUDIENCE}'
    if KIND_OF[slug].audience_as_list:
        # So twine and pdm, which use it, refuse what uv takes; the providers' pages say so.
        script += " 2>&1 | grep 'audience claim mismatch'"
    out = await run(["sh", "-c", script, sys.executable, DETECT], variables)
    if not KIND_OF[slug].audience_as_list:
        claims = jwt.read(out).claims
        assert (claims["iss"], claims["aud"]) == (lab.issuer_url(slug), AUDIENCE)


@pytest.mark.parametrize(("slug", "name"), [("kubernetes", "token"), ("jenkins", "id-token")])
async def test_a_token_in_a_file_is_its_owners(
    lab: LabProviders, ca_path: Path, tmp_path: Path, slug: str, name: str
) -> None:
    variables = await environment(lab, ca_path, tmp_path, slug)
    file = tmp_path / name
    assert variables["ID_TOKEN_FILE"] == str(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert jwt.read(file.read_text()).issuer == lab.issuer_url(slug)


async def test_a_codefresh_build_asks_for_tokens(
    lab: LabProviders, ca_path: Path, tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    variables = await environment(lab, ca_path, tmp_path, "codefresh")
    url, secret = variables["CF_OIDC_REQUEST_URL"], variables["CF_OIDC_REQUEST_TOKEN"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:

        async def ask(address: str, authorization: str) -> tuple[int, dict[str, str]]:
            async with session.get(address, headers={"Authorization": authorization}) as response:
                return response.status, await response.json()

        status, answer = await ask(f"{url}?audience={AUDIENCE}", secret)
        assert (status, set(answer)) == (200, {"id_token"})
        assert jwt.read(answer["id_token"]).claims["aud"] == AUDIENCE
        assert answer["id_token"] != variables["ID_TOKEN"]
        for address, authorization in (
            (f"{url}?audience={AUDIENCE}", f"Bearer {secret}"),
            (f"{url}?audience={AUDIENCE}", ""),
            (f"{url}x?audience={AUDIENCE}", secret),
        ):
            status, answer = await ask(address, authorization)
            assert (status, secret in answer["message"]) == (401, False)
        for query in ("", "?audience=", "?audience=a&audience=b"):
            status, answer = await ask(url + query, secret)
            assert (status, "audience" in answer["message"]) == (400, True)


async def test_an_azure_job_asks_for_tokens(
    lab: LabProviders, ca_path: Path, tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    variables = await environment(lab, ca_path, tmp_path, "azure-devops")
    assert variables["TF_BUILD"] == "True"
    url, secret = variables["SYSTEM_OIDCREQUESTURI"], variables["SYSTEM_ACCESSTOKEN"]
    assert "?" not in url
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:

        async def ask(address: str, bearer: str) -> tuple[int, dict[str, str]]:
            headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
            async with session.post(address, headers=headers) as response:
                return response.status, await response.json()

        answers = [await ask(f"{url}?api-version=7.1", secret) for _ in range(2)]
        assert [(status, set(answer)) for status, answer in answers] == [(200, {"oidcToken"})] * 2
        claims, others = (jwt.read(answer["oidcToken"]).claims for _, answer in answers)
        assert claims["jti"] != others["jti"]
        assert (claims["iss"], claims["aud"]) == (lab.issuer_url("azure-devops"), "api://AzureADTokenExchange")
        for address, bearer, status, word in (
            (f"{url}?api-version=7.1", secret + "x", 401, "bearer"),
            (f"{url.replace('plans/', 'plans/0')}?api-version=7.1", secret, 401, "bearer"),
            (url, secret, 400, "api-version"),
            (f"{url}?api-version=7.1&serviceConnectionId=1", secret, 400, "serviceConnectionId"),
        ):
            refused, answer = await ask(address, bearer)
            assert (refused, word in answer["message"], secret in answer["message"]) == (status, True, False)
        async with session.get(f"{url}?api-version=7.1") as response:
            assert response.status == 405


async def test_a_job_asks_vault_for_the_roles_token(
    lab: LabProviders, ca_path: Path, tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    variables = await environment(lab, ca_path, tmp_path, "vault")
    address, secret = variables["VAULT_ADDR"], variables["VAULT_TOKEN"]
    url = f"{address}/v1/identity/oidc/token/"
    assert lab.issuer_url("vault") == f"{address}/v1/identity/oidc"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:

        async def ask(role: str, token: str) -> tuple[int, Any]:
            async with session.get(url + role, headers={"X-Vault-Token": token}) as response:
                return response.status, await response.json()

        status, answer = await ask(variables["VAULT_OIDC_ROLE"], secret)
        assert (status, answer["data"]["client_id"]) == (200, AUDIENCE)
        claims = jwt.read(answer["data"]["token"]).claims
        assert (claims["aud"], claims["sub"]) == (AUDIENCE, examples("vault")["entity-id"])
        for role, token, refused, word in (
            (variables["VAULT_OIDC_ROLE"], secret + "x", 403, "X-Vault-Token"),
            (variables["VAULT_OIDC_ROLE"], secret.removeprefix("hvs."), 403, "X-Vault-Token"),
            (variables["VAULT_OIDC_ROLE"], "", 403, "X-Vault-Token"),
            ("other", secret, 400, "role"),
        ):
            status, answer = await ask(role, token)
            assert (status, word in answer["message"], secret in answer["message"]) == (refused, True, False)


# -- whole tokens -----------------------------------------------------------------------------------------------------


def test_a_whole_forgejo_token() -> None:
    claims = made("forgejo")
    assert claims.keys() == BY_SLUG["forgejo"].known
    assert {name for name, value in claims.items() if not isinstance(value, str)} == {"iat", "nbf", "exp"}
    assert claims["sub"] == "repo:team-123456/widget-456789:ref:refs/heads/main"
    assert made("forgejo", old_subject=True)["sub"] == "repo:team/widget:ref:refs/heads/main"
    pull = made("forgejo", ref="refs/pull/3/head", old_subject=True)
    assert (pull["sub"], pull["event_name"], pull["base_ref"]) == (
        "repo:team/widget:pull_request",
        "pull_request",
        "main",
    )


def test_a_whole_azure_token() -> None:
    claims = made("azure-devops")
    assert claims.keys() == BY_SLUG["azure-devops"].known
    assert {name for name, value in claims.items() if not isinstance(value, str)} == {"iat", "nbf", "exp"}
    assert f"https://vstoken.dev.azure.com/{claims['org_id']}" == claims["iss"]
    assert (claims["nbf"], claims["exp"]) == (NOW - 600, NOW + 300)


def test_a_whole_vault_token() -> None:
    claims = made("vault")
    assert claims.keys() == BY_SLUG["vault"].known
    assert claims["namespace"] == "root"
    # There is no id, so their lives tell two tokens of one second apart.
    assert made("vault", random=Random(8))["exp"] != claims["exp"]


def test_a_whole_jenkins_token() -> None:
    claims = made("jenkins")
    assert claims.keys() == BY_SLUG["jenkins"].known
    assert claims["sub"] == "https://jenkins.acme.example/job/release/job/widget/"
    assert isinstance(claims["build_number"], int)


def test_a_whole_codefresh_token() -> None:
    claims = made("codefresh", ref="refs/tags/v1.0")
    assert BY_SLUG["codefresh"].known - claims.keys() == {
        "initiator",
        "platform_url",
        "runner_environment",
        "scm_pull_request_target_branch",
    }
    assert claims["scm_ref"] == "v1.0"
    assert str(claims["sub"]).endswith(
        ":pipeline:64de5cd47626b3ca134e760a:scm_repo_url:https://git.acme.example/team/widget"
        ":scm_user_name:codefresh-user:scm_ref:v1.0"
    )
    pull = made("codefresh", ref="refs/pull/3/head")
    assert pull["scm_pull_request_target_branch"] == "main"
    assert made("codefresh", config=examples("codefresh", every=False))["scm_repo_url"]


def test_a_whole_kubernetes_token() -> None:
    claims = made("kubernetes")
    assert claims.keys() == BY_SLUG["kubernetes"].known
    assert claims["aud"] == [AUDIENCE]
    inner: Any = claims["kubernetes.io"]
    assert inner.keys() == {"namespace", "node", "pod", "serviceaccount"}
    assert inner["serviceaccount"] == {"name": "publisher", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"}


def test_a_whole_google_token() -> None:
    claims = made("google")
    assert claims.keys() == BY_SLUG["google"].known
    assert claims["sub"] == claims["azp"] == "115312345678901234567"
    assert claims["email_verified"] is True
    few = made("google", config=examples("google", every=False), random=Random(8))
    assert str(few["sub"]).isdigit()
    # There is no id, so their lives tell two tokens of one second apart.
    assert few["exp"] != claims["exp"]


def test_a_whole_spiffe_token() -> None:
    claims = made("spiffe")
    assert claims.keys() == BY_SLUG["spiffe"].known
    assert claims["aud"] == [AUDIENCE]
    assert claims["sub"] == "spiffe://acme.example/ns/release/sa/publisher"


def test_a_token_for_rules_of_somebodys_own() -> None:
    rules = '[{"claim":["a","b"],"equals":true},{"claim":"sub","equals":"team/widget"}]'
    claims = made("generic", config={"rules": rules, "immutable-id": "id"})
    assert (claims["sub"], claims["a"]) == ("team/widget", {"b": True})
    assert claims["id"]


def test_a_called_workflow() -> None:
    required = {"repository": "octo-org/octo-repo", "workflow": "release.yml"}
    called = "octo-org/automation/.github/workflows/publish.yml"
    claims = made("github", config={**required, "called-workflow": called})
    assert claims["job_workflow_ref"] == f"{called}@refs/heads/main"
    assert str(claims["workflow_ref"]).startswith("octo-org/octo-repo/")


def test_a_whole_bitbucket_token() -> None:
    claims = made("bitbucket")
    assert BY_SLUG["bitbucket"].known - claims.keys() == {"deploymentEnvironment"}
    assert claims["aud"] == [AUDIENCE]
    uuids = {name: str(value) for name, value in claims.items() if name.endswith("Uuid")}
    assert all((value[0], value[-1], len(value)) == ("{", "}", 38) for value in uuids.values())
    assert claims["sub"] == ":".join(uuids[f"{of}Uuid"] for of in ("repository", "deploymentEnvironment", "step"))
    few = made("bitbucket", config=examples("bitbucket", every=False), ref="refs/tags/v1.0")
    assert few.keys().isdisjoint({"deploymentEnvironmentUuid", "branchName"})


@pytest.mark.parametrize(
    ("slug", "ref"),
    [
        ("forgejo", "main"),
        ("forgejo", ""),
        ("codefresh", "main"),
        ("codefresh", "refs/pull/"),
        ("bitbucket", ""),
        ("azure-devops", "main"),
    ],
)
def test_impossible_refs(slug: str, ref: str) -> None:
    with pytest.raises(ImpossibleJob, match="has a ref"):
        made(slug, ref=ref)
