"""Derive the catalog from an export into an empty database, without keys, vault or home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine

from registry.core import checkpoints, exports
from registry.core.merkle import Frontier
from registry.errors import IntegrityError
from registry.log.replay import Replay
from registry.log.submission import Accepted
from registry.settings import Home, Settings, given_limits
from registry.store.engine import open_unchecked
from registry.store.sqlite import sqlite_engine
from registry.workflows.fresh import fresh_tables
from registry.workflows.maintain import BATCH, derive
from registry.workflows.transfer.exporting import Steps, no_steps
from registry.workflows.transfer.filling import exported_records
from registry.workflows.transfer.sources import ExportReader, open_export
from registry.workflows.transfer.staging import staged_file


def derive_catalog(
    source: str | Path,
    into: str,
    *,
    batch: int = BATCH,
    passphrase: Callable[[], str | None] = lambda: None,
    steps: Steps = no_steps,
) -> int:
    """Fill the catalog's tables in a new SQLite file or an empty Postgres database (by URL).

    The rows are those of the registry that was exported, whatever `batch` is. The records must be
    those that the export's checkpoint covers; their signatures are not verified (an import does).
    Returns the number of records. Raises as `import_home` does; nothing is left behind then.
    """
    with TemporaryDirectory() as folder:
        scratch = Path(folder) / "source"
        with open_export(Path(source), scratch, passphrase) as export, _database(into) as engine:

            def fill(conn: Connection) -> None:
                records = _Records(export)
                size = export.manifest.size
                derive(conn, records, size, batch=batch, progress=records.reported_to(steps))
                records.check()

            with fresh_tables(engine, fill):
                return export.manifest.size


class _Records:
    """The records of an export in order; remembers their tree."""

    def __init__(self, export: ExportReader) -> None:
        self._export = export
        self._vkey = export.vkey()
        self._frontier = Frontier()

    def __iter__(self) -> Iterator[Accepted]:
        replay = Replay(self._vkey)
        for record in exported_records(self._export):
            accepted = replay.accept(record)
            self._frontier = self._frontier.append(accepted.leaf_hash)
            yield accepted

    def check(self) -> None:
        """Raise IntegrityError (`log.altered`) unless the checkpoint covers what was read."""
        note = self._export.read(exports.CHECKPOINT)
        checkpoint = checkpoints.verify(note, self._vkey)
        if (checkpoint.size, checkpoint.root) != (self._frontier.size, self._frontier.root()):
            raise IntegrityError(
                "the export's records are not those that its checkpoint covers",
                code="log.altered",
                hint="take another copy of the export",
            )

    @staticmethod
    def reported_to(steps: Steps) -> Callable[[int, int], None]:
        """Return a progress callback of one step."""
        return lambda done, total: steps("records", done, total)


@contextmanager
def _database(into: str) -> Iterator[Engine]:
    """Open the database to be filled; a file appears only when the block ends well."""
    limits = given_limits()
    if "://" in into:
        place = Settings(Home(Path()), "", "", database_url=into, limits=limits)
        engine = open_unchecked(place, create=True)
        try:
            yield engine
        finally:
            engine.dispose()
        return
    with staged_file(Path(into).expanduser().absolute()) as stage:
        engine = sqlite_engine(stage, limits.lock_wait_s)
        try:
            yield engine
        finally:
            engine.dispose()
