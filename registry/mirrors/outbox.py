"""The outbox: which records a mirror has yet to receive.

The sequencer adds rows in the transaction that commits a record; a row leaves once its copy is
stored. Knows no mirror and reads no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, insert, select, update

from registry.store.rows import UNTRIED, outbox_row
from registry.store.sidecar_tables import OutboxRow
from registry.store.transaction import read, write

_ROWS = OutboxRow.__table__  # type: ignore[attr-defined]  # set by SQLModel


@dataclass(frozen=True, slots=True)
class Due:
    """A row that may be sent now; `attempts` counts the failures so far."""

    id: int
    index: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a target: rows, how many have failed before, and the newest row's error."""

    pending: int
    failed: int
    error: str


class Outbox:
    """At-least-once delivery, ordered by log index. Every method is one transaction.

    Several processes may drain the same target at once: mirrors are idempotent, so the worst that
    happens is a copy that is written twice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(
        self, target: str, limit: int, now_ms: int | None, *, after: int = -1
    ) -> tuple[Due, ...]:
        """Return up to `limit` rows of records past `after` whose time has come, in log order.

        With `now_ms` None, rows are due whatever their back-off says.
        """
        query = select(_ROWS.c.id, _ROWS.c.record_idx, _ROWS.c.attempts).where(
            _ROWS.c.target == target, _ROWS.c.record_idx > after
        )
        if now_ms is not None:
            query = query.where(_ROWS.c.next_ms <= now_ms)
        query = query.order_by(_ROWS.c.record_idx).limit(limit)
        with read(self._engine) as conn:
            return tuple(Due(*row) for row in conn.execute(query))

    def done(self, ids: Sequence[int]) -> None:
        """Forget rows whose copies are stored."""
        with write(self._engine) as conn:
            conn.execute(delete(_ROWS).where(_ROWS.c.id.in_(ids)))

    def failed(self, ids: Sequence[int], error: str, next_ms: int) -> None:
        """Keep rows for another attempt at `next_ms` (epoch milliseconds), with what went wrong."""
        change = {"attempts": _ROWS.c.attempts + 1, "error": error, "next_ms": next_ms}
        with write(self._engine) as conn:
            conn.execute(update(_ROWS).where(_ROWS.c.id.in_(ids)).values(change))

    def reset(self, target: str) -> int:
        """Let rows that failed be due now, as if they were new; returns how many there are."""
        failed = (_ROWS.c.target == target) & (_ROWS.c.attempts > 0)
        with write(self._engine) as conn:
            return conn.execute(update(_ROWS).where(failed).values(UNTRIED)).rowcount

    def requeue(self, target: str, indices: Sequence[int]) -> int:
        """Ask for fresh copies of records; returns how many were not already waiting.

        For a target that was added later, and for copies that were found altered.
        """
        waiting = self.waiting(target)
        new = [index for index in dict.fromkeys(indices) if index not in waiting]
        rows = [outbox_row(index, target) for index in new]
        if rows:
            with write(self._engine) as conn:
                conn.execute(insert(_ROWS), rows)
        return len(rows)

    def waiting(self, target: str) -> frozenset[int]:
        """Return the log indices that the target has yet to receive."""
        query = select(_ROWS.c.record_idx).where(_ROWS.c.target == target)
        with read(self._engine) as conn:
            return frozenset(conn.execute(query).scalars())

    def pending(self, target: str) -> int:
        """Return how many records wait for the target."""
        return self.backlog(target).pending

    def backlog(self, target: str) -> Backlog:
        """Return what waits for the target, and the error of the newest row that failed."""
        mine = _ROWS.c.target == target
        failing = mine & (_ROWS.c.attempts > 0)
        newest = select(_ROWS.c.error).where(failing).order_by(_ROWS.c.id.desc()).limit(1)
        with read(self._engine) as conn:
            return Backlog(
                pending=conn.scalar(select(func.count()).where(mine)) or 0,
                failed=conn.scalar(select(func.count()).where(failing)) or 0,
                error=conn.scalar(newest) or "",
            )
