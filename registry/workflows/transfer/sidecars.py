"""Sidecar rows as lines of JSON, and back: what the log does not hold and a rebuild cannot make.

Bytes are hex. Lines are sorted, so that equal tables give equal files on every database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Integer, LargeBinary, RowMapping, Select, Table, select

from registry.core.exports import invalid
from registry.core.jsonio import dumps, loads
from registry.store.bulk import insert_rows
from registry.store.rows import outbox_row
from registry.store.sidecar_tables import (
    BlobRow,
    CosignatureRow,
    FingerprintRow,
    MirrorStateRow,
    OutboxRow,
    SavedSearchRow,
    ThumbnailRow,
    WitnessedLogRow,
)
from registry.store.types import table_of

PUBLIC: Mapping[str, Table] = {
    "blobs": table_of(BlobRow),
    "cosignatures": table_of(CosignatureRow),
    "fingerprints": table_of(FingerprintRow),
}
"""Tables that every export holds, by file name."""
OF_THE_HOME: Mapping[str, Table] = {
    "mirror-state": table_of(MirrorStateRow),
    "saved-searches": table_of(SavedSearchRow),
    "witnessed-logs": table_of(WitnessedLogRow),
}
"""Tables that go with a home's keys and settings, in a backup."""
THUMBNAILS = "thumbnails"
"""A table that goes with the blobs, in a file for each first byte of a digest that occurs."""
OUTBOX = "outbox"
VAULT_TARGET = "vault"
MAX_LINE_BYTES = 1024 * 1024

_THUMBNAILS = table_of(ThumbnailRow)
_TABLES = {**PUBLIC, **OF_THE_HOME, THUMBNAILS: _THUMBNAILS}
_OUTBOX = table_of(OutboxRow)
_HANDED_OUT = "id"  # by the database, and means nothing
_BATCH = 500


def dump(conn: Connection, table: Table) -> bytes:
    """Return every row of a table as a line of JSON."""
    columns = [column for column in table.c if column.name != _HANDED_OUT]
    return _lines(conn, select(*columns))


def dump_thumbnails(conn: Connection) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of the table of thumbnails: name and lines, one part in memory at a time."""
    for first in range(256):
        query = select(_THUMBNAILS).where(_THUMBNAILS.c.sha256 >= bytes([first]))
        if first < 255:
            query = query.where(_THUMBNAILS.c.sha256 < bytes([first + 1]))
        if data := _lines(conn, query):
            yield f"{THUMBNAILS}-{first:02x}", data


def parse(name: str, data: bytes) -> list[dict[str, Any]]:
    """Read the rows that `dump` returned of a table, by its file name.

    Raises FormatError (`export.invalid`, `json.*`) for lines that are no rows of the table.
    """
    table = _TABLES[name]
    return [_parsed(table, line) for line in data.splitlines()]


def load(conn: Connection, name: str, data: bytes) -> int:
    """Insert what `dump` returned; return the number of rows. Raises as `parse` does."""
    rows = parse(name, data)
    for start in range(0, len(rows), _BATCH):
        insert_rows(conn, _TABLES[name], rows[start : start + _BATCH])
    return len(rows)


def dump_outbox(conn: Connection) -> bytes:
    """Return which records wait for which mirror, as ranges of log indices."""
    query = select(_OUTBOX.c.target, _OUTBOX.c.record_idx).distinct()
    waiting = sorted(tuple(row) for row in conn.execute(query))
    return b"".join(
        dumps({"target": target, "first": first, "last": last}) + b"\n"
        for target, rows in groupby(waiting, key=itemgetter(0))
        for first, last in _ranges(row[1] for row in rows)
    )


def load_outbox(conn: Connection, data: bytes, size: int, due: Collection[str]) -> None:
    """Queue what waited; for the targets in `due`, every one of the `size` records.

    Raises FormatError (`export.invalid`, `json.*`).
    """
    waiting = {target: [(0, size - 1)] for target in due}
    for line in data.splitlines():
        target, first, last = _waiting(line, size)
        if target not in due:
            waiting.setdefault(target, []).append((first, last))
    for target, ranges in waiting.items():
        indices = [index for first, last in ranges for index in range(first, last + 1)]
        for start in range(0, len(indices), _BATCH):
            chunk = indices[start : start + _BATCH]
            insert_rows(conn, _OUTBOX, [outbox_row(index, target) for index in chunk])


def _lines(conn: Connection, query: Select[Any]) -> bytes:
    return b"".join(sorted(dumps(_plain(row)) + b"\n" for row in conn.execute(query).mappings()))


def _plain(row: RowMapping) -> dict[str, Any]:
    return {k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()}


def _parsed(table: Table, line: bytes) -> dict[str, Any]:
    found = loads(line, max_bytes=MAX_LINE_BYTES)
    columns = {column.name: column for column in table.c if column.name != _HANDED_OUT}
    if not isinstance(found, dict) or found.keys() != columns.keys():
        raise invalid(f"a row of {table.name} does not have its columns")
    return {name: _value(table, columns[name].type, found[name]) for name in columns}


def _value(table: Table, kind: Any, value: Any) -> Any:
    try:
        if isinstance(kind, LargeBinary):
            return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise invalid(f"a row of {table.name} has bytes that are no hex") from None
    if type(value) is not (int if isinstance(kind, Integer) else str):
        raise invalid(f"a row of {table.name} has a value of another type")
    return value


def _ranges(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs among ascending numbers, each by its first and last."""
    first = last = None
    for index in indices:
        if first is None or last is None:
            first = last = index
        elif index == last + 1:
            last = index
        else:
            yield first, last
            first = last = index
    if first is not None and last is not None:
        yield first, last


def _waiting(line: bytes, size: int) -> tuple[str, int, int]:
    found = loads(line, max_bytes=MAX_LINE_BYTES)
    if isinstance(found, dict) and found.keys() == {"target", "first", "last"}:
        target, first, last = found["target"], found["first"], found["last"]
        whole = type(first) is int and type(last) is int and isinstance(target, str)
        if whole and 0 <= first <= last < size:
            return target, first, last
    raise invalid("a row of the outbox names no records of this log")
