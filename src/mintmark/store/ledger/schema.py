"""The ledger's tables, once, for both engines.

Owns names, types, uniqueness and indexes. Migrations bring a database to this shape (a test compares them); the
statements of the other modules rely on it. Booleans, texts, integers and bytes only; lists and objects are JSON text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.schema import SchemaItem

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    # SQLite counts up only in a column that is exactly INTEGER PRIMARY KEY; with AUTOINCREMENT it never gives an id
    # twice, which credentials tied to publisher ids rely on.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _table(name: str, *parts: SchemaItem) -> Table:
    return Table(name, METADATA, *parts, sqlite_autoincrement=True)


counters = Table(
    "counters", METADATA, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)

registries = _table(
    "registries",
    _id(),
    Column("slug", Text, nullable=False, unique=True),
    Column("audience", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("host", Text, unique=True),
    Column("private", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("trusted_publishing", Boolean, nullable=False),
    Column("trusted_publishing_only", Boolean, nullable=False),
    Column("publishers_read", Boolean, nullable=False),
    Column("host_mint", Boolean, nullable=False),
    Column("credential_lifetime_seconds", Integer, nullable=False),
    # Counts changes of the list of projects, the dirty mark of its page.
    Column("list_changes", BigInteger, nullable=False, server_default="0"),
    # `core.policy.Policy` as JSON; what is absent has its default.
    Column("policy", Text, nullable=False, server_default="{}"),
)

issuers = _table(
    "issuers",
    _id(),
    Column("registry_id", ForeignKey("registries.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("url", Text, nullable=False, index=True),
    Column("server", Text, nullable=False),
    Column("projects", Text, nullable=False),
    Column("algorithms", Text, nullable=False),
    Column("max_lifetime_seconds", Integer),
    Column("networks", Text, nullable=False),
    Column("allow_http", Boolean, nullable=False),
    Column("ca_pem", Text, nullable=False),
    Column("jwks", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("keys_epoch", Integer, nullable=False),
    Column("purge_epoch", Integer, nullable=False),
    # Not the index's audience but this one; empty for the index's.
    Column("audience", Text, nullable=False, server_default=text("''")),
    Column("remint", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("registry_id", "name"),
    # One entry an issuer and registry: with two, it would depend on their order which conditions hold.
    UniqueConstraint("registry_id", "url"),
)

projects = _table(
    "projects",
    _id(),
    Column("registry_id", ForeignKey("registries.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("rendered", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status_reason", Text, nullable=False, server_default=text("''")),
    # What names that people confuse have in common (`core.names.similarity_key`).
    Column("similar", Text, nullable=False, server_default=text("''")),
    UniqueConstraint("registry_id", "name"),
    Index(None, "registry_id", "similar"),
    CheckConstraint("status IN ('active', 'archived', 'quarantined', 'deprecated')", name="status"),
)

publishers = _table(
    "publishers",
    _id(),
    Column("registry_id", ForeignKey("registries.id"), nullable=False),
    Column("issuer_id", ForeignKey("issuers.id"), nullable=False),
    Column("project", Text, nullable=False),
    Column("project_id", ForeignKey("projects.id")),
    Column("lookup", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("constraints", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    # Immutable ids that were learned at the first use, as JSON.
    Column("pins", Text, nullable=False, server_default="{}"),
    Column("reads", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("issuer_id", "project", "config", "constraints", "reads"),
    Index(None, "issuer_id", "lookup"),
    Index(None, "registry_id", "project"),
    Index(None, "expires_at"),
)

releases = _table(
    "releases",
    _id(),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("version", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Not null: the whole release is yanked, files that come later too.
    Column("yanked_reason", Text),
    UniqueConstraint("project_id", "version"),
)

files = _table(
    "files",
    _id(),
    Column("registry_id", ForeignKey("registries.id"), nullable=False),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("release_id", ForeignKey("releases.id"), nullable=False),
    Column("version", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
    Column("blake2_256", Text, nullable=False),
    Column("metadata_sha256", Text, index=True),
    Column("requires_python", Text),
    Column("uploaded_at", BigInteger, nullable=False),
    Column("uploaded_by", Text, nullable=False),
    Column("publisher_id", BigInteger),
    Column("yanked_reason", Text),
    # Uploaded attestations byte for byte, and the index's receipt; both are filled by later releases.
    Column("attestations", LargeBinary),
    Column("receipt", LargeBinary),
    # The rest of `uploaded_at`, for files that were uploaded elsewhere first.
    Column("upload_microseconds", Integer, nullable=False, server_default="0"),
    UniqueConstraint("registry_id", "filename"),
    Index(None, "project_id"),
    Index(None, "release_id"),
    CheckConstraint("state IN ('staged', 'visible', 'yanked', 'deleted')", name="state"),
    CheckConstraint("kind IN ('wheel', 'sdist')", name="kind"),
)

credentials = _table(
    "credentials",
    _id(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("registry_id", ForeignKey("registries.id")),
    Column("name", Text, nullable=False),
    Column("publishers", Text, nullable=False),
    Column("projects", Text, nullable=False),
    Column("can_upload", Boolean, nullable=False),
    Column("can_read", Boolean, nullable=False),
    Column("single_use", Boolean, nullable=False),
    Column("spent_on", Text),
    Column("ref", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("issuer_url", Text, nullable=False),
    Column("subject", Text, nullable=False),
    # Those of `publishers` that name no single project to upload to, so that they are not found by a project's name.
    Column("wide", Text, nullable=False, server_default="[]"),
    Index(None, "registry_id", "kind"),
    Index(None, "expires_at"),
)

replays = Table(
    "replays",
    METADATA,
    Column("issuer_url", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("until", BigInteger, nullable=False, index=True),
    # What a repetition of the exchange is held to, as JSON; absent where the issuer allows none.
    Column("first", Text),
)

events = _table(
    "events",
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("principal_kind", Text, nullable=False),
    Column("principal_name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("registry_id", BigInteger),
    Column("project", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Index(None, "registry_id", "id"),
)
