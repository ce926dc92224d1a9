"""SPIFFE: JWT-SVIDs of workloads, through an OpenID Connect discovery provider such as SPIRE's.

The standard asks for `sub`, `aud` and `exp` only. This index asks for `iss` and `iat` as well, which SPIRE writes when
its server has a `jwt_issuer`. A SPIFFE ID is a name that the trust domain's operator gives; it says nothing about
source code, and there is no id besides it.
"""

import re

from mintmark.core.providers.model import Config, Expectation, Field, Identity, IssuerShape, Lookup, Provider, Rule


def _spiffe_id(config: Config) -> str:
    return f"spiffe://{config['trust-domain']}{config['path']}"


def _is_the_workload(it: Identity) -> Expectation:
    """The whole id, with the trust domain in it: a federated domain's workload may have the same path."""
    return Expectation((_spiffe_id(it.config),))


# No segment is empty, `.` or `..` (SPIFFE ID, section 2.2).
_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+"

SPIFFE = Provider(
    slug="spiffe",
    title="SPIFFE",
    docs_url="https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*"),
        examples=("https://oidc-discovery.acme.example", "https://acme.example:8443/spire"),
        explanation="The URL of the discovery provider, which is `jwt_issuer` in the SPIRE server's configuration. It "
        "is not the trust domain.",
    ),
    fields=(
        Field(
            "trust-domain",
            "Trust domain",
            re.compile(r"[a-z0-9][a-z0-9._-]*"),
            "acme.example",
            "The trust domain of the workload, without `spiffe://`.",
            required=True,
        ),
        Field(
            "path",
            "Path",
            re.compile(rf"(?:{_SEGMENT})+"),
            "/ns/release/sa/publisher",
            "The path of the workload's SPIFFE ID, with the slash before it. Give it to one workload only.",
            required=True,
        ),
    ),
    rules=(
        Rule(
            ("sub",),
            _is_the_workload,
            "It is the workload's SPIFFE ID, which is compared whole.",
            "is `spiffe://TRUST-DOMAIN` followed by `PATH`",
        ),
    ),
    lookup=Lookup(("sub",), "path"),
    key_of_config=lambda config: _spiffe_id(config).lower(),
    ref=None,
    protected_ref=None,
    known=frozenset(["aud", "exp", "iat", "iss", "sub"]),
    # The id is a name, and demanded whole.
    pins=(),
    # Five minutes unless an entry says otherwise.
    max_lifetime_seconds=3600,
    # Optional in the standard, and SPIRE writes none.
    requires_jti=False,
    # The agent hands out the same token until half of its life is over.
    reusable=False,
    types=frozenset({"jwt", "jose"}),
    job_language="sh",
    job="""\
# In a workload that has an entry in SPIRE, on a machine with its agent, uv and jq
uv build
# uv does not know SPIFFE, but takes the token from this variable as in GitLab CI.
export GITLAB_CI=true VARIABLE="$(spire-agent api fetch jwt -audience AUDIENCE -output json \\
  | jq --raw-output '.[0].svids[0].svid')"
uv publish --publish-url https://HOST/acme/legacy/
""",
)
