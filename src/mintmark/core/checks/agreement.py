"""The form, the file name and the metadata inside the file name the same release.

Owns this comparison and its sentences. The metadata inside the file is the truth; the form is only a hint, since
every uploader sends other fields, but a hint that contradicts the file is a mistake worth stopping at. Leaves the
validity of each side to `dist.filename` and `dist.metadata`.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import InvalidName, canonicalize_name

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.metadata import CoreMetadata, read_version

_FILETYPES = {"wheel": "bdist_wheel", "sdist": "sdist"}
_UPLOAD_UNCHANGED = "Upload the file unchanged with a current uv, twine or pdm."

FORM = Rule(
    "form-field",
    Grade.REFUSE,
    "invalid-upload",
    "The upload form has the fields name, version and filetype, and they fit the kind of file.",
    _UPLOAD_UNCHANGED,
)
FORM_DISAGREES = Rule(
    "form-disagrees",
    Grade.REFUSE,
    "invalid-metadata",
    "The upload form names the same project and version as the file name.",
    _UPLOAD_UNCHANGED,
)
METADATA_DISAGREES = Rule(
    "metadata-disagrees",
    Grade.REFUSE,
    "invalid-metadata",
    "The metadata inside the file names the same project and version as the file name: installers choose by the one "
    "and install the other.",
    "Build the file again and do not rename it.",
)
FINDINGS = (FORM, FORM_DISAGREES, METADATA_DISAGREES)


def check(subject: Subject) -> Iterator[Finding]:
    """Whatever is there is compared with the file name."""
    if subject.form is not None:
        form = subject.form
        yield from _form(
            form.get("name"), form.get("version"), form.get("filetype"), form.get("pyversion"), subject.filename
        )
    metadata = subject.core.complete()
    if metadata is not None:
        yield from _metadata(metadata, subject.filename)


def _form(
    name: str | None, version: str | None, filetype: str | None, pyversion: str | None, facts: FilenameFacts
) -> Iterator[Finding]:
    """The form's name, version and filetype are required; empty fields are absent ones, as pdm sends them.

    Names are compared in their normal form (PEP 503) because twine, maturin and the others spell them differently,
    versions as versions (PEP 440). The pyversion may be absent (flit's source distributions have none) and says nothing
    beyond sdist or not.
    """
    yield from _form_name(name, facts)
    yield from _form_version(version, facts)
    expected = _FILETYPES[facts.kind]
    if filetype != expected:
        said = f"The form says filetype {shown(filetype)}" if filetype else "The form lacks the field filetype"
        yield FORM.found(f"{said}, but the file is a {facts.kind} and needs {shown(expected)}.")
    if pyversion and (pyversion == "source") != (facts.kind == "sdist"):
        yield FORM.found(
            f"The form says pyversion {shown(pyversion)}, which does not fit a {facts.kind}.",
            cure="Send 'source' for a source distribution and the Python tag for a wheel, or leave pyversion out.",
        )


def _form_name(given: str | None, facts: FilenameFacts) -> Iterator[Finding]:
    if not given:
        yield FORM.found("The form lacks the field name.")
        return
    try:
        name = str(canonicalize_name(given, validate=True))
    except InvalidName:
        yield FORM.found(f"The form's name {shown(given)} is not a project name.")
        return
    if name != facts.name:
        yield FORM_DISAGREES.found(
            f"The form names the project {shown(given)}, but the file name says {shown(facts.name)}."
        )


def _form_version(given: str | None, facts: FilenameFacts) -> Iterator[Finding]:
    if not given:
        yield FORM.found("The form lacks the field version.")
        return
    version = read_version(given)
    if version is None:
        yield FORM.found(f"The form's version {shown(given)} is not a version.")
    elif version != facts.version:
        yield FORM_DISAGREES.found(
            f"The form says version {shown(given)}, but the file name says {shown(str(facts.version))}."
        )


def _metadata(metadata: CoreMetadata, facts: FilenameFacts) -> Iterator[Finding]:
    if str(canonicalize_name(metadata.name)) != facts.name:
        yield METADATA_DISAGREES.found(
            f"The metadata inside the file names {shown(metadata.name)}, but the file name says {shown(facts.name)}."
        )
    if metadata.version != facts.version:
        inside, outside = shown(str(metadata.version)), shown(str(facts.version))
        yield METADATA_DISAGREES.found(
            f"The metadata inside the file says version {inside}, but the file name says {outside}."
        )
