"""What becomes of projects, releases and files: the use cases, their events, and that pages follow whatever happens."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from mintmark.assemble import Index
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.life_cycle import OneFile, Target, WholeVersion
from mintmark.core.records import OPERATOR, Event, File, Principal, Registry
from mintmark.service.ports import Transaction
from mintmark.service.projects import PAGE_PROJECTS, Outcome
from mintmark.service.steps import Step, ignore
from mintmark.settings import Settings
from support.clock import FrozenClock

JO = Principal("token", "jo")
WHEEL, SDIST, SECOND = "widget-1.0-py3-none-any.whl", "widget-1.0.tar.gz", "widget-2.0.tar.gz"


@dataclass
class Bench:
    """An index without a server, with the project widget: two files of 1.0 and one of 2.0."""

    index: Index
    clock: FrozenClock

    async def file(self, filename: str, version: str, state: str = "visible", project: str = "widget") -> File:
        """Record a file as an upload does."""

        def work(tx: Transaction) -> File:
            home = tx.registries.find("acme")
            assert home is not None
            found = tx.projects.find(home.id, project) or tx.projects.insert(home.id, project, project, 1)
            kind = "wheel" if filename.endswith(".whl") else "sdist"
            file = File(0, home.id, found.id, version, filename, kind, state, 7, "ab" * 32, "cd" * 32, None, None, 1)
            inserted = tx.files.insert(file, uploaded_by="test", publisher_id=None)
            assert inserted is not None
            tx.projects.mark_changed(found.id)
            return inserted

        return await self.index.ledger.write(work)

    async def states(self, project: str = "widget") -> dict[str, tuple[str, str | None]]:
        found = await self.index.life_cycle.portrait("acme", project)
        return {file.filename: (file.state, file.yanked_reason) for file in found.files}

    async def releases(self) -> dict[str, str | None]:
        found = await self.index.life_cycle.portrait("acme", "widget")
        return {release.version: release.yanked_reason for release in found.releases}

    async def events(self) -> list[Event]:
        """Newest first."""
        return await self.index.ledger.read(lambda tx: tx.audit.latest(None, 100))

    def page(self) -> dict[str, bool | str]:
        """Files on the project's page as readers get it now, with `yanked`."""
        found = self.index.pages.find("acme", "widget", "json")
        assert found is not None
        return {file["filename"]: file["yanked"] for file in json.loads(found.body)["files"]}

    async def yank(self, target: Target, reason: str = "Broken.") -> Outcome:
        return await self.index.life_cycle.yank("acme", "widget", target, reason, JO)

    async def unyank(self, target: Target) -> Outcome:
        return await self.index.life_cycle.unyank("acme", "widget", target, JO)

    async def delete(self, target: Target) -> Outcome:
        return await self.index.life_cycle.delete("acme", "widget", target, JO)


def index_in(directory: Path, clock: FrozenClock, reached: Callable[[Step], None] = ignore) -> Index:
    values = {"data_dir": str(directory / "data"), "base_url": "http://localhost:8080"}
    return Index(msgspec.convert(values, Settings), clock=clock, reached=reached)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FrozenClock()
    index = index_in(tmp_path, clock)
    try:
        await index.trust.add_registry(Registry(0, "acme", "audience"), OPERATOR)
        made = Bench(index, clock)
        for filename, version in ((WHEEL, "1.0"), (SDIST, "1.0"), (SECOND, "2.0")):
            await made.file(filename, version)
        yield made
    finally:
        await index.close()


async def refused(change: Awaitable[object]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await change
    assert caught.value.code.name == "invalid-change"
    assert caught.value.detail
    return caught.value


PLAIN = ("visible", None)
ONE, TWO = WholeVersion("1.0"), WholeVersion("2.0")


# -- yanking ----------------------------------------------------------------------------------------------------------


async def test_yanking_a_version_and_taking_it_back(bench: Bench) -> None:
    done = await bench.yank(ONE)
    assert (done.changed, [file.filename for file in done.files], done.versions) == (True, [WHEEL, SDIST], ("1.0",))
    yanked = ("yanked", "Broken.")
    assert await bench.states() == {WHEEL: yanked, SDIST: yanked, SECOND: PLAIN}
    assert await bench.releases() == {"1.0": "Broken.", "2.0": None}
    assert bench.page() == {WHEEL: "Broken.", SDIST: "Broken.", SECOND: False}
    late = await bench.file("widget-1.0-1-py3-none-any.whl", "1.0")
    assert (late.state, late.yanked_reason) == yanked
    done = await bench.unyank(ONE)
    assert (done.changed, len(done.files)) == (True, 3)
    assert set((await bench.states()).values()) == {PLAIN}
    assert set((await bench.releases()).values()) == {None}
    assert set(bench.page().values()) == {False}


async def test_yanking_one_file(bench: Bench) -> None:
    assert (await bench.yank(OneFile(SDIST), "")).changed
    assert await bench.states() == {WHEEL: PLAIN, SDIST: ("yanked", ""), SECOND: PLAIN}
    assert await bench.releases() == {"1.0": None, "2.0": None}
    # Without a reason it is still yanked (PEP 691: a boolean).
    assert bench.page() == {WHEEL: False, SDIST: True, SECOND: False}
    assert (await bench.unyank(OneFile(SDIST))).changed
    assert set(bench.page().values()) == {False}


async def test_another_reason(bench: Bench) -> None:
    await bench.yank(OneFile(SDIST), "first")
    done = await bench.yank(ONE, "second")
    assert [file.filename for file in done.files] == [WHEEL, SDIST]
    assert bench.page() == {WHEEL: "second", SDIST: "second", SECOND: False}
    assert [file.filename for file in (await bench.yank(OneFile(WHEEL), "third")).files] == [WHEEL]
    assert bench.page() == {WHEEL: "third", SDIST: "second", SECOND: False}
    assert await bench.releases() == {"1.0": "second", "2.0": None}


async def test_taking_back_one_file_of_a_yanked_release(bench: Bench) -> None:
    await bench.yank(ONE)
    await bench.unyank(OneFile(WHEEL))
    assert bench.page() == {WHEEL: False, SDIST: "Broken.", SECOND: False}
    assert await bench.releases() == {"1.0": None, "2.0": None}
    assert (await bench.file("widget-1.0-1-py3-none-any.whl", "1.0")).state == "visible"


@pytest.mark.parametrize("spelling", ["1", "1.0.0", "v1.0", " 1.0 ", "0!1"])
async def test_another_spelling_of_the_version_is_the_same_version(bench: Bench, spelling: str) -> None:
    await bench.file("widget-1.0.0.tar.gz", "1.0.0")
    done = await bench.yank(WholeVersion(spelling))
    assert done.versions == ("1.0", "1.0.0")
    assert [name for name, yanked in bench.page().items() if yanked] == [WHEEL, SDIST, "widget-1.0.0.tar.gz"]


async def test_staged_files_stay_staged(bench: Bench) -> None:
    await bench.file("widget-1.0-1-py3-none-any.whl", "1.0", "staged")
    await bench.yank(ONE)
    await bench.unyank(ONE)
    assert (await bench.states())["widget-1.0-1-py3-none-any.whl"] == ("staged", None)
    error = await refused(bench.yank(OneFile("widget-1.0-1-py3-none-any.whl")))
    assert "not published yet" in error.detail
    await refused(bench.unyank(OneFile("widget-1.0-1-py3-none-any.whl")))


# -- deleting ---------------------------------------------------------------------------------------------------------


async def test_deleting_one_file_and_then_everything(bench: Bench) -> None:
    await bench.yank(OneFile(SDIST))
    assert (await bench.delete(OneFile(SDIST))).changed
    assert bench.page() == {WHEEL: False, SECOND: False}
    assert (await bench.delete(ONE)).files[0].filename == WHEEL
    assert (await bench.delete(TWO)).changed
    assert set((await bench.states()).values()) == {("deleted", None)}
    assert await bench.releases() == {"1.0": None, "2.0": None}
    # The project exists, and its page says that it offers nothing.
    assert bench.page() == {}
    assert [(line.project.name, line.files, line.releases) for line in await bench.index.life_cycle.every("acme")] == [
        ("widget", 0, 0)
    ]


async def test_what_is_deleted_is_neither_yanked_nor_taken_back(bench: Bench) -> None:
    await bench.delete(OneFile(WHEEL))
    for change in (bench.yank(OneFile(WHEEL)), bench.unyank(OneFile(WHEEL))):
        assert (await refused(change)).detail == f"{WHEEL} was deleted."
    await bench.yank(ONE)
    await bench.unyank(ONE)
    assert (await bench.states())[WHEEL] == ("deleted", None)


async def test_a_staged_file_is_deleted_with_its_version(bench: Bench) -> None:
    await bench.file("widget-1.0-1-py3-none-any.whl", "1.0", "staged")
    assert len((await bench.delete(ONE)).files) == 3


# -- projects ---------------------------------------------------------------------------------------------------------


async def test_statuses(bench: Bench) -> None:
    for status in ("archived", "quarantined", "deprecated", "active"):
        done = await bench.index.life_cycle.set_status("acme", "Widget", status, "So.", JO)
        assert done.changed
        page = bench.index.pages.find("acme", "widget", "json")
        assert page is not None
        body = json.loads(page.body)
        assert body["project-status"] == {"status": status, "reason": "So."}
        assert len(body["files"]) == (0 if status == "quarantined" else 3)
        html = bench.index.pages.find("acme", "widget", "html")
        assert html is not None
        assert b'<meta name="pypi:project-status-reason" content="So.">' in html.body
    assert [event.facts["former"] for event in (await bench.events())[:4]] == [
        "deprecated", "quarantined", "archived", "active",
    ]  # fmt: skip
    await refused(bench.index.life_cycle.set_status("acme", "widget", "gone", "", JO))


async def test_writing_a_name_differently(bench: Bench) -> None:
    done = await bench.index.life_cycle.rename("acme", "widget", "WIDGET", JO)
    assert (done.changed, done.project.display_name) == (True, "widget")
    assert (await bench.index.life_cycle.portrait("acme", "widget")).project.display_name == "WIDGET"
    await refused(bench.index.life_cycle.rename("acme", "widget", "gadget", JO))


# -- all of them ------------------------------------------------------------------------------------------------------


async def everything(bench: Bench) -> list[tuple[str, Callable[[], Awaitable[Outcome]], dict[str, object]]]:
    """Each change with the facts of its event."""
    life = bench.index.life_cycle
    one = {"versions": ["1.0"]}
    return [
        ("yank", lambda: bench.yank(ONE, " So. "), {**one, "files": 2, "reason": "So."}),
        ("yank", lambda: bench.yank(OneFile(WHEEL), ""), {**one, "files": 1, "reason": "", "file": WHEEL}),
        ("unyank", lambda: bench.unyank(OneFile(WHEEL)), {**one, "files": 1, "file": WHEEL}),
        ("unyank", lambda: bench.unyank(ONE), {**one, "files": 1}),
        ("delete", lambda: bench.delete(OneFile(SECOND)), {"versions": ["2.0"], "files": 1, "file": SECOND}),
        ("delete", lambda: bench.delete(ONE), {**one, "files": 2}),
        (
            "project-status",
            lambda: life.set_status("acme", "widget", "archived", "Over.", JO),
            {"status": "archived", "former": "active", "reason": "Over."},
        ),
        (
            "project-rename",
            lambda: life.rename("acme", "widget", "Widget", JO),
            {"name": "Widget", "former": "widget"},
        ),
    ]


async def test_each_is_recorded_once_with_who_did_it(bench: Bench) -> None:
    for action, change, facts in await everything(bench):
        before = len(await bench.events())
        bench.clock.advance(60)
        assert (await change()).changed, action
        event = (await bench.events())[0]
        assert (event.action, event.principal, event.project, event.outcome) == (action, JO, "widget", "done")
        assert (event.at, event.facts) == (int(bench.clock.now()), facts)
        again = await change()
        assert (again.changed, again.files) == (False, ()), action
        assert len(await bench.events()) == before + 1


async def test_two_at_once_are_one_change(bench: Bench) -> None:
    outcomes = await asyncio.gather(*(bench.yank(ONE) for _ in range(5)))
    assert sorted(outcome.changed for outcome in outcomes) == [False] * 4 + [True]
    assert [event.action for event in await bench.events()].count("yank") == 1


async def test_a_reason_that_cannot_be_changes_nothing(bench: Bench) -> None:
    before = await bench.states()
    await refused(bench.yank(ONE, "a\nb"))
    await refused(bench.index.life_cycle.set_status("acme", "widget", "archived", "\ud800", JO))
    assert await bench.states() == before
    assert {event.action for event in await bench.events()} == {"registry-add"}


@pytest.mark.parametrize(
    ("project", "target", "hint"),
    [
        ("gadget", ONE, "`mintmark project list acme`"),
        ("wldget", ONE, "There is: widget."),
        ("w\u00efdget", ONE, "Names start"),
        ("\ud800", ONE, "Names start"),
        ("widget", WholeVersion("3.0"), "The latest: 1.0, 2.0."),
        ("widget", WholeVersion("one"), "Write it like 1.0"),
        ("widget", WholeVersion("1" * 5000), "Write it like 1.0"),
        ("widget", OneFile("widget-3.0.tar.gz"), f"The latest: {WHEEL}, {SDIST}, {SECOND}."),
        ("widget", OneFile("other-1.0.tar.gz"), "The latest:"),
        ("widget", OneFile("\ud800"), "The latest:"),
        ("widget", OneFile(""), "The latest:"),
    ],
)
async def test_what_is_not_there(bench: Bench, project: str, target: Target, hint: str) -> None:
    await bench.file("other-1.0.tar.gz", "1.0", project="other")
    life = bench.index.life_cycle
    for change in (
        life.yank("acme", project, target, "", JO),
        life.unyank("acme", project, target, JO),
        life.delete("acme", project, target, JO),
    ):
        error = await refused(change)
        assert hint in error.hint
        assert error.sentence.isprintable()
    assert set((await bench.states()).values()) == {PLAIN}


@pytest.mark.parametrize(("slug", "hint"), [("other", "There are: acme."), ("\ud800", "Use 1 to 40"), ("", "Use 1")])
async def test_a_registry_that_is_not_there(bench: Bench, slug: str, hint: str) -> None:
    life = bench.index.life_cycle
    for ask in (life.every(slug), life.portrait(slug, "widget"), life.rename(slug, "widget", "Widget", JO)):
        with pytest.raises(Rejected) as caught:
            await ask
        assert hint in caught.value.hint


async def test_a_long_list(bench: Bench) -> None:
    def work(tx: Transaction) -> None:
        home = tx.registries.find("acme")
        assert home is not None
        for number in range(PAGE_PROJECTS + 1):
            tx.projects.insert(home.id, f"p{number}", f"P{number}", 1)

    await bench.index.ledger.write(work)
    names = [line.project.name for line in await bench.index.life_cycle.every("acme")]
    assert len(names) == PAGE_PROJECTS + 2
    assert names == sorted(names)


# -- trouble ----------------------------------------------------------------------------------------------------------


async def test_a_crash_before_the_page_was_replaced_is_healed(bench: Bench, tmp_path: Path) -> None:
    await bench.yank(OneFile(SECOND))

    def die(step: Step) -> None:
        if step is Step.CHANGE_COMMITTED:
            raise KeyboardInterrupt

    beside = index_in(tmp_path, bench.clock, die)
    try:
        with pytest.raises(KeyboardInterrupt):
            await beside.life_cycle.delete("acme", "widget", ONE, JO)
    finally:
        await beside.close()
    assert (await bench.states())[WHEEL] == ("deleted", None)
    assert WHEEL in bench.page()
    assert await bench.index.renderer.heal() == 1
    assert bench.page() == {SECOND: "Broken."}


async def test_a_page_that_cannot_be_written(bench: Bench) -> None:
    await bench.yank(OneFile(SECOND))
    pages = bench.index.directory_path / "pages" / "acme"
    aside = pages.with_name("aside")
    pages.rename(aside)
    # A file where a folder must be.
    pages.write_text("")
    with pytest.raises(Unavailable, match="Everything is recorded"):
        await bench.yank(ONE)
    pages.unlink()
    shutil.move(aside, pages)
    assert bench.page() == {WHEEL: False, SDIST: False, SECOND: "Broken."}
    # Repeating it changes nothing in the ledger, and brings the page up to date.
    assert not (await bench.yank(ONE)).changed
    assert bench.page() == {WHEEL: "Broken.", SDIST: "Broken.", SECOND: "Broken."}
