"""Leaving nothing of deleted rows behind: pages overwritten, the write-ahead log emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from registry.store.transaction import write


@contextmanager
def wiping(engine: Engine) -> Iterator[Connection]:
    """Run the block as `write` does; what it deletes is overwritten with zeros (SQLite)."""
    with write(engine) as conn:
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("PRAGMA secure_delete = ON")
        yield conn


def scrub(engine: Engine, table: str) -> bool:
    """Drop old copies of a table's deleted rows; tell whether that was possible now.

    SQLite: all pages go to the main file and the write-ahead log is emptied, unless a reader holds
    on to it for longer than a writer waits. Postgres: the table is vacuumed.
    """
    raw = engine.raw_connection()
    try:
        if engine.dialect.name == "sqlite":
            (busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        raw.driver_connection.autocommit = True  # type: ignore[union-attr]
        raw.cursor().execute(f'VACUUM "{table}"')
        raw.driver_connection.autocommit = False  # type: ignore[union-attr]
        return True
    finally:
        raw.close()
