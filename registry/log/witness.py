"""What this registry cosigned of other logs: for each the newest checkpoint, never two forks.

How a checkpoint came here, and whose key may sign it, is the caller's business.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from registry.core.checkpoints import Checkpoint
from registry.core.notes import NoteSignature, SignedNote
from registry.core.witnessing import check_growth
from registry.errors import ConflictError, FormatError, IntegrityError, UnavailableError
from registry.store.bulk import insert_missing
from registry.store.sidecar_tables import WitnessedLogRow
from registry.store.transaction import read, write
from registry.store.types import table_of

_LOGS = table_of(WitnessedLogRow)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The newest checkpoint of a log that was cosigned here: its note as the log signed it."""

    origin: str
    size: int
    note: bytes

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, whose signature was verified before it was cosigned."""
        return Checkpoint.parse_text(SignedNote.parse(self.note).text)

    @classmethod
    def of(cls, note: bytes) -> Witnessed:
        """Return a note as a witnessed checkpoint; raises FormatError."""
        checkpoint = Checkpoint.parse_text(SignedNote.parse(note).text)
        return cls(checkpoint.origin, checkpoint.size, note)


class WitnessLedger:
    """The witness's memory: a row for each log, and a copy in a file outside the database.

    With the database alone, one restored from a backup would forget what was cosigned since, and
    the witness would cosign a fork. Safe beside other processes on the same home.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def last(self, origin: str) -> Witnessed | None:
        """Return the newest checkpoint of a log that was cosigned, None for none.

        Raises IntegrityError (`witness.state`) when database and file hold two trees of one size.
        """
        with read(self._engine) as conn:
            return self._newest(_row(conn, origin), origin)

    def all(self) -> list[Witnessed]:
        """Return the newest cosigned checkpoint of every log, by origin."""
        with read(self._engine) as conn:
            origins = list(conn.scalars(select(_LOGS.c.origin).order_by(_LOGS.c.origin)))
        return [found for found in map(self.last, origins) if found is not None]

    def advance(
        self,
        last: Witnessed | None,
        new: Witnessed,
        proof: Sequence[bytes],
        sign: Callable[[str], NoteSignature],
    ) -> NoteSignature:
        """Remember a log's new checkpoint and return its cosignature, durably and in one step.

        `last` is what the method `last` said, and `proof` leads from there; `sign` cosigns the
        note's text. The signature leaves only after the commit: what was signed is remembered,
        whatever happens. Raises IntegrityError as `check_growth` does, and ConflictError
        (`witness.moved`) when another checkpoint was cosigned meanwhile: look, then try again.
        """
        check_growth(last.checkpoint if last else None, new.checkpoint, proof)
        with write(self._engine) as conn:
            row = _row(conn, new.origin)
            if self._newest(row, new.origin) != last or not _replaced(conn, row, new):
                raise ConflictError(
                    f"another checkpoint of {new.origin} was cosigned meanwhile",
                    code="witness.moved",
                    hint="try again",
                )
            signature = sign(SignedNote.parse(new.note).text)
        self._write_file(new)
        return signature

    def _newest(self, row: Witnessed | None, origin: str) -> Witnessed | None:
        """Return the newer of row and file; the file alone is newer after a restored backup."""
        file = self._read_file(origin)
        if row is None or file is None:
            return row or file
        if row.size == file.size and row.checkpoint != file.checkpoint:
            raise _damaged(self._path(origin), "it holds another tree than the database")
        return file if file.size > row.size else row

    def _read_file(self, origin: str) -> Witnessed | None:
        path = self._path(origin)
        try:
            found = Witnessed.of(path.read_bytes())
        except FileNotFoundError:
            return None
        except FormatError as error:
            raise _damaged(path, error.message) from None
        if found.origin != origin:
            raise _damaged(path, f"it is of {found.origin}")
        return found

    def _write_file(self, new: Witnessed) -> None:
        path = self._path(new.origin)
        try:
            self._folder.mkdir(exist_ok=True)
            handle, scratch = tempfile.mkstemp(suffix=".new", dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(new.note)
            Path(scratch).replace(path)
        except OSError as error:
            raise UnavailableError(
                f"cosigned and remembered, but {path} could not be written: {error.strerror}",
                code="witness.unwritten",
                hint="free some space, then cosign again",
            ) from error

    def _path(self, origin: str) -> Path:
        name = hashlib.sha256(origin.encode("utf-8")).hexdigest()[:16]
        return self._folder / f"{name}.checkpoint"


def _row(conn: Connection, origin: str) -> Witnessed | None:
    row = conn.execute(select(_LOGS).where(_LOGS.c.origin == origin)).mappings().one_or_none()
    return None if row is None else Witnessed(row["origin"], row["size"], row["note"])


def _replaced(conn: Connection, row: Witnessed | None, new: Witnessed) -> bool:
    """Put the new checkpoint in place of the row, unless another writer was faster."""
    if row is None:
        row = Witnessed(new.origin, 0, b"")
        insert_missing(conn, _LOGS, [{"origin": row.origin, "size": row.size, "note": row.note}])
    unmoved = (_LOGS.c.origin == row.origin, _LOGS.c.size == row.size, _LOGS.c.note == row.note)
    done = conn.execute(update(_LOGS).where(*unmoved).values(size=new.size, note=new.note))
    return done.rowcount == 1


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is not what this witness cosigned last: {why}",
        code="witness.state",
        hint="restore it from a backup; cosign nothing of this log until you know what happened",
    )
