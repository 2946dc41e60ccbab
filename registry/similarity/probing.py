"""Comparing queries with rows in memory: by bands where that is cheaper, else with every row.

Works on arrays alone; knows no database, and of an asset only the number of its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.similarity.bands import BandTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Digests = npt.NDArray[np.uint8]
    Ids = npt.NDArray[np.int64]
    Owners = npt.NDArray[np.int32]

WORDS = 4
"""64-bit words of a 256-bit value."""
GONE = -1
"""The id of a row that was removed."""

_BLOCK = 1 << 14
"""Rows compared at a time: their words and counts stay in a core's cache, for every query."""
_PRICE = 8
"""A row taken out of order costs as much as so many in order."""

Hits = tuple[Any, Any, Any]
"""Numbers of queries, rows and distances, in arrays of one length."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A block of rows from `start` on."""

    start: int
    table: BandTable

    @property
    def end(self) -> int:
        """Return the number of the first row behind the block."""
        return self.start + len(self.table)


@dataclass(frozen=True, slots=True)
class View:
    """What one search sees, whatever is added meanwhile: `size` values, the first of them sorted.

    `words` is (4, n); a value belongs to the row `owners` of `digests` and `ids`.
    """

    words: Words
    owners: Owners
    digests: Digests
    ids: Ids
    size: int
    blocks: tuple[Sorted, ...]

    @property
    def sorted_end(self) -> int:
        """Return the number of the first row that is in no block."""
        return self.blocks[-1].end if self.blocks else 0


def hits(view: View, queries: Words, radius: int) -> Iterator[Hits]:
    """Yield what is within the radius of each of the `queries` (n, 4), each row once a query."""
    import numpy as np  # noqa: PLC0415  # heavy: only for a search

    everyone = np.arange(len(queries))
    for block in view.blocks:
        dear = everyone
        found = block.table.candidates(queries, radius, len(block.table) // _PRICE)
        if found is not None:
            which, rows, dear = found
            yield _check(view.words, queries, which, rows + block.start, radius)
        yield from _scan(view.words, block.start, block.end, queries, dear, radius)
    yield from _scan(view.words, view.sorted_end, view.size, queries, everyone, radius)


def _scan(
    words: Words, first: int, end: int, queries: Words, numbers: Any, radius: int
) -> Iterator[Hits]:
    """Compare every row from `first` to before `end` with the queries of these numbers."""
    import numpy as np  # noqa: PLC0415

    for start in range(first, end if len(numbers) else first, _BLOCK):
        part = words[:, start : min(start + _BLOCK, end)]
        for number in numbers:
            rows, distances = _near(part, queries[number], radius)
            if len(rows):
                yield np.full(len(rows), number), rows + start, distances


def _check(words: Words, queries: Words, which: Any, rows: Any, radius: int) -> Hits:
    """Compare these rows each with its query, word by word: most are too far after the second.

    Bands find within 31 bits, so that a byte counts what is near so far and 64 bits more.
    """
    import numpy as np  # noqa: PLC0415

    distances = np.zeros(len(rows), dtype=np.uint8)
    for part, word in zip(words, queries.T, strict=True):
        distances += np.bitwise_count(part.take(rows) ^ word.take(which))
        near = np.flatnonzero(distances <= radius)
        which, rows, distances = which.take(near), rows.take(near), distances.take(near)
    _, first = np.unique(which * words.shape[1] + rows, return_index=True)
    return which[first], rows[first], distances[first]


def _near(words: Words, query: Any, radius: int) -> tuple[Any, Any]:
    """Return which columns of `words` (4, n) lie within the radius of `query` (4,), and how far.

    Few do by three words, whose bits one byte counts; the last word is compared with those alone.
    """
    import numpy as np  # noqa: PLC0415

    bits = np.bitwise_count(words[0] ^ query[0])
    bits += np.bitwise_count(words[1] ^ query[1])
    bits += np.bitwise_count(words[2] ^ query[2])
    rows = np.flatnonzero(bits <= radius)
    distances = np.bitwise_count(words[3][rows] ^ query[3]).astype(np.uint16) + bits[rows]
    near = distances <= radius
    return rows[near], distances[near]
