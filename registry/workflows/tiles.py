"""The log as static files (C2SP tlog-tiles), which any web server can offer.

Tiles come first and the checkpoint last, each in one step, so that a reader at any moment finds
all that the checkpoint needs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.core import checkpoints
from registry.core.tiles import TILE_WIDTH, Tile, tiles_of
from registry.core.witness_answers import CosignedHead, ExportedTiles
from registry.errors import FormatError, HomeError, InputError, IntegrityError
from registry.log.reader import LogReader
from registry.workflows.cosigning import head
from registry.workflows.log_sources import CHECKPOINT
from registry.workflows.services import Services

Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""


def export_tiles(
    services: Services, folder: Path, progress: Progress | None = None
) -> ExportedTiles:
    """Write the log into a folder, or bring an earlier export up to date.

    Full tiles are written once; a partial one goes when its full one is there. Raises InputError
    (`tiles.foreign`) for a folder that holds something else, RollbackError when it holds more of
    this log than the registry does, HomeError (`tiles.unwritable`).
    """
    newest = head(services)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_other(services.reader, folder)
        wanted = [*tiles_of(newest.size), *_bundles(newest.size)]
        written = 0
        for done, tile in enumerate(wanted, 1):
            written += _write_missing(services.reader, folder / tile.path, tile)
            if progress is not None:
                progress(done, len(wanted))
        _write(folder / CHECKPOINT, newest.checkpoint.encode("utf-8"))
        full = (tile for tile in wanted if tile.width == TILE_WIDTH)
        removed = sum(_remove_partial(folder / tile.path) for tile in full)
    except OSError as error:
        raise HomeError(
            f"cannot write {error.filename or folder}: {error.strerror}",
            code="tiles.unwritable",
            hint="what was written is whole; run it again to go on",
        ) from error
    return _exported(newest, folder, written, len(wanted) - written, removed)


def _refuse_other(reader: LogReader, folder: Path) -> None:
    """Refuse a folder whose files are not those of an earlier state of this log."""
    path = folder / CHECKPOINT
    if not path.is_file():
        if any(folder.iterdir()) and not (folder / "tile").is_dir():
            raise _foreign(folder, "it is not empty and holds no checkpoint")
        return
    try:
        there = checkpoints.verify(path.read_bytes(), reader.vkey)
    except (FormatError, IntegrityError) as error:
        raise _foreign(folder, error.message) from None
    reader.refuse_other(there)


def _bundles(size: int) -> Iterator[Tile]:
    full, rest = divmod(size, TILE_WIDTH)
    yield from (Tile(None, index) for index in range(full))
    if rest:
        yield Tile(None, full, rest)


def _write_missing(reader: LogReader, path: Path, tile: Tile) -> bool:
    if path.is_file():
        return False
    if tile.level is None:
        data = reader.bundle(tile.index, tile.width)
    else:
        data = reader.tile(tile.level, tile.index, tile.width)
    _write(path, data)
    return True


def _write(path: Path, data: bytes) -> None:
    """Put a file in place in one step; what is there is whole, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _remove_partial(path: Path) -> int:
    """Remove the partial tiles of a full one; return how many there were."""
    partial = path.with_name(f"{path.name}.p")
    if not partial.is_dir():
        return 0
    count = sum(1 for _ in partial.iterdir())
    shutil.rmtree(partial)
    return count


def _exported(
    newest: CosignedHead, folder: Path, written: int, present: int, removed: int
) -> ExportedTiles:
    return ExportedTiles(
        path=str(folder),
        origin=newest.origin,
        size=newest.size,
        root=newest.root,
        written=written,
        present=present,
        removed=removed,
    )


def _foreign(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder} is no export of this log: {why}",
        code="tiles.foreign",
        hint="name an empty folder, or the one that was exported to before",
    )
