"""Reading what a check compares, from a database that may be altered or damaged.

Takes every value as it lies there: SQLite keeps any type in any column, and a type's own reading
could fail, or hide what is there. What cannot be read at all is found, not raised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    Select,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from registry.core.tiles import TILE_HEIGHT
from registry.errors import IntegrityError
from registry.log.check_page import Row, Value
from registry.log.check_tree import StoredTile
from registry.log.findings import Finding
from registry.store.log_tables import (
    EnvelopeRow,
    InvocationRow,
    LogEntryRow,
    TileHashRow,
    TrustRecordRow,
)
from registry.store.sidecar_tables import CosignatureRow, SealedRow
from registry.store.transaction import read
from registry.store.types import as_stored, table_of

_COSIGNATURES = table_of(CosignatureRow)
_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_INVOCATIONS = table_of(InvocationRow)
_SEALED = table_of(SealedRow)
_TILES = table_of(TileHashRow)
_TRUST = table_of(TrustRecordRow)

_INVOKED = select(_INVOCATIONS.c.invocation_id, as_stored(_INVOCATIONS.c.idx)).where(
    _INVOCATIONS.c.invocation_id.in_(bindparam("wanted", expanding=True))
)
_MOST_DAMAGE = 20
"""Most lines of what SQLite says of a damaged file."""
_LEVELS = 8
"""Tile levels that can have a full tile: 256^7 passes the largest tree."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A kept cosignature as it is stored."""

    size: Value
    name: str
    key_id: Value
    time_s: Value
    signature: Value
    note: Value


def damage(conn: Connection) -> list[Finding]:
    """Return what the database itself finds wrong with its pages and indexes; SQLite only."""
    if conn.dialect.name != "sqlite":
        return []
    rows = conn.exec_driver_sql(f"PRAGMA integrity_check({_MOST_DAMAGE})")
    return [Finding(None, "database", str(row[0])) for row in rows if row[0] != "ok"]


def strays(conn: Connection, size: int) -> list[Finding]:
    """Return the rows that belong to no record or tile of a log of `size` records."""
    found = []
    entries = conn.scalar(select(func.count()).select_from(_ENTRIES)) or 0
    if entries > size:
        found.append(Finding(size, "extra", f"{entries} entries, and the head covers {size}"))
    envelopes = conn.scalar(select(func.count()).select_from(_ENVELOPES)) or 0
    if envelopes > size:
        found.append(Finding(None, "extra", f"{envelopes} envelopes for {size} records"))
    invocations = conn.scalar(select(func.count()).select_from(_INVOCATIONS)) or 0
    if invocations != size:
        found.append(Finding(None, "invocation", f"{invocations} of them for {size} records"))
    outside = or_(_SEALED.c.record_idx < 0, _SEALED.c.record_idx >= size)
    found += [
        Finding(None, "sealed", f"texts of a record {index} that is not there")
        for index in conn.scalars(select(_SEALED.c.record_idx).where(outside))
    ]
    beyond = or_(_COSIGNATURES.c.size < 1, _COSIGNATURES.c.size > size)
    found += [
        Finding(None, "cosignature", f"on {covered} records, and the log has {size}")
        for covered in conn.scalars(select(_COSIGNATURES.c.size).where(beyond))
    ]
    found += [
        Finding(None, "tile", f"a root of tile {index} at level {level} is too many")
        for level, index in conn.execute(_stray_tiles(size))
    ]
    return found


def listed_trust(conn: Connection) -> list[int]:
    """Return where the trust records lie, as the database's index has it."""
    listed = conn.scalars(select(as_stored(_TRUST.c.idx)))
    return sorted(index for index in listed if isinstance(index, int))


def count_entries(conn: Connection) -> int:
    """Return the number of entries."""
    return conn.scalar(select(func.count()).select_from(_ENTRIES)) or 0


def read_rows(
    engine: Engine, start: int, end: int, *, texts: bool
) -> tuple[dict[int, Row], list[Finding]]:
    """Return the records from `start` to before `end` by index, and what could not be read.

    With `texts`, sealed texts are read too, so that a page of the file that they lie on is found.
    Raises UnavailableError when the database is locked, full or out of reach.
    """
    try:
        with read(engine) as conn:
            return _rows(conn, start, end, texts=texts), []
    except IntegrityError as error:
        if end - start == 1:
            return {}, [Finding(start, "unreadable", error.message)]
    rows: dict[int, Row] = {}
    found: list[Finding] = []
    for index in range(start, end):
        more, problems = read_rows(engine, index, index + 1, texts=texts)
        rows |= more
        found += problems
    return rows, found


def stored_invocations(conn: Connection, names: Collection[str]) -> Mapping[str, Value]:
    """Return where these invocation ids lead to."""
    return {row[0]: row[1] for row in conn.execute(_INVOKED, {"wanted": list(names)})}


def stored_tiles(conn: Connection, start: int, end: int) -> StoredTile:
    """Return the stored roots of the tiles that become full as a log grows from start to end."""
    closing = [
        and_(
            _TILES.c.level == level,
            _TILES.c.idx >= start >> (TILE_HEIGHT * level),
            _TILES.c.idx < end >> (TILE_HEIGHT * level),
        )
        for level in range(1, _LEVELS)
        if start >> (TILE_HEIGHT * level) < end >> (TILE_HEIGHT * level)
    ]
    rows: dict[tuple[int, int], Value] = {}
    if closing:
        query = select(_TILES.c.level, _TILES.c.idx, as_stored(_TILES.c.hash)).where(or_(*closing))
        rows = {(row[0], row[1]): row[2] for row in conn.execute(query)}
    return lambda level, index: rows.get((level, index))


def cosigned(conn: Connection, start: int, end: int) -> list[Cosigned]:
    """Return the kept cosignatures of sizes after start, up to end."""
    columns = _COSIGNATURES.c
    query = select(
        columns.size,
        as_text(conn, columns.name),
        *map(as_stored, (columns.key_id, columns.time_s, columns.signature, columns.note)),
    )
    query = query.where(columns.size > start, columns.size <= end)
    rows = conn.execute(query.order_by(columns.size, columns.name, columns.key_id))
    return [Cosigned(row[0], shown(row[1]), *row[2:]) for row in rows]


def as_text(conn: Connection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a text column as it lies there: on SQLite its bytes, which may be no UTF-8."""
    if conn.dialect.name != "sqlite":
        return as_stored(column)
    return as_stored(cast(column, LargeBinary))


def shown(value: Value) -> str:
    """Return what `as_text` read as text; bytes that are no UTF-8 are replaced."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _rows(conn: Connection, start: int, end: int, *, texts: bool) -> dict[int, Row]:
    rows = conn.execute(_page(conn, start, end, texts=texts))
    return {row[0]: Row(*row[1:]) for row in rows}


def _page(conn: Connection, start: int, end: int, *, texts: bool) -> Select[Any]:
    names = ("entry", "leaf_hash", "payload_sha256", "envelope_sha256")
    columns: list[ColumnElement[Any]] = [
        *(as_stored(_ENTRIES.c[name]) for name in names),
        as_stored(_ENVELOPES.c.data),
        as_text(conn, _SEALED.c.key_id),
    ]
    if texts:
        columns.append(as_stored(_SEALED.c.ciphertext))
    return (
        select(_ENTRIES.c.idx, *columns)
        .outerjoin(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .outerjoin(_SEALED, _SEALED.c.record_idx == _ENTRIES.c.idx)
        .where(_ENTRIES.c.idx >= start, _ENTRIES.c.idx < end)
    )


def _stray_tiles(size: int) -> Select[int, int]:
    full = [
        and_(_TILES.c.level == level, _TILES.c.idx.between(0, count - 1))
        for level in range(1, _LEVELS)
        if (count := size >> (TILE_HEIGHT * level))
    ]
    query = select(_TILES.c.level, _TILES.c.idx)
    return query.where(~or_(*full)) if full else query
