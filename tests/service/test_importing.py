"""Bringing a folder in: nothing lost, nothing replaced, policies kept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.import_choice import Choice
from mintmark.core.records import OPERATOR
from mintmark.service import import_commits
from mintmark.service.steps import Step
from mintmark.store.import_folder import FolderSource
from support.clock import START
from support.dists import sdist, wheel
from support.importing import Target, put, sha, target_in


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    async with target_in(tmp_path) as made:
        yield made


# -- folders ----------------------------------------------------------------------------------------------------------


async def test_a_folder_flat_and_nested(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel("Foo.Bar".lower().replace(".", "-")), at=1_600_000_000.25)
    put(source / "sub" / "deeper", sdist("widget"), wheel("widget", "2.0"))
    put(source / "sub", ("README.txt", b""), ("widget-1.0.egg", b""), ("SHA256SUMS", b""))
    report = await target.run(source)
    assert report.complete
    assert dict(report.outcomes) == {"imported": 3}
    assert dict(report.skipped) == {".txt": 1, ".egg": 1, "other": 1}
    assert target.names() == ["foo-bar", "widget"]
    assert target.page("widget") == ["widget-1.0.tar.gz", "widget-2.0-py3-none-any.whl"]
    found = await target.file("foo_bar-1.0-py3-none-any.whl")
    assert found is not None
    assert (found.uploaded_at, found.upload_microseconds, found.state) == (1_600_000_000, 250_000, "visible")
    assert (found.requires_python, found.metadata_sha256 is not None) == (">=3.8", True)
    assert target.heard.files == 3


async def test_a_time_far_in_the_future_is_none(target: Target, tmp_path: Path) -> None:
    assert (await target.run(put(tmp_path / "in", wheel(), at=2.0**40))).complete
    found = await target.file(wheel()[0])
    assert found is not None
    assert (found.uploaded_at, found.upload_microseconds) == (START, 0)


async def test_again_nothing_happens(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel(), sdist())
    await target.run(source)
    home = await target.registry()
    before = await target.index.ledger.read(lambda tx: tx.projects.find(home.id, "widget"))
    report = await target.run(source)
    assert (dict(report.outcomes), report.complete) == ({"there": 2}, True)
    assert await target.index.ledger.read(lambda tx: tx.projects.find(home.id, "widget")) == before


async def test_nothing_is_overwritten(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel(), sdist())
    await target.run(source)
    put(source, wheel(body=b"# other"))
    report = await target.run(source)
    assert (dict(report.outcomes), report.complete) == ({"there": 1, "conflict": 1}, False)
    (conflict,) = target.told("conflict")
    assert (conflict.code, "other content" in conflict.detail) == ("file-exists", True)
    file = await target.file(wheel()[0])
    assert file is not None
    assert file.sha256 == sha(wheel()[1])
    assert sha(wheel(body=b"# other")[1]) not in target.blobs()


async def test_deleted_files_stay_deleted(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel(), sdist())
    await target.run(source)
    for name in (wheel()[0], sdist()[0]):
        file = await target.file(name)
        assert file is not None
        await target.index.ledger.write(lambda tx, file=file: tx.files.set_state(file.id, "deleted", None))  # type: ignore[misc]
    put(source, sdist(body=b"# other"))
    report = await target.run(source)
    assert dict(report.outcomes) == {"there": 1, "conflict": 1}
    assert all("deleted" in outcome.detail for outcome in target.heard.outcomes)
    assert {(await target.file(name)).state for name in (wheel()[0], sdist()[0])} == {"deleted"}  # type: ignore[union-attr]


async def test_one_name_in_several_folders(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in" / "a", wheel())
    put(tmp_path / "in" / "b", wheel())
    put(tmp_path / "in" / "c", wheel(body=b"# other"))
    report = await target.run(tmp_path / "in", jobs=8)
    assert dict(report.outcomes) == {"imported": 1, "there": 1, "conflict": 1}
    assert [outcome.place for outcome in target.told("imported")] == [f"a/{wheel()[0]}"]
    assert [outcome.place for outcome in target.told("conflict")] == [f"c/{wheel()[0]}"]
    # Where the first is broken, the next one counts.
    put(source, ("gadget-1.0-py3-none-any.whl", b"no"))
    put(tmp_path / "in" / "b", wheel("gadget"))
    report = await target.run(tmp_path / "in", Choice(("gadget",)))
    assert dict(report.outcomes) == {"refused": 1, "imported": 1}


async def test_broken_files_are_told_and_keep_no_other_back(target: Target, tmp_path: Path) -> None:
    name, data = wheel()
    source = put(
        tmp_path / "in",
        wheel("good"),
        (name, data[:-30]),
        ("other-1.0-py3-none-any.whl", data),
        ("nonsense.whl", data),
        ("f\u00fcr-1.0.tar.gz", data),
        ("empty-1.0.tar.gz", b""),
    )
    report = await target.run(source)
    assert dict(report.outcomes) == {"imported": 1, "refused": 5}
    for outcome in target.told("refused"):
        assert outcome.code in {"invalid-distribution", "invalid-filename", "invalid-metadata"}
        assert outcome.detail.endswith((".", "!"))
        assert outcome.filename.isascii()
    assert target.blobs() == {sha(wheel("good")[1])}


async def test_what_older_tools_wrote_is_taken_and_told(target: Target, tmp_path: Path) -> None:
    """A name in another spelling is no reason to leave a file of an existing index behind."""
    data = sdist("foo-bar")[1]
    source = put(tmp_path / "in", ("Foo.Bar-1.0.0.tar.gz", sdist("foo-bar", "1.0")[1]), ("foo.bar-1.0.tar.gz", data))
    report = await target.run(source, jobs=1)
    assert report.outcomes["imported"] >= 1
    assert target.names() == ["foo-bar"]


async def test_links_lead_nowhere_outside(target: Target, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", wheel("secret"))
    source = put(tmp_path / "in", wheel())
    put(source / "sub", sdist("gadget"))
    (source / "secret-1.0-py3-none-any.whl").symlink_to(outside / "secret-1.0-py3-none-any.whl")
    (source / "folder").symlink_to(outside)
    (source / "loop").symlink_to(source)
    (source / "gone-1.0-py3-none-any.whl").symlink_to(source / "nothing")
    (source / "pipe-1.0.tar.gz").symlink_to("sub")
    (source / "gadget-1.0.tar.gz").symlink_to(Path("sub") / "gadget-1.0.tar.gz")
    os.mkfifo(source / "fifo-1.0.tar.gz")
    report = await target.run(source)
    assert dict(report.outcomes) == {"imported": 2, "there": 1}
    assert report.skipped["link out of the folder"] == 1
    assert report.skipped["broken link"] == 1
    assert report.skipped["no regular file"] == 2
    assert target.names() == ["gadget", "widget"]


async def test_a_folder_given_as_a_link(target: Target, tmp_path: Path) -> None:
    put(tmp_path / "in", wheel())
    (tmp_path / "link").symlink_to("in")
    assert (await target.run(tmp_path / "link")).outcomes["imported"] == 1


async def test_an_empty_folder(target: Target, tmp_path: Path) -> None:
    report = await target.run(put(tmp_path / "in"))
    assert (report.complete, sum(report.outcomes.values())) == (True, 0)


# -- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "imported", "says"),
    [
        ({"projects": ("widget",)}, 3, "holds no project"),
        ({"file_limit_bytes": 100}, 0, "larger than 100 bytes"),
        ({"project_limit_bytes": 1500}, 3, "would be larger than 1500 bytes"),
        ({"releases_limit": 1}, 3, "has 1 releases"),
        ({"release_files_limit": 1}, 3, "has 1 files"),
    ],
)
async def test_policies_hold(
    target: Target, tmp_path: Path, policy: Mapping[str, object], imported: int, says: str
) -> None:
    source = put(tmp_path / "in", wheel(), sdist(), wheel("widget", "2.0"), wheel("gadget"))
    sizes = {path.name: path.stat().st_size for path in source.iterdir()}
    await target.policy(**policy)
    # One after the other, so that it is known which of them is one too many.
    report = await target.run(source, jobs=1)
    refused = target.told("refused")
    if "project_limit_bytes" in policy:
        expected = [n for n in sizes if n.startswith("widget")]
        assert sum(sizes[n] for n in expected) > 1500
        assert 1 <= len(refused) <= 2
    else:
        assert report.outcomes["imported"] == imported
        assert len(refused) == 4 - imported
    assert all(says in outcome.detail for outcome in refused)
    # The counts hold over runs and commits as well.
    again = await target.run(source, jobs=1)
    assert again.outcomes["refused"] == len(refused)


async def test_similar_names_only_warn(target: Target, tmp_path: Path) -> None:
    report = await target.run(put(tmp_path / "in", wheel("widget"), wheel("w1dget"), wheel("w1dget", "2.0")), jobs=1)
    assert (report.outcomes["imported"], report.findings["similar-name"]) == (3, 1)
    assert target.names() == ["w1dget", "widget"]


async def test_archived_projects_take_nothing(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel())
    await target.run(source)
    home = await target.registry()
    project = await target.index.ledger.read(lambda tx: tx.projects.find(home.id, "widget"))
    assert project is not None
    await target.index.ledger.write(lambda tx: tx.projects.set_status(project.id, "archived", ""))
    put(source, sdist())
    report = await target.run(source)
    assert dict(report.outcomes) == {"there": 1, "refused": 1}
    assert "is archived" in target.told("refused")[0].detail


async def test_a_registry_that_is_not_there(target: Target, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no registry 'nothing'"):
        await target.index.importer()("nothing", FolderSource(tmp_path), Choice(), OPERATOR)


# -- the ledger -------------------------------------------------------------------------------------------------------


async def test_who_brought_what(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", wheel(), sdist(), wheel("gadget"))
    await target.run(source)
    home = await target.registry()
    events = [
        e for e in await target.index.ledger.read(lambda tx: tx.audit.latest(home.id, 10)) if e.action == "import"
    ]
    assert {(event.project, event.facts["files"], event.principal) for event in events} == {
        ("widget", 2, OPERATOR),
        ("gadget", 1, OPERATOR),
    }
    assert {event.facts["source"] for event in events} == {str(source)}


async def test_many_files_share_a_commit(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_commits, "BATCH_MAX", 5)
    commits = []
    target.open(lambda step: commits.append(step) if step is Step.UPLOAD_COMMITTED else None)
    source = put(tmp_path / "in", *(wheel(f"p{number}") for number in range(23)))
    assert (await target.run(source)).outcomes["imported"] == 23
    assert 5 <= len(commits) < 23
