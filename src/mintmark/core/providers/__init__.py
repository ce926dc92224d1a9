"""The providers this index knows, in the order in which people see them."""

from mintmark.core.providers.azure_devops import AZURE_DEVOPS
from mintmark.core.providers.bitbucket import BITBUCKET
from mintmark.core.providers.buildkite import BUILDKITE
from mintmark.core.providers.circleci import CIRCLECI
from mintmark.core.providers.codefresh import CODEFRESH
from mintmark.core.providers.forgejo import FORGEJO
from mintmark.core.providers.generic import GENERIC
from mintmark.core.providers.github import GITHUB
from mintmark.core.providers.gitlab import GITLAB
from mintmark.core.providers.google import GOOGLE
from mintmark.core.providers.jenkins import JENKINS
from mintmark.core.providers.kubernetes import KUBERNETES
from mintmark.core.providers.model import Provider
from mintmark.core.providers.semaphore import SEMAPHORE
from mintmark.core.providers.spiffe import SPIFFE
from mintmark.core.providers.vault import VAULT

PROVIDERS: tuple[Provider, ...] = (
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
    GENERIC,
)
BY_SLUG = {provider.slug: provider for provider in PROVIDERS}
