"""A ledger of the release before becomes one of this release, with everything that was in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine, text

from mintmark.core.names import similarity_key
from mintmark.core.policy import Policy
from mintmark.core.records import Constraints
from mintmark.service.ports import Transaction
from mintmark.store.ledger import migrate
from mintmark.store.ledger.sqlite import open_ledger

PREVIOUS = "0002"
# As the release before wrote them; its schema no longer exists in the code.
ROWS = (
    """
    INSERT INTO registries (id, slug, audience, title, private, enabled, trusted_publishing,
    trusted_publishing_only, publishers_read, host_mint, credential_lifetime_seconds, policy) VALUES (1, 'acme', 'a_1',
    'Acme', 1, 1, 1, 0, 0, 1, 900, '{"projects":["zoil-*"]}')
    """,
    """
    INSERT INTO projects (id, registry_id, name, display_name, status, changes, rendered, created_at, similar) VALUES
    (7, 1, 'zoil-l0g', 'Zoil_L0g', 'active', 3, 2, 1790000000, 'z01110g')
    """,
    """
    INSERT INTO releases (id, project_id, version, created_at, yanked_reason) VALUES (5, 7, '1.0', 1790000000, 'old')
    """,
    """
    INSERT INTO issuers (id, registry_id, name, provider, url, server, projects, algorithms, networks, allow_http,
    ca_pem, jwks, enabled, keys_epoch, purge_epoch) VALUES (3, 1, 'gitlab', 'gitlab', 'https://gitlab.example.com',
    'gitlab.example.com', '["*"]', '["RS256"]', '[]', 0, '', '', 1, 4, 5)
    """,
    """
    INSERT INTO publishers (id, registry_id, issuer_id, project, project_id, lookup, config, constraints, created_at,
    expires_at, last_used_at) VALUES
    (11, 1, 3, 'zoil-l0g', 7, 'foo/bar', '{"project-path":"foo/bar"}', '{"tag":"v{version}"}', 1790000000, NULL,
    1790000001),
    (12, 1, 3, 'zoil-new', NULL, 'foo/bar', '{"project-path":"foo/bar"}', '{}', 1790000000, 1792592000, NULL),
    (40, 1, 3, 'zoil-gone', NULL, 'foo/bar', '{"project-path":"foo/bar"}', '{}', 1790000000, 1792592000, NULL)
    """,
    "DELETE FROM publishers WHERE id = 40",
    """
    INSERT INTO credentials (digest, kind, registry_id, name, publishers, projects, can_upload, can_read, single_use,
    ref, created_at, expires_at, issuer_url, subject) VALUES (x'6464', 'm', 1, '', '[11]', '[]', 1, 1, 0,
    'refs/tags/v1', 1790000001, 1790000901, 'https://gitlab.example.com', 'foo/bar')
    """,
    "INSERT INTO replays (issuer_url, key, until) VALUES ('https://gitlab.example.com', 'jti', 1790003631)",
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


def check_trust(tx: Transaction) -> None:
    """What was there means what it meant, and the new columns can be worked with."""
    (issuer,) = tx.issuers.every()
    assert (issuer.audience, issuer.remint, issuer.keys_epoch, issuer.purge_epoch) == ("", False, 4, 5)
    # Those that no id protects and that were registered without a time do not lapse all at once.
    regular, pending = tx.publishers.of_registry(1)
    assert (regular.id, regular.project_id, regular.expires_at, regular.last_used_at) == (11, 7, None, 1_790_000_001)
    assert regular.constraints == Constraints(tag="v{version}")
    assert (pending.id, pending.is_pending, pending.expires_at) == (12, True, 1_792_592_000)
    assert not any(each.pins or each.reads or each.is_wide for each in (regular, pending))
    assert [each.id for each in tx.publishers.candidates(3, ["foo/bar"])] == [11, 12]
    minted = tx.credentials.find(b"dd")
    assert minted is not None
    assert (minted.publishers, minted.wide) == ((11,), ())
    assert tx.publishers.live(1, "zoil-l0g", minted.publishers) == [regular]
    assert not tx.replays.claim("https://gitlab.example.com", "jti", 1_790_003_631)
    assert tx.replays.first("https://gitlab.example.com", "jti") is None
    # An id that was given once is never given again, even that of a removed publisher.
    again = replace(regular, id=0, reads=True)
    added = tx.publishers.insert(again, "foo/bar")
    assert added is not None
    assert added.id == 41
    assert tx.publishers.insert(again, "foo/bar") is None
    tx.publishers.set_pins(11, {"project_id": "7"})
    assert tx.publishers.of_registry(1)[0].pins == {"project_id": "7"}


async def test_a_ledger_of_the_release_before_is_brought_up_to_date(tmp_path: Path) -> None:
    place = tmp_path / "mintmark.db"
    previous(place)
    ledger = open_ledger(place)
    try:
        registry = await ledger.read(lambda tx: tx.registries.find("acme"))
        assert registry is not None
        assert registry.policy == Policy(projects=("zoil-*",))
        project = await ledger.read(lambda tx: tx.projects.find(1, "zoil-l0g"))
        assert project is not None
        assert (project.id, project.display_name, project.status, project.changes) == (7, "Zoil_L0g", "active", 3)
        assert await ledger.read(lambda tx: tx.projects.similar(1, similarity_key("z0il.log"))) == ["zoil-l0g"]
        release = await ledger.read(lambda tx: tx.releases.find(7, "1.0"))
        assert release is not None
        assert release.yanked_reason == "old"
        (file,) = await ledger.read(lambda tx: tx.files.of_project(7))
        assert (file.filename, file.uploaded_at, file.upload_microseconds) == (
            "zoil_l0g-1.0-py3-none-any.whl",
            1_790_000_000,
            0,
        )
        await ledger.write(check_trust)
    finally:
        await ledger.close()
    engine = create_engine(URL.create("sqlite", database=str(place)))
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.HEAD
    engine.dispose()


def test_the_release_before_is_the_one_before_the_head() -> None:
    """A new migration needs a new test from where people are."""
    assert int(migrate.HEAD) == int(PREVIOUS) + 1
