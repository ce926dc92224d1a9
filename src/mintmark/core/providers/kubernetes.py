"""Kubernetes: tokens of service accounts, projected into a pod's volume.

For jobs that run in a cluster without a CI system that issues identities (Tekton, Argo Workflows, runners in pods).
The token says which service account a pod has, and nothing about source code: whoever may start a pod with that
account, or ask the API for its token, may publish.
"""

import re

from mintmark.core.providers.model import (
    Expectation,
    Field,
    Identity,
    IssuerShape,
    Lookup,
    Provider,
    Rule,
    same,
    same_if_set,
)


def _names_the_account(it: Identity) -> Expectation:
    """Neither name may hold a colon."""
    return Expectation((f"system:serviceaccount:{it.config['namespace']}:{it.config['service-account']}",))


_OWN = "kubernetes.io"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

KUBERNETES = Provider(
    slug="kubernetes",
    title="Kubernetes",
    docs_url="https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
    checked="2026-11-20",
    issuer=IssuerShape(
        # AKS issuers end in a slash, and `iss` is compared as it is.
        pattern=re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*/?"),
        examples=(
            "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
            "https://container.googleapis.com/v1/projects/acme/locations/europe-west1/clusters/build",
            "https://westeurope.oic.prod-aks.azure.com/01234567-89ab-4cde-8f01-23456789abcd/fedcba98-7654-4321-8fed-cba987654321/",
            "https://kubernetes.default.svc.cluster.local",
        ),
        explanation="The API server's `--service-account-issuer`, with a slash at its end if it has one there. "
        "`https://kubernetes.default.svc…` is the name of every cluster's own API server and reached by nobody "
        "outside: give its keys with `--jwks-file`.",
    ),
    fields=(
        Field(
            "namespace",
            "Namespace",
            re.compile(_LABEL),
            "release",
            "The namespace of the service account.",
            required=True,
        ),
        Field(
            "service-account",
            "Service account",
            re.compile(rf"{_LABEL}(?:\.{_LABEL})*"),
            "publisher",
            "The service account of the pod that publishes. Make one for nothing else.",
            required=True,
        ),
        Field(
            "service-account-uid",
            "UID of the service account",
            re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
            "a087d5a0-e1dd-43ec-93ac-f13d89cd13af",
            "The service account's `metadata.uid`: another account made under its name later has another one.",
            immutable_id=True,
        ),
    ),
    rules=(
        same((_OWN, "namespace"), "namespace", "The service account must be in the registered namespace."),
        same(
            (_OWN, "serviceaccount", "name"), "service-account", "The pod must run as the registered service account."
        ),
        Rule(
            ("sub",),
            _names_the_account,
            "It is the name by which the cluster itself knows the account.",
            "is `system:serviceaccount:NAMESPACE:SERVICE-ACCOUNT`",
        ),
        same_if_set(
            (_OWN, "serviceaccount", "uid"),
            "service-account-uid",
            "A service account re-created under the old name has another one.",
        ),
    ),
    lookup=Lookup((_OWN, "serviceaccount", "name"), "service-account"),
    pins=((_OWN, "serviceaccount", "uid"),),
    ref=None,
    protected_ref=None,
    known=frozenset(["aud", "exp", "iat", "iss", "jti", _OWN, "nbf", "sub"]),
    # What a volume has unless it says otherwise.
    max_lifetime_seconds=3600,
    # Since about Kubernetes 1.30.
    requires_jti=False,
    # The kubelet renews the file when four fifths of the token's life are over.
    reusable=False,
    job="""\
# A Job whose pod publishes; its image has uv and the built files in /dist
apiVersion: batch/v1
kind: Job
metadata:
  name: publish
  namespace: release
spec:
  template:
    spec:
      serviceAccountName: publisher
      restartPolicy: Never
      containers:
        - name: publish
          image: your-image
          env:
            - name: ID_TOKEN_FILE
              value: /var/run/secrets/mintmark/token
          command: [sh, -c]
          args:
            # uv does not know Kubernetes, but takes the token from this variable as in GitLab CI.
            - >-
              GITLAB_CI=true VARIABLE="$(cat "$ID_TOKEN_FILE")"
              uv publish --publish-url https://HOST/acme/legacy/ /dist/*
          volumeMounts:
            - name: mintmark
              mountPath: /var/run/secrets/mintmark
              readOnly: true
      volumes:
        - name: mintmark
          projected:
            sources:
              - serviceAccountToken:
                  audience: AUDIENCE
                  expirationSeconds: 600
                  path: token
""",
)
