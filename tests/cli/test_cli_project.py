"""`mintmark project`: what it says, what it asks, and its exit codes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from mintmark.assemble import Index
from mintmark.core.records import File
from mintmark.service.ports import Transaction
from mintmark.settings import Settings
from support.command import BASE_URL, Shell

WHEEL, SDIST = "widget-1.0-py3-none-any.whl", "widget-1.0.tar.gz"
SHA256 = "ab" * 32


def publish(folder: Path, filename: str = WHEEL, version: str = "1.0") -> None:
    """Record a file as an upload does."""

    def work(tx: Transaction) -> None:
        home = tx.registries.find("acme")
        assert home is not None
        project = tx.projects.find(home.id, "widget") or tx.projects.insert(home.id, "widget", "widget", 86_400)
        kind = "wheel" if filename.endswith(".whl") else "sdist"
        file = File(0, home.id, project.id, version, filename, kind, "visible", 7, SHA256, "", None, None, 86_400)
        assert tx.files.insert(file, uploaded_by="test", publisher_id=None) is not None
        tx.projects.mark_changed(project.id)

    async def session() -> None:
        index = Index(msgspec.convert({"data_dir": str(folder / "data"), "base_url": BASE_URL}, Settings))
        try:
            await index.ledger.write(work)
        finally:
            await index.close()

    asyncio.run(session())


@pytest.fixture
def shop(acme: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The registry `acme` with the project `widget`, a wheel and a source distribution of 1.0."""
    # As in a real shell, the settings' folder is the current one.
    monkeypatch.chdir(acme.folder)
    acme.ok("registry", "list")
    publish(acme.folder)
    publish(acme.folder, SDIST)
    return acme


def states(shell: Shell) -> dict[str, tuple[str, str | None]]:
    files = shell.ok("project", "show", "acme", "widget", "--json").json["files"]
    return {file["filename"]: (file["state"], file["yanked"]) for file in files}


def test_an_empty_registry(acme: Shell) -> None:
    assert acme.ok("project", "list", "acme").out == "acme has no project yet. The first upload creates one.\n"
    assert acme.ok("project", "list", "acme", "--json").json == []


def test_looking(shop: Shell) -> None:
    lines = [line.split("\t") for line in shop.ok("project", "list", "acme").out.splitlines()]
    assert lines == [
        ["NAME", "STATUS", "RELEASES", "FILES", "CREATED"],
        ["widget", "active", "1", "2", "1970-01-02 00:00:00Z"],
    ]
    about = {"name": "widget", "display-name": "widget", "status": "active", "created": 86_400}
    assert shop.ok("project", "list", "acme", "--json").json == [{**about, "files": 2, "releases": 1}]
    out = shop.ok("project", "show", "acme", "Widget").out
    assert out.startswith("widget, active, created 1970-01-02 00:00:00Z, 14 bytes\n\n")
    assert f"1.0\t{WHEEL}\tvisible\t7\t1970-01-02 00:00:00Z\n" in out
    shown = shop.ok("project", "show", "acme", "widget", "--json").json
    assert {key: shown[key] for key in about} == about
    assert shown["bytes"] == 14
    assert shown["releases"] == [{"version": "1.0", "created": 86_400, "yanked": None}]
    assert shown["files"][1] == {
        "filename": SDIST, "version": "1.0", "state": "visible", "yanked": None, "bytes": 7, "sha256": SHA256,
        "uploaded": 86_400,
    }  # fmt: skip


def test_yanking(shop: Shell) -> None:
    said = shop.ok("project", "yank", "acme", "widget", "1.0", "--reason", "Deletes the wrong folder.").out
    assert said.startswith("Yanked widget 1.0: 2 files. Yanked files stay")
    assert "No reason is given" not in said
    assert set(states(shop).values()) == {("yanked", "Deletes the wrong folder.")}
    again = shop.ok("project", "yank", "acme", "widget", "1", "--reason", "Deletes the wrong folder.").out
    assert again == "Nothing changed: widget 1.0 is yanked already.\n"
    out = shop.ok("project", "show", "acme", "widget").out
    assert "The release 1.0 is yanked as a whole: Deletes the wrong folder.\n" in out
    assert "\tyanked: Deletes the wrong folder\t" in out
    one = ("acme", "widget", "--file", WHEEL)
    assert shop.ok("project", "unyank", *one).out == f"Took back the yank of {WHEEL}.\n"
    assert shop.ok("project", "unyank", *one).out == f"Nothing changed: {WHEEL} was not yanked.\n"
    assert states(shop)[WHEEL] == ("visible", None)
    assert shop.ok("project", "unyank", "acme", "widget", "1.0").out == "Took back the yank of widget 1.0: 1 file.\n"
    said = shop.ok("project", "yank", *one).out
    assert said.startswith(f"Yanked {WHEEL}. ")
    assert said.endswith("No reason is given; the same command with --reason gives one.\n")
    assert "\tyanked\t" in shop.ok("project", "show", "acme", "widget").out


def test_deleting_asks_first(shop: Shell) -> None:
    done = shop("project", "delete", "acme", "widget", "1.0", answer="n\n")
    assert done.code == 130
    assert "Delete version '1.0' of 'widget' in 'acme'?\nThis cannot be undone, and the names" in done.out
    assert "To go on without being asked, add --yes." in done.err
    assert states(shop) == {WHEEL: ("visible", None), SDIST: ("visible", None)}
    done = shop.ok("project", "delete", "acme", "widget", "--file", SDIST, answer="y\n")
    assert f"the file '{SDIST}'" in done.out
    assert f"Deleted {SDIST}. Its name stays used; `mintmark sweep` frees the space later." in done.out
    assert shop.ok("project", "delete", "acme", "widget", "1.0", "--yes").out.startswith("Deleted widget 1.0: 1 file. ")
    assert set(states(shop).values()) == {("deleted", None)}
    again = shop.ok("project", "delete", "acme", "widget", "1.0", "--yes").out
    assert again == "Nothing changed: widget 1.0 is deleted already.\n"
    assert shop.ok("project", "list", "acme").out.splitlines()[1].split("\t")[:4] == ["widget", "active", "0", "0"]
    done = shop("project", "yank", "acme", "widget", "--file", SDIST)
    assert (done.code, done.err) == (2, f"Refused (invalid-change): {SDIST} was deleted. Publish a new version.\n")


def test_status(shop: Shell) -> None:
    said = shop.ok("project", "status", "acme", "widget", "quarantined", "--reason", "Incident 42.").out
    assert said == "widget is quarantined now; it was active.\n"
    said = shop.ok("project", "status", "acme", "widget", "quarantined").out
    assert said == "widget is quarantined as before, now with no reason.\n"
    said = shop.ok("project", "status", "acme", "widget", "quarantined").out
    assert said == "Nothing changed: widget is quarantined already.\n"
    assert shop.ok("project", "list", "acme", "--json").json[0]["status"] == "quarantined"
    done = shop("project", "status", "acme", "widget", "gone")
    assert (done.code, "active" in done.err) == (2, True)


def test_projects_outside_of_new_patterns_are_told(shop: Shell) -> None:
    note = "1 project of it is outside of its patterns now: widget. What is published stays; nothing can be added."
    shop.write("trust.toml", '[registry.acme]\nprojects = ["tools"]\n')
    assert f"Note: acme: {note}\n" in shop("apply", "--check", "trust.toml").err
    assert shop.ok("registry", "change", "acme", "projects=tools").err == f"Note: {note}\n"
    assert shop.ok("registry", "change", "acme", "projects=tools,wid*").err == ""


def test_spelling(shop: Shell) -> None:
    assert shop.ok("project", "rename", "acme", "widget", "WIDGET").out == (
        "widget is written WIDGET now; it was widget.\n"
    )
    assert shop.ok("project", "rename", "acme", "widget", "WIDGET").out == (
        "Nothing changed: widget is written WIDGET already.\n"
    )
    assert shop.ok("project", "list", "acme").out.splitlines()[1].startswith("WIDGET\t")
    done = shop("project", "rename", "acme", "widget", "gadget")
    assert (done.code, "is not another spelling of widget" in done.err) == (2, True)


def test_everything_is_in_the_audit_log(shop: Shell) -> None:
    shop.ok("project", "yank", "acme", "widget", "1.0", "--reason", "So.")
    shop.ok("project", "delete", "acme", "widget", "--file", SDIST, "--yes")
    shop.ok("project", "status", "acme", "widget", "archived", "--reason", "Over.")
    events = shop.ok("audit", "acme", "--limit", "3", "--json").json
    assert [(event["action"], event["project"], event["by"]["kind"]) for event in events] == [
        ("project-status", "widget", "operator"), ("delete", "widget", "operator"), ("yank", "widget", "operator"),
    ]  # fmt: skip
    assert events[0]["facts"]["reason"] == "Over."
    assert events[1]["facts"]["file"] == SDIST
    assert events[2]["facts"] == {"versions": ["1.0"], "files": 2, "reason": "So."}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["yank", "acme", "widget"], "Name a VERSION, or one file"),
        (["delete", "acme", "widget", "1.0", "--file", SDIST], "and not both"),
        (["unyank", "acme", "widget", "2.0"], "The latest: 1.0."),
        (["yank", "acme", "widget", "1.0", "--reason", "a\nb"], "Write one line"),
        (["yank", "acme", "widget", "--file", "x\udcff"], f"The latest: {WHEEL}, {SDIST}."),
        (["delete", "acme", "widget", "x\udcff", "--yes"], "is not a version"),
        (["show", "acme", "gadget"], "acme has no project gadget"),
        (["show", "nothing", "widget"], "There are: acme."),
        (["list", "nothing"], "There are: acme."),
        (["status", "acme", "wldget", "active"], "There is: widget."),
        (["rename", "acme", "widget", "w\udcff"], "is not another spelling"),
    ],
)
def test_what_cannot_be(shop: Shell, arguments: list[str], message: str) -> None:
    done = shop("project", *arguments)
    assert done.code == 2
    assert message in done.err
    assert states(shop) == {WHEEL: ("visible", None), SDIST: ("visible", None)}
