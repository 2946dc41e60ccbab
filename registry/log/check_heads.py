"""What a check compares once: head, counts, the file itself, the checkpoint file; and cosignatures.

Reads everything of one run in one snapshot, so that a log that grows meanwhile is no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from registry.core.checkpoints import Checkpoint
from registry.core.cosignatures import CosignerKey, time_of
from registry.core.merkle import Frontier
from registry.core.notes import SignedNote, VerifierKey
from registry.errors import FormatError, IntegrityError
from registry.log import check_read
from registry.log.check_read import Cosigned
from registry.log.check_tree import note_problem
from registry.log.findings import Finding
from registry.log.head import StoredHead, read_head
from registry.log.outside import CheckpointFile
from registry.log.reader import LogReader
from registry.log.tree import TreeHashes
from registry.store.transaction import read, translate

T = TypeVar("T")


class Opening:
    """The log as it is when a check begins: its head, its size, where its trust records lie.

    `head` is None where it cannot be read; then `size` is the number of entries. `found` is what
    does not fit about the log as a whole.
    """

    def __init__(self, reader: LogReader, outside: Path | None) -> None:
        self.found: list[Finding] = []
        self.head: StoredHead | None = None
        self.trust: list[int] = []
        file = None if outside is None else CheckpointFile(outside, reader.vkey)
        newest = None if file is None else self._read_outside(file)  # before the snapshot
        with read(reader.engine) as conn:
            self._conn = conn
            self.found += self._try(lambda: check_read.damage(conn), [])
            self.head = self._read_head()
            rows = self._try(lambda: check_read.count_entries(conn), 0)
            self.size = rows if self.head is None else self.head.size
            self.found += self._try(lambda: check_read.strays(conn, self.size), [])
            self.trust = self._try(lambda: check_read.listed_trust(conn), [])
            if file is not None and self.head is not None:
                self._check_outside(file, newest, self.head.size)

    def _add(self, what: str, detail: str) -> None:
        self.found.append(Finding(None, what, detail))

    def _read_head(self) -> StoredHead | None:
        try:
            return self._try(lambda: read_head(self._conn), None)
        except FormatError as error:
            self._add("frontier", error.message)
            return None

    def _read_outside(self, file: CheckpointFile) -> Checkpoint | None:
        try:
            return file.read()
        except IntegrityError as error:
            self._add("checkpoint-file", error.message)
            return None

    def _check_outside(self, file: CheckpointFile, outside: Checkpoint | None, size: int) -> None:
        """Compare the newest checkpoint that lies outside with the tree as it is stored."""
        try:
            file.refuse_rollback(outside, size, TreeHashes(self._conn).root)
        except IntegrityError as error:
            self._add("checkpoint-file", error.message)

    def _try(self, step: Callable[[], T], otherwise: T) -> T:
        """Return what a step reads; a damaged database is found, not raised."""
        try:
            return step()
        except DBAPIError as error:
            translated = translate(error)
            if not isinstance(translated, IntegrityError):
                raise
            self._add("database", translated.message)
            return otherwise


def cosignature_problem(
    row: Cosigned, tree: Frontier, vkey: VerifierKey, witnesses: Sequence[CosignerKey]
) -> str:
    """Say why a kept cosignature does not fit this tree; "" when it does.

    Its checkpoint must be the log's own. Whether the witness signed it can be told only of those
    whose keys are known.
    """
    if not isinstance(row.note, bytes):
        return "its checkpoint is not bytes"
    if tree.size != row.size:
        return "the log lacks entries before it"
    if problem := note_problem(row.note, vkey, tree):
        return problem
    return _signature_problem(row, SignedNote.parse(row.note).text, witnesses)


def _signature_problem(row: Cosigned, text: str, witnesses: Sequence[CosignerKey]) -> str:
    """Say what is wrong with what stands beside the checkpoint; "" when nothing is."""
    if not isinstance(row.signature, bytes):
        return "it is not bytes"
    signer = next((key for key in witnesses if key.verify(text, row.signature)), None)
    if signer is None:
        known = any((key.name, key.key_id) == (row.name, row.key_id) for key in witnesses)
        return "the witness did not sign this checkpoint" if known else ""
    if (signer.name, signer.key_id) != (row.name, row.key_id):
        return f"{signer.name} signed it"
    return "" if time_of(row.signature) == row.time_s else "its time is not the signed one"
