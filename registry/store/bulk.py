"""Writing many rows at once, by the table and not through the ORM's unit of work.

Rows go to the driver as they are: their values must be what the driver takes (numbers, text,
bytes, bool, None), which holds for every table of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table

Rows = Sequence[Mapping[str, Any]]

_MOST_ROWS = 64
"""Most rows of one statement on SQLite; with any columns of ours far below its limits."""


def insert_rows(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows, all with the same columns; a fifth of the cost of a compiled insert."""
    _insert(conn, table, rows, "")


def insert_missing(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert those of the rows whose keys are not there yet; what is there stays as it is."""
    _insert(conn, table, rows, " ON CONFLICT DO NOTHING")


def _insert(conn: Connection, table: Table, rows: Rows, ending: str) -> None:
    if not rows:
        return
    columns = tuple(rows[0])
    if conn.dialect.name == "sqlite":
        _insert_sqlite(conn, table.name, columns, rows, ending)
    else:
        values = tuple([row[column] for row in rows] for column in columns)
        conn.exec_driver_sql(_by_column(table, columns, conn.dialect) + ending, values)


def _insert_sqlite(
    conn: Connection, table: str, columns: tuple[str, ...], rows: Rows, ending: str
) -> None:
    """Insert with several rows a statement.

    The driver gives up the interpreter's lock at every step, and a row is a step: with many
    threads waiting, rows one by one cost more in switching than in writing. A statement takes a
    power of two of rows, so that a few statements serve every number and stay prepared.
    """
    pick = itemgetter(*columns) if len(columns) > 1 else lambda row: (row[columns[0]],)
    values = [pick(row) for row in rows]
    for start, size in _powers(len(values)):
        flat = tuple(chain.from_iterable(values[start : start + size]))
        conn.exec_driver_sql(_by_row(table, columns, size) + ending, flat)


def _powers(count: int) -> Iterator[tuple[int, int]]:
    """Yield starts and sizes that cover `count` rows, each size a power of two."""
    start = 0
    while start < count:
        size = min(_MOST_ROWS, 1 << ((count - start).bit_length() - 1))
        yield start, size
        start += size


@functools.lru_cache(maxsize=512)
def _by_row(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = "(" + ", ".join("?" for _ in columns) + ")"
    marks = ", ".join(row for _ in range(rows))
    return f'INSERT INTO "{table}" ({_names(columns)}) VALUES {marks}'  # noqa: S608  # names are ours


@functools.lru_cache(maxsize=64)
def _by_column(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    """Return Postgres' statement: an array for each column, so that one serves every number."""
    kinds = [table.c[column].type.compile(dialect) for column in columns]
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return f'INSERT INTO "{table.name}" ({_names(columns)}) SELECT * FROM unnest({arrays})'  # noqa: S608


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
