"""Keep a registry sound: rebuild the projection from the log, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, Table, create_engine, delete, select
from sqlmodel import SQLModel

from registry.catalog.projector import project
from registry.core.notes import VerifierKey
from registry.log.head import read_head
from registry.log.replay import Replay, stored_records
from registry.log.submission import Accepted
from registry.store import catalog_tables
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows.services import Services

Progress = Callable[[int, int], None]
Rows = Sequence[tuple[object, ...]]

BATCH = 500
"""Records that are projected at a time."""
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
        catalog_tables.DraftRow,
        catalog_tables.TrustedKeyRow,
        catalog_tables.BankRow,
        catalog_tables.BankEntryRow,
        catalog_tables.BankPrintRow,
        catalog_tables.MatchVerdictRow,
    )
)
"""Every table that is a pure function of the log."""


def rebuild_catalog(services: Services, progress: Progress | None = None) -> int:
    """Drop every projection row and derive it anew from the log; return the records read.

    One transaction: readers see the old projection or the new one, never a part.
    """
    with write(services.engine) as conn:
        return rebuild_within(conn, services.reader.vkey, progress)


def rebuild_within(conn: Connection, vkey: VerifierKey, progress: Progress | None = None) -> int:
    """Rebuild the projection inside the caller's transaction; return the records read."""
    for table in PROJECTION:
        conn.execute(delete(table))
    return _project_stored(conn, conn, vkey, progress)


def check_catalog(services: Services, progress: Progress | None = None) -> tuple[str, ...]:
    """Derive the projection anew beside the stored one; return what differs, a line a table.

    Finds rows that were edited, added or deleted behind the log's back, such as a taint that the
    gate no longer sees. Holds both in memory.
    """
    scratch = create_engine("sqlite://")
    SQLModel.metadata.create_all(scratch, tables=list(PROJECTION))
    with read(services.engine) as source, scratch.begin() as conn:
        _project_stored(source, conn, services.reader.vkey, progress)
        derived, stored = projection_rows(conn), projection_rows(source)
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


def _project_stored(
    source: Connection, target: Connection, vkey: VerifierKey, progress: Progress | None
) -> int:
    """Project the log that one connection reads through another, which may be the same."""
    total = read_head(source).size
    replay = Replay(vkey)
    records = map(replay.accept, stored_records(source))
    return derive(target, records, total, progress=progress)


def derive(
    conn: Connection,
    records: Iterable[Accepted],
    total: int,
    *,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> int:
    """Project records, given in log order, into empty tables; return how many.

    The rows do not depend on `batch`. `total` is for `progress` alone.
    """
    source, done = iter(records), 0
    while chunk := list(islice(source, batch)):
        project(conn, chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    return done


def projection_rows(conn: Connection) -> dict[str, Rows]:
    """Return every projection row by table, sorted: two equal projections compare equal."""
    return {
        table.name: sorted(tuple(row) for row in conn.execute(select(table)))
        for table in PROJECTION
    }
