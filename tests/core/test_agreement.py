"""Form, file name and metadata: what real clients send is accepted, what contradicts is told in full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from mintmark.core.checks import agreement
from mintmark.core.checks.subject import prepare
from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy
from support.facts import sdist, wheel
from support.refusals import refuse

STEM = "widget_lab_x-1.0"
WHEEL = f"{STEM}-py3-none-any.whl"
SDIST = f"{STEM}.tar.gz"


def check(
    *,
    name: str | None = "Widget.Lab_X",
    version: str | None = "1.0",
    filetype: str | None = "bdist_wheel",
    pyversion: str | None = "py3",
    filename: str = WHEEL,
    inside_name: str = "Widget.Lab_X",
    inside_version: str = "1.0",
) -> None:
    sent = {"name": name, "version": version, "filetype": filetype, "pyversion": pyversion}
    form = {field: value for field, value in sent.items() if value is not None}
    metadata = f"Metadata-Version: 2.4\nName: {inside_name}\nVersion: {inside_version}\n"
    if filename == WHEEL:
        archive = wheel(metadata, filename=WHEEL, info=f"{STEM}.dist-info")
    else:
        archive = sdist(metadata, filename=SDIST, top=STEM)
    subject = prepare(archive, Policy(), form)
    # Without metadata nothing inside the file would be compared.
    assert subject.core.complete() is not None
    refuse(agreement.check(subject))


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("uv, pdm, poetry, hatch and flit send the raw name", "Widget.Lab_X"),
        ("twine sends the safe name", "Widget.Lab-X"),
        ("maturin sends the normalised name", "widget-lab-x"),
    ],
)
@pytest.mark.parametrize("pyversion", ["py3", "py2.py3", "cp311", "3.11", "any", "", None])
def test_wheels_of_real_clients(client: str, name: str, pyversion: str | None) -> None:
    check(name=name, pyversion=pyversion)


@pytest.mark.parametrize("pyversion", ["source", "", None])
def test_sdists_of_real_clients(pyversion: str | None) -> None:
    """flit leaves pyversion out, pdm sends empty strings for what it does not know."""
    check(filename=SDIST, filetype="sdist", pyversion=pyversion)


@pytest.mark.parametrize("version", ["1.0.0", "1", "v1.0", "01.0"])
def test_versions_are_compared_as_versions(version: str) -> None:
    check(version=version)
    check(inside_version=version)


def refusal(**changes: str | None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(**changes)  # type: ignore[arg-type]
    assert caught.value.detail.endswith(".")
    assert caught.value.hint
    assert caught.value.sentence.isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"name": None}, "invalid-upload", "lacks the field name"),
        ({"name": ""}, "invalid-upload", "lacks the field name"),
        ({"name": "-"}, "invalid-upload", "not a project name"),
        ({"name": "other"}, "invalid-metadata", "'other'"),
        ({"version": None}, "invalid-upload", "lacks the field version"),
        ({"version": ""}, "invalid-upload", "lacks the field version"),
        ({"version": "one"}, "invalid-upload", "'one' is not a version"),
        ({"version": "1" * 5000}, "invalid-upload", "not a version"),
        ({"version": "1.1"}, "invalid-metadata", "'1.1'"),
        ({"version": "1.0+local"}, "invalid-metadata", "'1.0+local'"),
        ({"filetype": None}, "invalid-upload", "lacks the field filetype"),
        ({"filetype": "sdist"}, "invalid-upload", "'bdist_wheel'"),
        ({"filetype": "bdist_egg"}, "invalid-upload", "'bdist_egg'"),
        ({"pyversion": "source"}, "invalid-upload", "'source'"),
        ({"filename": SDIST, "filetype": "sdist"}, "invalid-upload", "'py3'"),
        ({"filename": SDIST, "pyversion": None}, "invalid-upload", "'sdist'"),
        ({"inside_name": "other"}, "invalid-metadata", "inside the file names 'other'"),
        ({"inside_version": "2"}, "invalid-metadata", "inside the file says version '2'"),
    ],
)
def test_every_disagreement(changes: dict[str, str | None], code: str, words: str) -> None:
    error = refusal(**changes)
    assert error.code.name == code
    assert words in error.detail
    assert len(error.detail) < 250


def test_all_findings_are_told_together_and_the_first_decides_the_code() -> None:
    error = refusal(name="other", version=None, filetype="sdist", inside_version="3")
    assert error.code.name == "invalid-metadata"
    for words in ("'other'", "lacks the field version", "filetype 'sdist'", "version '3'"):
        assert words in error.detail
    assert error.hint.count("Upload the file unchanged") == 1
    assert refusal(version=None, inside_name="other").code.name == "invalid-upload"


ANY = st.one_of(
    st.none(), st.text(max_size=20), st.sampled_from(["sdist", "bdist_wheel", "source", "1.0", "widget.lab.x"])
)


@given(ANY, ANY, ANY, ANY, st.sampled_from([WHEEL, SDIST]))
def test_never_anything_but_a_refusal(
    name: str | None, version: str | None, filetype: str | None, pyversion: str | None, filename: str
) -> None:
    code = ""
    try:
        check(name=name, version=version, filetype=filetype, pyversion=pyversion, filename=filename)
    except Rejected as error:
        code = error.code.name
    assert code in {"", "invalid-upload", "invalid-metadata"}
    if not code:
        assert filetype == ("sdist" if filename == SDIST else "bdist_wheel")
        assert Version(version or "") == Version("1.0")
