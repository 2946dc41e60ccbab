"""The index of fingerprints of a name, kept for a database as long as that is open.

Chooses the index's kind; knows nothing of pictures, verdicts or banks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Engine

from registry.similarity.hamming import Found, HammingIndex
from registry.similarity.sources import Rows, RowSource
from registry.similarity.stored import FingerprintRemovals, FingerprintSource, pack

__all__ = ["Found", "HammingIndex", "Index", "RowSource", "Rows", "index_of"]


class Index(Protocol):
    """Exact search among 256-bit values: what is within the radius is found, always.

    Safe between threads. An asset may have several values, and each several parts; it is found
    once, by the nearest.
    """

    def refresh(self) -> int:
        """See what was stored, and no longer what was removed, before this call.

        Returns the number of values that came since the last.
        """

    def __len__(self) -> int:
        """Return the number of values that a search compares, as of the last refresh."""

    def search(self, value: bytes, radius: int) -> Found:
        """Return (hex SHA-256, distance) of each asset within `radius` bits, nearest first.

        Raises ValueError unless `value` has 32 bytes.
        """

    def search_many(self, values: Sequence[bytes], radius: int) -> list[Found]:
        """Return what `search` does for each value, in one pass over all that is stored."""


def index_of(engine: Engine, names: str | tuple[str, ...]) -> Index:
    """Return the one index of the fingerprints of a name, or of several that may be compared.

    Empty until its first `refresh`.
    """
    key = (names,) if isinstance(names, str) else names
    with _LOCK:
        kept = _INDEXES.setdefault(engine, {})
        if key not in kept:
            kept[key] = _made(engine, key)
        return kept[key]


def _made(engine: Engine, names: tuple[str, ...]) -> Index:
    """Return an index in memory; on Postgres one in the database, where a name has bands there.

    So several workers need not each hold the hashes of whole pictures in order to find copies.
    """
    if engine.dialect.name != "postgresql":
        return _in_memory(engine, names)
    from registry.similarity.postgres import BANDED, BandIndex  # noqa: PLC0415  # of Postgres only

    if not set(names).intersection(BANDED):
        return _in_memory(engine, names)
    rest = tuple(name for name in names if name not in BANDED)
    whole = partial(_in_memory, names=names)
    return BandIndex(engine, names, _in_memory(engine, rest) if rest else None, whole)


def _in_memory(engine: Engine, names: tuple[str, ...]) -> HammingIndex:
    sources = [FingerprintSource(name) for name in names]
    return HammingIndex(
        engine, sources, removals=FingerprintRemovals(), upkeep=partial(pack, sources=sources)
    )


_INDEXES: WeakKeyDictionary[Engine, dict[tuple[str, ...], Index]] = WeakKeyDictionary()
_LOCK = threading.Lock()
