"""The inverted index of features: which assets share most keys with a query, by their rarity.

Holds keys in memory, in blocks of lists; the newest rows are compared one by one. A candidate is
no match: what it shows has to be verified. Knows nothing of pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy import Engine

from registry.similarity.sources import DIGEST_BYTES, ROW_BYTES, Rows, RowSource
from registry.similarity.stored import FingerprintSource
from registry.similarity.votes import KEYS, VOTES
from registry.store.transaction import read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Keys = npt.NDArray[np.uint16]
    Numbers = npt.NDArray[np.int64]
    Owners = npt.NDArray[np.int32]
    _Pairs = tuple[Any, Any]

MOST_POSTINGS = 600_000
"""Most list entries that one search counts: the rarest keys come first, and tell most."""

_TABLES = 2
_LISTS = _TABLES * KEYS
_TAIL = 1024
"""Rows that are compared one by one before they become a block."""
_SPARE = 2
"""Rows that are kept for each asset that is wanted: some may be of one asset."""
_BLOCK = 1 << 16
"""Most rows of a block: 16 bits number them."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows from `start` on: the rows of each key, one list behind the other, table by table.

    The list of a key begins at `offsets` (`_LISTS` + 1); `owners` has the numbers of rows.
    """

    start: int
    size: int
    offsets: Any
    owners: Any


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The lists that a query looks into, and what a row in each is worth.

    `lists` (n,) int64 counts through the tables, `weights` (n,) float32.
    """

    lists: Any
    weights: Any


class VoteIndex:
    """The keys of all assets of some sources. Safe between threads.

    About 300 bytes an asset. `refresh` reads on from the last row that it saw. What was removed
    since stays a candidate until the index is made anew: it has no thumbnail to be verified by.
    """

    def __init__(self, engine: Engine | None = None, sources: Sequence[RowSource] = ()) -> None:
        """Search in `sources`; without an engine, in what is added."""
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._engine = ref(engine) if engine is not None else lambda: None  # keeps none alive
        self._sources = tuple(sources)
        self._last_ids = [0] * len(self._sources)
        self._lock = threading.Lock()
        self._digests: list[bytes] = []
        self._counts: Numbers = np.zeros((_TABLES, KEYS), np.int64)
        self._blocks: tuple[_Block, ...] = ()
        self._tail: Keys = np.empty((0, _TABLES), np.uint16)
        self._owners: Owners = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._digests)

    def refresh(self) -> int:
        """Take in what was stored since; return how many assets came."""
        engine = self._engine()
        if engine is None:
            raise ReferenceError("the engine of this index is gone")
        with self._lock, read(engine) as conn:
            before = len(self._digests)
            for number, source in enumerate(self._sources):
                for item in source.after(conn, self._last_ids[number]):
                    rows = Rows(*item)
                    self._append(rows)
                    self._last_ids[number] = rows.last_id
            self._sort(_TAIL)
            return len(self._digests) - before

    def add(self, rows: Rows) -> None:
        """Take in rows of no source."""
        with self._lock:
            self._append(rows)
            self._sort(_TAIL)

    def search(self, keys: Keys, most: int) -> list[tuple[str, float]]:
        """Return (hex SHA-256, score) of at most so many assets, the highest score first.

        `keys` (n, 2) are a query's. The score is the sum of the squared logarithms of how rare the
        shared keys are; what shares none has no place here.
        """
        with self._lock:
            wanted = _wanted(keys, self._counts, len(self._digests))
            blocks, tail, owners = self._blocks, self._tail, self._owners
        scored: list[tuple[float, int]] = []
        for start, scores in _scores(blocks, tail, owners, wanted):
            floor = scored[-1][0] if len(scored) == _SPARE * most else 0.0
            scored += _best(scores, start, _SPARE * most, floor)
            scored = sorted(scored, key=lambda one: (-one[0], one[1]))[: _SPARE * most]
        return self._named(scored, most)

    def _named(self, best: Sequence[tuple[float, int]], most: int) -> list[tuple[str, float]]:
        """Return assets by their digests: each once, although several rows may be of it."""
        named: dict[str, float] = {}
        for score, row in best:
            named.setdefault(self._digests[row].hex(), round(score, 1))
        return list(named.items())[:most]

    def _append(self, rows: Rows) -> None:
        """Add rows to the tail; whatever is searched meanwhile goes on with what it holds."""
        import numpy as np  # noqa: PLC0415

        table = np.frombuffer(rows.packed, np.uint8).reshape(-1, ROW_BYTES)
        if not len(table):
            return
        firsts = _firsts(table[:, :DIGEST_BYTES])
        keys = np.ascontiguousarray(table[:, DIGEST_BYTES:]).view("<u2").reshape(-1, _TABLES)
        parts = np.cumsum(firsts) + (len(self._digests) - 1)
        owners = np.repeat(parts, len(keys) // len(table)).astype(np.int32)
        self._digests += [digest.tobytes() for digest in table[firsts, :DIGEST_BYTES]]
        for number in range(_TABLES):
            self._counts[number] += np.bincount(keys[:, number], minlength=KEYS)
        self._tail = np.concatenate((self._tail, keys))
        self._owners = np.concatenate((self._owners, owners))
        self._sort(_BLOCK)

    def _sort(self, least: int) -> None:
        """Make blocks of a tail so long, merged with the blocks before it that are no longer."""
        while len(self._digests) - (start := _end(self._blocks)) >= least:
            size = min(len(self._digests) - start, _BLOCK)
            inside = self._owners < start + size
            tables = [(column, self._owners[inside]) for column in self._tail[inside].T]
            self._tail, self._owners = self._tail[~inside], self._owners[~inside]
            kept = self._blocks
            while kept and kept[-1].size <= size and kept[-1].size + size <= _BLOCK:
                older, kept = kept[-1], kept[:-1]
                start, size = older.start, older.size + size
                tables = _joined(older, tables)
            self._blocks = (*kept, _block(start, size, tables))


def vote_index_of(engine: Engine) -> VoteIndex:
    """Return the one index of all assets of a database. Empty until its first `refresh`."""
    with _LOCK:
        if engine not in _INDEXES:
            _INDEXES[engine] = VoteIndex(engine, [FingerprintSource(VOTES)])
        return _INDEXES[engine]


def _wanted(keys: Keys, counts: Numbers, rows: int) -> _Wanted:
    """Return which of the keys are looked up, the rarest up to `MOST_POSTINGS` list entries."""
    import numpy as np  # noqa: PLC0415

    lists = np.unique(keys + np.arange(_TABLES) * KEYS)
    lengths = counts.ravel()[lists]
    rarest = np.argsort(lengths, kind="stable")
    affordable = np.zeros(len(lists), bool)
    affordable[rarest[np.cumsum(lengths[rarest]) <= MOST_POSTINGS]] = True
    affordable &= lengths > 0
    weights = np.log(1 + rows / lengths[affordable]) ** 2
    return _Wanted(lists[affordable], weights.astype(np.float32))


def _scores(
    blocks: Sequence[_Block], tail: Keys, owners: Owners, wanted: _Wanted
) -> Iterator[tuple[int, Any]]:
    """Yield the number of the first row and the scores of the rows from there on."""
    import numpy as np  # noqa: PLC0415

    for block in blocks:
        yield block.start, _in_block(block, wanted)
    if not len(tail):
        return
    table = np.zeros(_LISTS, np.float32)
    table[wanted.lists] = wanted.weights
    worth = table[tail + np.arange(_TABLES) * KEYS].sum(axis=1)
    start = _end(blocks)
    yield start, np.bincount(owners - start, weights=worth)


def _in_block(block: _Block, wanted: _Wanted) -> Any:
    import numpy as np  # noqa: PLC0415

    first = block.offsets[wanted.lists].astype(np.int64)
    lengths = block.offsets[wanted.lists + 1] - first
    before = np.cumsum(lengths) - lengths
    places = np.repeat(first - before, lengths)
    places += np.arange(len(places))
    rows = block.owners.take(places, mode="clip")  # unchecked: no place lies outside
    scores = np.zeros(block.size, np.float32)
    np.add.at(scores, rows.astype(np.intp), np.repeat(wanted.weights, lengths))
    return scores


def _best(scores: Any, start: int, most: int, floor: float) -> Iterator[tuple[float, int]]:
    """Yield the highest scores above a floor with the numbers of their rows."""
    import numpy as np  # noqa: PLC0415

    chosen = np.flatnonzero(scores > floor)
    if len(chosen) > most:
        chosen = chosen[np.argpartition(-scores[chosen], most)[:most]]
    for row in chosen.tolist():
        yield float(scores[row]), row + start


def _block(start: int, size: int, tables: Sequence[_Pairs]) -> _Block:
    """Sort the (keys, rows) of each table by key."""
    import numpy as np  # noqa: PLC0415

    owners = [
        (rows[np.argsort(keys, kind="stable")] - start).astype(np.uint16) for keys, rows in tables
    ]
    lengths = np.concatenate([np.bincount(keys, minlength=KEYS) for keys, _ in tables])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.uint32)
    return _Block(start, size, offsets, np.concatenate(owners))


def _joined(block: _Block, tables: Sequence[_Pairs]) -> list[_Pairs]:
    """Return the (keys, rows) of a block's tables, and behind them these."""
    import numpy as np  # noqa: PLC0415

    joined = []
    for number, (keys, owners) in enumerate(tables):
        offsets = block.offsets[number * KEYS : (number + 1) * KEYS + 1]
        older = np.repeat(np.arange(KEYS, dtype=np.uint16), np.diff(offsets))
        rows = block.owners[offsets[0] : offsets[-1]].astype(np.int32) + block.start
        joined.append((np.concatenate((older, keys)), np.concatenate((rows, owners))))
    return joined


def _end(blocks: Sequence[_Block]) -> int:
    return blocks[-1].start + blocks[-1].size if blocks else 0


def _firsts(digests: Any) -> Any:
    """Tell of each part whether it is the first of its row."""
    import numpy as np  # noqa: PLC0415

    return np.concatenate(([True], (digests[1:] != digests[:-1]).any(axis=1)))


_INDEXES: WeakKeyDictionary[Engine, VoteIndex] = WeakKeyDictionary()
_LOCK = threading.Lock()
