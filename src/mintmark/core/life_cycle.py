"""What may become of a project, a release and a file after the upload.

Owns the statuses of a project, the states in which a file is offered, and the grammar of what people say about them:
reasons and names for people. Leaves who may change what to `service.projects`, and the pages to `core.simple`.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from mintmark.core.checks.finding import shown
from mintmark.core.errors import Rejected
from mintmark.core.names import ProjectName, parse_project
from mintmark.core.records import File, Project

STATUSES = ("active", "archived", "quarantined", "deprecated")
"""Project status markers (PEP 792)."""
OFFERED_STATES = frozenset({"visible", "yanked"})
"""States of a file that readers see. A staged file is not there yet, a deleted one not any more."""
REASON_MAX_CHARACTERS = 500
DISPLAY_NAME_MAX_CHARACTERS = 200
VERSION_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class WholeVersion:
    """All files of a version, those that come later too. Another spelling of the version is the same version."""

    text: str


@dataclass(frozen=True, slots=True)
class OneFile:
    """A single file, by its exact name."""

    filename: str


Target = WholeVersion | OneFile


def parse_reason(text: str) -> str:
    """A reason as one line of printable characters without blanks around it; possibly empty (PEP 592).

    Raises `Rejected`: it stands on pages, in headers of terminals and in the audit log.
    """
    reason = text.strip()
    if len(reason) > REASON_MAX_CHARACTERS or not reason.isprintable():
        raise Rejected(
            "invalid-change",
            "The reason is too long or holds something else than printable characters.",
            hint=f"Write one line of at most {REASON_MAX_CHARACTERS} characters.",
        )
    return reason


def parse_status(text: str) -> str:
    """One of the statuses. Raises `Rejected`."""
    if text not in STATUSES:
        raise Rejected("invalid-change", f"{shown(text)} is no status.", hint=f"There are: {', '.join(STATUSES)}.")
    return text


def parse_display_name(text: str, name: ProjectName) -> str:
    """A project's name as people write it: another spelling of the same name. Raises `Rejected`."""
    if len(text) > DISPLAY_NAME_MAX_CHARACTERS:
        raise Rejected("invalid-change", f"A name has at most {DISPLAY_NAME_MAX_CHARACTERS} characters.")
    try:
        same = text.isprintable() and parse_project(text) == name
    except Rejected:
        same = False
    if not same:
        raise Rejected(
            "invalid-change",
            f"{shown(text)} is not another spelling of {name}.",
            hint="Only capitals and the characters '-', '_' and '.' between words may change: pages, files and "
            "publishers know a project by its normal name. For another name, upload to a new project.",
        )
    return text


def parse_version(text: str) -> Version:
    """The version that somebody names. Raises `Rejected`."""
    try:
        # Before it is parsed: a version's grammar has no bound.
        if len(text) > VERSION_MAX_CHARACTERS:
            raise InvalidVersion
        return Version(text)
    except InvalidVersion:
        raise Rejected(
            "invalid-change", f"{shown(text)} is not a version.", hint="Write it like 1.0, 2.0rc1 or 1.0+local."
        ) from None


def why_not_offered(project: Project, file: File) -> str:
    """Why readers do not get this file, as a sentence; "" if they do.

    Invariant: a file is offered in the states visible and yanked only, and never by a quarantined project (PEP 792).
    """
    if file.state == "deleted":
        return f"The file {file.filename} was deleted."
    if file.state not in OFFERED_STATES:
        return "There is no such file."
    if project.status == "quarantined":
        return f"The project {project.name} is quarantined: its files are held back until it has been looked into."
    return ""
