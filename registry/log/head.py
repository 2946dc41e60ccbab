"""The head row: size, right edge and signed checkpoint of the log, locked while it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    return head_of(_only(conn.execute(_READ).mappings().all()))


def lock_head(conn: Connection) -> StoredHead:
    """Return the head and keep it from growing elsewhere until the transaction ends."""
    row = _only(conn.execute(_LOCK).mappings().all())
    if row is None:
        insert_missing(conn, _HEAD, [_EMPTY])
        row = _only(conn.execute(_LOCK).mappings().all())
    return head_of(row)


def write_head(conn: Connection, head: StoredHead) -> None:
    """Replace the head; the row is locked."""
    values = {
        "size": head.size,
        "frontier": head.frontier.to_bytes(),
        "checkpoint": head.note,
        "time_ms": head.time_ms,
    }
    conn.execute(_WRITE, values)


def _only(rows: Sequence[RowMapping]) -> RowMapping | None:
    if len(rows) > 1:
        raise FormatError(f"the log has {len(rows)} head rows", code="log.head")
    return rows[0] if rows else None


def head_of(row: Mapping[str, Any] | RowMapping | None) -> StoredHead:
    """Return the head that a row is, none being that of an empty log; raises as `read_head`."""
    if row is None:
        return StoredHead(Frontier(), b"", 0)
    if row["id"] != _ONLY:
        raise FormatError("the head row is not the one that the log writes", code="log.head")
    types = {"size": int, "frontier": bytes, "checkpoint": bytes, "time_ms": int}
    if not all(isinstance(row[name], kind) for name, kind in types.items()):
        raise FormatError("the head row holds values of other types", code="log.head")
    frontier = Frontier.from_bytes(row["size"], row["frontier"])
    return StoredHead(frontier, row["checkpoint"], row["time_ms"])
