"""Exact search among fingerprints: every stored value is compared, none is missed.

Holds values and digests in memory; knows nothing of pictures or verdicts.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

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
_BLOCK = 1 << 16
"""Rows compared at a time: their words and counts stay in a core's cache."""
_FINGERPRINTS = table_of(FingerprintRow)


class HammingIndex:
    """All 256-bit fingerprints of one name, searched by Hamming distance. Safe between threads.

    64 bytes a fingerprint. Rows are only ever added to the table, so that `refresh` reads on from
    the last row that it saw.
    """

    def __init__(self, name: str = PHASH256) -> None:
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._name = name
        self._lock = threading.Lock()
        self._last_row = 0
        self._size = 0
        self._words: Words = np.empty((WORDS, 0), dtype=np.uint64)
        self._digests: Digests = np.empty((0, _DIGEST_BYTES), dtype=np.uint8)

    def __len__(self) -> int:
        return self._size

    def refresh(self, engine: Engine) -> int:
        """Take in the fingerprints that were stored since; return how many."""
        with self._lock, read(engine) as conn:
            before = self._size
            query = (
                select(_FINGERPRINTS.c.id, _FINGERPRINTS.c.sha256, _FINGERPRINTS.c.value)
                .where(_FINGERPRINTS.c.name == self._name, _FINGERPRINTS.c.id > self._last_row)
                .order_by(_FINGERPRINTS.c.id)
            )
            for rows in conn.execute(query).partitions(_FETCH):
                self._append([row.sha256 for row in rows], [row.value for row in rows])
                self._last_row = rows[-1].id
            return self._size - before

    def search(self, value: bytes, radius: int) -> list[tuple[str, int]]:
        """Return (hex SHA-256, distance) of every fingerprint within `radius` bits, nearest first.

        Raises ValueError unless `value` has 32 bytes.
        """
        import numpy as np  # noqa: PLC0415

        if len(value) != WORDS * 8:
            raise ValueError(f"a value of {len(value)} bytes; expected {WORDS * 8}")
        query = np.frombuffer(value, dtype=np.uint64)
        with self._lock:
            words, digests, size = self._words, self._digests, self._size
        found: list[tuple[str, int]] = []
        for start in range(0, size, _BLOCK):
            distances = _distances(words[:, start : min(start + _BLOCK, size)], query)
            found += (
                (digests[start + row].tobytes().hex(), int(distances[row]))
                for row in np.flatnonzero(distances <= radius)
            )
        return sorted(found, key=lambda hit: (hit[1], hit[0]))

    def _append(self, digests: list[bytes], values: list[bytes]) -> None:
        """Add rows behind those that searches in progress may be reading."""
        import numpy as np  # noqa: PLC0415

        end = self._size + len(values)
        if end > self._words.shape[1]:
            self._grow(max(end, 2 * self._size))
        fresh = np.frombuffer(b"".join(values), dtype=np.uint64).reshape(-1, WORDS)
        self._words[:, self._size : end] = fresh.T
        self._digests[self._size : end] = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(
            -1, _DIGEST_BYTES
        )
        self._size = end

    def _grow(self, capacity: int) -> None:
        """Copy into larger arrays; a search goes on with the ones that it holds."""
        import numpy as np  # noqa: PLC0415

        words = np.empty((WORDS, capacity), dtype=np.uint64)
        digests = np.empty((capacity, _DIGEST_BYTES), dtype=np.uint8)
        words[:, : self._size] = self._words[:, : self._size]
        digests[: self._size] = self._digests[: self._size]
        self._words, self._digests = words, digests


def _distances(words: Words, query: Any) -> npt.NDArray[np.uint16]:
    """Return the distance of each column of `words` (4, n) from `query` (4,), in bits."""
    import numpy as np  # noqa: PLC0415

    total = np.zeros(words.shape[1], dtype=np.uint16)
    for part, word in zip(words, query, strict=True):
        total += np.bitwise_count(part ^ word)
    return total
