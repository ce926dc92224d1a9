"""What is right, or unusual and harmless, is taken; policies change what they should."""

from __future__ import annotations

import pytest

from mintmark.core.checks import description
from mintmark.core.checks.examine import examine
from mintmark.core.dist.facts import Archive, Member
from mintmark.core.dist.full_metadata import parse_fields
from mintmark.core.policy import Policy
from support.facts import INFO, METADATA, TOP, WHEEL, archive, file, found, hardlink, sdist, symlink, wheel
from support.faulty import ARCHIVES, entry_points, field, right_record, with_record

OLD = METADATA.replace("2.4", "1.0")


@pytest.mark.parametrize(
    "extra",
    [
        [symlink(f"{TOP}/x", "setup.py")],
        [symlink(f"{TOP}/a/x", "../setup.py")],
        [symlink(f"{TOP}/a/x", "..")],
        [symlink(f"{TOP}/x", "absent")],
        [symlink(f"{TOP}/x", "./a//b/../c")],
        [symlink(f"{TOP}/x", f"../{TOP}/setup.py")],
        [symlink(f"{TOP}/a/b/up", ".."), symlink(f"{TOP}/x", "a/b/up/c")],
        [symlink(f"{TOP}/a/b/up", ".."), symlink(f"{TOP}/x", "a/b/up/../setup.py")],
        [hardlink(f"{TOP}/x", f"{TOP}/setup.py")],
        [*(symlink(f"{TOP}/{number}", str(number + 1)) for number in range(39))],
        [symlink(f"{TOP}/readme", "README.md"), file(f"{TOP}/README.md")],
    ],
)
def test_links_inside(extra: list[Member]) -> None:
    assert found(sdist(extra=extra)) == set()


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "ü",
        "日本",
        "a.b..c",
        ".hidden",
        "...x",
        "auxiliary.py",
        "con_x",
        "a" * 255,
        "a/" * 60 + "b",
        "a-b+c,d@e#f",
        "'",
    ],
)
def test_names(name: str) -> None:
    assert found(sdist(extra=[file(f"{TOP}/{name}")])) == set()
    assert found(wheel(extra=[file(f"widget/{name}")], texts={"RECORD": None})) == {"layout-lacks-record"}


def test_directories_beside_what_is_in_them() -> None:
    extra = [Member(f"{TOP}/a", "directory", 0), file(f"{TOP}/a/b"), file(f"{TOP}/a-b"), file(f"{TOP}/a.b")]
    assert found(sdist(extra=extra)) == set()
    assert found(sdist(extra=extra[::-1])) == set()


@pytest.mark.parametrize("top", ["Widget-1.0", "widget-1.0.0", "widget-v1"])
def test_another_spelling_of_the_top_directory_is_a_policy(top: str) -> None:
    assert found(sdist(top=top)) == {"layout-top-spelling"}
    assert found(sdist(top=top), Policy(legacy_names=True)) == set()


def test_a_legacy_source_distribution() -> None:
    metadata = OLD.replace("widget", "Foo.Bar").replace("1.0\nSummary", "1.0-beta1\nSummary").replace("Requires", "X")
    facts = sdist(metadata, filename="Foo.Bar-1.0-beta1.zip", top="Foo.Bar-1.0-beta1")
    assert found(facts, Policy(legacy_names=True)) == set()


def test_platforms() -> None:
    for name, policy, expected in (
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "pypi", set()),
        ("macosx_11_0_arm64", "pypi", set()),
        ("macosx_10_13_universal2", "pypi", set()),
        ("macosx_12_3_arm64", "pypi", {"platform-refused"}),
        ("musllinux_1_2_riscv64", "pypi", set()),
        ("linux_armv7l", "pypi", set()),
        ("linux_x86_64", "any", {"platform-unlisted"}),
        ("win32", "pypi", set()),
        ("ios_13_0_arm64_iphoneos", "pypi", set()),
        ("android_21_x86_64", "pypi", set()),
        ("pyemscripten_2026_0_wasm32", "pypi", set()),
    ):
        text = WHEEL.replace("any", name)
        assert (
            found(
                wheel(filename=f"widget-1.0-py3-none-{name}.whl", texts={"WHEEL": text}), Policy(platform_tags=policy)
            )
            == expected
        )


@pytest.mark.parametrize("text", [WHEEL, WHEEL.replace("\n", "\r\n"), "Wheel-Version: 1.9\nTag: py3-none-any\n"])
def test_files_wheel(text: str) -> None:
    assert found(wheel(texts={"WHEEL": text})) == set()


def test_tags_may_be_compressed_and_builds_agree() -> None:
    for tags in ("Tag: py2.py3-none-any\n", "Tag: py2-none-any\nTag: py3-none-any\n"):
        text = f"Wheel-Version: 1.0\nBuild: 2x\n{tags}"
        assert found(wheel(filename="widget-1.0-2x-py2.py3-none-any.whl", texts={"WHEEL": text})) == set()


def test_unusual_records() -> None:
    right = right_record()
    extra = [Member("widget", "directory", 0), file("widget/more.py"), file(f"{INFO}/RECORD.jws")]
    digest = extra[1].sha256
    more = f"widget/,,\nwidget/more.py,sha256={digest},\n"
    assert found(with_record(right + more, *extra)) == set()
    assert found(with_record(right.replace("\n", "\r\n"))) == set()
    assert (
        found(with_record(right.replace("sha256=", "sha256=").replace(",1\n", "=,1\n", 1).replace("==,", "=,")))
        == set()
    )
    assert found(with_record(right.replace("\nwidget/__init__", '\n"widget/__init__"'))) == set()
    comma = file('widget/a,"b"')
    assert "record-unlisted" not in found(with_record(right + f'"widget/a,""b""",sha256={comma.sha256},1\n', comma))


@pytest.mark.parametrize(
    "lines",
    [
        ["Author-Email: Jörg <j@example.com>, k@example.com", "Maintainer-Email: x@localhost"],
        ["Home-page: UNKNOWN", "Author: UNKNOWN", "License: UNKNOWN", "Platform: UNKNOWN", "Summary-2: x"],
        ["Project-URL: Source, https://example.com/a,b?c#d", "Project-URL: Docs,http://example.com"],
        ["License-Expression: MIT OR (Apache-2.0 AND LicenseRef-Own)", "Classifier: Private :: Do Not Upload"],
        [
            "Requires-Dist: a>=1,<2; python_version < '3.12' and extra == 'x'",
            "Provides-Extra: x",
            "Requires-Dist: b[c]",
        ],
        ["Dynamic: Summary", "Dynamic: requires-dist", "Keywords: a,b", "Requires-External: C"],
        ["Description-Content-Type: text/markdown; charset=UTF-8; variant=CommonMark"],
        ["Description-Content-Type: text/x-rst", "", "Hällo"],
        ["X-Own: 1", "X-Own: 2", "License: a", "        b", "", "body", "\x00"],
    ],
)
def test_metadata(lines: list[str]) -> None:
    assert found(field(*lines)) == set()


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5"])
def test_metadata_of_every_version(version: str) -> None:
    text = OLD.replace("Requires-Python: >=3.8\n", "").replace("Metadata-Version: 1.0", f"Metadata-Version: {version}")
    assert found(wheel(text)) == set()


def test_an_invalid_requires_python_never_reaches_a_page() -> None:
    for facts in ARCHIVES["metadata-requires-python"]:
        examined = examine(facts, Policy(), None)
        assert examined.metadata is not None
        assert examined.metadata.requires_python is None


def test_license_files() -> None:
    line = "License-File: licenses/MIT\n"
    inside = file(f"{INFO}/licenses/licenses/MIT")
    assert found(wheel(METADATA + line, extra=[inside])) == set()
    assert found(sdist(METADATA + line, extra=[file(f"{TOP}/licenses/MIT")])) == set()
    old = METADATA.replace("2.4", "2.1") + line
    assert found(wheel(old, extra=[file(f"{INFO}/licenses/MIT")])) == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[console_scripts]\nwidget = widget:main\nwidget-2 = widget.cli:App.run [extra, other]\n",
        "\n    [console_scripts]\n    widget=widget:main\n    # comment\n",
        "[pytest11]\nwidget = widget\n[a.b-c]\nx y = widget.z\n",
        "[console_scripts]\r\nübung = widget:main\r\n",
    ],
)
def test_entry_points(text: str) -> None:
    assert found(entry_points(text)) == set()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["Description-Content-Type: text/x-rst", "", "Hi"], "Hi\n"),
        (
            ["Description-Content-Type: Text/X-RST; charset=UTF-8", "Description: a", "        b", "       |c"],
            "a\nb\nc",
        ),
        (["Description-Content-Type: text/x-rst", "", " \n"], None),
        (["Description-Content-Type: text/x-rst"], None),
        (["Description-Content-Type: text/markdown", "", "Hi"], None),
        (["", "Hi"], None),
    ],
)
def test_what_has_to_be_rendered(lines: list[str], text: str | None) -> None:
    examined = examine(field(*lines), Policy(), None)
    assert examined.to_render == text
    assert description.judged(True) == ()


def test_nothing_can_be_said_of_an_empty_archive() -> None:
    facts: Archive = archive("widget-1.0.tar.gz", [], {}, complete=False)
    examined = examine(facts, Policy(), None)
    assert (examined.metadata, examined.findings, examined.to_render) == (None, (), None)
    assert description.to_render(parse_fields(b"")) is None
