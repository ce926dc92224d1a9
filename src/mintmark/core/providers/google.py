"""Google Cloud: the identity tokens of service accounts.

Google has one issuer for everybody, people included, and gives the tokens of service accounts to whatever runs as one
or may impersonate it. A token names the account by its address, which can be given to another account later, and in
`sub` by a number, which cannot.
"""

import re

from mintmark.core.providers.model import (
    Expectation,
    Field,
    IssuerShape,
    Lookup,
    Provider,
    Rule,
    same,
    same_if_set,
    vendor_issuers,
)

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"

GOOGLE = Provider(
    slug="google",
    title="Google Cloud",
    docs_url="https://cloud.google.com/docs/authentication/get-id-token",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=vendor_issuers(r"https://accounts\.google\.com"),
        examples=("https://accounts.google.com",),
        explanation="`https://accounts.google.com`, which all of Google's customers share.",
    ),
    fields=(
        Field(
            "service-account",
            "Service account",
            # Only service accounts have addresses there, so no person is one.
            re.compile(rf"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?@(?:{_LABEL}\.)+gserviceaccount\.com"),
            "publisher@acme-release.iam.gserviceaccount.com",
            "The service account's address. Make one for nothing else.",
            required=True,
        ),
        Field(
            "service-account-id",
            "Unique id of the service account",
            re.compile(r"[0-9]{10,30}"),
            "115312345678901234567",
            "The service account's unique id, a number: another account made under its address has another one.",
            immutable_id=True,
        ),
    ),
    rules=(
        same(("email",), "service-account", "The job must run as the registered service account."),
        Rule(
            ("email_verified",),
            lambda it: Expectation((True,)),
            "An address that Google did not verify is nobody's.",
            "is true, as a boolean",
        ),
        same_if_set(
            ("sub",), "service-account-id", "A service account made anew under the old address has another number."
        ),
    ),
    lookup=Lookup(("email",), "service-account"),
    ref=None,
    protected_ref=None,
    known=frozenset(["aud", "azp", "email", "email_verified", "exp", "google", "iat", "iss", "sub"]),
    pins=(("sub",),),
    # An hour, as documented.
    max_lifetime_seconds=3600,
    requires_jti=False,
    shared=("https://accounts.google.com",),
    tenants=(("sub",), ("email",)),
    organization="service-account-id",
    job_language="sh",
    job="""\
# On a machine or in a job of Google Cloud that runs as the service account, and has uv and gcloud
uv build
# uv asks the metadata server where it finds one by itself; elsewhere it takes the token from this variable.
export GITLAB_CI=true VARIABLE="$(gcloud auth print-identity-token --audiences=AUDIENCE --token-format=full)"
uv publish --publish-url https://HOST/acme/legacy/
""",
)
