"""Jenkins with its plugin "OpenID Connect Provider" (oidc-provider).

An administrator writes what the claims say, as templates over a build's variables; some of these (branch names,
parameters) are chosen by whoever starts a build. One thing can be trusted in every installation: the default subject,
which is the job's own URL. So this table demands exactly that, whole, and reads nothing else.
"""

import re

from mintmark.core.providers.model import Field, IssuerShape, Lookup, Provider, same

_BASE = r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*"
# As Jenkins encodes the name of a folder, a job or a branch in a URL.
_NAME = r"[A-Za-z0-9._~!$&'()*+,;=:@%-]+"

JENKINS = Provider(
    slug="jenkins",
    title="Jenkins",
    docs_url="https://plugins.jenkins.io/oidc-provider/",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(rf"{_BASE}(?:/oidc(?:/job/{_NAME})*)?"),
        examples=(
            "https://jenkins.acme.example/oidc",
            "https://jenkins.acme.example/oidc/job/release",
            "https://acme.example:8443/jenkins/oidc",
        ),
        explanation="`/oidc` below the URL of Jenkins, followed by the folder in which the credential is, or the "
        "alternate issuer that the credential names.",
    ),
    fields=(
        Field(
            "job-url",
            "URL of the job",
            re.compile(rf"{_BASE}(?:/job/{_NAME})+/"),
            "https://jenkins.acme.example/job/release/job/widget/",
            "The job's full URL with the slash at its end, as its page shows it. A branch of a multibranch project is "
            "a job of its own.",
            required=True,
        ),
    ),
    rules=(
        same(
            ("sub",),
            "job-url",
            "The build must be one of the registered job: not of another job, nor of a pull request or branch of the "
            "same project. Jenkins takes a job's URL from its own settings.",
        ),
    ),
    lookup=Lookup(("sub",), "job-url"),
    # A job is known by its URL, which is a name like others.
    pins=(),
    ref=None,
    protected_ref=None,
    known=frozenset(["aud", "build_number", "exp", "iat", "iss", "sub"]),
    max_lifetime_seconds=3600,
    # The plugin forbids templates to set it.
    requires_jti=False,
    job_language="groovy",
    job="""\
// Jenkinsfile. The credential `mintmark` is an "OpenID Connect id token" with the audience
// AUDIENCE
pipeline {
  agent any                    // one that has uv
  stages {
    stage('publish') {
      steps {
        sh 'uv build'
        withCredentials([string(credentialsId: 'mintmark', variable: 'VARIABLE')]) {
          // uv does not know Jenkins, but takes the token from this variable as in GitLab CI.
          sh 'GITLAB_CI=true uv publish --publish-url https://HOST/acme/legacy/'
        }
      }
    }
  }
}
""",
)
