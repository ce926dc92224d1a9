"""Policies of registries, similar names, yanked releases, times of files that came from elsewhere.

Revision: 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("registries", sa.Column("policy", sa.Text(), server_default="{}", nullable=False))
    op.add_column("projects", sa.Column("status_reason", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("projects", sa.Column("similar", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("releases", sa.Column("yanked_reason", sa.Text(), nullable=True))
    op.add_column("files", sa.Column("upload_microseconds", sa.Integer(), server_default="0", nullable=False))
    op.create_index(op.f("ix_files_release_id"), "files", ["release_id"], unique=False)
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, name FROM projects")).fetchall()
    for project_id, name in rows:
        # As `core.names.similarity_key` was in this release.
        similar = name.replace("-", "").translate(str.maketrans("lio", "110"))
        connection.execute(
            sa.text("UPDATE projects SET similar = :similar WHERE id = :id"), {"similar": similar, "id": project_id}
        )
    op.create_index(op.f("ix_projects_registry_id_similar"), "projects", ["registry_id", "similar"], unique=False)
