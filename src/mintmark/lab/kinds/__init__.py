"""The kinds of CI systems that the lab can play, in the order of the provider tables.

A table without a kind of its own is played as far as its rules say what its tokens hold.
"""

from mintmark.core.providers import PROVIDERS
from mintmark.lab.kinds.azure_devops import KIND as AZURE_DEVOPS
from mintmark.lab.kinds.bitbucket import KIND as BITBUCKET
from mintmark.lab.kinds.buildkite import KIND as BUILDKITE
from mintmark.lab.kinds.circleci import KIND as CIRCLECI
from mintmark.lab.kinds.codefresh import KIND as CODEFRESH
from mintmark.lab.kinds.derived import kind_for
from mintmark.lab.kinds.forgejo import KIND as FORGEJO
from mintmark.lab.kinds.github import KIND as GITHUB
from mintmark.lab.kinds.gitlab import KIND as GITLAB
from mintmark.lab.kinds.google import KIND as GOOGLE
from mintmark.lab.kinds.jenkins import KIND as JENKINS
from mintmark.lab.kinds.kubernetes import KIND as KUBERNETES
from mintmark.lab.kinds.model import Kind
from mintmark.lab.kinds.semaphore import KIND as SEMAPHORE
from mintmark.lab.kinds.spiffe import KIND as SPIFFE
from mintmark.lab.kinds.vault import KIND as VAULT

_OWN = {
    kind.slug: kind
    for kind in (
        GITHUB,
        GITLAB,
        BUILDKITE,
        CIRCLECI,
        SEMAPHORE,
        FORGEJO,
        AZURE_DEVOPS,
        BITBUCKET,
        JENKINS,
        CODEFRESH,
        KUBERNETES,
        VAULT,
        GOOGLE,
        SPIFFE,
    )
}
KINDS: tuple[Kind, ...] = tuple(_OWN.get(provider.slug) or kind_for(provider) for provider in PROVIDERS)
BY_SLUG: dict[str, Kind] = {kind.slug: kind for kind in KINDS}
