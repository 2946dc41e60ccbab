"""Exact search among fingerprints: no stored value within the radius is missed.

Holds values and digests in memory; knows nothing of pictures or verdicts. Rows are put into blocks
that are searched by bands, and the newest are compared one by one until they are enough for one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, select

from registry.similarity.bands import BandTable
from registry.similarity.fingerprints import PHASH256
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Digests = npt.NDArray[np.uint8]

WORDS = 4
"""64-bit words of a 256-bit value."""

_DIGEST_BYTES = 32
_FETCH = 50_000
_PACKED = """
SELECT max(id), group_concat(hex(sha256) || hex(value), '')
FROM fingerprints WHERE +name = ? AND id > ? GROUP BY id / 4096 ORDER BY 1
"""
"""Rows by the thousand: a row for each costs the driver twice as much. `+` keeps SQLite from an
index that would have it look every row up."""
_BLOCK = 1 << 16
"""Rows compared at a time: their words and counts stay in a core's cache."""
_TAIL = 1 << 16
"""Rows that are compared one by one before they become a block."""
_PRICE = 8
"""A row taken out of order costs as much as so many in order."""
_FINGERPRINTS = table_of(FingerprintRow)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A block of rows from `start` on."""

    start: int
    table: BandTable

    @property
    def end(self) -> int:
        return self.start + len(self.table)


@dataclass(frozen=True, slots=True)
class _View:
    """What one search sees, whatever is added meanwhile: `size` rows, the first of them sorted."""

    words: Words
    digests: Digests
    size: int
    blocks: tuple[_Sorted, ...]

    @property
    def sorted_end(self) -> int:
        return self.blocks[-1].end if self.blocks else 0


class HammingIndex:
    """All 256-bit fingerprints of one name, searched by Hamming distance. Safe between threads.

    128 bytes a fingerprint. Rows are only ever added to the table, so that `refresh` reads on from
    the last row that it saw. Blocks are merged when one is as long as that before it, so that each
    row is sorted a logarithmic number of times.
    """

    def __init__(self, name: str = PHASH256) -> None:
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._name = name
        self._lock = threading.Lock()
        self._sorting = threading.Lock()
        self._blocks: tuple[_Sorted, ...] = ()
        self._last_row = 0
        self._size = 0
        self._words: Words = np.empty((WORDS, 0), dtype=np.uint64)
        self._digests: Digests = np.empty((0, _DIGEST_BYTES), dtype=np.uint8)

    def __len__(self) -> int:
        return self._size

    def refresh(self, engine: Engine) -> int:
        """Take in the fingerprints that were stored since; return how many."""
        added = self._read(engine)
        self._sort()
        return added

    def _read(self, engine: Engine) -> int:
        with self._lock, read(engine) as conn:
            before = self._size
            for last_row, packed in _stored(conn, self._name, self._last_row):
                self._append(packed)
                self._last_row = last_row
            return self._size - before

    def add(self, digests: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Take in fingerprints (32 bytes each) of the assets with these SHA-256 digests."""
        with self._lock:
            self._append(b"".join(chain.from_iterable(zip(digests, values, strict=True))))
        self._sort()

    def search(self, value: bytes, radius: int) -> list[tuple[str, int]]:
        """Return (hex SHA-256, distance) of every fingerprint within `radius` bits, nearest first.

        Raises ValueError unless `value` has 32 bytes.
        """
        import numpy as np  # noqa: PLC0415

        if len(value) != WORDS * 8:
            raise ValueError(f"a value of {len(value)} bytes; expected {WORDS * 8}")
        query = np.frombuffer(value, dtype=np.uint64)
        view = self._view()
        found: list[tuple[str, int]] = []
        for rows, distances in _hits(view, query, radius):
            digests = view.digests[rows]
            found += ((d.tobytes().hex(), int(n)) for d, n in zip(digests, distances, strict=True))
        return sorted(found, key=lambda hit: (hit[1], hit[0]))

    def _view(self) -> _View:
        with self._lock:
            return _View(self._words, self._digests, self._size, self._blocks)

    def _sort(self) -> None:
        """Put the tail into a block when it is long; searches go on with what there was.

        Whoever comes while another thread sorts leaves it alone.
        """
        if not self._sorting.acquire(blocking=False):
            return
        try:
            view = self._view()
            if view.size - view.sorted_end >= _TAIL:
                kept = _kept(view)
                start = kept[-1].end if kept else 0
                block = _Sorted(start, BandTable(view.words[:, start : view.size]))
                with self._lock:
                    self._blocks = (*kept, block)
        finally:
            self._sorting.release()

    def _append(self, packed: bytes) -> None:
        """Add rows, digest and value each, behind those that searches may be reading."""
        import numpy as np  # noqa: PLC0415

        rows = np.frombuffer(packed, dtype=np.uint8).reshape(-1, _DIGEST_BYTES + WORDS * 8)
        end = self._size + len(rows)
        if end > self._words.shape[1]:
            self._grow(max(end, 2 * self._size))
        values = np.ascontiguousarray(rows[:, _DIGEST_BYTES:]).view(np.uint64)
        self._words[:, self._size : end] = values.T
        self._digests[self._size : end] = rows[:, :_DIGEST_BYTES]
        self._size = end

    def _grow(self, capacity: int) -> None:
        """Copy into larger arrays; a search goes on with the ones that it holds."""
        import numpy as np  # noqa: PLC0415

        words = np.empty((WORDS, capacity), dtype=np.uint64)
        digests = np.empty((capacity, _DIGEST_BYTES), dtype=np.uint8)
        words[:, : self._size] = self._words[:, : self._size]
        digests[: self._size] = self._digests[: self._size]
        self._words, self._digests = words, digests


def _stored(conn: Connection, name: str, after: int) -> Iterator[tuple[int, bytes]]:
    """Yield the id of the last of some rows, and their digests and values, from `after` on."""
    if conn.dialect.name == "sqlite":
        for last, packed in conn.exec_driver_sql(_PACKED, (name, after)):
            yield last, bytes.fromhex(packed)
        return
    query = (
        select(_FINGERPRINTS.c.id, _FINGERPRINTS.c.sha256, _FINGERPRINTS.c.value)
        .where(_FINGERPRINTS.c.name == name, _FINGERPRINTS.c.id > after)
        .order_by(_FINGERPRINTS.c.id)
    )
    for rows in conn.execute(query).partitions(_FETCH):
        yield rows[-1].id, b"".join(part for row in rows for part in (row.sha256, row.value))


def _kept(view: _View) -> tuple[_Sorted, ...]:
    """Return the blocks that stay: those that are longer than all that comes after them."""
    blocks = view.blocks
    while blocks and len(blocks[-1].table) <= view.size - blocks[-1].end:
        blocks = blocks[:-1]
    return blocks


def _hits(view: _View, query: Any, radius: int) -> Iterator[tuple[Any, Any]]:
    """Yield rows within the radius and their distances, each row once."""
    for block in view.blocks:
        rows = block.table.candidates(query, radius, len(block.table) // _PRICE)
        if rows is None:
            yield from _scan(view.words, block.start, block.end, query, radius)
        else:
            yield _check(view.words, rows + block.start, query, radius)
    yield from _scan(view.words, view.sorted_end, view.size, query, radius)


def _scan(words: Words, first: int, end: int, query: Any, radius: int) -> Iterator[tuple[Any, Any]]:
    """Compare every row from `first` to before `end`."""
    import numpy as np  # noqa: PLC0415

    for start in range(first, end, _BLOCK):
        distances = _distances(words[:, start : min(start + _BLOCK, end)], query)
        rows = np.flatnonzero(distances <= radius)
        yield rows + start, distances[rows]


def _check(words: Words, rows: Any, query: Any, radius: int) -> tuple[Any, Any]:
    """Compare these rows, word by word: most are too far after the second."""
    import numpy as np  # noqa: PLC0415

    distances = np.zeros(len(rows), dtype=np.uint16)
    for part, word in zip(words, query, strict=True):
        distances = distances + np.bitwise_count(part[rows] ^ word)
        near = distances <= radius
        rows, distances = rows[near], distances[near]
    rows, first = np.unique(rows, return_index=True)
    return rows, distances[first]


def _distances(words: Words, query: Any) -> npt.NDArray[np.uint16]:
    """Return the distance of each column of `words` (4, n) from `query` (4,), in bits."""
    import numpy as np  # noqa: PLC0415

    total = np.zeros(words.shape[1], dtype=np.uint16)
    for part, word in zip(words, query, strict=True):
        total += np.bitwise_count(part ^ word)
    return total
