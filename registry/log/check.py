"""Checking a whole log: everything is derived again from entries and envelopes, and compared.

Trusts the log's public key and nothing in the database. Names every record that does not fit, and
what about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, select

from registry.core.digests import sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.merkle import leaf_hash
from registry.core.schemas import SchemaSet
from registry.core.statements import Statement, invocation_id
from registry.core.tiles import TILE_WIDTH
from registry.core.trust import PREDICATE_TRUST
from registry.errors import FormatError, GenopsError
from registry.log.check_tree import DerivedTree
from registry.log.findings import CheckReport, Finding, Findings
from registry.log.head import StoredHead, read_head
from registry.log.reader import LogReader
from registry.log.trust_state import TrustHistory
from registry.store.log_tables import (
    EnvelopeRow,
    InvocationRow,
    LogEntryRow,
    TileHashRow,
    TrustRecordRow,
)
from registry.store.transaction import read
from registry.store.types import table_of

Progress = Callable[[int, int], None]
"""Called with the number of records that were checked, and of all."""

_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_INVOCATIONS = table_of(InvocationRow)
_TILES = table_of(TileHashRow)
_TRUST = table_of(TrustRecordRow)
_INVOKED = select(_INVOCATIONS).where(
    _INVOCATIONS.c.invocation_id.in_(bindparam("wanted", expanding=True))
)
_PAGE = TILE_WIDTH


def check_log(
    reader: LogReader, schemas: SchemaSet, *, progress: Progress | None = None
) -> CheckReport:
    """Check every record, the tree and the head of a log.

    Reads in pages beside any writer, and covers what the log held when it was begun. What does
    not fit is found and never raised; raises UnavailableError and the like when it cannot read.
    """
    with read(reader.engine) as conn:
        check = _Check(reader, schemas, conn)
    for start in range(0, check.size, _PAGE):
        end = min(start + _PAGE, check.size)
        with read(reader.engine) as conn:
            check.page(conn, start, end)
        if progress is not None:
            progress(end, check.size)
    return check.finish()


class _Check:
    """One run: what was stored when it was begun, and what was derived so far."""

    def __init__(self, reader: LogReader, schemas: SchemaSet, conn: Connection) -> None:
        self._origin, self._vkey = reader.origin, reader.vkey
        self._schemas = schemas
        self._found = Findings()
        self._head = self._read_head(conn)
        self.size = self._size(conn)
        self._listed_trust = set(conn.scalars(select(_TRUST.c.idx)))
        tiles = {(row.level, row.idx): row.hash for row in conn.execute(select(_TILES))}
        self._tree = DerivedTree(tiles, self._found)
        self._trust = TrustHistory()
        self._time_ms = 0

    def page(self, conn: Connection, start: int, end: int) -> None:
        """Check the records from `start` to before `end`."""
        rows = {row["idx"]: row for row in conn.execute(_rows(start, end)).mappings()}
        invocations: dict[str, int] = {}
        for index in range(start, end):
            if index not in rows:
                self._found.add(index, "missing", "the log has no entry there")
            elif name := self._record(index, rows[index]):
                invocations[name] = index
        self._check_invocations(conn, invocations)
        self._tree.grow([leaf_hash(row["entry"]) for _, row in sorted(rows.items())])

    def finish(self) -> CheckReport:
        """Compare the whole with the head, and report, records in order first."""
        self._tree.finish(self._head, self._vkey)
        if self._head is not None and self._head.time_ms != self._time_ms:
            self._found.add(None, "head", "its time is not that of the newest record")
        for index in sorted(self._listed_trust ^ set(self._trust.indices)):
            wrong = "not listed" if index not in self._listed_trust else "listed, and is none"
            self._found.add(index, "trust-index", f"as a trust record it is {wrong}")
        root = self._tree.frontier.root().hex()
        items = sorted(self._found.items, key=_in_order)
        return CheckReport(self._origin, self.size, root, tuple(items))

    def _read_head(self, conn: Connection) -> StoredHead | None:
        try:
            return read_head(conn)
        except FormatError as error:
            self._found.add(None, "frontier", error.message)
            return None

    def _size(self, conn: Connection) -> int:
        """Return how many records to check, from the head or, where it is bad, from the rows."""
        rows = conn.scalar(select(func.count()).select_from(_ENTRIES)) or 0
        size = rows if self._head is None else self._head.size
        if rows > size:
            self._found.add(size, "extra", f"{rows} entries, and the head covers {size}")
        invocations = conn.scalar(select(func.count()).select_from(_INVOCATIONS)) or 0
        if invocations != size:
            self._found.add(None, "invocation", f"{invocations} of them for {size} records")
        return size

    def _record(self, index: int, row: RowMapping) -> str | None:
        """Check one record; return its invocation id where it can be read."""
        try:
            entry = LogEntry.parse(row["entry"])
        except GenopsError as error:
            self._found.add(index, "entry", error.message)
            return None
        self._entry(index, row, entry)
        if row["data"] is None:
            self._found.add(index, "envelope", "it is missing")
        elif sha256_hex(row["data"]) != entry.envelope_sha256:
            self._found.add(index, "envelope", "its digest is not that in the entry")
        else:
            return self._content(index, entry, row["data"])
        return None

    def _entry(self, index: int, row: RowMapping, entry: LogEntry) -> None:
        stored = tuple(row[name] for name in ("leaf_hash", "payload_sha256", "envelope_sha256"))
        named = (bytes.fromhex(entry.payload_sha256), bytes.fromhex(entry.envelope_sha256))
        if stored != (leaf_hash(row["entry"]), *named):
            self._found.add(index, "entry", "it does not have the digests stored beside it")
        if entry.time_ms < self._time_ms:
            self._found.add(index, "time", "it is before that of the record before")
        self._time_ms = max(self._time_ms, entry.time_ms)

    def _content(self, index: int, entry: LogEntry, data: bytes) -> str | None:
        """Check what the envelope says, up to the first thing that does not fit."""
        step = "envelope"
        try:
            envelope = Envelope.parse(data)
            if envelope.payload_sha256 != entry.payload_sha256:
                self._found.add(index, "payload", "its digest is not that in the entry")
                return None
            step = "statement"
            statement = Statement.parse(envelope.payload)
            name = invocation_id(statement)
            step = "schema"
            self._schemas.check_statement(statement.document)
            step = "trust"
            self._judge(index, entry, statement, envelope)
        except GenopsError as error:
            self._found.add(index, step, error.message)
            return None
        return name

    def _judge(self, index: int, entry: LogEntry, statement: Statement, envelope: Envelope) -> None:
        """Judge the signer by the trust records before this one; raises TrustError."""
        state = self._trust.newest
        if state is not None:
            state.authorize(envelope, statement.predicate_type, entry.time_ms)
        if state is None or statement.predicate_type == PREDICATE_TRUST:
            self._trust = self._trust.extended(index, entry, statement, envelope, self._vkey)

    def _check_invocations(self, conn: Connection, derived: Mapping[str, int]) -> None:
        rows = conn.execute(_INVOKED, {"wanted": list(derived)})
        stored: dict[str, int] = {row.invocation_id: row.idx for row in rows}
        for name, index in derived.items():
            if stored.get(name) != index:
                self._found.add(index, "invocation", f"{name} does not lead to it")


def _rows(start: int, end: int) -> Select[Any]:
    return (
        select(_ENTRIES, _ENVELOPES.c.data)
        .outerjoin(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .where(_ENTRIES.c.idx >= start, _ENTRIES.c.idx < end)
    )


def _in_order(finding: Finding) -> tuple[bool, int]:
    return finding.index is None, finding.index or 0


__all__ = ["CheckReport", "Finding", "Progress", "check_log"]
