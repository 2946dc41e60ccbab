"""The tree derived anew from the leaves, held against the stored tiles, right edge and head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.core import checkpoints
from registry.core.merkle import Frontier, subtree_root
from registry.core.notes import VerifierKey
from registry.core.tiles import TILE_WIDTH
from registry.errors import GenopsError
from registry.log.findings import Findings
from registry.log.head import StoredHead

TileRoots = Mapping[tuple[int, int], bytes]
"""Stored roots of full tiles, by tile level (1 covers 256 leaves) and index."""


class DerivedTree:
    """Grows leaf by leaf and compares every full tile's root with the stored one."""

    def __init__(self, stored: TileRoots, found: Findings) -> None:
        self.frontier = Frontier()
        self._stored = dict(stored)
        self._found = found
        self._open_tiles: list[list[bytes]] = []
        self._full: list[int] = []

    def grow(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, in log order."""
        self.frontier = self.frontier.extend(leaves)
        for leaf in leaves:
            self._add(0, leaf)

    def finish(self, head: StoredHead | None, vkey: VerifierKey) -> None:
        """Compare the whole with the head (None where it could not be read)."""
        for level, index in self._stored:
            self._found.add(None, "tile", f"a root of tile {index} at level {level} is too many")
        if head is None:
            return
        if self.frontier != head.frontier:
            self._found.add(None, "frontier", "the stored right edge is not that of the entries")
        if head.size:
            self._check_note(head.note, vkey)

    def _add(self, level: int, node: bytes) -> None:
        if len(self._open_tiles) == level:
            self._open_tiles.append([])
            self._full.append(0)
        tile = self._open_tiles[level]
        tile.append(node)
        if len(tile) < TILE_WIDTH:
            return
        root = subtree_root(tile)
        tile.clear()
        self._compare(level + 1, self._full[level], root)
        self._full[level] += 1
        self._add(level + 1, root)

    def _compare(self, level: int, index: int, root: bytes) -> None:
        stored = self._stored.pop((level, index), None)
        if stored != root:
            what = "is missing" if stored is None else "is not that of the entries"
            self._found.add(None, "tile", f"the root of tile {index} at level {level} {what}")

    def _check_note(self, note: bytes, vkey: VerifierKey) -> None:
        try:
            checkpoint = checkpoints.verify(note, vkey)
        except GenopsError as error:
            self._found.add(None, "checkpoint", error.message)
            return
        if (checkpoint.size, checkpoint.root) != (self.frontier.size, self.frontier.root()):
            self._found.add(
                None,
                "checkpoint",
                f"it signs {checkpoint.size} records with another root than that of the entries",
            )
