"""C2SP tlog-tiles: how a tree and its entries are cut into files, and what those are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from registry.core import merkle
from registry.errors import FormatError, InputError, NotFoundError

TILE_HEIGHT = 8
TILE_WIDTH = 256
"""Hashes in a full tile, and entries in a full bundle."""
MAX_LEVEL = 63
MAX_ENTRY_LENGTH = 2**16 - 1

_LENGTH_BYTES = 2
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of hashes at `level` (0 to 63), or a bundle of entries when `level` is None.

    `index` counts tiles within the level; `width` is 256 when full and less when partial.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        fits = self.level is None or 0 <= self.level <= MAX_LEVEL
        if not fits or self.index < 0 or not 1 <= self.width <= TILE_WIDTH:
            raise InputError(f"there is no such tile: {self!r}", code="tile.invalid")

    @property
    def path(self) -> str:
        """The tile's path below the log's prefix, such as `tile/0/x001/067.p/8`."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        folded = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{folded}{suffix}"


def tile_path(level: int | None, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile, or of an entry bundle when `level` is None.

    Raises InputError (`tile.invalid`) for a level, index or width that cannot be.
    """
    return Tile(level, index, width).path


def parse_tile_path(path: str) -> Tile:
    """Read what `tile_path` writes, and nothing else; raises FormatError (`tile.invalid`)."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise FormatError(f"not a tile path: {path[:80]!r}", code="tile.invalid")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(re.sub(r"[x/]", "", match["index"]))
    width = int(match["width"]) if match["width"] else TILE_WIDTH
    try:
        tile = Tile(level, index, width)
    except InputError as error:
        raise FormatError(error.message, code="tile.invalid") from None
    if tile.path != path:
        raise FormatError(f"tile path is not in its one form: {path[:80]!r}", code="tile.invalid")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile of hashes of a tree of `size` leaves, level by level, partial ones last."""
    level, count = 0, size
    while count:
        full, rest = divmod(count, TILE_WIDTH)
        for index in range(full):
            yield Tile(level, index)
        if rest:
            yield Tile(level, full, rest)
        level, count = level + 1, full


class TileHashes:
    """The hashes of a tree of `size` leaves, read from its tiles; each is fetched once.

    `fetch` returns a tile's bytes, or raises NotFoundError. What it returns is not trusted: compare
    `root` with a signed one, or verify what is proved.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._rows: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the 2^level leaves that start at index·2^level.

        Raises FormatError (`tile.invalid`) for a tile of another length, NotFoundError.
        """
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, place = divmod(index << height, TILE_WIDTH)
        row = self._row(tile_level, tile)
        width = merkle.HASH_BYTES
        hashes = (row[at * width : (at + 1) * width] for at in range(place, place + (1 << height)))
        return merkle.subtree_root(list(hashes))

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, or of all."""
        return merkle.tree_root(self._size if size is None else size, self.node)

    def _row(self, level: int, index: int) -> bytes:
        if (level, index) not in self._rows:
            available = (self._size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH
            self._rows[level, index] = self._read(Tile(level, index, min(TILE_WIDTH, available)))
        return self._rows[level, index]

    def _read(self, tile: Tile) -> bytes:
        try:
            data = self._fetch(tile)
        except NotFoundError:
            if tile.width == TILE_WIDTH:
                raise
            # Partial tiles may go once their full one is there.
            full = self._fetch(Tile(tile.level, tile.index))
            data = full[: tile.width * merkle.HASH_BYTES]
        if len(data) != tile.width * merkle.HASH_BYTES:
            raise FormatError(f"{tile.path} has {len(data)} bytes", code="tile.invalid")
        return data


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Join 1 to 256 entries, each after its length as a big-endian uint16.

    Raises InputError (`tile.invalid`) for too many entries, or one of 64 KiB or more.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise InputError(f"a bundle takes 1..{TILE_WIDTH} entries", code="tile.invalid")
    if any(len(entry) > MAX_ENTRY_LENGTH for entry in entries):
        raise InputError("an entry does not fit a 16-bit length", code="tile.invalid")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """Split a bundle into its entries; raises FormatError (`tile.invalid`)."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or end > len(data):
            raise FormatError("entry bundle is cut short", code="tile.invalid")
        entries.append(data[start:end])
        at = end
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise FormatError(
            f"entry bundle does not hold 1..{TILE_WIDTH} entries", code="tile.invalid"
        )
    return entries
