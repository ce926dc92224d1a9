"""HashiCorp Vault and OpenBao: the identity tokens of their identity engine.

For jobs without an identity of their own that log in to Vault in some other way. A token says which entity asked, and
nothing about source code or pipelines. What else it says is a template that an operator wrote, whose values may be
chosen by whoever may edit an entity; so this table demands the entity's id and reads nothing of a template.
"""

import re

from mintmark.core.providers.model import Field, IssuerShape, Lookup, Provider, same, same_if_set

VAULT = Provider(
    slug="vault",
    title="Vault and OpenBao",
    docs_url="https://openbao.org/docs/secrets/identity/identity-token/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(
            r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*/v1/(?:[A-Za-z0-9._~-]+/)*identity/oidc"
        ),
        examples=(
            "https://vault.acme.example:8200/v1/identity/oidc",
            "https://vault.acme.example:8200/v1/team/identity/oidc",
        ),
        explanation="The address of Vault (`issuer` of its OIDC settings, otherwise `api_addr`), then "
        "`/v1/identity/oidc`, with the namespace before `identity` if there is one.",
    ),
    fields=(
        Field(
            "entity-id",
            "Entity id",
            re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
            "a2cd63d3-5364-406f-980e-8d71bb0692f5",
            "The id of the entity that the job has in Vault. Make one for nothing else.",
            required=True,
            immutable_id=True,
        ),
        Field(
            "namespace",
            "Namespace id",
            re.compile(r"[A-Za-z0-9]{1,32}"),
            "root",
            "The id of the namespace, as the token says it; `root` where there are none.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(("sub",), "entity-id", "Every entity that may use the role gets a token; its id tells which it was."),
        same_if_set(("namespace",), "namespace", "Another namespace has other administrators."),
    ),
    lookup=Lookup(("sub",), "entity-id"),
    pins=(("namespace",), ("sub",)),
    ref=None,
    protected_ref=None,
    known=frozenset(["aud", "exp", "iat", "iss", "namespace", "sub"]),
    # A role's `ttl` is a day unless it says otherwise, which is too long for this.
    max_lifetime_seconds=3600,
    requires_jti=False,
    job_language="sh",
    job="""\
# In any job that has logged in to Vault, on a machine that has uv and vault. Once, as an administrator:
#   vault write identity/oidc/key/publish allowed_client_ids=AUDIENCE
#   vault write identity/oidc/role/publish key=publish ttl=10m client_id=AUDIENCE
uv build
# uv does not know Vault, but takes the token from this variable as in GitLab CI.
export GITLAB_CI=true VARIABLE="$(vault read -field=token identity/oidc/token/publish)"
uv publish --publish-url https://HOST/acme/legacy/
""",
)
