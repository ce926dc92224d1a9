"""Learned ids, registry-wide publishers and readers in a trust file: what applying keeps and renews."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from mintmark.assemble import Index
from mintmark.core.pins import UNPROTECTED_SECONDS
from mintmark.core.records import Project, Publisher
from mintmark.core.trust import PENDING_SECONDS
from mintmark.service.ports import Transaction
from mintmark.settings import Settings
from support.clock import FrozenClock, SeededEntropy
from support.office import BASE, CREATES, Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    settings = msgspec.convert({"data_dir": str(tmp_path / "data"), "base_url": "http://localhost:1"}, Settings)
    clock = FrozenClock()
    index = Index(settings, clock=clock, entropy=SeededEntropy())
    try:
        yield Office(index, clock)
    finally:
        await index.close()


UNPROTECTED = BASE.replace('project-id = "1"\n', "")


async def learn(office: Office, **ids: str) -> Publisher:
    """As the first mint does; returns the publisher."""

    def work(tx: Transaction) -> Publisher:
        registry = tx.registries.find("acme")
        assert registry is not None
        (publisher,) = tx.publishers.of_registry(registry.id)
        tx.publishers.reify(publisher.id, (tx.projects.find(registry.id, "widget") or _made(tx, registry.id)).id)
        tx.publishers.set_pins(publisher.id, ids)
        return publisher

    return await office.index.ledger.write(work)


def _made(tx: Transaction, registry_id: int) -> Project:
    return tx.projects.insert(registry_id, "widget", "widget", 0)


async def held_pins(office: Office) -> list[dict[str, str]]:
    return [dict(each.pins) for each in (await office.held())["acme"][2]]


async def test_applying_again_keeps_what_was_learned(office: Office) -> None:
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7")
    assert await office.apply(UNPROTECTED) == []
    assert await held_pins(office) == [{"project_id": "7"}]


@pytest.mark.parametrize("more", ['tag = "v{version}"', 'environment = "release"', 'namespace-id = "9"'])
async def test_an_entry_that_is_rewritten_keeps_what_was_learned(office: Office, more: str) -> None:
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7")
    added, removed = await office.apply(f"{UNPROTECTED}{more}\n")
    assert added.detail == "keeps the learned project_id=7"
    assert removed.detail == "had learned project_id=7"
    assert await held_pins(office) == [{"project_id": "7"}]


async def test_an_entry_beside_it_has_learned_the_same(office: Office) -> None:
    """Otherwise adding one today and removing the other tomorrow would lose it."""
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7")
    entry = UNPROTECTED.partition("[[")[2]
    await office.apply(f'{UNPROTECTED}[[{entry}environment = "release"\n')
    assert await held_pins(office) == [{"project_id": "7"}] * 2


async def test_an_id_that_is_given_replaces_the_learned_one(office: Office) -> None:
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7", namespace_id="8")
    await office.apply(BASE)
    assert await held_pins(office) == [{"namespace_id": "8"}]


@pytest.mark.parametrize(
    ("old", "new"),
    [('project-path = "team/widget"', 'project-path = "team/gadget"'), ('project = "widget"', 'project = "gadget"')],
)
async def test_another_identity_or_project_begins_anew(office: Office, old: str, new: str) -> None:
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7")
    changes = await office.apply(UNPROTECTED.replace(old, new))
    assert ("remove", "had learned project_id=7") in {(each.action, each.detail) for each in changes}
    assert await held_pins(office) == [{}]


async def test_what_nobody_uses_and_no_id_protects_lapses_and_is_renewed(office: Office) -> None:
    await office.apply("[registry.acme]")
    await office.project("widget")
    await office.apply(UNPROTECTED)
    (publisher,) = (await office.held())["acme"][2]
    assert publisher.expires_at == int(office.clock.at) + UNPROTECTED_SECONDS
    office.clock.advance(UNPROTECTED_SECONDS - 1)
    assert await office.apply(UNPROTECTED) == []
    office.clock.advance(1)
    assert [(each.action, each.kind) for each in await office.apply(UNPROTECTED)] == [
        ("remove", "publisher"),
        ("add", "publisher"),
    ]
    await office.apply(BASE)
    assert (await office.held())["acme"][2][0].expires_at is None


async def test_registry_wide_publishers_and_readers(office: Office) -> None:
    entry = BASE.partition("[[")[2]
    wide = f"[[{entry}".replace('"widget"', '"acme-*"')
    reader = f"[[{entry}reads = true\n".replace('"widget"', '"*"')
    both = await office.apply(BASE + wide + reader)
    assert [(each.kind, each.detail) for each in both if "from gitlab" in each.name] == [
        ("pending publisher", CREATES),
        ("publisher", ""),
        ("publisher", ""),
    ]
    assert both[-1].name.endswith("project-id=1, reads)")
    office.clock.advance(PENDING_SECONDS * 5)
    # They wait for nothing.
    assert {each.kind for each in await office.apply(BASE + wide + reader)} == {"pending publisher"}
    assert [each.action for each in await office.apply(BASE + wide)] == ["remove"]


GENERIC = """
[registry.acme]
[registry.acme.issuer.ci]
provider = "generic"
url = "https://ci.example.com"
projects = ["*"]
[[registry.acme.publisher]]
project = "widget"
issuer = "ci"
immutable-id = "repo_id"
rule = [{ claim = "repo", equals = "acme/widget" }%s]
"""


@pytest.mark.parametrize(
    "more",
    [
        ', { claim = "branch", matches = "v*" }',
        ', { claim = "sub", equals = "acme:widget" }',
        ', { claim = "env", equals = "release" }',
    ],
)
async def test_another_rule_keeps_what_was_learned(office: Office, more: str) -> None:
    await office.apply(GENERIC % "")
    await learn(office, repo_id="7")
    await office.apply(GENERIC % more)
    assert await held_pins(office) == [{"repo_id": "7"}]


async def test_renaming_an_issuer_keeps_what_was_learned(office: Office) -> None:
    await office.apply(UNPROTECTED)
    await learn(office, project_id="7")
    text = UNPROTECTED.replace("issuer.gitlab]", "issuer.main]").replace('issuer = "gitlab"', 'issuer = "main"')
    await office.apply(text)
    assert await held_pins(office) == [{"project_id": "7"}]
