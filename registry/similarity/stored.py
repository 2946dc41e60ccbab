"""The table of fingerprints as a source of an index, and its blocks: rows packed for a restart.

A block is made of rows in the transaction that stores it, and a trigger drops it with any row of
it that goes: so it never holds what is gone, and who finds none reads the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select

from registry.errors import GenopsError
from registry.similarity.sources import (
    DIGEST_BYTES,
    ID_BYTES,
    ROW_BYTES,
    Removed,
    Rows,
    is_searchable,
    packed,
)
from registry.similarity.values import VALUE_BYTES
from registry.store.bulk import insert_rows
from registry.store.engine import is_read_only
from registry.store.guards import FINGERPRINTS_LOCK
from registry.store.index_tables import FingerprintBlockRow, FingerprintRemovalRow
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read, write
from registry.store.types import table_of

BLOCK_ROWS = 1 << 14
"""Most rows of one block: about a megabyte, and what one removal makes the next start read."""
LOOSE_IDS = 1 << 15
"""Row ids behind the last block before a next one is made."""

_FETCH = 50_000
_Row = tuple[int, bytes, bytes]
_PRINTS = table_of(FingerprintRow)
_BLOCKS = table_of(FingerprintBlockRow)
_REMOVALS = table_of(FingerprintRemovalRow)


class FingerprintSource:
    """The fingerprints of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loose = 0

    def after(self, conn: Connection, last_id: int) -> Iterator[Rows]:
        """Yield blocks, and the rows that are in none, up to the newest of the snapshot."""
        newest = conn.scalar(select(func.max(_PRINTS.c.id))) or 0
        if newest <= last_id:
            return
        for first, last, size, data in conn.execute(_blocks(self.name, last_id)):
            yield from self._rows(conn, last_id, first - 1)
            yield _from_block(last, size, data, last_id)
            last_id = last
        yield from self._rows(conn, last_id, newest)

    def _rows(self, conn: Connection, after: int, until: int) -> Iterator[Rows]:
        self.loose += max(until - after, 0)
        while after < until:
            rows = _loose(conn, self.name, after, until, _FETCH)
            after = rows[-1][0] if len(rows) == _FETCH else until
            yield Rows(after, *packed(rows))


class FingerprintRemovals:
    """What was deleted from the table of fingerprints, as its trigger wrote it down."""

    def since(self, conn: Connection, seen: int | None) -> Removed:
        """Return the rows removed after number `seen`; with None, only the newest number."""
        newest = conn.scalar(select(func.max(_REMOVALS.c.seq))) or 0
        if seen is None or seen == newest:
            return Removed(newest, (), None)
        query = select(_REMOVALS.c.id, _REMOVALS.c.top).where(_REMOVALS.c.seq > seen)
        ids, tops = zip(*conn.execute(query), strict=True)
        return Removed(newest, ids, min(tops))


def pack(engine: Engine, sources: Sequence[FingerprintSource]) -> None:
    """Pack what these sources had to read row by row, where that was much; else do nothing.

    A database that cannot be written now is left as it is: the blocks only save time.
    """
    for source in sources:
        if source.loose < LOOSE_IDS or is_read_only(engine):
            continue
        source.loose = 0
        try:
            for after, until in _gaps(engine, source.name):
                _pack(engine, source.name, after, until)
        except GenopsError:
            return


def _gaps(engine: Engine, name: str) -> list[tuple[int, int]]:
    """Return the ranges of row ids (after, until) that no block covers and that are worth one."""
    with read(engine) as conn:
        newest = conn.scalar(select(func.max(_PRINTS.c.id))) or 0
        spans = select(_BLOCKS.c.first, _BLOCKS.c.last).where(_BLOCKS.c.name == name)
        covered = conn.execute(spans.order_by(_BLOCKS.c.last)).all()
    gaps, after = [], 0
    for first, last in covered:
        gaps.append((after, first - 1))
        after = last
    if newest - after >= LOOSE_IDS:
        gaps.append((after, newest))
    return [gap for gap in gaps if gap[0] < gap[1]]


def _pack(engine: Engine, name: str, after: int, until: int) -> None:
    """Make blocks of a range, each in a transaction of its own: none of them takes long."""
    while after < until:
        with write(engine) as conn:
            _hold_still(conn)
            if _covered(conn, name, after, until):  # by another process, meanwhile
                return
            rows = _loose(conn, name, after, until, BLOCK_ROWS)
            last = rows[-1][0] if len(rows) == BLOCK_ROWS else until
            data = _to_block(rows)
            block = {"name": name, "first": after + 1, "last": last, "size": data[0]}
            insert_rows(conn, _BLOCKS, [block | {"data": data[1]}])
        after = last


def _hold_still(conn: Connection) -> None:
    """Keep rows from coming and going until the transaction ends, as the triggers do."""
    if conn.dialect.name != "sqlite":  # which has one writer
        conn.execute(select(func.pg_advisory_xact_lock(FINGERPRINTS_LOCK)))


def _blocks(name: str, after: int) -> Select[Any]:
    columns = (_BLOCKS.c.first, _BLOCKS.c.last, _BLOCKS.c.size, _BLOCKS.c.data)
    query = select(*columns).where(_BLOCKS.c.name == name, _BLOCKS.c.last > after)
    return query.order_by(_BLOCKS.c.last)


def _covered(conn: Connection, name: str, after: int, until: int) -> bool:
    query = select(_BLOCKS.c.first).where(_BLOCKS.c.name == name, _BLOCKS.c.last > after)
    first = conn.scalar(query.order_by(_BLOCKS.c.last).limit(1))
    return first is not None and first <= until


def _loose(conn: Connection, name: str, after: int, until: int, most: int) -> list[_Row]:
    """Return up to so many rows (id, digest, value) of a range, in order."""
    query = (
        select(_PRINTS.c.id, _PRINTS.c.sha256, _PRINTS.c.value)
        .where(_PRINTS.c.id > after, _PRINTS.c.id <= until, _PRINTS.c.name == name)
        .order_by(_PRINTS.c.id)
        .limit(most)
    )
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]


def _to_block(rows: Sequence[_Row]) -> tuple[int, bytes]:
    """Return how many rows a block holds, and its data.

    That is all ids (8 bytes, little-endian), all digests, the number of parts of each value in a
    byte, and all values.
    """
    fit = [row for row in rows if is_searchable(row[1], row[2])]
    ids = b"".join(row[0].to_bytes(ID_BYTES, "little") for row in fit)
    parts = bytes(len(row[2]) // VALUE_BYTES for row in fit)
    columns = (ids, *(row[1] for row in fit), parts, *(row[2] for row in fit))
    return len(fit), b"".join(columns)


def _from_block(last: int, size: int, data: bytes, after: int) -> Rows:
    """Return the rows of a block whose ids are above `after`."""
    import numpy as np  # noqa: PLC0415  # heavy: only for a search

    ends = np.cumsum([ID_BYTES * size, DIGEST_BYTES * size, size])
    ids, digests, parts, values = np.split(np.frombuffer(data, np.uint8), ends)
    numbers = np.repeat(ids.view("<i8"), parts)
    rows = np.empty((len(numbers), ROW_BYTES), np.uint8)
    rows[:, :DIGEST_BYTES] = np.repeat(digests.reshape(size, DIGEST_BYTES), parts, axis=0)
    rows[:, DIGEST_BYTES:] = values.reshape(-1, VALUE_BYTES)
    newer = numbers > after
    if not newer.all():
        rows, numbers = rows[newer], numbers[newer]
    return Rows(last, rows.data, numbers.data)
