"""What a registry asks of the files and projects it takes, beyond what the standards ask.

Owns the policies, their defaults and their bounds. Leaves their keys in a trust file to `core.trust_keys`, the rules
that read them to `core.checks`, and counting to the upload.
"""

from __future__ import annotations

from dataclasses import dataclass

from mintmark.core.names import ProjectName, matches_pattern

PLATFORM_TAGS = ("any", "pypi")
"""`any`: every tag that is well formed, with a warning for those that PyPI would refuse; `pypi`: PyPI's list."""
SIMILAR_NAMES = ("refuse", "warn", "allow")
COUNT_MAX = 1_000_000
BYTES_MAX = 2**50


@dataclass(frozen=True, slots=True)
class Policy:
    """One registry's policies. Sizes are bytes; a limit of None is the server's own or none."""

    projects: tuple[str, ...] = ("*",)
    """Patterns of the project names that may exist, whoever publishes."""
    platform_tags: str = "any"
    similar_names: str = "refuse"
    """What happens to a new project whose name people would take for an existing one."""
    legacy_names: bool = False
    """File names as older tools spelled them are taken too."""
    file_limit_bytes: int | None = None
    project_limit_bytes: int | None = None
    """Of all files of a project that are not deleted."""
    releases_limit: int = 10_000
    """Of one project."""
    release_files_limit: int = 1_000
    """Of one release, deleted ones included."""

    def welcomes(self, name: ProjectName) -> bool:
        """Whether a project of this name may exist in the registry."""
        return any(matches_pattern(pattern, name) for pattern in self.projects)
