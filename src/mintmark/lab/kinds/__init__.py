"""The kinds of CI systems that the lab can play, in the order of the provider tables."""

from mintmark.lab.kinds.github import KIND as GITHUB
from mintmark.lab.kinds.gitlab import KIND as GITLAB
from mintmark.lab.kinds.model import Kind

KINDS: tuple[Kind, ...] = (GITHUB, GITLAB)
BY_SLUG: dict[str, Kind] = {kind.slug: kind for kind in KINDS}
