"""The providers this index knows, in the order in which people see them."""

from mintmark.core.providers.github import GITHUB
from mintmark.core.providers.gitlab import GITLAB

PROVIDERS = (GITHUB, GITLAB)
BY_SLUG = {provider.slug: provider for provider in PROVIDERS}
