"""Whatever the facts are, the checks end soon and answer with findings."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.metadata import parse_email

from mintmark.core.checks.examine import RULES, examine
from mintmark.core.dist.facts import Archive, Member
from mintmark.core.dist.full_metadata import FIELDS, parse_fields
from mintmark.core.policy import Policy
from support.facts import INFO, METADATA, TOP, archive, file, names, record, sdist, symlink, wheel
from support.faulty import entry_points, field, with_record

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
PARTS = st.sampled_from(
    ["", ".", "..", "a", "A", "b", "c:", "\\", "aux", TOP, INFO, "METADATA", "PKG-INFO", "RECORD", "x.data"]
)
NAMES = st.one_of(TEXT, st.lists(PARTS, min_size=1, max_size=6).map("/".join))
MEMBERS = st.lists(
    st.builds(
        Member,
        NAMES,
        st.sampled_from(["file", "directory", "symlink", "hardlink", "other"]),
        st.integers(0, 2**40),
        NAMES,
        st.sampled_from(["", "0" * 64]),
    ),
    max_size=12,
)
FIELD_LINES = st.builds(
    lambda name, value: f"{name}: {value}",
    st.sampled_from([*FIELDS, "Tag", "Build", "Wheel-Version"]),
    st.one_of(TEXT, st.text("([])<>=;@,.'\" a1-*:", max_size=30)),
).map(lambda line: line.encode("utf-8", "surrogatepass"))
LINES = st.lists(
    st.one_of(
        FIELD_LINES,
        st.binary(max_size=30),
        st.sampled_from(
            [b"", b" x", b"[console_scripts]", b"a = b:c", b"From x", b":", b"Content-Type: message/rfc822"]
        ),
    ),
    max_size=12,
)
CONTENT = st.builds(lambda lines, end: end.join(lines), LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
FORM = st.none() | st.dictionaries(st.sampled_from(["name", "version", "filetype", "pyversion"]), TEXT)
POLICIES = st.builds(Policy, platform_tags=st.sampled_from(["any", "pypi"]), legacy_names=st.booleans())


def judge(facts: Archive, policy: Policy, form: dict[str, str] | None) -> None:
    examined = examine(facts, policy, form)
    assert names(examined) <= set(RULES)
    if examined.metadata is not None:
        assert (examined.metadata.requires_python or "").isascii()
        assert (examined.metadata.requires_python or "").isprintable()


@given(MEMBERS, st.sampled_from(["widget-1.0.tar.gz", "widget-1.0-py3-none-any.whl"]), POLICIES, FORM)
def test_any_members(members: list[Member], filename: str, policy: Policy, form: dict[str, str] | None) -> None:
    judge(archive(filename, members, {}), policy, form)


@given(CONTENT, CONTENT, CONTENT, CONTENT, POLICIES)
def test_any_texts(one: bytes, two: bytes, three: bytes, four: bytes, policy: Policy) -> None:
    judge(wheel(one, texts={"WHEEL": two, "RECORD": three, "entry_points.txt": four}), policy, None)
    judge(wheel(METADATA.encode() + one), policy, None)
    judge(sdist(METADATA.encode() + one), policy, None)


@given(CONTENT)
def test_fields_are_those_that_packaging_reads(data: bytes) -> None:
    """The oracle is the parser that installers use; it is only too slow for hostile files."""
    fields = parse_fields(data)
    try:
        raw, unparsed = parse_email(data)
    except Exception:
        return
    single = {"name", "version", "metadata-version", "summary", "requires-python", "author", "license"}
    for field_name in single & fields.values.keys():
        values = fields.values[field_name]
        theirs = [raw.get(field_name.replace("-", "_"))] if len(values) == 1 else unparsed[field_name]
        assert [str(text).strip(" \t\n") for text in theirs] == list(values)
    for field_name in single - fields.values.keys() - fields.undecodable:
        assert field_name not in unparsed
        assert field_name.replace("-", "_") not in raw
    assert fields.undecodable <= unparsed.keys()


# -- time -----------------------------------------------------------------------------------------------------------

MANY = [file(f"widget/package{number % 100}/module{number}.py") for number in range(10_000)]
MIB = 1 << 20
HOSTILE: dict[str, Callable[[], Archive]] = {
    "fields of many names": lambda: field(*(f"h{number}:" for number in range(120_000))),
    "many fields": lambda: field(*["Requires-Dist: a"] * 60_000),
    "many different dependencies": lambda: field(*(f"Requires-Dist: a{number}" for number in range(5_000))),
    "a long dependency": lambda: field("Requires-Dist: a[" + "b," * 400_000),
    "long dependencies": lambda: field(*("Requires-Dist: a" + f">={number}," * 200 for number in range(400))),
    "dependencies of many parts": lambda: field(
        *(f"Requires-Dist: a{number}=={',=='.join('1' * 490)}" for number in range(500))
    ),
    "a long line": lambda: field("Summary: " + " x" * MIB),
    "folded lines": lambda: field("License: x" + "\n y" * 300_000),
    "a long license": lambda: field("License-Expression: " + "(" * MIB),
    "a long content type": lambda: field("Description-Content-Type: text/plain; " + "a*=;" * 200_000),
    "long entry points": lambda: entry_points("[a]\nb" + " " * MIB + "c\n" + ("d = e" + " ]" * 900 + "\n") * 100),
    "a long record": lambda: with_record('"' + "x,\n" * 300_000),
    "a record of one line": lambda: with_record("x" * (8 * MIB)),
    "names of many parts": lambda: sdist(extra=[file(TOP + f"/{number}" + "/a" * 2000) for number in range(2_000)]),
    "long names": lambda: sdist(extra=[file(TOP + "/" + "a/" * 30_000 + str(number)) for number in range(100)]),
    "accents": lambda: sdist(extra=[file(TOP + f"/{number}" + "/\u0301\u0316" * 60 * 10) for number in range(1_000)]),
    "many links": lambda: sdist(
        extra=[symlink(f"{TOP}/{number}", f"{number + 1}/../" * 30 + f"{number + 1}") for number in range(20_000)]
    ),
    "deep links": lambda: sdist(extra=[symlink(f"{TOP}/{number}" + "/a" * 1_900, "b") for number in range(4_000)]),
    "tops of dashes": lambda: sdist(extra=[file(f"widget-{number}{'-a' * 100}/x") for number in range(30_000)]),
    "tops like the name": lambda: sdist(extra=[file(f"widget{'-' * 200}{number}/x") for number in range(30_000)]),
    "a record of nothing": lambda: with_record("\n" * (32 * MIB)),
    "many findings": lambda: wheel(extra=[file(f"{number}/../x?\n") for number in range(50_000)]),
}
SECONDS_MAX = 4.0
"""Far more than any of them takes, far less than what is not linear would."""


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_bounded(name: str) -> None:
    facts = HOSTILE[name]()
    start = time.process_time()
    names(examine(facts, Policy(), None))
    assert time.process_time() - start < SECONDS_MAX


def test_a_wheel_of_ten_thousand_files() -> None:
    facts = wheel(extra=MANY)
    assert facts.texts[f"{INFO}/RECORD"] == record([m for m in facts.members if not m.name.endswith("RECORD")]).encode()
    start = time.process_time()
    examined = examine(facts, Policy(), None)
    assert time.process_time() - start < 1.0
    assert names(examined) == set()
