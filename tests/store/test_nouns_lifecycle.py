"""Conformance: what the nouns of `service.ports.Transaction` do after an upload, for every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from engines import NOW, OPEN, opened, project, registry, wheel_of

from mintmark.core.names import similarity_key
from mintmark.core.records import File, Project, Release
from mintmark.service.ports import Ledger, Transaction


@pytest.fixture(params=sorted(OPEN))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(request.param, tmp_path) as store:
        yield store.open()


def add(tx: Transaction, of: Project, version: str = "1.0", **values: object) -> File:
    inserted = tx.files.insert(wheel_of(of, version, **values), uploaded_by="test", publisher_id=None)
    assert inserted is not None
    return inserted


async def test_releases_come_with_their_first_file_and_stay(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        widget = project(tx, registry(tx))
        assert tx.releases.of_project(widget.id) == []
        assert tx.releases.find(widget.id, "1.0") is None
        first = add(tx, widget)
        add(tx, widget, filename="widget-1.0.tar.gz", kind="sdist", uploaded_at=NOW + 5)
        add(tx, widget, "2.0")
        one, two = (release for release, _ in tx.releases.of_project(widget.id))
        assert one == Release(one.id, widget.id, "1.0", NOW)
        assert [count for _, count in tx.releases.of_project(widget.id)] == [2, 1]
        assert tx.releases.find(widget.id, "1.0") == one
        assert tx.releases.find(widget.id, "1.0.0") is None
        tx.files.set_state(first.id, "deleted", None)
        assert [(r.version, n) for r, n in tx.releases.of_project(widget.id)] == [("1.0", 1), ("2.0", 1)]
        assert tx.releases.equal(widget.id, ["1", "1.0"]) == (one, 2)
        assert tx.releases.equal(widget.id, ["2.0"]) == (two, 1)
        assert tx.releases.equal(widget.id, ["3.0"]) is None
        assert tx.projects.releases_count(widget.id) == 2

    await ledger.write(work)


@pytest.mark.parametrize("reason", ["", "Größe 'falsch'"])
async def test_a_file_that_comes_into_a_yanked_release(ledger: Ledger, reason: str) -> None:
    def work(tx: Transaction) -> None:
        widget = project(tx, registry(tx))
        add(tx, widget)
        release = tx.releases.find(widget.id, "1.0")
        assert release is not None
        tx.releases.set_yanked(release.id, reason)
        assert tx.releases.find(widget.id, "1.0") == replace(release, yanked_reason=reason)
        # The files that are there are somebody else's to change.
        assert [file.state for file in tx.files.of_project(widget.id)] == ["visible"]
        late = add(tx, widget, filename="late.whl")
        assert (late.state, late.yanked_reason) == ("yanked", reason)
        assert tx.files.find(widget.registry_id, "late.whl") == late
        own = add(tx, widget, filename="own.whl", state="yanked", yanked_reason="its own")
        assert (own.state, own.yanked_reason) == ("yanked", "its own")
        staged = add(tx, widget, filename="staged.whl", state="staged")
        assert (staged.state, staged.yanked_reason) == ("staged", None)
        other = add(tx, widget, "2.0")
        assert (other.state, other.yanked_reason) == ("visible", None)
        tx.releases.set_yanked(release.id, None)
        assert tx.releases.find(widget.id, "1.0") == release
        assert add(tx, widget, filename="later.whl").state == "visible"

    await ledger.write(work)


async def test_states_of_files(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        acme = registry(tx)
        widget, gadget = project(tx, acme), project(tx, acme, "gadget")
        files = [add(tx, widget, filename=f"{state}.whl", state=state) for state in STATES]
        add(tx, gadget)
        assert tx.files.of_release(widget.id, "1.0") == tx.files.all_of_project(widget.id) == files
        assert tx.files.of_project(widget.id) == [files[1], files[2]]
        assert tx.files.of_release(widget.id, "1.1") == []
        assert tx.files.with_project(acme.id, "deleted.whl") == (files[3], widget)
        assert tx.files.with_project(acme.id, "other.whl") is None
        assert tx.files.with_project(acme.id + 1, "deleted.whl") is None
        tx.files.set_state(files[1].id, "yanked", "so")
        assert tx.files.find(acme.id, "visible.whl") == replace(files[1], state="yanked", yanked_reason="so")
        assert tx.files.find(acme.id, "yanked.whl") == files[2]
        # A deleted file's name is never given again, whatever the bytes.
        for again in (files[3], replace(files[3], state="visible", sha256="0" * 64, project_id=gadget.id)):
            assert tx.files.insert(again, uploaded_by="test", publisher_id=None) is None

    await ledger.write(work)


STATES = ("staged", "visible", "yanked", "deleted")


async def test_an_unknown_state_or_status_is_nothing_the_ledger_takes(ledger: Ledger) -> None:
    widget = await ledger.write(lambda tx: project(tx, registry(tx)))
    file = await ledger.write(lambda tx: add(tx, widget))
    with pytest.raises(Exception, match="CHECK"):
        await ledger.write(lambda tx: tx.files.set_state(file.id, "gone", None))
    with pytest.raises(Exception, match="CHECK"):
        await ledger.write(lambda tx: tx.projects.set_status(widget.id, "gone", ""))


async def test_status_and_name_of_a_project(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        acme = registry(tx)
        widget, gadget = project(tx, acme), project(tx, acme, "gadget")
        for status in ("archived", "quarantined", "deprecated", "active"):
            tx.projects.set_status(widget.id, status, f"It is {status}.")
            expected = replace(widget, status=status, status_reason=f"It is {status}.")
            assert tx.projects.find(acme.id, "widget") == expected
        tx.projects.rename(widget.id, "WIDGET")
        assert tx.projects.find(acme.id, "widget") == replace(expected, display_name="WIDGET")
        assert tx.projects.find(acme.id, "gadget") == gadget

    await ledger.write(work)


async def test_every_project_page_by_page(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        acme, other = registry(tx), registry(tx, "other")
        names = ["b", "a", "a-b", "c"]
        made = {name: project(tx, acme, name) for name in names}
        project(tx, other, "elsewhere")
        add(tx, made["b"])
        add(tx, made["b"], filename="b.tar.gz", kind="sdist")
        add(tx, made["b"], "2.0", state="yanked")
        add(tx, made["b"], "3.0", state="deleted")
        expected = [(made["a"], 0, 0), (made["a-b"], 0, 0), (made["b"], 3, 2), (made["c"], 0, 0)]
        assert tx.projects.every(acme.id, "", 10) == expected
        assert tx.projects.every(acme.id, "", 2) == expected[:2]
        assert tx.projects.every(acme.id, "a-b", 1) == expected[2:3]
        assert tx.projects.every(acme.id, "c", 10) == []

    await ledger.write(work)


async def test_similar_names_in_one_registry(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        acme, other = registry(tx), registry(tx, "other")
        for name in ("tool", "too1", "t-o-o-l", "toll"):
            project(tx, acme, name)
        project(tx, other, "t00l")
        assert tx.projects.similar(acme.id, similarity_key("T.OOL")) == ["t-o-o-l", "too1", "tool"]
        assert tx.projects.similar(other.id, similarity_key("tool")) == ["t00l"]
        assert tx.projects.similar(acme.id, similarity_key("tools")) == []

    await ledger.write(work)


async def test_bytes_of_a_project(ledger: Ledger) -> None:
    def work(tx: Transaction) -> None:
        acme = registry(tx)
        widget, gadget = project(tx, acme), project(tx, acme, "gadget")
        assert tx.projects.bytes_of(widget.id) == 0
        for number, state in enumerate(STATES):
            add(tx, widget, filename=f"{state}.whl", state=state, size_bytes=2**40 + 10**number)
        add(tx, gadget)
        total = tx.projects.bytes_of(widget.id)
        assert (total, type(total)) == (3 * 2**40 + 111, int)

    await ledger.write(work)
