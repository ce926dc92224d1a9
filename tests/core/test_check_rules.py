"""Every rule is broken by something, the finding is the rule's, and nothing is found that no rule declares."""

from __future__ import annotations

import pytest

from mintmark.core.checks.examine import CHECKS, RULES, Examined, examine
from mintmark.core.checks.finding import Finding, Grade, refusal, those_that_refuse
from mintmark.core.codes import CODES
from mintmark.core.policy import Policy
from support import faulty
from support.facts import METADATA, file, found, names, sdist, wheel

EXAMINED = faulty.examined()
OTHERS = faulty.others()


@pytest.mark.parametrize(("name", "examined"), EXAMINED, ids=[name for name, _ in EXAMINED])
def test_every_fault_is_found(name: str, examined: Examined) -> None:
    assert name in names(examined)


@pytest.mark.parametrize(("name", "findings"), OTHERS, ids=[name for name, _ in OTHERS])
def test_every_other_fault_is_found(name: str, findings: list[Finding]) -> None:
    assert [finding.check for finding in findings] == [name]


def test_every_rule_has_a_case_and_every_finding_a_rule() -> None:
    assert {name for name, _ in EXAMINED} | {name for name, _ in OTHERS} == set(RULES)
    for findings in [*(examined.findings for _, examined in EXAMINED), *(some for _, some in OTHERS)]:
        for finding in findings:
            rule = RULES[finding.check]
            assert (finding.code, finding.grade) == (rule.code, rule.grade)


def test_rules_are_named_once_and_well_written() -> None:
    every = [rule for check in CHECKS for rule in check.findings]
    assert len({rule.id for rule in every}) == len(every)
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    for rule in RULES.values():
        assert rule.code in CODES
        assert rule.meaning.endswith(".")
        assert rule.cure


def test_right_distributions_have_no_findings() -> None:
    assert found(wheel()) == set()
    assert found(sdist()) == set()
    assert found(wheel(), form=faulty.FORM) == set()
    assert found(sdist(), form={"name": "Widget", "version": "1", "filetype": "sdist"}) == set()


@pytest.mark.parametrize("name", ["metadata-format", "requires-dist", "record-hash", "layout-top-spelling"])
def test_what_is_only_strict_can_be_brought_in(name: str) -> None:
    for case, examined in EXAMINED:
        if case == name:
            assert those_that_refuse(examined.findings)
            assert not those_that_refuse(examined.findings, lenient=True)
            assert examined.metadata is not None


def test_many_harmless_findings_do_not_hide_a_grave_one() -> None:
    members = [*(file(f"widget/{number}?") for number in range(500)), file("../x")]
    examined = examine(wheel(extra=members), Policy())
    assert [finding.check for finding in those_that_refuse(examined.findings)] == ["name-outside"]
    assert sum(finding.check == "name-windows" for finding in examined.findings) == 20
    assert "../x" in refusal(examined.findings).detail


def test_an_archive_that_was_not_read_to_its_end_is_not_blamed_for_what_is_missing() -> None:
    metadata = METADATA + "License-File: LICENSE\n"
    facts = wheel(metadata, extra=[file("a\nb")], texts={"RECORD": None, "WHEEL": None}, complete=False)
    assert found(facts) == {"name-control"}


def test_grades() -> None:
    """What installers would disagree on, or what harms, is refused wherever it comes from."""
    refused = {rule.id for rule in RULES.values() if rule.grade is Grade.REFUSE}
    assert {"name-outside", "link-outside", "link-traversed", "metadata-disagrees", "entry-points-script"} <= refused
