"""Which assets show enough of a colour: stored palettes, compared in CIE Lab (1976, D65).

Holds palettes and digests in memory; knows nothing of records or of what a search is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from registry.similarity.palette import MOST, PALETTE, Colour, colours_in
from registry.similarity.stored import FingerprintRemovals
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Lab = npt.NDArray[np.float32]

_DIGEST_BYTES = 32
_VALUE_BYTES = 4 * MOST
_ROW_BYTES = _DIGEST_BYTES + _VALUE_BYTES
_FETCH = 50_000
_CHUNK = 500
_BLOCK = 1 << 15
_PRINTS = table_of(FingerprintRow)
_PADDING = "00" * _VALUE_BYTES
_PACKED = """
SELECT max(id), group_concat(hex(sha256) || substr(hex(value) || ?, 1, ?), '')
FROM fingerprints WHERE +name = ? AND id > ? GROUP BY id / 4096 ORDER BY 1
"""
"""Rows by the thousand: a row for each costs the driver far more. Fewer colours are padded."""


class ColourIndex:
    """All stored palettes, compared one by one. Safe between threads.

    About 120 bytes a picture. `refresh` reads on from the last row that it saw, and all of them
    again once some were erased.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_row = 0
        self._removed: int | None = None
        self._blocks: list[tuple[Any, Any, Any]] = []

    def refresh(self, engine: Engine) -> None:
        """See the palettes that are stored now."""
        with self._lock, read(engine) as conn:
            removed = FingerprintRemovals().since(conn, self._removed)
            self._removed = removed.seen
            if removed.ids:
                self._last_row, self._blocks = 0, []
            for last_row, packed in _stored(conn, self._last_row):
                self._blocks.append(_block(packed))
                self._last_row = last_row

    def near(
        self, colour: tuple[int, int, int], *, within: float, share: int, negated: bool = False
    ) -> set[bytes]:
        """Return the digests of the pictures of which `share` percent are near a colour (RGB).

        `within` is a Euclidean distance in Lab. With `negated`, the other pictures.
        """
        import numpy as np  # noqa: PLC0415  # heavy: only for a search

        wanted = lab_of(np.array([colour], dtype=np.uint8))[0]
        with self._lock:
            blocks = list(self._blocks)
        found: set[bytes] = set()
        for digests, lab, shares in blocks:
            off = ((lab - wanted) ** 2).sum(axis=2)
            area = np.where(off <= within * within, shares, 0).sum(axis=1)
            found.update(map(bytes, digests[(area < share) == negated]))
        return found


def near_colour(
    engine: Engine,
    colour: tuple[int, int, int],
    *,
    within: float,
    share: int,
    negated: bool = False,
) -> set[bytes]:
    """Return what `ColourIndex.near` does, by the one index of an engine, up to date."""
    with _INDEXES_LOCK:
        index = _INDEXES.setdefault(engine, ColourIndex())
    index.refresh(engine)
    return index.near(colour, within=within, share=share, negated=negated)


def palettes_of(conn: Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[Colour, ...]]:
    """Return the stored palettes of these assets, by digest; the largest share first."""
    found: dict[bytes, tuple[Colour, ...]] = {}
    for start in range(0, len(digests), _CHUNK):
        chosen = _PRINTS.c.sha256.in_(digests[start : start + _CHUNK])
        query = select(_PRINTS.c.sha256, _PRINTS.c.value).where(_PRINTS.c.name == PALETTE, chosen)
        found |= {row.sha256: colours_in(row.value) for row in conn.execute(query)}
    return found


def lab_of(rgb: npt.NDArray[np.uint8]) -> Lab:
    """Return sRGB colours (n, 3) in CIE Lab of 1976 under D65, 2 degrees (IEC 61966-2-1)."""
    import numpy as np  # noqa: PLC0415

    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    white = to_xyz.sum(axis=1)
    xyz = (linear.astype(np.float32)[rgb] @ (to_xyz.T / white).astype(np.float32)).astype(
        np.float32
    )
    small = xyz <= (6 / 29) ** 3
    curve = np.where(small, xyz * np.float32((29 / 6) ** 2 / 3) + np.float32(4 / 29), np.cbrt(xyz))
    x, y, z = curve[:, 0], curve[:, 1], curve[:, 2]
    lab: Lab = np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1).astype(np.float32)
    return lab


def _block(packed: bytes) -> tuple[Any, Any, Any]:
    """Return digests (n, 32), colours in Lab (n, 5, 3) and shares in percent (n, 5)."""
    import numpy as np  # noqa: PLC0415

    rows = np.frombuffer(packed, dtype=np.uint8).reshape(-1, _ROW_BYTES)
    values = np.ascontiguousarray(rows[:, _DIGEST_BYTES:]).reshape(-1, MOST, 4)
    lab = lab_of(values[:, :, :3].reshape(-1, 3)).reshape(-1, MOST, 3)
    return np.ascontiguousarray(rows[:, :_DIGEST_BYTES]), lab, values[:, :, 3].astype(np.int16)


def _stored(conn: Connection, after: int) -> Iterator[tuple[int, bytes]]:
    """Yield the id of the last of some rows, and their digests and palettes, from `after` on."""
    if conn.dialect.name == "sqlite":
        parts: list[bytes] = []
        given = (_PADDING, len(_PADDING), PALETTE, after)
        for last, packed in conn.exec_driver_sql(_PACKED, given):
            parts.append(bytes.fromhex(packed))
            if len(parts) * 4096 >= _BLOCK:
                yield last, b"".join(parts)
                parts = []
        if parts:
            yield last, b"".join(parts)
        return
    query = (
        select(_PRINTS.c.id, _PRINTS.c.sha256, _PRINTS.c.value)
        .where(_PRINTS.c.name == PALETTE, _PRINTS.c.id > after)
        .order_by(_PRINTS.c.id)
    )
    for rows in conn.execute(query).partitions(_FETCH):
        packed = (row.sha256 + row.value[:_VALUE_BYTES].ljust(_VALUE_BYTES, b"\0") for row in rows)
        yield rows[-1].id, b"".join(packed)


_INDEXES: WeakKeyDictionary[Engine, ColourIndex] = WeakKeyDictionary()
_INDEXES_LOCK = threading.Lock()
