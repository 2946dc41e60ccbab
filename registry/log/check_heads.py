"""What a check compares once: head, counts, the file itself, the checkpoint file; and cosignatures.

Reads everything of one run in one snapshot, so that a log that grows meanwhile is no finding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from registry.core.merkle import Frontier
from registry.core.notes import VerifierKey
from registry.errors import FormatError, IntegrityError
from registry.log import check_read
from registry.log.check_page import Value
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
        with read(reader.engine) as conn:
            self._conn = conn
            self.found += self._try(lambda: check_read.damage(conn), [])
            self.head = self._read_head()
            rows = self._try(lambda: check_read.count_entries(conn), 0)
            self.size = rows if self.head is None else self.head.size
            self.found += self._try(lambda: check_read.strays(conn, self.size), [])
            self.trust = self._try(lambda: check_read.listed_trust(conn), [])
            if outside is not None and self.head is not None:
                self._check_outside(CheckpointFile(outside, reader.vkey), self.head.size)

    def _add(self, what: str, detail: str) -> None:
        self.found.append(Finding(None, what, detail))

    def _read_head(self) -> StoredHead | None:
        try:
            return self._try(lambda: read_head(self._conn), None)
        except FormatError as error:
            self._add("frontier", error.message)
            return None

    def _check_outside(self, file: CheckpointFile, size: int) -> None:
        """Compare the newest checkpoint that lies outside with the tree as it is stored."""
        try:
            file.refuse_rollback(size, TreeHashes(self._conn).root)
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


def cosignature_problem(note: Value, size: int, tree: Frontier, vkey: VerifierKey) -> str:
    """Say why a kept checkpoint is not the log's own of this tree; "" when it is."""
    if not isinstance(note, bytes):
        return "its checkpoint is not bytes"
    if tree.size != size:
        return "the log lacks entries before it"
    return note_problem(note, vkey, tree)
