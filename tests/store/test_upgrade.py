"""A ledger of the release before becomes one of this release, with everything that was in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine, text

from mintmark.core.names import similarity_key
from mintmark.core.policy import Policy
from mintmark.store.ledger import migrate
from mintmark.store.ledger.sqlite import open_ledger

PREVIOUS = "0001"
# As the release before wrote them; its schema no longer exists in the code.
ROWS = (
    """
    INSERT INTO registries (id, slug, audience, title, private, enabled, trusted_publishing,
    trusted_publishing_only, publishers_read, host_mint, credential_lifetime_seconds) VALUES (1, 'acme', 'a_1',
    'Acme', 1, 1, 1, 0, 0, 1, 900)
    """,
    """
    INSERT INTO projects (id, registry_id, name, display_name, status, changes, rendered, created_at) VALUES (7, 1,
    'zoil-l0g', 'Zoil_L0g', 'active', 3, 2, 1790000000)
    """,
    """
    INSERT INTO releases (id, project_id, version, created_at) VALUES (5, 7, '1.0', 1790000000)
    """,
    """
    INSERT INTO files (id, registry_id, project_id, release_id, version, filename, kind, state, size_bytes, sha256,
    blake2_256, metadata_sha256, requires_python, uploaded_at, uploaded_by, publisher_id) VALUES (9, 1, 7, 5, '1.0',
    'zoil_l0g-1.0-py3-none-any.whl', 'wheel', 'visible', 7, 'ab', 'cd', 'ef', '>=3.8', 1790000000, 'token t', NULL)
    """,
)


def previous(place: Path) -> None:
    """A ledger as the release before left it."""
    config = Config()
    config.set_main_option("script_location", "mintmark.store.ledger:migrations")
    engine = create_engine(URL.create("sqlite", database=str(place)))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, PREVIOUS)
        for row in ROWS:
            connection.execute(text(row))
    engine.dispose()


async def test_a_ledger_of_the_release_before_is_brought_up_to_date(tmp_path: Path) -> None:
    place = tmp_path / "mintmark.db"
    previous(place)
    ledger = open_ledger(place)
    try:
        registry = await ledger.read(lambda tx: tx.registries.find("acme"))
        assert registry is not None
        assert registry.policy == Policy()
        project = await ledger.read(lambda tx: tx.projects.find(1, "zoil-l0g"))
        assert project is not None
        assert (project.id, project.display_name, project.status, project.changes) == (7, "Zoil_L0g", "active", 3)
        assert await ledger.read(lambda tx: tx.projects.similar(1, similarity_key("z0il.log"))) == ["zoil-l0g"]
        release = await ledger.read(lambda tx: tx.releases.find(7, "1.0"))
        assert release is not None
        assert release.yanked_reason is None
        (file,) = await ledger.read(lambda tx: tx.files.of_project(7))
        assert (file.filename, file.uploaded_at, file.upload_microseconds) == (
            "zoil_l0g-1.0-py3-none-any.whl",
            1_790_000_000,
            0,
        )
        # It can be worked with: the new columns and indexes are there.
        await ledger.write(lambda tx: tx.releases.set_yanked(5, "broken"))
        assert await ledger.read(lambda tx: tx.releases.equal(7, ["1.0"])) == (
            replace(release, yanked_reason="broken"),
            1,
        )
    finally:
        await ledger.close()
    engine = create_engine(URL.create("sqlite", database=str(place)))
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.HEAD
    engine.dispose()


def test_the_release_before_is_the_one_before_the_head() -> None:
    """A new migration needs a new test from where people are."""
    assert int(migrate.HEAD) == int(PREVIOUS) + 1
