"""Records by their leaf hash: looked up in the log, whose index every record has anyway.

The projection's copy of the hash has no index of its own: one more of random keys costs each
record a page.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, select

from registry.store.catalog_tables import RecordRow
from registry.store.log_tables import LogEntryRow
from registry.store.types import table_of

ENTRIES = table_of(LogEntryRow)
_RECORDS = table_of(RecordRow)


def is_record(leaf_hash: bytes) -> ColumnElement[bool]:
    """Tell whether a row of `records` is the record with this leaf hash."""
    found = select(ENTRIES.c.idx).where(ENTRIES.c.leaf_hash == leaf_hash)
    return _RECORDS.c.idx == found.scalar_subquery()


def leaves_between(low: bytes, high: bytes) -> Select[Any]:
    """Select the leaf hashes of a range."""
    return select(ENTRIES.c.leaf_hash).where(ENTRIES.c.leaf_hash.between(low, high))


def spoken_of(table: Table) -> Select[Any]:
    """Select the log indices of the records that rows of a table name in `of_record`."""
    return select(ENTRIES.c.idx).join(table, table.c.of_record == ENTRIES.c.leaf_hash)
