"""Writing many rows at once, by the table and not through the ORM's unit of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]


def insert_rows(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows, all with the same columns."""
    if rows:
        conn.execute(insert(table), rows)


def insert_missing(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert those of the rows whose keys are not there yet; what is there stays as it is."""
    if not rows:
        return
    if conn.dialect.name == "sqlite":
        conn.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        conn.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
