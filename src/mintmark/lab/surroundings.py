"""The environment of a command inside the lab: what a real CI system set is gone, what leads to the lab is there.

Owns which variables those are, for every client that is known. Leaves the job's own variables to `lab.remote` and
starting the command to `lab.child`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mintmark.lab.home import Lab

DIRECT = "localhost,127.0.0.1,::1"
CA_VARIABLES = (
    # OpenSSL and rustls: uv, urllib, id, httpx.
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "TWINE_CERT",
    "PDM_PUBLISH_CA_CERTS",
    "HATCH_INDEX_CA_CERT",
    "MATURIN_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
# Some clients read one spelling first, some the other.
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
DIRECT_VARIABLES = ("NO_PROXY", "no_proxy")
# Of whatever CI system this really runs in: the command must see the simulated one only.
_REAL_CI = frozenset(
    {
        "CI",
        "TF_BUILD",
        "GITHUB_ACTIONS",
        "GITEA_ACTIONS",
        "FORGEJO_ACTIONS",
        "GITLAB_CI",
        "BUILDKITE",
        "CIRCLECI",
        "SEMAPHORE",
        "SEMAPHORE_OIDC_TOKEN",
        "BITBUCKET_BUILD_NUMBER",
        "BITBUCKET_STEP_OIDC_TOKEN",
        "CIRCLE_OIDC_TOKEN",
        "CIRCLE_OIDC_TOKEN_V2",
        "JENKINS_URL",
        "CF_OIDC_REQUEST_URL",
        "CF_OIDC_REQUEST_TOKEN",
        "SYSTEM_OIDCREQUESTURI",
        "SYSTEM_ACCESSTOKEN",
        "VAULT_ADDR",
        "VAULT_TOKEN",
        "VAULT_OIDC_ROLE",
        # Where the others have no name of their own.
        "ID_TOKEN",
        "ID_TOKEN_FILE",
        # Google's, which uv looks for first.
        "GOOGLE_SERVICE_ACCOUNT_NAME",
    }
)
_REAL_CI_BEGINNINGS = ("ACTIONS_ID_TOKEN_REQUEST_", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR")
_REAL_CI_ENDINGS = ("_ID_TOKEN",)


def surroundings(lab: Lab, environment: Mapping[str, str]) -> dict[str, str]:
    """Somebody's environment as it is inside a lab, without a job yet."""
    kept = {name: value for name, value in environment.items() if not _is_foreign(name)}
    kept |= dict.fromkeys(CA_VARIABLES, str(lab.ca_path)) | dict.fromkeys(DIRECT_VARIABLES, DIRECT)
    if lab.proxy:
        kept |= dict.fromkeys(PROXY_VARIABLES, lab.proxy)
    return kept


def _is_foreign(name: str) -> bool:
    return name in _REAL_CI or name.startswith(_REAL_CI_BEGINNINGS) or name.endswith(_REAL_CI_ENDINGS)
