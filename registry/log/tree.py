"""The tree's hashes as the database keeps them: leaves, and the roots of full tiles.

A node inside a tile is computed from the tile's row of hashes (at most 256), so that no other
node needs to be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from registry.core.merkle import subtree_root, tree_root
from registry.core.tiles import TILE_HEIGHT, TILE_WIDTH
from registry.errors import IntegrityError
from registry.store.bulk import insert_rows
from registry.store.log_tables import LogEntryRow, TileHashRow
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_TILES = table_of(TileHashRow)


class TreeHashes:
    """Reads the tree's hashes on one connection."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def row(self, level: int, start: int, count: int) -> list[bytes]:
        """Return `count` hashes of a tile level: 0 for leaves, 1 for roots of 256 leaves, ….

        Raises IntegrityError (`log.incomplete`) when one is not there.
        """
        end = start + count
        if level == 0:
            query = select(_ENTRIES.c.leaf_hash).where(_ENTRIES.c.idx.between(start, end - 1))
            query = query.order_by(_ENTRIES.c.idx)
        else:
            query = select(_TILES.c.hash).where(_TILES.c.level == level)
            query = query.where(_TILES.c.idx.between(start, end - 1)).order_by(_TILES.c.idx)
        found = list(self._conn.scalars(query))
        if len(found) != count:
            raise IntegrityError(
                f"the log lacks hashes {start} to {end - 1} of tile level {level}",
                code="log.incomplete",
                hint="run `genops log check`",
            )
        return found

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the 2^level leaves that start at index·2^level."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        return subtree_root(self.row(tile_level, index << height, 1 << height))

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves."""
        return tree_root(size, self.node)


def add_tiles(conn: Connection, old: int, new: int) -> None:
    """Store the roots of the tiles that became full as the log grew; its leaves are stored."""
    hashes = TreeHashes(conn)
    level = 1
    while True:
        width = TILE_WIDTH**level
        first, end = old // width, new // width
        if first == end:
            return
        rows = [
            {"level": level, "idx": i, "hash": subtree_root(_children(hashes, level, i))}
            for i in range(first, end)
        ]
        insert_rows(conn, _TILES, rows)
        level += 1


def _children(hashes: TreeHashes, level: int, index: int) -> Sequence[bytes]:
    return hashes.row(level - 1, index * TILE_WIDTH, TILE_WIDTH)
