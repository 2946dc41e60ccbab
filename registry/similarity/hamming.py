"""Exact search among fingerprints in memory: no stored value within the radius is missed.

Holds values and digests of what its sources hold; knows nothing of pictures or verdicts. Rows are
put into blocks that are searched by bands; the newest are compared one by one until they are many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from sqlalchemy import Connection, Engine

from registry.similarity.bands import BandTable, usable
from registry.similarity.probing import GONE, WORDS, Sorted, View, hits
from registry.similarity.sources import DIGEST_BYTES, ROW_BYTES, Rows
from registry.similarity.values import VALUE_BYTES
from registry.store.transaction import read

if TYPE_CHECKING:
    from registry.similarity.probing import Digests, Ids, Owners, Words
    from registry.similarity.sources import Removals, RowSource

_TAIL = 1 << 16
"""Values that are compared one by one before they become a block."""
_PATIENCE = 64
"""Queries after which they do: sorting costs as much as comparing them with so many."""

Found = list[tuple[str, int]]
"""(hex SHA-256, distance in bits), nearest first, each asset once."""


class HammingIndex:
    """All 256-bit values of some sources, searched by Hamming distance. Safe between threads.

    100 bytes a part of a value, and 40 a row. `refresh` reads on from the last row that it saw, and
    drops what was removed. What came is sorted once that has paid off, and not by a process that
    looks up a few files and ends. Blocks are merged when one is as long as that before it, so that
    each part is sorted a logarithmic number of times.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        sources: Sequence[RowSource] = (),
        *,
        removals: Removals | None = None,
        upkeep: Callable[[Engine], None] | None = None,
    ) -> None:
        """Search in `sources`; `upkeep` is run after each refresh, outside of its transaction."""
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        # An index must not keep alive what it is kept for.
        self._engine: Callable[[], Engine | None] = ref(engine) if engine else lambda: None
        self._sources = tuple(sources)
        self._last_ids = [0] * len(self._sources)
        self._removals = removals
        self._removed: int | None = None
        self._upkeep = upkeep
        self._lock = threading.Lock()
        self._sorting = threading.Lock()
        self._blocks: tuple[Sorted, ...] = ()
        self._asked = 0
        self._size = 0
        self._rows = 0
        self._gone = 0
        self._words: Words = np.empty((WORDS, 0), dtype=np.uint64)
        self._owners: Owners = np.empty(0, dtype=np.int32)
        self._digests: Digests = np.empty((0, DIGEST_BYTES), dtype=np.uint8)
        self._ids: Ids = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self._size - self._gone

    def refresh(self) -> int:
        """Take in what was stored since, and drop what was removed; return how many values came."""
        engine = self._engine()
        if engine is None:
            raise ReferenceError("the engine of this index is gone")
        with self._lock, read(engine) as conn:
            self._drop(conn)
            before = self._size
            for number, source in enumerate(self._sources):
                for item in source.after(conn, self._last_ids[number]):
                    rows = Rows(*item)
                    self._append(rows)
                    self._last_ids[number] = rows.last_id
            added = self._size - before
        if self._upkeep is not None:
            self._upkeep(engine)
        return added

    def add(self, rows: Rows) -> None:
        """Take in rows of no source."""
        with self._lock:
            self._append(rows)

    def search(self, value: bytes, radius: int) -> Found:
        """Return every asset with a value within `radius` bits, nearest first.

        Raises ValueError unless `value` has 32 bytes.
        """
        return self.search_many([value], radius)[0]

    def search_many(self, values: Sequence[bytes], radius: int) -> list[Found]:
        """Search for several values in one pass; return what `search` does for each."""
        queries = queries_of(values)
        if not values:
            return []
        if usable(radius):
            self._count(len(values))
        view = self._view()
        nearest: list[dict[int, int]] = [{} for _ in values]
        for which, rows, distances in hits(view, queries, radius):
            found = zip(which.tolist(), view.owners[rows].tolist(), distances.tolist(), strict=True)
            for number, owner, distance in found:
                best = nearest[number]
                if distance < best.get(owner, distance + 1):
                    best[owner] = distance
        return [_named(view, best) for best in nearest]

    def _view(self) -> View:
        with self._lock:
            return View(
                self._words, self._owners, self._digests, self._ids, self._size, self._blocks
            )

    def _drop(self, conn: Connection) -> None:
        """Forget the rows that were removed, and that their ids were seen if they may come anew."""
        import numpy as np  # noqa: PLC0415

        if self._removals is None:
            return
        removed = self._removals.since(conn, self._removed)
        self._removed = removed.seen
        if removed.top is None:
            return
        gone = np.flatnonzero(np.isin(self._ids[: self._rows], removed.ids))
        parts = np.flatnonzero(np.isin(self._owners[: self._size], gone))
        self._ids[gone] = GONE  # before its digest: a search reads them the other way round
        self._digests[gone] = 0
        self._words[:, parts] = 0
        self._gone += len(parts)
        self._last_ids = [min(last_id, removed.top) for last_id in self._last_ids]

    def _count(self, queries: int) -> None:
        """Sort the tail before these queries, once so many have been compared with all of it."""
        self._asked += queries
        if self._asked > _PATIENCE and self._size - self._view().sorted_end >= _TAIL:
            self.sort()

    def sort(self) -> None:
        """Put the tail into a block; searches go on with what there was.

        Whoever comes while another thread sorts leaves it alone.
        """
        if not self._sorting.acquire(blocking=False):
            return
        try:
            view = self._view()
            if view.size > view.sorted_end:
                kept = _kept(view)
                start = kept[-1].end if kept else 0
                block = Sorted(start, BandTable(view.words[:, start : view.size]))
                with self._lock:
                    self._blocks = (*kept, block)
            self._asked = 0
        finally:
            self._sorting.release()

    def _append(self, rows: Rows) -> None:
        """Add rows behind those that searches may be reading."""
        import numpy as np  # noqa: PLC0415

        table = np.frombuffer(rows.packed, dtype=np.uint8).reshape(-1, ROW_BYTES)
        if not len(table):
            return
        digests, ids = table[:, :DIGEST_BYTES], _ids(rows, len(table))
        firsts = _firsts(ids if rows.ids else digests)
        start, end = self._size, self._size + len(table)
        first, last = self._rows, self._rows + int(firsts.sum())
        self._grow(end, last)
        values = np.ascontiguousarray(table[:, DIGEST_BYTES:]).view(np.uint64)
        self._words[:, start:end] = values.T
        self._owners[start:end] = np.cumsum(firsts) + (first - 1)
        self._digests[first:last] = digests[firsts]
        self._ids[first:last] = ids[firsts]
        self._size, self._rows = end, last

    def _grow(self, parts: int, rows: int) -> None:
        """Copy into larger arrays where need be; a search goes on with the ones that it holds."""
        import numpy as np  # noqa: PLC0415

        if parts > len(self._owners):
            capacity = max(parts, 2 * self._size)
            words = np.empty((WORDS, capacity), dtype=np.uint64)
            words[:, : self._size] = self._words[:, : self._size]
            self._words, self._owners = words, _longer(self._owners, self._size, capacity)
        if rows > len(self._ids):
            capacity = max(rows, 2 * self._rows)
            self._digests = _longer(self._digests, self._rows, capacity)
            self._ids = _longer(self._ids, self._rows, capacity)


def _longer(array: Any, size: int, capacity: int) -> Any:
    """Return an array for so many entries that has the first `size` of this one."""
    import numpy as np  # noqa: PLC0415

    longer = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    longer[:size] = array[:size]
    return longer


def _ids(rows: Rows, count: int) -> Any:
    import numpy as np  # noqa: PLC0415

    if rows.ids:
        return np.frombuffer(rows.ids, dtype="<i8")
    return np.full(count, rows.last_id, dtype=np.int64)


def _firsts(column: Any) -> Any:
    """Tell of each entry whether it differs from the one before it: the first part of a row."""
    import numpy as np  # noqa: PLC0415

    differs = column[1:] != column[:-1]
    return np.concatenate(([True], differs if differs.ndim == 1 else differs.any(axis=1)))


def _named(view: View, nearest: dict[int, int]) -> Found:
    """Return assets by their digests, nearest first, each once; what was removed is left out."""
    owners = list(nearest)
    digests = [digest.tobytes().hex() for digest in view.digests[owners]]
    named: dict[str, int] = {}
    for owner, digest, row_id in zip(owners, digests, view.ids[owners].tolist(), strict=True):
        if row_id != GONE:
            named[digest] = min(nearest[owner], named.get(digest, nearest[owner]))
    return in_order(named)


def in_order(nearest: dict[str, int]) -> Found:
    """Return distances by digest as a search does: nearest first."""
    return sorted(nearest.items(), key=lambda hit: (hit[1], hit[0]))


def queries_of(values: Sequence[bytes]) -> Words:
    """Return values as words (n, 4); raises ValueError unless each has 32 bytes."""
    import numpy as np  # noqa: PLC0415

    if unfit := [len(value) for value in values if len(value) != VALUE_BYTES]:
        raise ValueError(f"a value of {unfit[0]} bytes; expected {VALUE_BYTES}")
    return np.frombuffer(b"".join(values), dtype=np.uint64).reshape(-1, WORDS)


def _kept(view: View) -> tuple[Sorted, ...]:
    """Return the blocks that stay: those that are longer than all that comes after them."""
    blocks: Any = view.blocks
    while blocks and len(blocks[-1].table) <= view.size - blocks[-1].end:
        blocks = blocks[:-1]
    return tuple(blocks)
