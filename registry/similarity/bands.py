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

    64 bytes a row, and 4 MiB; never changes once it is made.
    """

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        """Sort the rows of `words` (4, n), n below 2^31, by each band."""
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._rows = int(words.shape[1])
        self._order = np.empty(BANDS * self._rows, dtype=np.int32)
        self._starts = np.zeros((BANDS, _BUCKETS + 1), dtype=np.int32)
        for band in range(BANDS):
            values = _band(words, band)
            first = band * self._rows
            # A stable sort of 16-bit numbers is a radix sort: linear in the number of rows.
            self._order[first : first + self._rows] = np.argsort(values, kind="stable")
            np.cumsum(np.bincount(values, minlength=_BUCKETS), out=self._starts[band, 1:])

    def __len__(self) -> int:
        return self._rows

    def candidates(
        self, queries: npt.NDArray[np.uint64], radius: int, most: int
    ) -> tuple[Rows, Rows, Rows] | None:
        """Return where all rows within `radius` bits of the `queries` (n, 4) are among.

        That is numbers of queries, and of rows beside them, some repeatedly; then the numbers of
        the queries with more than `most` such rows, which are not among the first. None where the
        radius is too large to be searched by bands.
        """
        import numpy as np  # noqa: PLC0415

        if not usable(radius):
            return None
        tolerance = radius // BANDS
        band = np.arange(BANDS)[:, None]
        keys = (queries.view(np.uint16)[:, :, None] ^ near_bands(tolerance)).astype(np.int64)
        starts = self._starts[band, keys].astype(np.int64)  # (n, 16, near values)
        counts = self._starts[band, keys + 1] - starts
        starts += band * self._rows
        totals = counts.sum(axis=(1, 2))
        cheap, dear = np.flatnonzero(totals <= most), np.flatnonzero(totals > most)
        starts, counts, totals = starts[cheap].ravel(), counts[cheap].ravel(), totals[cheap]
        before = np.cumsum(counts) - counts
        places = np.arange(int(totals.sum())) + np.repeat(starts - before, counts)
        rows: Rows = self._order[places].astype(np.int64)
        return np.repeat(cheap, totals), rows, dear


def usable(radius: int) -> bool:
    """Tell whether bands can find what is within this radius."""
    return radius // BANDS <= MOST_TOLERANCE


def _band(words: npt.NDArray[np.uint64], band: int) -> npt.NDArray[np.uint16]:
    """Return one band of each row, in the order in which a query's bytes are viewed."""
    import numpy as np  # noqa: PLC0415

    per_word = BANDS // len(words)
    word = np.ascontiguousarray(words[band // per_word])
    return np.ascontiguousarray(word.view(np.uint16)[band % per_word :: per_word])


@functools.lru_cache(maxsize=MOST_TOLERANCE + 1)
def near_bands(tolerance: int) -> Any:
    """Return every 16-bit number with at most `tolerance` bits."""
    import numpy as np  # noqa: PLC0415

    numbers = np.arange(_BUCKETS, dtype=np.uint16)
    return numbers[np.bitwise_count(numbers) <= tolerance]
