"""Alembic's entry: runs on the connection that `store.ledger.migrate` hands over."""

from alembic import context

from mintmark.store.ledger.schema import METADATA

connection = context.config.attributes["connection"]
# SQLite changes a table by copying it (batch mode); PostgreSQL does it in place.
context.configure(
    connection=connection, target_metadata=METADATA, render_as_batch=True, transaction_per_migration=False
)
with context.begin_transaction():
    context.run_migrations()
