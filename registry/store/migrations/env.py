"""Alembic's environment: runs the revisions on the connection that `registry.store.migrate` gives.

A revision is frozen once released: it names its own tables and imports none of ours.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

from registry.store import catalog_tables, index_tables, log_tables, sidecar_tables

# Importing them registers their tables.
TABLES = (log_tables, catalog_tables, sidecar_tables, index_tables)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


_run(context.config.attributes["connection"])
