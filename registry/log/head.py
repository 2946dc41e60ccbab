"""The head row: size, right edge and signed checkpoint of the log, locked while it grows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select, update

from registry.core.merkle import Frontier
from registry.errors import FormatError
from registry.store.bulk import insert_missing
from registry.store.log_tables import LogHeadRow
from registry.store.types import as_stored, table_of

_HEAD = table_of(LogHeadRow)
_ONLY = 1
_READ = select(*map(as_stored, _HEAD.c))
_LOCK = _READ.with_for_update()  # SQLite holds its one write lock already
_WRITE = update(_HEAD).where(_HEAD.c.id == _ONLY)
_EMPTY = {"id": _ONLY, "size": 0, "frontier": b"", "checkpoint": b"", "time_ms": 0}


@dataclass(frozen=True, slots=True)
class StoredHead:
    """The head as stored: the tree's right edge, signed note, log time of the newest record.

    The note is empty before the first record.
    """

    frontier: Frontier
    note: bytes
    time_ms: int

    @property
    def size(self) -> int:
        """Number of records."""
        return self.frontier.size


def read_head(conn: Connection) -> StoredHead:
    """Return the head; raises FormatError (`log.head`, `tree.invalid`) when it was altered."""
    return _parsed(conn.execute(_READ).mappings().one_or_none())


def lock_head(conn: Connection) -> StoredHead:
    """Return the head and keep it from growing elsewhere until the transaction ends."""
    row = conn.execute(_LOCK).mappings().one_or_none()
    if row is None:
        insert_missing(conn, _HEAD, [_EMPTY])
        row = conn.execute(_LOCK).mappings().one_or_none()
    return _parsed(row)


def write_head(conn: Connection, head: StoredHead) -> None:
    """Replace the head; the row is locked."""
    values = {
        "size": head.size,
        "frontier": head.frontier.to_bytes(),
        "checkpoint": head.note,
        "time_ms": head.time_ms,
    }
    conn.execute(_WRITE, values)


def _parsed(row: RowMapping | None) -> StoredHead:
    if row is None:
        return StoredHead(Frontier(), b"", 0)
    types = {"size": int, "frontier": bytes, "checkpoint": bytes, "time_ms": int}
    if not all(isinstance(row[name], kind) for name, kind in types.items()):
        raise FormatError("the head row holds values of other types", code="log.head")
    frontier = Frontier.from_bytes(row["size"], row["frontier"])
    return StoredHead(frontier, row["checkpoint"], row["time_ms"])
