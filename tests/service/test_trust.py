"""Declarative trust over a real ledger: what a plan says, what applying it does, and what it never does."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mintmark.assemble import Index
from mintmark.core.errors import Rejected
from mintmark.core.records import OPERATOR
from mintmark.core.trust import PENDING_SECONDS, parse_registry, parse_trust
from mintmark.service.ports import Transaction
from mintmark.service.trust_plan import Change
from mintmark.settings import Settings
from support.clock import FrozenClock, SeededEntropy
from support.office import BASE, CREATES, GADGET, HOST, SECOND, WIDGET, Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    settings = msgspec.convert({"data_dir": str(tmp_path / "data"), "base_url": "http://localhost:1"}, Settings)
    clock = FrozenClock()
    index = Index(settings, clock=clock, entropy=SeededEntropy())
    try:
        yield Office(index, clock)
    finally:
        await index.close()


def lines(changes: list[Change] | tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(change.action, change.kind, change.name) for change in changes]


# -- adding, changing, removing ---------------------------------------------------------------------------------------


async def test_everything_is_added_in_reading_order(office: Office) -> None:
    changes = await office.apply(BASE + SECOND)
    assert changes == [
        Change("add", "registry", "acme", "audience mintmark_localhost_acme"),
        Change("add", "issuer", "acme/gitlab", "gitlab https://gitlab.example.com"),
        Change("add", "pending publisher", WIDGET, CREATES),
        Change("add", "registry", "other", "audience mintmark_localhost_other"),
        Change("add", "issuer", "other/github", "github https://token.actions.githubusercontent.com"),
    ]
    registry, (issuer,), (publisher,) = (await office.held())["acme"]
    assert (issuer.registry_id, publisher.registry_id, publisher.issuer_id) == (registry.id, registry.id, issuer.id)
    assert publisher.expires_at == int(office.clock.at) + PENDING_SECONDS
    assert publisher.created_at == int(office.clock.at)


async def test_planning_changes_nothing(office: Office) -> None:
    await office.plan(BASE)
    assert await office.held() == {}
    assert await office.events() == []


async def test_a_publisher_of_an_existing_project_is_no_pending_one(office: Office) -> None:
    await office.apply(BASE.partition("[[")[0])
    await office.project("widget")
    assert lines(await office.apply(BASE)) == [("add", "publisher", WIDGET)]
    ((_, _, (publisher,)),) = (await office.held()).values()
    assert publisher.project_id is not None
    assert publisher.expires_at is None


@pytest.mark.parametrize(
    ("old", "new", "kind", "detail"),
    [
        ("[registry.acme]\n", "[registry.acme]\nprivate = false\n", "registry", "private: true -> false"),
        ("[registry.acme]\n", '[registry.acme]\ntitle = "A"\nhost = "a.example"\n', "registry", 'title: "" -> A, host'),
        ('["*"]', '["acme-*", "widget"]', "issuer", "projects: [*] -> [acme-*, widget]"),
        ('["*"]', '["*"]\nenabled = false', "issuer", "enabled: true -> false"),
        ('["*"]', '["*"]\nmax-token-lifetime-seconds = 60', "issuer", "max-lifetime-seconds: none -> 60"),
    ],
)
async def test_changes_are_told_in_detail(office: Office, old: str, new: str, kind: str, detail: str) -> None:
    await office.apply(BASE)
    before = (await office.held())["acme"]
    (change,) = await office.apply(BASE.replace(old, new))
    assert (change.action, change.kind) == ("change", kind)
    assert detail in change.detail
    after = (await office.held())["acme"]
    # The same entries, so that credentials stay tied to them.
    assert after[0].id == before[0].id
    assert [issuer.id for issuer in after[1]] == [issuer.id for issuer in before[1]]
    assert after[2] == before[2]


async def test_changing_an_issuer_keeps_what_commands_counted(office: Office) -> None:
    await office.apply(BASE)
    await office.index.trust.change_issuer(
        "acme", "gitlab", lambda issuer: replace(issuer, keys_epoch=7, purge_epoch=8), OPERATOR
    )
    assert await office.apply(BASE) == []
    await office.apply(BASE.replace('["*"]', '["w*"]'))
    (issuer,) = (await office.held())["acme"][1]
    assert (issuer.keys_epoch, issuer.purge_epoch, issuer.projects) == (7, 8, ("w*",))


async def test_a_publisher_with_other_facts_is_another_one(office: Office) -> None:
    await office.apply(BASE)
    changed = await office.apply(BASE + 'environment = "release"\n')
    assert [(change.action, change.kind) for change in changed] == [
        ("add", "pending publisher"),
        ("remove", "pending publisher"),
    ]
    assert [p.config.get("environment") for p in (await office.held())["acme"][2]] == ["release"]


async def test_removing(office: Office) -> None:
    await office.apply(BASE + GADGET + SECOND)
    gadget = WIDGET.replace("widget", "gadget").replace("=1", "=2")
    assert lines(await office.apply(BASE + SECOND)) == [("remove", "pending publisher", gadget)]
    registry_only = BASE.partition("[registry.acme.issuer")[0]
    assert lines(await office.apply(registry_only + SECOND)) == [
        ("remove", "issuer", "acme/gitlab"),
        ("remove", "pending publisher", WIDGET),
    ]
    assert lines(await office.apply(registry_only)) == [
        ("remove", "registry", "other"),
        ("remove", "issuer", "other/github"),
    ]
    assert lines(await office.apply("")) == [("remove", "registry", "acme")]
    assert await office.held() == {}


async def test_what_goes_with_a_registry_is_shown(office: Office) -> None:
    await office.apply(BASE)
    assert await office.apply("") == [
        Change("remove", "registry", "acme"),
        Change("remove", "issuer", "acme/gitlab", "goes with its registry"),
        Change("remove", "pending publisher", WIDGET, "goes with its registry"),
    ]


async def test_a_registry_that_holds_projects_is_never_removed(office: Office) -> None:
    await office.apply(BASE)
    await office.project("widget")
    with pytest.raises(Rejected, match="acme is not in the file but holds 1 project\\.") as caught:
        await office.plan("")
    assert "enabled = false" in caught.value.hint
    with pytest.raises(Rejected, match="acme holds 1 project\\."):
        await office.index.trust.remove_registry("acme", OPERATOR)
    await office.project("gadget")
    with pytest.raises(Rejected, match="holds 2 projects"):
        await office.index.trust.remove_registry("acme", OPERATOR)
    assert "acme" in await office.held()


# -- issuers that become others ---------------------------------------------------------------------------------------


async def test_a_renamed_issuer_may_keep_its_url(office: Office) -> None:
    await office.apply(BASE)
    renamed = BASE.replace("issuer.gitlab", "issuer.git").replace('issuer = "gitlab"', 'issuer = "git"')
    assert lines(await office.apply(renamed)) == [
        ("add", "issuer", "acme/git"),
        ("remove", "issuer", "acme/gitlab"),
        ("remove", "pending publisher", WIDGET),
        ("add", "pending publisher", WIDGET.replace("from gitlab", "from git")),
    ]
    _, (issuer,), (publisher,) = (await office.held())["acme"]
    assert (issuer.name, publisher.issuer_id) == ("git", issuer.id)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"https://gitlab.example.com"', '"https://gitlab.com"'),
        ('provider = "gitlab"\nurl = "https://gitlab', 'provider = "github"\nurl = "https://github'),
    ],
)
async def test_another_issuer_under_the_same_name_takes_nothing_over(office: Office, old: str, new: str) -> None:
    """The same path on another server is another publisher: it is removed and added, for everybody to see."""
    await office.apply(BASE)
    (before,) = (await office.held())["acme"][2]
    text = BASE.replace(old, new)
    if "github" in text:
        text = text.replace(".example.com", ".example.com/_services/token").replace("project-path", "repository")
        text = text.replace(".gitlab-ci.yml", "release.yml").replace("project-id", "repository-id")
    changes = await office.apply(text)
    assert [(change.action, change.kind) for change in changes] == [
        ("remove", "issuer"),
        ("add", "issuer"),
        ("remove", "pending publisher"),
        ("add", "pending publisher"),
    ]
    assert changes[2].detail == "goes with its issuer"
    (after,) = (await office.held())["acme"][2]
    assert after.id != before.id
    assert after.issuer_id != before.issuer_id


async def test_issuers_swap_names(office: Office) -> None:
    entry = '[registry.acme.issuer.{}]\nprovider = "gitlab"\nurl = "https://{}"\nprojects = ["*"]\n'
    await office.apply(
        "[registry.acme]\n" + entry.format("gitlab", "gitlab.example.com") + entry.format("two", "gitlab.com")
    )
    await office.apply(
        "[registry.acme]\n" + entry.format("gitlab", "gitlab.com") + entry.format("two", "gitlab.example.com")
    )
    urls = {issuer.name: issuer.url for issuer in (await office.held())["acme"][1]}
    assert urls == {"gitlab": "https://gitlab.com", "two": "https://gitlab.example.com"}


# -- all or nothing ---------------------------------------------------------------------------------------------------

SWAP = """
[registry.a]
host = "{}.example"
audience = "mintmark_{}"
[registry.b]
host = "{}.example"
audience = "mintmark_{}"
"""


async def test_registries_swap_hosts_and_audiences(office: Office) -> None:
    await office.apply(SWAP.format("a", "a", "b", "b"))
    ids = {slug: held[0].id for slug, held in (await office.held()).items()}
    await office.apply(SWAP.format("b", "b", "a", "a"))
    held = {slug: found[0] for slug, found in (await office.held()).items()}
    assert {slug: registry.id for slug, registry in held.items()} == ids
    assert (held["a"].host, held["a"].audience) == ("b.example", "mintmark_b")
    assert (held["b"].host, held["b"].audience) == ("a.example", "mintmark_a")


async def test_a_new_registry_takes_what_a_former_one_had(office: Office) -> None:
    await office.apply(SWAP.format("a", "a", "b", "b"))
    text = '[registry."0new"]\nhost = "a.example"\naudience = "mintmark_a"\n' + SWAP.format("c", "c", "b", "b")
    await office.apply(text)
    await office.apply(text.replace("0new", "newer"))
    assert (await office.held())["newer"][0].host == "a.example"


async def test_a_failure_changes_nothing(office: Office) -> None:
    """A second publisher with the same facts never comes from a file; the ledger refuses it after much was done."""
    await office.apply(SECOND)
    before = (await office.held(), await office.events())
    (wanted,) = parse_trust(tomllib.loads(BASE), HOST, lambda name: name)
    twice = (replace(wanted, publishers=wanted.publishers * 2),)
    plan = await office.index.trust.plan(twice)
    with pytest.raises(Rejected, match="registered already"):
        await office.index.trust.apply(twice, plan, OPERATOR)
    assert (await office.held(), await office.events()) == before


async def test_what_was_not_agreed_is_not_done(office: Office) -> None:
    await office.apply(BASE)
    wanted, plan = await office.plan(BASE + SECOND)
    await office.index.trust.add_registry(parse_registry("third", {}, HOST), OPERATOR)
    with pytest.raises(Rejected, match="changed after the plan") as caught:
        await office.index.trust.apply(wanted, plan, OPERATOR)
    assert "again" in caught.value.hint
    assert (await office.held()).keys() == {"acme", "third"}


async def test_an_upload_only_publisher_is_refused_before_anybody_agrees(office: Office) -> None:
    with pytest.raises(Rejected, match="widget does not exist"):
        await office.plan(BASE + 'allow = "upload-only"\n')
    await office.apply(BASE)
    await office.project("widget")
    await office.apply(BASE + 'allow = "upload-only"\n')


# -- pending publishers -----------------------------------------------------------------------------------------------


async def test_lapsed_pending_publishers_are_renewed(office: Office) -> None:
    await office.apply(BASE)
    office.clock.advance(PENDING_SECONDS - 1)
    assert await office.apply(BASE) == []
    office.clock.advance(1)
    assert lines(await office.apply(BASE)) == [
        ("remove", "pending publisher", WIDGET),
        ("add", "pending publisher", WIDGET),
    ]
    (publisher,) = (await office.held())["acme"][2]
    assert publisher.expires_at == int(office.clock.at) + PENDING_SECONDS


async def test_a_pending_publisher_that_came_too_late_becomes_an_ordinary_one(office: Office) -> None:
    """Its first use would only remove it; the file asks for a publisher, and the plan shows what that means now."""
    await office.apply(BASE)
    await office.project("widget")
    assert lines(await office.apply(BASE)) == [("remove", "pending publisher", WIDGET), ("add", "publisher", WIDGET)]
    (publisher,) = (await office.held())["acme"][2]
    assert publisher.project_id is not None


async def test_a_used_publisher_is_left_alone(office: Office) -> None:
    await office.apply(BASE)

    def use(tx: Transaction) -> None:
        registry = tx.registries.find("acme")
        assert registry is not None
        (publisher,) = tx.publishers.of_registry(registry.id)
        project = tx.projects.insert(registry.id, "widget", "widget", 0)
        tx.publishers.reify(publisher.id, project.id)
        tx.publishers.touch((publisher.id,), 5)

    await office.index.ledger.write(use)
    office.clock.advance(PENDING_SECONDS * 2)
    assert await office.apply(BASE) == []
    assert (await office.held())["acme"][2][0].last_used_at == 5


# -- warnings and audit -----------------------------------------------------------------------------------------------


async def test_warnings_name_the_registry(office: Office) -> None:
    _, plan = await office.plan(BASE.replace('project-id = "1"\n', ""))
    (warning,) = plan.warnings
    assert warning.startswith("acme: widget from team/widget: no immutable id")
    assert (await office.plan(BASE))[1].warnings == ()


async def test_every_change_names_who_made_it_and_where(office: Office) -> None:
    await office.apply(BASE)
    events = await office.events()
    registry = (await office.held())["acme"][0]
    assert {event.action for event in events} == {"registry-add", "issuer-add", "publisher-add"}
    assert {event.registry_id for event in events} == {registry.id}
    assert {event.principal for event in events} == {OPERATOR}
    assert {event.at for event in events} == {int(office.clock.at)}
    await office.apply(BASE)
    assert len(await office.events()) == len(events)
