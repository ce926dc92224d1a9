"""Whether a registry has room and welcome for one more file, beside everything it holds already.

Owns the rules that only the ledger can judge: allowed projects, confusable names, limits of count and size, one source
distribution a release, one spelling a wheel and a version. Asked inside the transaction that records the file, so that
two uploads at once cannot both take the last place. Leaves permission to `service.gate` and the file itself to
`core.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from mintmark.core.checks.finding import Finding, Grade
from mintmark.core.checks.rule import Rule
from mintmark.core.names import ProjectName, similarity_key
from mintmark.core.policy import Policy
from mintmark.core.records import File, Project, Registry
from mintmark.service.ports import Transaction

NAMED_MAX = 3
SPELLINGS_MAX = 6
"""Versions that are equal differ in zeros at the end; so many parts a spelling may have. Real ones have up to four."""
WHEEL_PARTS_MAX = 6
"""Of a wheel's name, divided by dashes: with a build number."""
_CODE = "policy-refused"

NOT_WELCOME = Rule(
    "project-not-welcome",
    Grade.REFUSE,
    _CODE,
    "The registry's `projects` patterns allow the project's name.",
    "Publish it in another registry, or ask the operator to widen the registry's projects.",
)
SIMILAR = Rule(
    "similar-name",
    # Bringing in an existing index only warns: which name came first there is not ours to judge.
    Grade.STRICT,
    _CODE,
    "Nobody takes a new project's name for that of an existing one: separators do not count, and `l`, `i` and `1`, `o` "
    "and `0` look alike. With `similar-names` the registry may warn or allow instead.",
    "Choose another name, or ask the operator to set similar-names for this registry.",
)
RELEASES = Rule(
    "too-many-releases",
    Grade.REFUSE,
    _CODE,
    "A project has at most `releases-limit` releases.",
    "Ask the operator to raise releases-limit.",
)
FILES = Rule(
    "too-many-files",
    Grade.REFUSE,
    _CODE,
    "A release has at most `release-files-limit` files, deleted ones included.",
    "Ask the operator to raise release-files-limit.",
)
PROJECT_SIZE = Rule(
    "project-too-large",
    Grade.REFUSE,
    _CODE,
    "The files of a project have at most `project-limit-bytes` together.",
    "Delete what nobody needs, or ask the operator to raise project-limit-bytes.",
)
FILE_SIZE = Rule(
    "file-too-large",
    Grade.REFUSE,
    "too-large",
    "A file has at most `file-limit-bytes`.",
    "Make it smaller, or ask the operator to raise file-limit-bytes.",
)
SECOND_SDIST = Rule(
    "second-sdist",
    # Indexes of former times hold a .zip beside the .tar.gz.
    Grade.STRICT,
    "invalid-upload",
    "A release has one source distribution: of two, installers could take either.",
    "Publish a new version.",
)
SAME_WHEEL = Rule(
    "same-wheel",
    Grade.STRICT,
    "file-exists",
    "A release has a wheel once, in whatever spelling of its name.",
    "Published files never change: publish a new version.",
)
FINDINGS = (NOT_WELCOME, SIMILAR, RELEASES, FILES, PROJECT_SIZE, FILE_SIZE, SECOND_SDIST, SAME_WHEEL)


@dataclass(frozen=True, slots=True)
class Admission:
    """What the ledger says about a file. `version` is how the registry spells its version."""

    version: str
    findings: tuple[Finding, ...]


def admit(tx: Transaction, registry: Registry, name: ProjectName, project: Project | None, file: File) -> Admission:
    """Judge a file that the registry does not have yet. `project` is None for a new one."""
    policy = registry.policy
    findings = [*_size(policy, file), *_welcome(registry, name)]
    # A pending publisher's project exists before its first file.
    if project is None or not project.changes:
        findings += _similar(tx, registry, name)
    if project is None:
        return Admission(file.version, tuple(findings))
    found = tx.releases.equal(project.id, spellings(file.version))
    if found is None:
        findings += _releases(tx, policy, project)
    else:
        release, files = found
        file = replace(file, version=release.version)
        findings += _files(policy, release.version, files)
        findings += _beside(tx, policy, project, file)
    findings += _project_size(tx, policy, project, file)
    return Admission(file.version, tuple(findings))


def spellings(version: str) -> Sequence[str]:
    """The ways to write a version that are equal to it: `1.0`, `1`, `1.0.0`. Given, and first, is its `str`."""
    parsed = Version(version)
    release = list(parsed.release)
    while len(release) > 1 and not release[-1]:
        release.pop()
    head = f"{parsed.epoch}!" if parsed.epoch else ""
    tail = version[len(head) + len(".".join(map(str, parsed.release))) :]
    shorter = ".".join(map(str, release))
    zeros = (f"{head}{shorter}{'.0' * count}{tail}" for count in range(SPELLINGS_MAX - len(release) + 1))
    return list(dict.fromkeys((version, *zeros)))


def _size(policy: Policy, file: File) -> Iterator[Finding]:
    limit = min(filter(None, (policy.file_limit_bytes, policy.project_limit_bytes)), default=None)
    if limit is not None and file.size_bytes > limit:
        yield FILE_SIZE.found(f"The file has {file.size_bytes} bytes; this registry takes at most {limit}.")


def _welcome(registry: Registry, name: ProjectName) -> Iterator[Finding]:
    policy = registry.policy
    if not policy.welcomes(name):
        yield NOT_WELCOME.found(
            f"The registry {registry.slug} holds no project called {name}: it is for {_some(policy.projects)}."
        )


def _similar(tx: Transaction, registry: Registry, name: ProjectName) -> Iterator[Finding]:
    if registry.policy.similar_names == "allow":
        return
    others = [other for other in tx.projects.similar(registry.id, similarity_key(name)) if other != name]
    if others:
        found = SIMILAR.found(f"The name {name} is too similar to the existing project {_some(others)}.")
        yield replace(found, grade=Grade.WARN) if registry.policy.similar_names == "warn" else found


def _releases(tx: Transaction, policy: Policy, project: Project) -> Iterator[Finding]:
    if tx.projects.releases_count(project.id) >= policy.releases_limit:
        yield RELEASES.found(
            f"The project {project.name} has {policy.releases_limit} releases, as many as this registry allows."
        )


def _files(policy: Policy, version: str, files: int) -> Iterator[Finding]:
    if files >= policy.release_files_limit:
        yield FILES.found(f"The release {version} has {files} files, as many as this registry allows.")


def _project_size(tx: Transaction, policy: Policy, project: Project, file: File) -> Iterator[Finding]:
    limit = policy.project_limit_bytes
    if limit is not None and tx.projects.bytes_of(project.id) + file.size_bytes > limit:
        yield PROJECT_SIZE.found(f"With this file the project {project.name} would be larger than {limit} bytes.")


def _beside(tx: Transaction, policy: Policy, project: Project, file: File) -> Iterator[Finding]:
    """What the other files of the release say."""
    others = [
        other
        for other in tx.files.of_release(project.id, file.version)
        if other.kind == file.kind and other.state != "deleted"
    ]
    if file.kind == "sdist" and others:
        yield SECOND_SDIST.found(
            f"The release {file.version} has the source distribution {others[0].filename} already."
        )
    elif file.kind == "wheel":
        key = _wheel_key(file.filename)
        same = next((other for other in others if _wheel_key(other.filename) == key), None)
        if same is not None:
            yield SAME_WHEEL.found(f"File already exists ({same.filename}), its name spelled differently.")


def _wheel_key(filename: str) -> object:
    """The same for all spellings of a wheel of one release: tags have no order, no case, and count once."""
    parts = filename.removesuffix(".whl").split("-")
    build = parts[-4] if len(parts) == WHEEL_PARTS_MAX else ""
    number = build[: len(build) - len(build.lstrip("0123456789"))]
    tags = (frozenset(part.lower().split(".")) for part in parts[-3:])
    return int(number or -1), build.removeprefix(number), *tags


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED_MAX]) + (" and others" if len(names) > NAMED_MAX else "")
