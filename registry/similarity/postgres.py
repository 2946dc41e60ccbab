"""Exact search among fingerprints inside Postgres: every worker asks the same, newest rows.

Up to 31 bits by a covering index on each of 16 bands, read without the table; beyond, and for
names that have no such index, by the index in memory, which is read on before it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from sqlalchemy import Connection, Engine, func, select

from registry.similarity.bands import BANDS, MOST_TOLERANCE, near_bands, usable
from registry.similarity.hamming import Found, HammingIndex, in_order, queries_of
from registry.similarity.stored import FingerprintRemovals
from registry.similarity.values import VALUE_BYTES
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of

if TYPE_CHECKING:
    from collections.abc import Callable

BANDED = (
    "phash256-draft512-white-lanczos64-gap2-v2",
    "phash256-white-lanczos64-gap2-v1",
    "trimmed-phash256-draft512-white-side512-border16-lanczos64-gap2-v1",
    "black-phash256-draft512-lanczos64-gap2-v1",
)
"""Names whose rows have the indexes, as the migration made them: hashes of a whole picture."""

_PRINTS = table_of(FingerprintRow)
_NAMES = ", ".join(f"'{name}'" for name in BANDED)
_ONE_BAND = """
SELECT id, value FROM fingerprints
WHERE name IN ({names}) AND octet_length(value) = 32
AND get_byte(value, {high}) * 256 + get_byte(value, {low}) = ANY(%s)
"""
_CANDIDATES = "UNION ALL".join(
    _ONE_BAND.format(names=_NAMES, high=2 * band, low=2 * band + 1) for band in range(BANDS)
)
_PLANNER = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
"""A search reads few rows, which the planner does not know of a table that is not analysed yet."""
_TUNED = "; ".join(f"SET LOCAL {name} = {value}" for name, value in _PLANNER.items())
_UNTUNED = "; ".join(f"SET LOCAL {name} TO DEFAULT" for name in _PLANNER)


class BandIndex:
    """The fingerprints of some names, searched in the database; `indexes.Index` says how.

    `rest` has those of the names without bands, None where all have them; `whole` makes the index
    of all of them in memory, when a radius first is too large for bands.
    """

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        rest: HammingIndex | None,
        whole: Callable[[Engine], HammingIndex],
    ) -> None:
        self._engine = ref(engine)
        self._names = [name for name in names if name in BANDED]
        self._rest = rest
        self._make_whole = whole
        self._whole: HammingIndex | None = None
        self._removals = FingerprintRemovals()
        self._removed: int | None = None
        self._counted = (0, 0)

    def refresh(self) -> int:
        """Count what is there now; return how many values came since, or fewer if some went."""
        before = len(self)
        with read(self._opened()) as conn:
            self._count(conn)
        if self._rest is not None:
            self._rest.refresh()
        return max(len(self) - before, 0)

    def __len__(self) -> int:
        return self._counted[1] + (0 if self._rest is None else len(self._rest))

    def search(self, value: bytes, radius: int) -> Found:
        """Return every asset with a value within `radius` bits, as the database holds them now.

        Raises ValueError unless `value` has 32 bytes.
        """
        return self.search_many([value], radius)[0]

    def search_many(self, values: Sequence[bytes], radius: int) -> list[Found]:
        """Search for several values in one query; return what `search` does for each."""
        queries = queries_of(values)
        if not values:
            return []
        if not usable(radius):
            return self._in_memory(values, radius)
        with read(self._opened()) as conn:
            found = self._near(conn, values, queries, radius)
        if self._rest is not None:
            for mine, others in zip(found, self._rest.search_many(values, radius), strict=True):
                for digest, distance in others:
                    mine[digest] = min(distance, mine.get(digest, distance))
        return [in_order(nearest) for nearest in found]

    def _opened(self) -> Engine:
        engine = self._engine()
        if engine is None:
            raise ReferenceError("the engine of this index is gone")
        return engine

    def _count(self, conn: Connection) -> None:
        """Count the rows that came; all of them anew when any was removed, which is seldom."""
        removed = self._removals.since(conn, self._removed)
        last_id, count = self._counted if removed.top is None else (0, 0)
        mine = _PRINTS.c.name.in_(self._names)
        newest = conn.scalar(select(func.max(_PRINTS.c.id))) or 0
        new = select(func.count()).select_from(_PRINTS).where(mine, _PRINTS.c.id > last_id)
        if newest > last_id:
            count += conn.scalar(new) or 0
        self._removed, self._counted = removed.seen, (newest, count)

    def _near(
        self, conn: Connection, values: Sequence[bytes], queries: Any, radius: int
    ) -> list[dict[str, int]]:
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        conn.exec_driver_sql(_TUNED)
        rows = conn.exec_driver_sql(_CANDIDATES, tuple(_keys(values, radius // BANDS))).all()
        conn.exec_driver_sql(_UNTUNED)  # for what else this transaction reads
        by_id = {row[0]: row[1] for row in rows}
        words = queries_of(list(by_id.values()))
        ids = np.fromiter(by_id, dtype=np.int64, count=len(by_id))
        hits = []
        for query in queries:
            distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint16)
            near = np.flatnonzero(distances <= radius)
            hits.append(dict(zip(ids[near].tolist(), distances[near].tolist(), strict=True)))
        digests = self._digests(conn, sorted(set().union(*hits)))
        return [_by_digest(hit, digests) for hit in hits]

    def _digests(self, conn: Connection, ids: Sequence[int]) -> dict[int, str]:
        """Return the assets of those rows that have one of the names."""
        if not ids:
            return {}
        query = select(_PRINTS.c.id, _PRINTS.c.sha256).where(
            _PRINTS.c.id == func.any(list(ids)), _PRINTS.c.name.in_(self._names)
        )
        return {row[0]: row[1].hex() for row in conn.execute(query)}

    def _in_memory(self, values: Sequence[bytes], radius: int) -> list[Found]:
        if self._whole is None:
            self._whole = self._make_whole(self._opened())
        self._whole.refresh()
        return self._whole.search_many(values, radius)


def _keys(values: Sequence[bytes], tolerance: int) -> list[list[int]]:
    """Return, for each band, the keys of what lies near enough to any of the values."""
    near = near_bands(min(tolerance, MOST_TOLERANCE)).tolist()
    keys = []
    for first in range(0, VALUE_BYTES, 2):
        exact = {int.from_bytes(value[first : first + 2], "big") for value in values}
        keys.append(sorted({key ^ bits for key in exact for bits in near}))
    return keys


def _by_digest(hits: dict[int, int], digests: dict[int, str]) -> dict[str, int]:
    nearest: dict[str, int] = {}
    for row_id, distance in hits.items():
        if row_id in digests:
            digest = digests[row_id]
            nearest[digest] = min(distance, nearest.get(digest, distance))
    return nearest
