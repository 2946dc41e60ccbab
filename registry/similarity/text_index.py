"""Which stored texts say nearly the same as a given one, whole or as a part of it.

Compares with every stored fingerprint, so that none is missed. Knows nothing of records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import Engine

from registry.core.digests import sha256_hex
from registry.similarity.sources import DIGEST_BYTES, ROW_BYTES
from registry.similarity.stored import FingerprintRemovals, FingerprintSource, pack
from registry.similarity.texts import MINHASH, PERMUTATIONS, print_of, similarity, words_of
from registry.similarity.values import VALUE_BYTES
from registry.store.transaction import read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Minima = npt.NDArray[np.uint16]

TextVerdict = Literal["match", "probable", "review"]

MATCH_EQUAL = 64
"""Fewest equal minima of 128 of a `match`: half of all runs of three words in common."""
PROBABLE_EQUAL = 38
"""Fewest that are `probable`; a part of a longer text has to have as many."""
REVIEW_EQUAL = 20
"""Fewest that are reported: templates and set phrases have as many."""
WINDOW = 48
"""Words of the smallest piece of a text that is looked up by itself; longer ones are doubled."""
MOST_WORDS = 4096
"""Longest text that is looked up piece by piece; of a longer one, the first so many words."""

_BLOCK = 1 << 16
"""Rows compared at a time: their minima and counts stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A stored text (hex SHA-256) that says nearly the same.

    `similarity` estimates the Jaccard similarity of both sets of three-word runs, with `error` as
    its standard error. Where `part`, it is that of the piece of the query that is most like it.
    """

    sha256: str
    similarity: float
    error: float
    verdict: TextVerdict
    part: bool


class TextIndex:
    """All stored fingerprints of texts, compared one by one. Safe between threads.

    288 bytes a text. `refresh` reads on from the last row that it saw, and all of them again once
    some were erased. A search of a million texts takes some 50 ms on one core.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._source = FingerprintSource(MINHASH)
        self._removed: int | None = None
        self._last_row = 0
        self._empty()

    def __len__(self) -> int:
        return self._size

    def refresh(self, engine: Engine) -> int:
        """See the fingerprints that are stored now; return how many were read."""
        with self._lock, read(engine) as conn:
            removed = FingerprintRemovals().since(conn, self._removed)
            self._removed = removed.seen
            if removed.ids:
                self._empty()
            before = self._size
            for rows in self._source.after(conn, self._last_row):
                self._append(*_of_texts(rows.packed))
                self._last_row = rows.last_id
            count = self._size - before
        pack(engine, [self._source])
        return count

    def add(self, digests: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Take in fingerprints (256 bytes each) of the texts with these SHA-256 digests."""
        with self._lock:
            self._append(b"".join(digests), b"".join(values))

    def search(self, value: bytes, least: int) -> dict[str, int]:
        """Return, by hex SHA-256, how many minima are equal, where `least` are.

        Raises ValueError unless `value` has 256 bytes.
        """
        import numpy as np  # noqa: PLC0415

        if len(value) != 2 * PERMUTATIONS:
            raise ValueError(f"a value of {len(value)} bytes; expected {2 * PERMUTATIONS}")
        query = np.frombuffer(value, dtype=">u2").astype(np.uint16)
        with self._lock:
            minima, digests, size = self._minima, self._digests, self._size
        found: dict[str, int] = {}
        for start in range(0, size, _BLOCK):
            equal = _equal(minima[:, start : min(start + _BLOCK, size)], query)
            for row in np.flatnonzero(equal >= least):
                digest = digests[start + row].tobytes().hex()
                found[digest] = max(found.get(digest, 0), int(equal[row]))
        return found

    def _empty(self) -> None:
        """Begin anew, in other arrays: a search goes on with the ones that it holds."""
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        self._last_row = self._size = 0
        self._minima: Minima = np.empty((PERMUTATIONS, 0), dtype=np.uint16)
        self._digests = np.empty((0, DIGEST_BYTES), dtype=np.uint8)

    def _append(self, digests: bytes, values: bytes) -> None:
        """Add rows behind those that searches may be reading."""
        import numpy as np  # noqa: PLC0415

        rows = np.frombuffer(values, dtype=">u2").reshape(-1, PERMUTATIONS)
        end = self._size + len(rows)
        if end > self._minima.shape[1]:
            self._grow(max(end, self._size + self._size // 2))
        self._minima[:, self._size : end] = rows.T
        self._digests[self._size : end] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
        self._size = end

    def _grow(self, capacity: int) -> None:
        """Copy into larger arrays; a search goes on with the ones that it holds."""
        import numpy as np  # noqa: PLC0415

        minima = np.empty((PERMUTATIONS, capacity), dtype=np.uint16)
        digests = np.empty((capacity, DIGEST_BYTES), dtype=np.uint8)
        minima[:, : self._size] = self._minima[:, : self._size]
        digests[: self._size] = self._digests[: self._size]
        self._minima, self._digests = minima, digests


def alike_texts(
    engine: Engine, data: bytes, media_type: str | None, *, index: TextIndex | None = None
) -> list[TextMatch]:
    """Return the stored texts that say nearly what these bytes say, the most similar first.

    None for bytes that are no text, or too short or long for a fingerprint. Without an `index`,
    one is kept for the engine as long as that lives. The text itself is among the answers
    where it is stored.
    """
    words = words_of(data, media_type)
    if words is None:
        return []
    index = _index_of(engine) if index is None else index
    index.refresh(engine)
    if not len(index):
        return []
    best: dict[str, tuple[int, bool]] = {}
    for piece, least, part in _pieces(words):
        value = print_of(sha256_hex(data), piece)
        hits = index.search(value.value, least) if value is not None else {}
        for sha256, equal in hits.items():
            if equal > best.get(sha256, (0, False))[0]:
                best[sha256] = (equal, part)
    matches = [_match(sha256, *found) for sha256, found in best.items()]
    return sorted(matches, key=lambda match: (-match.similarity, match.sha256))


def verdict_of(equal: int) -> TextVerdict:
    """Return the verdict on two texts with so many equal minima of 128."""
    if equal >= MATCH_EQUAL:
        return "match"
    return "probable" if equal >= PROBABLE_EQUAL else "review"


def _pieces(words: Sequence[str]) -> Iterator[tuple[Sequence[str], int, bool]]:
    """Yield the text and overlapping pieces of it, the fewest equal minima, and whether a piece.

    A stored text that stands in a longer one fills most of some piece, whatever its length.
    """
    yield words, REVIEW_EQUAL, False
    some, width = words[:MOST_WORDS], WINDOW
    while width < len(words):
        step = width // 2
        for start in range(0, max(1, len(some) - step), step):
            yield some[start : start + width], PROBABLE_EQUAL, True
        width *= 2


def _of_texts(packed: bytes | memoryview) -> tuple[bytes, bytes]:
    """Return digests and values of packed rows: a text's value lies in eight of them."""
    import numpy as np  # noqa: PLC0415

    rows = np.frombuffer(packed, dtype=np.uint8).reshape(-1, ROW_BYTES)
    digests = rows[:: 2 * PERMUTATIONS // VALUE_BYTES, :DIGEST_BYTES]
    return digests.tobytes(), rows[:, DIGEST_BYTES:].tobytes()


def _match(sha256: str, equal: int, part: bool) -> TextMatch:
    return TextMatch(sha256, *similarity(equal), verdict_of(equal), part)


def _equal(minima: Minima, query: Minima) -> npt.NDArray[np.uint8]:
    """Return how many minima of each column of `minima` (128, n) are those of `query` (128,)."""
    import numpy as np  # noqa: PLC0415

    total = np.zeros(minima.shape[1], dtype=np.uint8)
    for row, value in zip(minima, query, strict=True):
        total += row == value
    return total


_INDEXES: WeakKeyDictionary[Engine, TextIndex] = WeakKeyDictionary()
_INDEXES_LOCK = threading.Lock()


def _index_of(engine: Engine) -> TextIndex:
    """Return the one index of an engine."""
    with _INDEXES_LOCK:
        return _INDEXES.setdefault(engine, TextIndex())
