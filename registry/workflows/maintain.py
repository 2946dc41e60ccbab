"""Keep a registry sound: re-verify the whole log, and rebuild the projection from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection, Table, create_engine, delete, select
from sqlmodel import SQLModel

from registry.catalog.projector import project
from registry.core.answers import LogReport
from registry.core.entries import LogEntry
from registry.core.statements import Statement
from registry.log.check import check_log as run_check
from registry.log.submission import Accepted
from registry.store import catalog_tables
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows.services import Services

Progress = Callable[[int, int], None]
Rows = Sequence[tuple[object, ...]]

_BATCH = 500
PROJECTION: tuple[Table, ...] = tuple(
    table_of(row)
    for row in (
        catalog_tables.RecordRow,
        catalog_tables.SubjectRow,
        catalog_tables.NodeRow,
        catalog_tables.OutputRow,
        catalog_tables.EdgeRow,
        catalog_tables.ClosureRow,
        catalog_tables.TaintRow,
        catalog_tables.DecisionRow,
        catalog_tables.ReproductionRow,
        catalog_tables.ModelRow,
        catalog_tables.ErasureRow,
        catalog_tables.HoldRow,
        catalog_tables.ReattestationRow,
    )
)
"""Every table that is a pure function of the log."""


def check_log(services: Services, progress: Progress | None = None) -> LogReport:
    """Re-verify tree, checkpoint, envelopes, signatures, trust and schemas of every record."""
    found = run_check(services.reader, services.schemas, progress=progress)
    return LogReport(
        origin=found.origin,
        size=found.size,
        root=found.root,
        ok=not found.problems,
        problems=tuple(found.problems),
    )


def rebuild_catalog(services: Services, progress: Progress | None = None) -> int:
    """Drop every projection row and derive it anew from the log; return the records read.

    One transaction: readers see the old projection or the new one, never a part.
    """
    with write(services.engine) as conn:
        for table in PROJECTION:
            conn.execute(delete(table))
        return _project_all(services, conn, progress)


def check_catalog(services: Services, progress: Progress | None = None) -> tuple[str, ...]:
    """Derive the projection anew beside the stored one; return what differs, a line a table.

    Finds rows that were edited, added or deleted behind the log's back, such as a taint that the
    gate no longer sees. Holds both in memory.
    """
    scratch = create_engine("sqlite://")
    SQLModel.metadata.create_all(scratch, tables=list(PROJECTION))
    with scratch.begin() as conn:
        _project_all(services, conn, progress)
        derived = projection_rows(conn)
    with read(services.engine) as conn:
        stored = projection_rows(conn)
    return tuple(
        line for name, rows in derived.items() if (line := _difference(name, rows, stored[name]))
    )


def _difference(name: str, derived: Rows, stored: Rows) -> str:
    """Say how a table's stored rows differ from those that the log gives, if they do."""
    missing = len(set(derived) - set(stored))
    extra = len(set(stored) - set(derived))
    if not missing and not extra:
        return ""
    return f"{name}: {missing} rows of the log are missing or altered, {extra} are not of the log"


def _project_all(services: Services, conn: Connection, progress: Progress | None) -> int:
    total, done = services.reader.head().size, 0
    records = iter_records(services)
    while batch := list(islice(records, _BATCH)):
        project(conn, batch)
        done += len(batch)
        if progress is not None:
            progress(done, total)
    return done


def iter_records(services: Services) -> Iterator[Accepted]:
    """Yield every record of the log in order, as the projector takes it."""
    for index, entry_bytes, envelope in services.reader.records():
        entry = LogEntry.parse(entry_bytes)
        yield Accepted(
            index=index,
            time_ms=entry.time_ms,
            entry=entry_bytes,
            leaf_hash=entry.leaf_hash(),
            statement=Statement.parse(envelope.payload),
            envelope=envelope,
            keyid=envelope.signatures[0].keyid,
        )


def projection_rows(conn: Connection) -> dict[str, Rows]:
    """Return every projection row by table, sorted: two equal projections compare equal."""
    return {
        table.name: sorted(tuple(row) for row in conn.execute(select(table)))
        for table in PROJECTION
    }
