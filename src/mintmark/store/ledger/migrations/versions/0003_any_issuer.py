"""Audiences of issuers, learned ids, readers, registry-wide publishers, repeated exchanges.

Revision: 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SEQUENCE = "FROM sqlite_sequence WHERE name = 'publishers'"


def upgrade() -> None:
    op.add_column("issuers", sa.Column("audience", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("issuers", sa.Column("remint", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("credentials", sa.Column("wide", sa.Text(), server_default="[]", nullable=False))
    op.add_column("replays", sa.Column("first", sa.Text(), nullable=True))
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    # SQLite changes a constraint by making the table anew, and would then count its ids from the largest that is left.
    # Ids are never used again: credentials are tied to them.
    highest = connection.execute(sa.text(f"SELECT seq {_SEQUENCE}")).scalar() if is_sqlite else None
    with op.batch_alter_table("publishers", table_kwargs={"sqlite_autoincrement": True}) as publishers:
        publishers.add_column(sa.Column("pins", sa.Text(), server_default="{}", nullable=False))
        publishers.add_column(sa.Column("reads", sa.Boolean(), server_default=sa.false(), nullable=False))
        publishers.drop_constraint(op.f("uq_publishers_issuer_id_project_config_constraints"), type_="unique")
        publishers.create_unique_constraint(
            op.f("uq_publishers_issuer_id_project_config_constraints_reads"),
            ["issuer_id", "project", "config", "constraints", "reads"],
        )
    if highest is not None:
        connection.execute(sa.text(f"DELETE {_SEQUENCE}"))
        connection.execute(
            sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('publishers', :seq)"), {"seq": highest}
        )
    op.create_index(op.f("ix_publishers_expires_at"), "publishers", ["expires_at"], unique=False)
