"""Writing many rows at once, by the table and not through the ORM's unit of work.

Rows go to the driver as they are: their values must be what the driver takes (numbers, text,
bytes, bool, None), which holds for every table of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table

Rows = Sequence[Mapping[str, Any]]


def insert_rows(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows, all with the same columns; a fifth of the cost of a compiled insert."""
    _insert(conn, table, rows, "")


def insert_missing(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert those of the rows whose keys are not there yet; what is there stays as it is."""
    _insert(conn, table, rows, " ON CONFLICT DO NOTHING")


def _insert(conn: Connection, table: Table, rows: Rows, ending: str) -> None:
    if not rows:
        return
    mark = "?" if conn.dialect.name == "sqlite" else "%s"
    statement, values = _compiled(table.name, tuple(rows[0]), mark)
    conn.exec_driver_sql(statement + ending, [values(row) for row in rows])


@functools.lru_cache(maxsize=256)
def _compiled(
    table: str, columns: tuple[str, ...], mark: str
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    names = ", ".join(f'"{column}"' for column in columns)
    marks = ", ".join(mark for _ in columns)
    statement = f'INSERT INTO "{table}" ({names}) VALUES ({marks})'  # noqa: S608  # names are ours
    if len(columns) == 1:
        (only,) = columns
        return statement, lambda row: (row[only],)
    return statement, itemgetter(*columns)
