"""Everything that is checked of a distribution file, in order.

Owns the list of checks and running all of them. Leaves what each looks for to its module, what follows from the
findings to `checks.finding`, rendering a description to `service.descriptions`, and what needs the ledger to the
upload.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mintmark.core.checks import (
    agreement,
    description,
    digests,
    entry_points,
    layout,
    license_files,
    links,
    member_names,
    metadata_fields,
    metadata_values,
    platform_tags,
    project_name,
    record,
    requirements,
    wheel_file,
)
from mintmark.core.checks.finding import SHOWN_MAX, Finding, refusal, those_that_refuse
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject, prepare
from mintmark.core.dist.facts import Archive
from mintmark.core.dist.metadata import CoreMetadata
from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Check:
    """One check. With `whole` it is run only if the archive was read to its end: it would miss what comes after."""

    id: str
    title: str
    run: Callable[[Subject], Iterable[Finding]]
    findings: tuple[Rule, ...]
    whole: bool = False


CHECKS = (
    Check("agreement", "Form, file name and metadata", agreement.check, agreement.FINDINGS),
    Check("platform", "Platform tags", platform_tags.check, platform_tags.FINDINGS),
    Check("project", "The project's name", project_name.check, project_name.FINDINGS),
    Check("layout", "Layout", layout.check, layout.FINDINGS, whole=True),
    Check("names", "Names inside the archive", member_names.check, member_names.FINDINGS),
    Check("links", "Links", links.check, links.FINDINGS),
    Check("wheel", "The file WHEEL", wheel_file.check, wheel_file.FINDINGS),
    Check("record", "The file RECORD", record.check, record.FINDINGS, whole=True),
    Check("metadata", "Metadata: what the index relies on", metadata_fields.check, metadata_fields.FINDINGS),
    Check("values", "Metadata: what people read", metadata_values.check, metadata_values.FINDINGS),
    Check("requirements", "Dependencies", requirements.check, requirements.FINDINGS),
    Check("description", "The description", description.check, description.FINDINGS),
    Check("licenses", "License files", license_files.check, license_files.FINDINGS, whole=True),
    Check("entry-points", "Entry points", entry_points.check, entry_points.FINDINGS),
)
"""All are run, whatever the others find."""
RULES: Mapping[str, Rule] = {
    rule.id: rule for rules in (digests.FINDINGS, *(check.findings for check in CHECKS)) for rule in rules
}
"""Every rule of this folder by its name."""
_REBUILD = "Build it again with a current build backend."


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of a file after all checks.

    `metadata` is None when the file has none, or none with a valid name and version. `metadata_sha256` is that of a
    wheel's METADATA, which readers get by itself (PEP 658); None for a source distribution. `to_render` is the
    description if it has to be rendered before the file is taken; `checks.description.judged` makes findings of the
    verdict.
    """

    metadata: CoreMetadata | None
    findings: tuple[Finding, ...]
    metadata_sha256: str | None = None
    to_render: str | None = None


def examine(archive: Archive, policy: Policy, form: Mapping[str, str] | None = None) -> Examined:
    """Run every check. `form` holds the text fields of the upload form; None where there was no form.

    The findings of the archive's structure come first. Of one kind the first `SHOWN_MAX` are kept.
    """
    subject = prepare(archive, policy, form)
    checks = [check for check in CHECKS if archive.complete or not check.whole]
    raw = subject.text("METADATA") if subject.is_wheel else None
    return Examined(
        subject.core.complete(),
        (*archive.findings, *_bounded(finding for check in checks for finding in check.run(subject))),
        None if raw is None else hashlib.sha256(raw).hexdigest(),
        description.to_render(subject.fields),
    )


def take(examined: Examined, findings: Sequence[Finding], *, lenient: bool = False) -> CoreMetadata:
    """The metadata of a file that may be taken; raises `Rejected` that tells all findings of one that may not.

    `findings` are all there are, those of the ledger too. `lenient` is for bringing in what exists elsewhere already.
    """
    if refusing := those_that_refuse(findings, lenient=lenient):
        raise refusal(refusing)
    # Invariant: no file is recorded without valid metadata of its own.
    if examined.metadata is None:
        raise Rejected("invalid-metadata", "The file has no metadata that can be read.", hint=_REBUILD)
    return examined.metadata


def _bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    # Every finding is looked at, so that many harmless ones cannot hide a grave one behind them.
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.check] += 1
        if counts[finding.check] <= SHOWN_MAX:
            yield finding
