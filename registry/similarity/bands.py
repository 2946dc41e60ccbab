"""Multi-index hashing: the few rows that can lie within a small radius, found without a scan.

A value is cut into 16 bands of 16 bits. Two values within r bits agree, in at least one band, to
within r // 16 bits; so looking into the buckets of the near values of each band misses nothing.
After Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing" (2012).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

BANDS = 16
BAND_BITS = 16
MOST_TOLERANCE = 1
"""Bits by which a band may differ; with two, a look into so many buckets costs more than a scan."""

_BUCKETS = 1 << BAND_BITS


class BandTable:
    """The rows of a block of 256-bit values, in the order of each of their bands.

    64 bytes a row, and 8 MiB; never changes once it is made.
    """

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        """Sort the rows of `words` (4, n), n below 2^31, by each band."""
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._rows = int(words.shape[1])
        self._order = np.empty(BANDS * self._rows, dtype=np.int32)
        self._starts = np.empty((BANDS, _BUCKETS + 1), dtype=np.int64)
        for band in range(BANDS):
            values = _band(words, band)
            first = band * self._rows
            # A stable sort of 16-bit numbers is a radix sort: linear in the number of rows.
            self._order[first : first + self._rows] = np.argsort(values, kind="stable")
            counts = np.bincount(values, minlength=_BUCKETS)
            self._starts[band, 0] = first
            np.cumsum(counts, out=self._starts[band, 1:])
            self._starts[band, 1:] += first

    def __len__(self) -> int:
        return self._rows

    def candidates(self, query: npt.NDArray[np.uint64], radius: int, most: int) -> Rows | None:
        """Return rows among which all within `radius` bits of `query` (4,) are, some repeatedly.

        None where they are more than `most`, or the radius is too large to be searched by bands.
        """
        import numpy as np  # noqa: PLC0415

        tolerance = radius // BANDS
        if tolerance > MOST_TOLERANCE:
            return None
        keys = (query.view(np.uint16)[:, None] ^ _near(tolerance)).astype(np.int64)
        starts = np.take_along_axis(self._starts, keys, axis=1).ravel()
        counts = np.take_along_axis(self._starts, keys + 1, axis=1).ravel() - starts
        total = int(counts.sum())
        if total > most:
            return None
        before = np.cumsum(counts) - counts
        places = np.arange(total) + np.repeat(starts - before, counts)
        rows: Rows = self._order[places].astype(np.int64)
        return rows


def _band(words: npt.NDArray[np.uint64], band: int) -> npt.NDArray[np.uint16]:
    """Return one band of each row, in the order in which a query's bytes are viewed."""
    import numpy as np  # noqa: PLC0415

    per_word = BANDS // len(words)
    word = np.ascontiguousarray(words[band // per_word])
    return np.ascontiguousarray(word.view(np.uint16)[band % per_word :: per_word])


@functools.lru_cache(maxsize=MOST_TOLERANCE + 1)
def _near(tolerance: int) -> Any:
    """Return every 16-bit number with at most `tolerance` bits."""
    import numpy as np  # noqa: PLC0415

    numbers = np.arange(_BUCKETS, dtype=np.uint16)
    return numbers[np.bitwise_count(numbers) <= tolerance]
