"""The form, the file name and the metadata inside the file name the same release.

Owns this comparison and its sentences. The metadata inside the file is the truth; the form is only a hint, since
every uploader sends other fields, but a hint that contradicts the file is a mistake worth stopping at. Leaves the
validity of each side to `dist.filename` and `dist.metadata`.
"""

from __future__ import annotations

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from mintmark.core.dist.filename import FilenameFacts
from mintmark.core.dist.metadata import CoreMetadata
from mintmark.core.errors import Rejected

_FILETYPES = {"wheel": "bdist_wheel", "sdist": "sdist"}
_UPLOAD_UNCHANGED = "Upload the file unchanged with a current uv, twine or pdm."
_BUILD_AGAIN = "Build the file again and do not rename it."

Finding = tuple[str, str, str]
"""Code, sentence, cure."""


def check_agreement(
    *,
    form_name: str | None,
    form_version: str | None,
    form_filetype: str | None,
    form_pyversion: str | None,
    facts: FilenameFacts,
    metadata: CoreMetadata,
) -> None:
    """Raises one `Rejected` that tells everything that disagrees; the first finding decides its code.

    The form's name, version and filetype are required (`invalid-upload`); names are compared in their normal form
    (PEP 503) because twine, maturin and the others spell them differently, versions as versions (PEP 440). The
    pyversion may be absent (flit's source distributions have none) and says nothing beyond sdist or not.
    """
    findings = [
        *_form_name(form_name, facts),
        *_form_version(form_version, facts),
        *_form_filetype(form_filetype, facts),
        *_form_pyversion(form_pyversion, facts),
        *_metadata(metadata, facts),
    ]
    if not findings:
        return
    cures = dict.fromkeys(cure for _, _, cure in findings)
    raise Rejected(findings[0][0], " ".join(sentence for _, sentence, _ in findings), hint=" ".join(cures))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "...")


def _form_name(given: str | None, facts: FilenameFacts) -> list[Finding]:
    if not given:
        return [("invalid-upload", "The form lacks the field name.", _UPLOAD_UNCHANGED)]
    try:
        name = str(canonicalize_name(given, validate=True))
    except InvalidName:
        return [("invalid-upload", f"The form's name {_shown(given)} is not a project name.", _UPLOAD_UNCHANGED)]
    if name == facts.name:
        return []
    return [
        (
            "invalid-metadata",
            f"The form names the project {_shown(given)}, but the file name says {facts.name!r}.",
            _UPLOAD_UNCHANGED,
        )
    ]


def _form_version(given: str | None, facts: FilenameFacts) -> list[Finding]:
    if not given:
        return [("invalid-upload", "The form lacks the field version.", _UPLOAD_UNCHANGED)]
    try:
        version = Version(given)
    except ValueError:
        return [("invalid-upload", f"The form's version {_shown(given)} is not a version.", _UPLOAD_UNCHANGED)]
    if version == facts.version:
        return []
    return [
        (
            "invalid-metadata",
            f"The form says version {_shown(given)}, but the file name says {str(facts.version)!r}.",
            _UPLOAD_UNCHANGED,
        )
    ]


def _form_filetype(given: str | None, facts: FilenameFacts) -> list[Finding]:
    expected = _FILETYPES[facts.kind]
    if given == expected:
        return []
    said = f"The form says filetype {_shown(given)}" if given else "The form lacks the field filetype"
    return [("invalid-upload", f"{said}, but the file is a {facts.kind} and needs {expected!r}.", _UPLOAD_UNCHANGED)]


def _form_pyversion(given: str | None, facts: FilenameFacts) -> list[Finding]:
    if not given or (given == "source") == (facts.kind == "sdist"):
        return []
    return [
        (
            "invalid-upload",
            f"The form says pyversion {_shown(given)}, which does not fit a {facts.kind}.",
            "Send 'source' for a source distribution and the Python tag for a wheel, or leave pyversion out.",
        )
    ]


def _metadata(metadata: CoreMetadata, facts: FilenameFacts) -> list[Finding]:
    findings: list[Finding] = []
    if str(canonicalize_name(metadata.name)) != facts.name:
        sentence = f"The metadata inside the file names {_shown(metadata.name)}, but the file name says {facts.name!r}."
        findings.append(("invalid-metadata", sentence, _BUILD_AGAIN))
    if metadata.version != facts.version:
        inside, outside = _shown(str(metadata.version)), repr(str(facts.version))
        sentence = f"The metadata inside the file says version {inside}, but the file name says {outside}."
        findings.append(("invalid-metadata", sentence, _BUILD_AGAIN))
    return findings
