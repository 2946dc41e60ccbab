"""The tree derived anew from the leaves, held against stored tiles, right edge and checkpoints.

Keeps the right edge only, so that a check can stop and go on with a few hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from registry.core import checkpoints
from registry.core.merkle import Frontier, node_hash
from registry.core.notes import VerifierKey
from registry.core.tiles import TILE_HEIGHT
from registry.errors import GenopsError
from registry.log.findings import Findings
from registry.log.head import StoredHead

StoredTile = Callable[[int, int], object]
"""The stored root of a full tile by tile level (1 covers 256 leaves) and index; None for none."""


class DerivedTree:
    """Grows leaf by leaf and compares every full tile's root with the stored one."""

    def __init__(self, found: Findings, frontier: Frontier | None = None) -> None:
        self.frontier = frontier or Frontier()
        self._found = found

    def grow(self, leaves: Sequence[bytes], stored: StoredTile) -> None:
        """Add leaf hashes, in log order."""
        size, hashes = self.frontier.size, list(self.frontier.hashes)
        for leaf in leaves:
            node, height, index = leaf, 0, size
            while index & 1:
                node = node_hash(hashes.pop(), node)
                index >>= 1
                height += 1
                if height % TILE_HEIGHT == 0:
                    self._compare(height // TILE_HEIGHT, index, node, stored)
            hashes.append(node)
            size += 1
        self.frontier = Frontier(size, tuple(hashes))

    def finish(self, head: StoredHead, vkey: VerifierKey, time_ms: int) -> None:
        """Compare the whole with the head; `time_ms` is the log time of the newest record."""
        if head.time_ms != time_ms:
            self._found.add(None, "head", "its time is not that of the newest record")
        if self.frontier != head.frontier:
            self._found.add(None, "frontier", "the stored right edge is not that of the entries")
        if head.size:
            problem = note_problem(head.note, vkey, self.frontier)
            if problem:
                self._found.add(None, "checkpoint", problem)

    def _compare(self, level: int, index: int, root: bytes, stored: StoredTile) -> None:
        there = stored(level, index)
        if there != root:
            what = "is missing" if there is None else "is not that of the entries"
            self._found.add(None, "tile", f"the root of tile {index} at level {level} {what}")


def note_problem(note: bytes, vkey: VerifierKey, tree: Frontier) -> str:
    """Say why a note is not the log's checkpoint of this tree; "" when it is."""
    try:
        checkpoint = checkpoints.verify(note, vkey)
    except GenopsError as error:
        return error.message
    if (checkpoint.size, checkpoint.root) != (tree.size, tree.root()):
        return f"it signs {checkpoint.size} records with another root than that of the entries"
    return ""
