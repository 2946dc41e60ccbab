"""The newest checkpoint, kept in a file outside the database, so that a roll-back shows.

A database restored from an old backup would forget taints and fork the log: whoever opens it
compares it with this file first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.notes import SignedNote, VerifierKey
from registry.core.times import format_time
from registry.errors import FormatError, IntegrityError, RollbackError, UnavailableError

RootAt = Callable[[int], bytes]
"""Root of the database's first n leaves; called with no more leaves than it has."""


class CheckpointFile:
    """The checkpoint file of a home. One process writes at a time, under the log's lock."""

    def __init__(self, path: Path, vkey: VerifierKey) -> None:
        self._path = path
        self._vkey = vkey
        self._known: tuple[bytes, Checkpoint] | None = None

    def read(self) -> Checkpoint | None:
        """Return the checkpoint, None when there is no file or a power cut left it without bytes.

        Raises IntegrityError (`log.checkpoint-file`) when the log's key did not sign it.
        """
        try:
            note = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(
                f"cannot read {self._path}: {error.strerror}", code="log.checkpoint-file"
            ) from error
        if not note.strip(b"\0"):  # its name or its length outlived the power, its bytes did not
            return None
        if self._known is None or self._known[0] != note:
            self._known = note, self._verified(note)
        return self._known[1]

    @property
    def note(self) -> bytes | None:
        """The note that `read` verified last."""
        return None if self._known is None else self._known[0]

    def time_ms(self) -> int | None:
        """Return when the file was written, epoch milliseconds, None where there is none."""
        try:
            return self._path.stat().st_mtime_ns // 1_000_000
        except OSError:
            return None

    def refuse_rollback(
        self,
        outside: Checkpoint | None,
        size: int,
        root_at: RootAt,
        time_ms: int | None = None,
    ) -> None:
        """Check that a database of `size` leaves, the newest of `time_ms`, goes on from the file.

        Without the log's lock, `read` comes before the snapshot of the database: who reads the
        file last may see a commit that the snapshot does not. Raises RollbackError
        (`log.rolled-back`, `log.forked`).
        """
        if outside is None or outside.size == 0:
            return
        if outside.size > size:
            raise RollbackError(
                f"the database holds {size} records, and its newest checkpoint {self._path}"
                f" covers {outside.size}: an older database was put in its place",
                hint="restore the newest database, or see `genops log recover`",
                heads=self._heads(outside, size, root_at(size), time_ms),
            )
        if root_at(outside.size) != outside.root:
            raise RollbackError(
                f"the first {outside.size} records are not those that {self._path} covers",
                code="log.forked",
                hint="the database was rewritten; keep both and see `genops log recover`",
                heads=self._heads(outside, size, root_at(size), time_ms),
            )

    def _heads(
        self, outside: Checkpoint, size: int, root: bytes, time_ms: int | None
    ) -> list[dict[str, object]]:
        """Return the database's tree and the file's."""
        trees = (
            ("database", size, root, time_ms),
            (str(self._path), outside.size, outside.root, self.time_ms()),
        )
        return [
            {
                "where": where,
                "size": count,
                "root": tree.hex(),
                "time": None if when is None else format_time(when),
            }
            for where, count, tree, when in trees
        ]

    def publish(self, note: bytes) -> None:
        """Put a newer checkpoint, which the caller signed or verified, in place in one step.

        Raises UnavailableError (`log.checkpoint-unwritten`). Not synced: the records are durable
        by now, and a power cut leaves the checkpoint before this one, or a file without bytes,
        which the next commit replaces (docs/adr/0018).
        """
        scratch = self._path.with_name(self._path.name + ".new")
        try:
            scratch.write_bytes(note)
            scratch.replace(self._path)
            self._known = note, Checkpoint.parse_text(SignedNote.parse(note).text)
        except OSError as error:
            raise UnavailableError(
                f"the records are committed, but their checkpoint could not be written to"
                f" {self._path}: {error.strerror}",
                code="log.checkpoint-unwritten",
                hint="free some space; the record is in the log, and `genops list` shows it",
            ) from error

    def _verified(self, note: bytes) -> Checkpoint:
        try:
            return checkpoints.verify(note, self._vkey)
        except (FormatError, IntegrityError) as error:
            raise IntegrityError(
                f"{self._path} is no checkpoint of this log: {error.message}",
                code="log.checkpoint-file",
                hint="restore it from a backup, the vault or a mirror; after a power cut, run"
                " `genops log check`, and remove the file when it finds nothing else",
            ) from None
